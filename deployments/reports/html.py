"""A report as HTML: one file without scripts or external resources, with its pictures inside."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from deployments.reports.content import Entry, Head, Tail, Writer, visible

_FOLDER = Path(__file__).parent


@contextmanager
def html(to: BinaryIO) -> Iterator[Writer]:
    """A writer of a report as HTML. Every value is escaped; signs that are not seen are shown as their codes."""
    yield _Html(to)


class _Html:
    def __init__(self, to: BinaryIO) -> None:
        self._to = to

    def begin(self, head: Head) -> None:
        style = (_FOLDER / "report.css").read_text()
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._write("begin", head=head, style=Markup(style), style_hash=f"sha256-{digest}")

    def add(self, entries: Sequence[Entry]) -> None:
        self._write("files", entries=entries)

    def end(self, tail: Tail) -> None:
        self._write("end", tail=tail)

    def _write(self, block: str, **values: Any) -> None:
        template = _template()
        pieces = template.blocks[block](template.new_context(values))
        self._to.write("".join(pieces).lstrip().encode())


@cache
def _template() -> Template:
    pages = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["data_uri"] = _data_uri
    return pages.get_template("report.html")


def _seen(value: Any) -> Any:
    return value if isinstance(value, Markup) else visible(value)


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
