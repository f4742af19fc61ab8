"""The formats of reports."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from cluster.records import ReportFormat
from deployments.reports.content import Writer
from deployments.reports.html import html
from deployments.reports.pdf import pdf


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what makes its writer for a file, and its media type."""

    writer: Callable[[BinaryIO], AbstractContextManager[Writer]]
    media_type: str


FORMATS: Mapping[ReportFormat, Format] = {
    "html": Format(html, "text/html; charset=utf-8"),
    "pdf": Format(pdf, "application/pdf"),
}
