"""`raysift evaluate --decisions`: the detectors, and the reviewers, by what reviewers have decided."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.errors import SettingsError
from cluster.settings import Settings
from commands.reviews.decisions import opened
from commands.terminal import console, harmless, waiting
from pipelines.evaluation import answers, reviewed
from pipelines.evaluation.reviewed import LEAST, Agreement, Reviewed
from pipelines.evaluation.verdicts import around


def evaluate(settings: Settings, results: str, thresholds: Mapping[str, float], as_json: bool) -> None:
    """Print the precision of each label in the results, and the agreement of reviewers. SettingsError without any."""
    with opened(settings) as store, waiting("comparing what was found with the decisions"):
        opinions = store.opinions()
        present = store.present(opinions)
        meaning = {decision.uri: settings.review.labels.get(str(decision.label)) for decision in present.values()}
        decided = {uri: confirms for uri, confirms in meaning.items() if confirms is not None}
        found = answers.stored(results, decided, settings.s3_endpoint)
        if not found:
            raise SettingsError(
                f"{results} holds none of the {len(decided)} files of which a decision confirms or "
                "refutes something (setting review.labels). Name the folder of results with --from."
            )
        judged = reviewed.reviewed(decided, found, thresholds)
        agreements = reviewed.agreements(opinions.values())
    screen = Console(stderr=as_json)
    screen.print(_labels([one for one in judged if (one.precision.of or 0) >= LEAST]))
    if few := [one for one in judged if (one.precision.of or 0) < LEAST]:
        console.print(f"{len(few)} more labels are in fewer than {LEAST} decided files", highlight=False)
    if agreements:
        screen.print(_reviewers(agreements))
    if as_json:
        plain = {"files": len(found), "judged": [asdict(one) for one in judged]}
        typer.echo(json.dumps(plain | {"agreements": [asdict(one) for one in agreements]}))


def _labels(judged: list[Reviewed]) -> Table:
    table = Table("what", "confirmed", "precision", "best threshold", box=None)
    for one in judged:
        name = Text.assemble(one.detector, "\n", harmless(one.label))
        threshold = around(one.threshold) if one.threshold.value is not None else one.threshold.why
        table.add_row(name, f"{one.precision.hits} of {one.precision.of}", around(one.precision), threshold)
    return table


def _reviewers(agreements: list[Agreement]) -> Table:
    table = Table("reviewers", "files", "agree", "Cohen's kappa", box=None)
    for one in agreements:
        kappa = around(one.kappa) if one.kappa.value is not None else one.kappa.why
        table.add_row(harmless(f"{one.first}, {one.second}"), str(one.same.of), around(one.same), kappa)
    return table
