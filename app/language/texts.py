"""Texts in the reader's language. The English text is the key; app/locale has a catalogue for each other language."""

import gettext
import json
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from app.language.choice import LANGUAGES, Language, current
from app.language.formats import number

_CATALOGUES = Path(__file__).parents[1] / "locale"


def _(text: str, /, **values: object) -> str:
    """The text in the reader's language, with these values in place of its {names}."""
    translated = catalogue(current()).gettext(text)
    return translated.format(**values) if values else translated


def N_(text: str) -> str:
    """The text as it is: marks one that is defined before its reader is known, and translated where it is shown."""
    return text


def counted(one: str, many: str, n: int, /, **values: object) -> str:
    """The text for a number, which replaces {n}, in the reader's language: `one` for 1, else `many`."""
    return catalogue(current()).ngettext(one, many, n).format(n=number(n), **values)


def used_in(script: str, language: Language) -> dict[str, str | list[str]]:
    """The translations of the texts that a script has in double quotes, of a number all its forms."""
    found: dict[str, str | list[str]] = {}
    for message in _messages(language):
        one = message.id if isinstance(message.id, str) else message.id[0]
        if one and json.dumps(one, ensure_ascii=False) in script:
            found[one] = message.string if isinstance(message.string, str) else list(message.string or ())
    return found


@cache
def _messages(language: Language) -> Catalog:
    """The catalogue of a language as people edit it: there is no step that builds another file of it."""
    if language == LANGUAGES[0]:
        return Catalog()
    with (_CATALOGUES / language / "LC_MESSAGES" / "raysift.po").open("rb") as file:
        return read_po(file, locale=language)


@cache
def catalogue(language: Language) -> gettext.NullTranslations:
    """The translations into a language."""
    if language == LANGUAGES[0]:
        return gettext.NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, _messages(language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
