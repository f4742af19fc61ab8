"""`raysift users`: people who sign in to the app with a name and a password."""

import sys
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from cluster.access import passwords
from cluster.errors import SettingsError
from commands.access.options import RoleOption, Under, day, me, opened, prefixes, shown
from commands.terminal import console, harmless

cli = typer.Typer(help="People who sign in with a password. On the cluster's head.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The name to sign in with.")]


@cli.command()
def add(name: Name, role: RoleOption = "viewer", under: Under = None) -> None:
    """Add a user, or change one: password, role and folders are replaced, and its sessions end.

    The password is asked for, or read from standard input.
    """
    limits, password = prefixes(under), _password()
    with opened() as (store, audit):
        record = partial(audit.record, me(), "user added", name, for_role=role, under=limits)
        store.add_user(name, passwords.hash_password(password), role, limits, record)
    console.print(f"{name}, {role}, may sign in", markup=False)


@cli.command("list")
def show() -> None:
    """List the users with their role and what they see."""
    with opened() as (store, _):
        users = store.users()
    table = Table(Column("name", overflow="fold"), "role", Column("sees", overflow="fold"), "since (UTC)")
    for user in users:
        table.add_row(harmless(user.name), user.role, shown(user.prefixes), day(user.made_at))
    Console().print(table)


@cli.command()
def remove(name: Name) -> None:
    """Remove a user; its sessions end after 5 seconds at most."""
    with opened() as (store, audit):
        if not store.remove_user(name, partial(audit.record, me(), "user removed", name)):
            raise SettingsError(f"there is no user {name!r}. `raysift users list` shows them.")
    console.print(f"{name} is removed", markup=False)


def _password() -> str:
    """The password, never from the command line, which every user of the machine can read."""
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < passwords.LEAST_CHARACTERS:
        raise SettingsError(f"a password has at least {passwords.LEAST_CHARACTERS} characters. Choose a longer one.")
    return str(password)
