"""The options by which `raysift export` and `raysift report` choose files."""

from typing import Annotated, Any

import typer

Texts = list[str] | None

Kind = Annotated[Texts, typer.Option(help="image, video, audio, container; may be repeated, as all filters.")]
Detector = Annotated[Texts, typer.Option(help="Only files in which this detector found something.")]
Label = Annotated[Texts, typer.Option(help="Only files with this label, of any detector.")]
DetectorLabel = Annotated[Texts, typer.Option(help="Only files with this label, as DETECTOR:LABEL.")]
MinScore = Annotated[float | None, typer.Option(help="Only files with such a detection of at least this score.")]
Where = Annotated[
    Texts,
    typer.Option(help="Only files to which this condition applies, such as '!face:|width>=640': docs/using.md."),
]
Under = Annotated[Texts, typer.Option(help="Only files whose URI begins so.")]
Job = Annotated[Texts, typer.Option(help="Only files that this job has analysed.")]
Decided = Annotated[Texts, typer.Option(help="Only files that were decided so; none: those that were not.")]
Tag = Annotated[Texts, typer.Option(help="Only files whose decision has this tag.")]
Failed = Annotated[
    bool | None, typer.Option("--failed/--no-failed", help="Only files with errors, or only those without.")
]


def given(**values: Any) -> dict[str, Any]:
    """The filters that were given: without those that are None or empty."""
    return {name: value for name, value in values.items() if value is not None and value != []}
