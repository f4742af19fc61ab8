"""Every text that the app shows is in the catalogues: nothing that is new stays English in the other languages."""

import ast
import re
from collections.abc import Iterator
from string import Formatter
from typing import get_args

import pytest
from babel.messages.pofile import read_po

from app.language.choice import LANGUAGES
from app.language.names import NAMES
from cluster.access.identity import ROLES
from cluster.api_queries import Sort
from cluster.records import PRIORITIES, JobState, Kind
from pipelines.ledger.listing import Reason
from tests.app.language.texts import CALLS, SCRIPTS, SOURCES, catalogue, texts
from tests.support.paths import ROOT

# what shows text: functions of Streamlit, of Altair and of ours, and arguments of any function
SHOW = {
    *("markdown", "caption", "info", "warning", "error", "success", "toast", "badge", "spinner", "expander", "popover"),
    *("button", "form_submit_button", "text_input", "text_area", "selectbox", "multiselect", "slider", "toggle"),
    *("checkbox", "segmented_control", "number_input", "date_input", "file_uploader", "progress"),
    *("HTMLResponse", "PlainTextResponse", "_page", "ApiError"),
}
NAMED = {"label", "help", "placeholder", "title", "text", "alt"}
# what is the same in every language: commands, addresses, markup
SAME = re.compile(
    r"s3://\S+(\n\S+)?|raysift \S.*|:material/\w+:|:(small|gray)\[|\?next=/|</?\w[^>]*>?|\"?[^\"]*target=\"_self\">"
)
OF_THE_DOM = {"currentColor", "AbortError", "insertText", "Enter", "Escape", "Arrow", "find ", "stage "}
WORD = re.compile(r"[A-Za-z]{2,}")


@pytest.fixture(scope="module")
def known():
    return texts()


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_text_is_translated_and_nothing_else(known, language: str):
    with catalogue(language).open("rb") as file:
        messages = {message.id: message for message in read_po(file, locale=language) if message.id}
    assert set(messages) == set(known), "`make texts` brings the catalogue up to date"
    for text, message in messages.items():
        forms = [message.string] if isinstance(text, str) else message.string
        assert all(forms) and not message.fuzzy, text
        sources = [text] if isinstance(text, str) else list(text)
        assert len(forms) == len(sources)
        for source, form in zip(sources, forms, strict=True):
            assert fields(source) == fields(form), text
            assert marks(source) == marks(form), text


def fields(text: str) -> set[str]:
    """The names of the values that a text has."""
    return {name for _text, name, _format, _conversion in Formatter().parse(text) if name is not None}


def marks(text: str) -> list[str]:
    """The punctuation at the end of a text, and its markup and code."""
    return sorted(re.findall(r"[\s.:?!]+$|</?code>|`[^`]*`|\*\*", text))


def test_every_value_of_the_api_that_is_shown_has_a_name():
    shown = {*get_args(Kind), *get_args(JobState), *PRIORITIES, *get_args(Reason), *ROLES, *get_args(Sort)}
    assert shown <= set(NAMES)


def test_no_call_that_shows_text_has_one_that_is_not_translated():
    found = []
    for path in SOURCES:
        if (ROOT / "app") in path.parents:
            for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                shown = [arg.value for arg in call.keywords if arg.arg in NAMED]
                shown += (
                    call.args[:1] if name in SHOW else call.args[1:2] if ast.unparse(call.func) == "page.link" else []
                )
                words = [text for each in shown for text in literals(each) if WORD.search(SAME.sub("", text))]
                found += [f"{path.relative_to(ROOT)}:{call.lineno}: {text}" for text in words]
    assert found == []


def literals(node: ast.AST) -> Iterator[str]:
    """The strings of an expression, without those that are translated, or the keys of what is looked up."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
        *CALLS,
        "get",
        "join",
    ):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    skipped = (node.slice,) if isinstance(node, ast.Subscript) else (node.test,) if isinstance(node, ast.IfExp) else ()
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from literals(child)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_script_has_a_text_that_is_not_translated(path):
    """A string that has a capital letter and a small one, or two words, is a text, a selector or a name of the DOM."""
    script = re.sub(r"(^|\s)//.*", "", path.read_text())
    script = re.sub(r'\bcounted\("[^"]*",\s*"[^"]*"|\b_\("[^"]*"', "", script)
    strings = [a or re.sub(r"\$\{[^}]*\}+", "", b) for a, b in re.findall(r'"([^"\n]*)"|`([^`]*)`', script)]
    shown = {text for text in strings if re.search(r"[A-Z][a-z]|[a-z]{2} [a-z]|\b[a-z]{3,} $", text)}
    assert {text for text in shown if not text.startswith(".") and not re.search(r"px|%", text)} <= OF_THE_DOM
