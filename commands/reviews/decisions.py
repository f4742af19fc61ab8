"""`raysift decisions`: take the decisions of reviewers elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cluster.access.audit import Audit
from cluster.decisions.store import FILE, DecisionStore
from cluster.errors import SettingsError
from cluster.people import store as people
from cluster.settings import Settings, load
from commands.access.options import me
from commands.terminal import console, waiting

cli = typer.Typer(help="What reviewers have decided: export it. On the cluster's head.", no_args_is_help=True)


@contextmanager
def opened(settings: Settings, faces: bool = False) -> Iterator[DecisionStore]:
    """The decisions of this head, on files or on faces. SettingsError if there are none here."""
    path = settings.state_dir / (people.FILE if faces else FILE)
    if not path.exists():
        raise SettingsError(
            f"{path} does not exist: nothing was decided yet, or this is not the cluster's head. Go into the folder in "
            "which `raysift up` is run, or set RAYSIFT_STATE_DIR."
        )
    store = people.FaceStore(path) if faces else DecisionStore(path)
    try:
        yield store
    finally:
        store.close()


@cli.command()
def export(
    to: Annotated[str, typer.Option(help="The Parquet file to write: decisions.parquet, s3://bucket/case-7/d.parquet")],
    faces: Annotated[bool, typer.Option("--faces", help="Those on faces: whose they are, whose not.")] = False,
) -> None:
    """Write all decisions with their history as Parquet, a row each: who, when, label, tags, note, models."""
    # imported only now: `raysift --help` does not wait for pyarrow
    from pipelines.results import decided

    settings = load()
    with opened(settings, faces) as store, waiting("exporting the decisions"):
        Audit(settings.state_dir).record(me(), "decisions on faces exported" if faces else "decisions exported", to)
        count = decided.export(store, to, settings.s3_endpoint)
    console.print(f"{count} decisions written to {to}", markup=False, highlight=False, soft_wrap=True)
