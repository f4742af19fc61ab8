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
from commands.terminal import console, waiting

Texts = list[str] | None


def export(
    source: Annotated[str, typer.Option("--from", help="A folder of results.")],
    format: Annotated[
        ExportFormat,
        typer.Option(help="jsonl, parquet: a line a file. csv: a line a detection. coco: boxes in pictures."),
    ] = "jsonl",
    to: Annotated[Path | None, typer.Option(help="The file to write; default: standard output.")] = None,
    kind: Annotated[
        Texts, typer.Option(help="image, video, audio, container; may be repeated, as all filters.")
    ] = None,
    detector: Annotated[Texts, typer.Option(help="Only files in which this detector found something.")] = None,
    label: Annotated[Texts, typer.Option(help="Only files with this label, of any detector.")] = None,
    detector_label: Annotated[Texts, typer.Option(help="Only files with this label, as DETECTOR:LABEL.")] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Only files with such a detection of at least this score.")
    ] = None,
    where: Annotated[
        Texts,
        typer.Option(help="Only files to which this condition applies, such as '!face:|width>=640': docs/using.md."),
    ] = None,
    under: Annotated[Texts, typer.Option(help="Only files whose URI begins so.")] = None,
    job: Annotated[Texts, typer.Option(help="Only files that this job has analysed.")] = None,
    decision: Annotated[Texts, typer.Option(help="Only files that were decided so; none: those that were not.")] = None,
    tag: Annotated[Texts, typer.Option(help="Only files whose decision has this tag.")] = None,
    failed: Annotated[
        bool | None, typer.Option("--failed/--no-failed", help="Only files with errors, or only those without.")
    ] = None,
) -> None:
    """Write results in a format for other programs: files with all their detections. Needs no running cluster."""
    # imported only now: `raysift --help` does not wait for pyarrow
    from cluster.api_queries import ExportQuery
    from cluster.decisions import store as decisions
    from pipelines.results import exporting

    several = {"kind": kind, "detector": detector, "label": label, "detector_label": detector_label}
    several |= {"where": where, "under": under, "job": job, "decision": decision, "tag": tag}
    given = {name: values for name, values in several.items() if values}
    try:
        query = ExportQuery.model_validate({"format": format, "min_score": min_score, "failed": failed, **given})
    except ValidationError as error:
        raise SettingsError(explain(error, "a filter of the command")) from None
    with to.open("wb") if to else nullcontext(sys.stdout.buffer) as sink, waiting(f"exporting {source}"):
        settings = load()
        files = exporting.export(source, query, sink, settings.s3_endpoint, settings.state_dir / decisions.FILE)
    console.print(f"{files} files")
