"""The HTML report of an evaluation: one file without scripts or external resources, with blurred pictures inside."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.evaluation import charts
from pipelines.evaluation.verdicts import Evaluation, digits

TEXTS = 40  # shown with their edits, the worst first


def html(judged: Evaluation) -> str:
    """The report as HTML. Text from files is escaped, and characters that reorder or hide text are replaced."""
    folder = Path(__file__).parent
    pages = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"shown": _shown, "name": _name, "digits": digits, "picture": _picture}
    return pages.get_template("report.html").render(judged=judged, charts=charts, most_texts=TEXTS)


def _shown(text: str) -> str:
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _name(uri: str) -> str:
    return _shown(uri.rsplit("/", 1)[-1] or uri)


def _picture(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
