"""`raysift keys`: the keys with which programs, and people without a password, call the API."""

import time
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from cluster.access.audit import Audit
from cluster.access.credential import ensure_operator_key, open_store
from cluster.access.store import Key
from cluster.access.tokens import Token
from cluster.errors import SettingsError
from cluster.settings import Settings, load
from commands.access.options import RoleOption, Under, check_here, day, me, opened, prefixes, shown
from commands.terminal import console, harmless, say

cli = typer.Typer(help="Keys for the API: make, list, revoke them. On the cluster's head.", no_args_is_help=True)

DAY_S = 86_400


@cli.command()
def add(
    name: Annotated[str, typer.Argument(help="Who will use it; the audit log shows this name.")],
    role: RoleOption = "viewer",
    under: Under = None,
    days: Annotated[int | None, typer.Option(min=1, help="It expires after so many days; default: never.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is stored."""
    limits, expires_at = prefixes(under), time.time() + days * DAY_S if days else None
    with opened() as (store, audit):

        def record(made: Token) -> None:
            audit.record(me(), "key made", made.id, name=name, for_role=role, under=limits)

        token = store.add_key(name, role, limits, expires_at, record=record)
    console.print(f"key of {name}, {role}. Keep it: it is not shown again.", markup=False)
    typer.echo(str(token))


@cli.command("list")
def show() -> None:
    """List the keys with their role, what they see, and when they were last used (within a minute)."""
    with opened() as (store, _):
        keys = store.list_keys()
    name, sees = (Column(title, overflow="fold") for title in ("name", "sees"))
    table = Table(Column("id", no_wrap=True), name, "role", sees, "state", "last used (UTC)")
    for key in keys:
        table.add_row(key.id, harmless(key.name), key.role, shown(key.prefixes), _state(key), day(key.used_at))
    Console().print(table)


@cli.command()
def revoke(id: Annotated[str, typer.Argument(help="As `raysift keys list` shows it.")]) -> None:
    """End a key, and the sessions that were begun with it. Running APIs accept it for 5 more seconds at most."""
    with opened() as (store, audit):
        if not store.revoke(id, partial(audit.record, me(), "key revoked", id)):
            raise SettingsError(f"there is no valid key {id!r}. `raysift keys list` shows the ids.")
    console.print(f"{id} is revoked: it is refused after 5 seconds at most")


@cli.command()
def link() -> None:
    """Print a link that signs a browser in to the app as this machine's operator, once, within ten minutes."""
    settings = load()
    check_here(settings)
    say(sign_in_link(settings), Console())


def sign_in_link(settings: Settings) -> str:
    """The URL of the app with which a browser signs in once, as this machine's operator."""
    store = open_store(settings)
    try:
        token = store.add_link(ensure_operator_key(settings, store).id)
    finally:
        store.close()
    return f"{settings.app.url}/sign-in?link={token}"


def first_key(settings: Settings) -> str | None:
    """An admin key, made when there is no key but this machine's own and no user yet; None at later starts."""
    store = open_store(settings)
    try:
        own = ensure_operator_key(settings, store)
        if store.users() or any(key.id != own.id for key in store.list_keys()):
            return None

        def record(made: Token) -> None:
            Audit(settings.state_dir).record(me(), "key made", made.id, name="first admin", for_role="admin")

        return str(store.add_key("first admin", "admin", record=record))
    finally:
        store.close()


def _state(key: Key) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    return f"until {day(key.expires_at)[:10]}" if key.expires_at > time.time() else "expired"
