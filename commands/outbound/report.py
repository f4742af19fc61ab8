"""`raysift report`: a report on the files of a case, as HTML or PDF."""

import hashlib
from pathlib import Path
from typing import Annotated, get_args

import typer

from cluster.errors import SettingsError
from cluster.records import Pictures, ReportFormat
from cluster.settings import load
from commands.outbound import filters
from commands.terminal import Purpose, api_client, say, waiting

ANSWER_S = 600.0  # files whose hash is not known are read first, for minutes


def report(
    to: Annotated[Path, typer.Option(help="The file to write: report.html or report.pdf.")],
    case: Annotated[str | None, typer.Option(help="The case, of `raysift cases`. Default: all files.")] = None,
    pictures: Annotated[
        Pictures, typer.Option(help="blurred: without detail that could be computed back. plain: as they are.")
    ] = "blurred",
    purpose: Purpose = None,
    kind: filters.Kind = None,
    detector: filters.Detector = None,
    label: filters.Label = None,
    detector_label: filters.DetectorLabel = None,
    min_score: filters.MinScore = None,
    where: filters.Where = None,
    under: filters.Under = None,
    job: filters.Job = None,
    decision: filters.Decided = None,
    tag: filters.Tag = None,
    failed: filters.Failed = None,
) -> None:
    """Write a report on the files of a case: hashes, findings, decisions, methods, chain of custody.

    The cluster makes it, records it in the audit log and sends it. The last line is its SHA-256.
    """
    format = to.suffix.lower().removeprefix(".")
    if format not in get_args(ReportFormat):
        raise SettingsError(f"--to {to}: a report is HTML or PDF. Let the name end with .html or .pdf.")
    several = {"kind": kind, "detector": detector, "label": label, "detector_label": detector_label}
    several |= {"where": where, "under": under, "job": job, "decision": decision, "tag": tag}
    query = filters.given(format=format, case=case, pictures=pictures, min_score=min_score, failed=failed, **several)
    sha256 = hashlib.sha256()
    with (
        api_client(load(), purpose) as api,
        waiting("making the report"),
        api.stream("GET", "/v1/report", params=query, timeout=ANSWER_S) as answer,
    ):
        if answer.is_error:
            answer.read()
            answer.raise_for_status()
        with to.open("wb") as file:
            for piece in answer.iter_bytes():
                file.write(piece)
                sha256.update(piece)
    say(f"written to {to}; the audit log has its SHA-256:")
    typer.echo(sha256.hexdigest())
