"""An evaluation as one HTML file that asks nobody for anything: no script, every picture inside and blurred."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.evaluation import charts
from pipelines.evaluation.verdicts import Evaluation, digits

TEXTS = 40  # with their edits; the worst come first


def html(judged: Evaluation) -> str:
    """The report. What comes out of files is escaped, and shown without signs that would reorder or hide it."""
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
