"""Shared by the commands on erasures and holds: the head's settings, and files that an option names."""

import re

from cluster.access.credential import store_file
from cluster.errors import SettingsError
from cluster.records import asset_id
from cluster.settings import Settings, load
from cluster.storage.filesystems import normalize


def load_head() -> Settings:
    """The settings. SettingsError unless the state folder is that of a head: holds lie there, and nowhere else."""
    settings = load()
    if not store_file(settings).exists():
        raise SettingsError(
            f"{store_file(settings)} does not exist: this is not the state folder of a cluster's head, where the legal "
            "holds lie. Go to the head, into the folder in which `raysift up` is run, or set RAYSIFT_STATE_DIR."
        )
    return settings


def as_asset(text: str) -> str:
    """The asset id that a text is, or that of the file whose URI or path it is."""
    return text if re.fullmatch("[0-9a-f]{32}", text) else asset_id(normalize(text))
