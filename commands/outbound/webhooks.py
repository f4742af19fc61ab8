"""`raysift webhooks`: the messages that wait or were given up; retry them; test the endpoints."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Column, Table

from cluster.errors import SettingsError
from cluster.records import iso_time
from cluster.settings import Settings, load
from commands.access.options import day
from commands.terminal import console, harmless

if TYPE_CHECKING:
    from deployments.jobs.webhooks.outbox import Outbox

cli = typer.Typer(help="Who is told of jobs and hits: messages, tests. On the cluster's head.", no_args_is_help=True)

MOST_SHOWN = 200


@cli.command("list")
def show() -> None:
    """List the messages that wait for another attempt or were given up, with the last error."""
    with _outbox(load()) as outbox:
        deliveries = outbox.listed()
    table = Table("id", "event", "job", Column("to", overflow="fold"), "state", "attempts", "next (UTC)", "last error")
    for delivery in deliveries[-MOST_SHOWN:]:
        due = day(delivery.due_at) if delivery.state == "waiting" else ""
        cells = (
            delivery.event,
            delivery.job,
            delivery.url,
            delivery.state,
            str(delivery.attempts),
            due,
            delivery.error,
        )
        table.add_row(delivery.id, *map(harmless, cells))
    if deliveries:
        Console().print(table)
    given_up = sum(delivery.state == "given up" for delivery in deliveries)
    console.print(f"{len(deliveries) - given_up} wait, {given_up} were given up")


@cli.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Messages, as listed; default: all that were given up.")
    ] = None,
) -> None:
    """Have messages sent again, now. The running cluster sends them."""
    with _outbox(load()) as outbox:
        count = outbox.retry(ids or [])
    if ids and not count:
        raise SettingsError("no such message waits or was given up. `raysift webhooks list` shows them.")
    console.print(f"{count} messages are due now")


@cli.command()
def test() -> None:
    """Send a signed message of the type `test` to each endpoint. Exits 1 if one does not take it."""
    from deployments.jobs.webhooks.delivery import deliver  # only now: `raysift --help` does not wait for httpx

    webhooks = load().webhooks
    if not webhooks:
        raise SettingsError("the settings name no endpoint: see `webhooks` in docs/using.md.")
    body = json.dumps({"type": "test", "timestamp": iso_time(time.time()), "data": {}}).encode()
    failed = 0
    for webhook in webhooks:
        error = deliver(webhook, f"msg_{uuid4().hex}", body)
        failed += bool(error)
        console.print(f"{webhook.url}: {error or 'it took the message'}", markup=False, soft_wrap=True)
    if failed:
        raise SettingsError(f"{failed} of {len(webhooks)} endpoints did not take the message.")


@contextmanager
def _outbox(settings: Settings) -> "Iterator[Outbox]":
    from deployments.jobs.webhooks.outbox import FILE, Outbox

    path = settings.state_dir / FILE
    if not path.exists():
        raise SettingsError(
            f"{path} does not exist: there was no message yet. The command works on the cluster's head, in the "
            "folder from which it was started."
        )
    outbox = Outbox(path)
    try:
        yield outbox
    finally:
        outbox.close()
