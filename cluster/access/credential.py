"""The key of this machine's own command line: state_dir/operator_key, which only the owner of state_dir can read.

RAYSIFT_KEY_FILE names another place, such as a mounted secret, and RAYSIFT_KEY is a key itself.

Whoever can read that folder can read the file of keys and Ray's token in it too, so it is a key of an admin. It is not
the operator's proof of cluster/permissions.py: that one is kept with a job, and says what this job may read.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cluster.access import tokens
from cluster.access.private_files import create_private
from cluster.access.store import AccessStore, Refused
from cluster.access.tokens import KEY_VARIABLES
from cluster.errors import SettingsError

NAME = "operator of this machine"


class HasStateDir(Protocol):
    """The settings, as far as they matter here. cluster/settings.py imports this folder, so not the other way round."""

    @property
    def state_dir(self) -> Path:
        """The folder of the keys."""


def own_key(settings: HasStateDir) -> str | None:
    """The key that commands send to the API: of the environment, else of this machine; None if it has none."""
    if given := os.environ.get(KEY_VARIABLES[0], "").strip():
        if tokens.parse(given) is None:
            raise SettingsError(f"{KEY_VARIABLES[0]} is no key: it begins with rs_, and `raysift keys add` prints it.")
        return given
    with suppress(OSError):
        return operator_file(settings).read_text().strip() or None
    return None


def operator_file(settings: HasStateDir) -> Path:
    """Where this machine's own key lies."""
    return Path(os.environ.get(KEY_VARIABLES[1]) or settings.state_dir / "operator_key")


def ensure_operator_key(settings: HasStateDir, store: AccessStore) -> tokens.Token:
    """Make the machine's key, or store the one that lies there already. SettingsError if the file holds no key."""
    path = operator_file(settings)
    if not path.exists():
        create_private(path, str(tokens.new()))
    token = tokens.parse(path.read_text())
    if token is None:
        raise SettingsError(f"{path} holds no key. Delete it: the next start makes a new one.")
    try:
        store.identify(token)
    except Refused:
        if any(key.id == token.id for key in store.list_keys()):
            if KEY_VARIABLES[1] in os.environ:
                raise SettingsError(f"the key in {path} was revoked. Put another one there.") from None
            path.unlink()
            return ensure_operator_key(settings, store)
        with suppress(sqlite3.IntegrityError):  # another process that starts has just stored it
            store.add_key(NAME, "admin", token=token)
    return token


def store_file(settings: HasStateDir) -> Path:
    """The file of the keys and users of this state folder."""
    return settings.state_dir / "access.sqlite"


def open_store(settings: HasStateDir) -> AccessStore:
    """The keys and users of this state folder."""
    return AccessStore(store_file(settings))
