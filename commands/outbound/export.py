"""`raysift export`: write the results in a folder in a format for other programs."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.records import ExportFormat
from cluster.settings import explain, load
from commands.outbound import filters
from commands.terminal import console, waiting


def export(
    source: Annotated[str, typer.Option("--from", help="A folder of results.")],
    format: Annotated[
        ExportFormat,
        typer.Option(help="jsonl, parquet: a line a file. csv: a line a detection. coco: boxes in pictures."),
    ] = "jsonl",
    to: Annotated[Path | None, typer.Option(help="The file to write; default: standard output.")] = None,
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
    """Write results in a format for other programs: files with all their detections. Needs no running cluster."""
    # imported only now: `raysift --help` does not wait for pyarrow
    from cluster.api_queries import ExportQuery
    from cluster.decisions import store as decisions
    from pipelines.results import exporting

    several = {"kind": kind, "detector": detector, "label": label, "detector_label": detector_label}
    several |= {"where": where, "under": under, "job": job, "decision": decision, "tag": tag}
    try:
        query = ExportQuery.model_validate(filters.given(format=format, min_score=min_score, failed=failed, **several))
    except ValidationError as error:
        raise SettingsError(explain(error, "a filter of the command")) from None
    with to.open("wb") if to else nullcontext(sys.stdout.buffer) as sink, waiting(f"exporting {source}"):
        settings = load()
        files = exporting.export(source, query, sink, settings.s3_endpoint, settings.state_dir / decisions.FILE)
    console.print(f"{files} files")
