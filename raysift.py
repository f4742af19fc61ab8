"""The command line: `raysift up`, `down`, `status`, `scan`, `export`, `demo`, and the groups of commands/.

Commands import in their functions what `raysift scan` does not need: it is to answer at once.
"""

import json
import logging
import os
import shlex
import signal
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from cluster.errors import SettingsError
from cluster.records import Priority
from cluster.settings import PREFIX, Settings, load
from commands import evaluate, galleries, jobs, tables
from commands.access import audit, keys, users
from commands.cases import cases
from commands.checks import doctor
from commands.erasure import erase, holds
from commands.outbound import webhooks
from commands.outbound.export import export
from commands.outbound.report import report
from commands.results.compact import compact
from commands.reviews import decisions
from commands.scans import end_or_follow, follow, submit
from commands.terminal import LazyGroup, ProfileOption, console, say, waiting
from commands.upkeep import backup, logs, status, top, upgrade

NOT_FINISHED = 1

cli = typer.Typer(
    help="Sift a bucket of images, videos and audio: explicit content, text, faces, speech, look-alikes.",
    epilog="First time? `raysift up`, then `raysift scan FOLDER`, then open the app that `up` names.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.add_typer(galleries.commands("logo", "logos"), name="logos")
cli.add_typer(galleries.commands("restraint", "restraints"), name="restraints")
cli.add_typer(jobs.cli, name="jobs")
cli.add_typer(keys.cli, name="keys")
cli.add_typer(users.cli, name="users")
cli.add_typer(audit.cli, name="audit")
cli.add_typer(cases.cli, name="cases")
cli.add_typer(webhooks.cli, name="webhooks")
cli.add_typer(decisions.cli, name="decisions")
for name, about in (
    ("people", "People that the detector face looks for, by enrolled photos."),
    ("models", "The detectors' weights: list them, or copy them to a mirror."),
    ("vectors", "The vectors for search, an index of the results."),
):
    cli.add_typer(typer.Typer(cls=LazyGroup, help=about, no_args_is_help=True), name=name)
cli.add_typer(holds.cli, name="hold")
cli.command()(erase.erase)
cli.command()(doctor.doctor)
cli.command()(evaluate.evaluate)
cli.command()(export)
cli.command()(report)
cli.command()(compact)
cli.command()(backup.backup)
cli.command()(backup.restore)
cli.command()(logs.logs)
cli.command()(status.status)
cli.command()(top.top)
cli.command()(upgrade.upgrade)


@cli.command()
def up(
    profile: ProfileOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no model hub.")] = False,
    beside_ray: Annotated[
        bool, typer.Option("--beside-ray", help="Only Chroma and the app: on the head of a cluster of `ray up`.")
    ] = False,
) -> None:
    """Start Ray, the detectors, Chroma and the app on this machine; they run until `raysift down`.

    embedded: small models on CPU. gpu: large ones; they run on CPU too, slowly.
    """
    # in the environment, so that the jobs of this cluster, its own children, know it too
    if profile:
        os.environ[f"{PREFIX}PROFILE"] = profile
    if offline:
        os.environ[f"{PREFIX}MODELS__OFFLINE"] = "true"
    settings = load()
    start(settings, beside_ray)
    print_addresses(settings)
    if key := keys.first_key(settings):
        console.print("\nadmin key, for other machines and programs. It is not shown again: `raysift keys` makes more.")
        typer.echo(key)


@cli.command()
def down() -> None:
    """Stop what `raysift up` started. Results stay."""
    from cluster.processes import Processes

    processes = Processes(load())
    running = processes.alive()
    processes.stop()
    console.print("stopped: " + ", ".join(running) if running else "nothing was running")


@cli.command()
def env() -> None:
    """Print the environment variables by which `ray job submit` finds this cluster: eval "$(raysift env)"."""
    from cluster.processes import Processes

    for name, value in Processes(load()).environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@cli.command()
def scan(
    uris: Annotated[list[str], typer.Argument(help="Folders, buckets or files: /data/media s3://bucket/prefix ...")],
    out: Annotated[str | None, typer.Option(help="Where the results go; default: settings.results_uri.")] = None,
    detectors: Annotated[
        list[str] | None, typer.Option(help="Only these, comma-separated or repeated; default: all.")
    ] = None,
    priority: Annotated[Priority, typer.Option(help="urgent: it does not wait behind others.")] = "normal",
    follows: Annotated[bool, typer.Option("--follow/--no-follow", help="Show its progress until it is over.")] = True,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out names that match, such as '*.tmp'; may be repeated.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Add what is scanned to this case, of `raysift cases`.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, why and at what cost.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Scan media and follow the job. Exits 0 if all went well, 3 with failed files, 1 if it did not finish.

    Ctrl-C stops following; the job goes on, and `raysift jobs` shows it.
    """
    settings = load()
    if dry_run:
        # imported only now: a scan does not wait for numpy and pyarrow
        from commands import dry_run as dry_run_command

        plan = dry_run_command.dry_run(settings, uris, out, detectors, exclude or ())
        if as_json:
            typer.echo(json.dumps(dry_run_command.as_json(plan)))
        else:
            Console().print(dry_run_command.show(plan))
        return
    end_or_follow(settings, submit(settings, uris, out, detectors, priority, exclude or (), case), follows, as_json)


@cli.command()
def demo(
    exit: Annotated[bool, typer.Option("--exit", help="Stop everything after the scan.")] = False,
) -> None:
    """Start everything, scan a few sample files and show what was found. It runs until Ctrl-C."""
    from cluster.processes import Processes
    from commands import demo as media
    from commands.up import may_start

    settings = load()
    settings = settings.model_copy(update={"state_dir": settings.state_dir / "demo"})
    processes = Processes(settings)
    if processes.alive():
        raise SettingsError(f"a demo runs already (state in {settings.state_dir}). Stop it with Ctrl-C there.")
    with may_start(settings):  # an unfinished erasure is noted in the folder that is deleted here
        media.clear(settings.state_dir)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has the programs in its background ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    folder = media.make(settings.state_dir.absolute() / "media")
    try:
        start(settings)
        job = follow(settings, submit(settings, [str(folder)], None, None))
        if job["state"] != "finished":
            raise SettingsError(f"the demo's scan did not finish: {job['message']}")
        Console().print(tables.summary(job))
        print_addresses(settings)
        if not exit:
            another = f"{PREFIX}STATE_DIR={settings.state_dir} raysift keys link"
            console.print(f"Ctrl-C stops everything. Another link: {another}", markup=False, soft_wrap=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        pass
    finally:
        with waiting("stopping"):
            processes.stop()


def start(settings: Settings, beside_ray: bool = False) -> None:
    """Start the cluster, or only Chroma and the app beside a Ray that runs, and show what is being waited for."""
    from commands.up import launch, launch_beside_ray

    with waiting("starting") as update:
        (launch_beside_ray if beside_ray else launch)(settings, update)


def print_addresses(settings: Settings) -> None:
    """Print the addresses of the app, the API and Ray's dashboard. That of the app signs a browser in, once."""
    say(f"app   {keys.sign_in_link(settings)}\n      (signs this browser in once, within 10 minutes)")
    say(f"API   {settings.api.url}/v1\nRay   {settings.ray.dashboard_url}")


def main() -> None:
    """Run the command line. A SettingsError is printed as one sentence, without a traceback, and exits 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        cli()
    except SettingsError as error:
        console.print(f"raysift: {error}", style="red", markup=False, highlight=False)
        sys.exit(NOT_FINISHED)


if __name__ == "__main__":
    main()
