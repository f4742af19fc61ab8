"""The texts of the app as its code has them. `python -m tests.app.language.texts` brings the catalogues up to date."""

import ast
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_javascript
from babel.messages.pofile import read_po, write_po

from app.language.choice import LANGUAGES
from tests.support.paths import ROOT

Text = str | tuple[str, str]  # one for 1, and one for all other numbers

CALLS = ("_", "N_", "counted", "translate")
SOURCES = [*sorted((ROOT / "app").rglob("*.py")), ROOT / "cluster" / "filters" / "wording.py"]
SCRIPTS = sorted((ROOT / "app" / "components").rglob("*.js"))
HEADER = """# Texts of the app: the English one is the key. `make texts` adds new ones and removes those that are gone.
msgid ""
msgstr ""
"Language: {language}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {plural}\\n"

"""


def catalogue(language: str) -> Path:
    """The file with the translations into a language."""
    return ROOT / "app" / "locale" / language / "LC_MESSAGES" / "raysift.po"


def texts() -> dict[Text, list[str]]:
    """The texts, each with the files that have it."""
    found: dict[Text, list[str]] = {}
    for path in SOURCES:
        for text in _of_python(ast.parse(path.read_text())):
            found.setdefault(text, []).append(str(path.relative_to(ROOT)))
    for path in SCRIPTS:
        with path.open("rb") as file:
            keywords = {"_": None, "counted": (1, 2)}
            for _line, name, messages, _comments in extract_javascript(
                file, keywords, [], {"parse_template_string": True}
            ):
                text = (
                    tuple(messages[:2]) if name == "counted" else messages if isinstance(messages, str) else messages[0]
                )
                found.setdefault(text, []).append(str(path.relative_to(ROOT)))
    return found


def _of_python(tree: ast.AST) -> Iterator[Text]:
    """Also those in f-strings, which Babel's own extraction does not see before Python 3.12."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        literals = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if name == "counted" and len(literals) == 2:
            yield literals[0], literals[1]
        elif name in CALLS and name != "counted" and literals:
            yield literals[0]


def update(language: str) -> None:
    """Add the texts that are new to a catalogue, without a translation, and remove those that are gone."""
    with catalogue(language).open("rb") as file:
        known = read_po(file, locale=language)
    kept = Catalog(language)
    for text in texts():
        before = known.get(text if isinstance(text, str) else text[0])
        same = before is not None and before.id == text
        kept.add(text, before.string if same else None)
    with catalogue(language).open("wb") as file:
        file.write(HEADER.format(language=language, plural=kept.plural_forms).encode())
        write_po(file, kept, width=120, sort_output=True, omit_header=True)


if __name__ == "__main__":
    for language in LANGUAGES[1:]:
        update(language)
