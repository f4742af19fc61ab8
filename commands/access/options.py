"""Shared by the commands on keys and users: their options, and the files that they change."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from cluster.access.audit import Audit
from cluster.access.credential import open_store, store_file
from cluster.access.identity import Identity, Role
from cluster.access.store import AccessStore
from cluster.access.tokens import KEY_VARIABLES
from cluster.errors import SettingsError
from cluster.settings import Settings, load
from cluster.storage import buckets

RoleOption = Annotated[
    Role, typer.Option(help="viewer: browse, blurred. reviewer: originals. operator: jobs, people. admin: all.")
]
Under = Annotated[
    list[str] | None,
    typer.Option(help="Only files in this folder or bucket: s3://bucket/case-7; may be repeated. Default: all."),
]


@contextmanager
def opened() -> Iterator[tuple[AccessStore, Audit]]:
    """The keys and users of the state folder of these settings, and its audit log. SettingsError if there are none."""
    settings = load()
    check_here(settings)
    store = open_store(settings)
    try:
        yield store, Audit(settings.state_dir)
    finally:
        store.close()


def check_here(settings: Settings) -> None:
    """Raise SettingsError on a machine without keys whose commands call a cluster elsewhere."""
    key, path = KEY_VARIABLES[0], store_file(settings)
    if key in os.environ and not path.exists():
        raise SettingsError(
            f"{path} does not exist, and {key} is set: keys and users are made on the cluster's head, or by POST "
            f"/v1/keys. If this is the head, unset {key}."
        )


def prefixes(under: list[str] | None) -> tuple[str, ...] | None:
    """The values of --under as URIs without a slash at the end; None without the option."""
    return tuple(buckets.normalize(uri).rstrip("/") for uri in under) if under else None


def me() -> Identity:
    """Who runs this command, for the audit log: the user of the operating system, who may read the state folder."""
    return Identity(f"{getpass.getuser()} at the command line", "admin")


def shown(prefixes: tuple[str, ...] | None) -> str:
    """Prefixes as a cell of a table."""
    return "all files" if prefixes is None else "\n".join(prefixes)


def day(seconds: float | None) -> str:
    """A time as a cell of a table, to the minute in UTC; empty: never."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
