"""`raysift evaluate`: precision and recall of the detectors on files that people have labelled."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.errors import SettingsError
from cluster.settings import Settings, load
from cluster.storage import buckets
from cluster.storage.filesystems import local_path
from commands.scans import follow, submit
from commands.terminal import console, harmless, waiting

if TYPE_CHECKING:
    from pipelines.evaluation.labelling import Labelled
    from pipelines.evaluation.verdicts import Evaluation


def evaluate(
    labels: Annotated[
        Path | None, typer.Argument(help="One JSON object a file: docs/evaluating.md shows the format.")
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="Evaluate these results; nothing is scanned.")] = None,
    out: Annotated[str | None, typer.Option(help="Where the results go; default: state_dir/evaluations/...")] = None,
    report: Annotated[Path | None, typer.Option(help="The HTML report; default: beside the results.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="0.7, or nsfw=0.7; repeatable. Default: all detections.")
    ] = None,
    base_rate: Annotated[
        float | None, typer.Option(help="Share of your files that have a label, such as 0.001: precision at it.")
    ] = None,
    decisions: Annotated[
        bool,
        typer.Option("--decisions", help="Instead of LABELS: what reviewers have decided. On the head, with --from."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Evaluate detectors against a file of labels: those of the running cluster, or stored results (--from).

    Prints a table and writes a report with curves and the worst mistakes. A figure's 95 % interval is below it.
    """
    if decisions:
        # imported only now, as below
        from commands.reviews import reviewed

        if labels or out or report or base_rate is not None or not source:
            raise SettingsError("--decisions goes with --from, --threshold and --json, and without a file of labels.")
        reviewed.evaluate(load(), buckets.normalize(source), _thresholds(threshold or []), as_json)
        return
    if labels is None:
        raise SettingsError("name a file of labels, or --decisions.")
    # imported only now: other commands do not wait for pyarrow and the detectors' settings
    from cluster.results import measured as stored_measures
    from pipelines.evaluation import answers, evaluating, labelling
    from pipelines.evaluation import report as reporting
    from pipelines.evaluation.verdicts import measured, plain

    settings, now = load(), datetime.now(UTC)
    thresholds = _thresholds(threshold or [])
    if base_rate is not None and not 0 < base_rate < 1:
        raise SettingsError("--base-rate is a share of files: more than 0 and less than 1.")
    if source and out:
        raise SettingsError("--from evaluates stored results, --out is the place of new ones. Give one of them.")
    labelled = labelling.read(labels)
    own = settings.state_dir.absolute() / stored_measures.FOLDER / f"{now:%Y%m%d-%H%M%S}"
    if source:
        results = buckets.normalize(source)
    else:
        labelling.check_there(labels, labelled, settings.s3_endpoint)
        results = buckets.normalize(out) if out else (own / "results").as_uri()
        _scan(settings, labelled, results)
    found = answers.stored(results, [file.uri for file in labelled], settings.s3_endpoint)
    if not found:
        raise SettingsError(f"{results} holds none of the files of {labels}: its first is {labelled[0].uri}.")
    facts = {"made_at": f"{now:%Y-%m-%d %H:%M} UTC", "labels": str(labels), "results": results}
    with waiting("comparing what was found with the labels"):
        judged = evaluating.evaluate(labelled, found, thresholds, base_rate, settings.detectors, **facts)
    written = report or _beside(results, own, now)
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(reporting.html(judged), "utf-8")
    stored_measures.save(own, measured(judged))
    screen = Console(stderr=as_json)
    for table in tables(judged):
        screen.print(table)
    for left in judged.left_out:
        screen.print(harmless(f"{left.detector}: {len(left.uris)} not counted, {left.why}"), style="yellow")
    console.print(f"report: {written}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(plain(judged) | {"report": str(written)}))


def _thresholds(given: list[str]) -> dict[str, float]:
    """Detector -> threshold. NAME=0.7 overrides a plain 0.7, which applies to all others."""
    from deployments.detector import names

    of_all: dict[str, float] = {}
    of_one: dict[str, float] = {}
    for option in given:
        name, _, value = option.rpartition("=")
        if name and name not in names():
            raise SettingsError(f"--threshold {option}: no detector {name!r}; there are {', '.join(names())}.")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise SettingsError(f"--threshold {option}: write a number from 0 to 1, as in 0.7 or nsfw=0.7.")
        if name:
            of_one[name] = number
        else:
            of_all = dict.fromkeys(names(), number)
    return of_all | of_one


def _scan(settings: Settings, labelled: "list[Labelled]", results: str) -> None:
    uris = [file.uri for file in labelled]
    job = follow(settings, submit(settings, uris, results, _detectors(labelled)))
    if job["state"] != "finished":
        raise SettingsError(f"job {job['job']} did not finish: {job['message']}")


def _detectors(labelled: "list[Labelled]") -> list[str] | None:
    """The detectors that the labels name; None (all) if one of them analyses the text of others."""
    from deployments.detector import detector_class

    named = sorted({detector for file in labelled for detector in file.labels})
    return None if any("text" in detector_class(name).modalities for name in named) else named


def _beside(results: str, own: Path, now: datetime) -> Path:
    folder = Path(local_path(results)) if results.startswith("file:") else None
    if folder is None or folder == own / "results":
        return own / "report.html"
    return folder / f"evaluation-{now:%Y%m%d-%H%M%S}.html"


def tables(judged: "Evaluation") -> Iterator[Table]:
    """The evaluation as tables: presence of labels in files; then text, speech, counts and recognised people."""
    from pipelines.evaluation.verdicts import around, value

    presence = Table("what", "with it", "precision", "recall", "F1", "AP", "best F1", box=None)
    if judged.base_rate is not None:
        presence.add_column(f"precision\nat {judged.base_rate:g}")
    for verdict in judged.judged:
        figures = verdict.presence
        best = value(figures.best_f1) + ("" if figures.best_threshold is None else f"\nat {figures.best_threshold:.4g}")
        cells = [
            around(figures.precision),
            around(figures.recall),
            value(figures.f1),
            value(figures.average_precision),
            best,
        ]
        cells += [around(figures.at_base_rate)] if figures.at_base_rate else []
        with_it = f"{figures.positives} of {figures.positives + figures.negatives}"
        presence.add_row(Text.assemble(verdict.detector, "\n", harmless(verdict.label)), with_it, *cells)
    yield presence
    more = Table("what", "measure", "value", "of", box=None)
    for verdict in judged.judged:
        for name, figure, of_what in verdict.more:
            counted = "" if figure.hits is None else f"{figure.hits} of {figure.of} {of_what}"
            more.add_row(verdict.detector, name, around(figure), "; ".join(filter(None, (counted, figure.why))))
    if more.row_count:
        yield more
