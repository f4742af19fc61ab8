"""References to weights: what detectors have as their `model`, joined by " + " where it has parts.

What one says, and in which order the places are tried, stands at the classes of sources.py and hub.py. Any may end in
`#sha256=HEX`, the digest of a file, or of a folder as copies.digest takes it: other bytes are refused. Pickles run
whatever code they hold when they are loaded, so weights that are nothing else are refused too, unless they are pinned.
"""

import re
from pathlib import PurePosixPath

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.detector import DetectorConfig
from deployments.weights.hub import Hub
from deployments.weights.sources import FORMS, Bucket, Local, Package, Source

JOINT = " + "
_PINNED = re.compile(r"(?P<place>[^#]*)#sha256=(?P<sha256>[0-9a-f]{64})")
_SCHEMES = ("package:", "file:", "hf:", "s3:", "gs:", "az:", "abfs:")


def named(config: DetectorConfig) -> list[str]:
    """Every reference in a detector's config, once: of its `model`, and wherever else one stands; not its gallery.

    None, where the detector's models are in another cluster.
    """
    if config.remote:
        return []
    found = []
    for key, value in config.model_dump(exclude={"gallery"}).items():
        for text in value.values() if isinstance(value, dict) else [value]:
            parts = text.split(JOINT) if isinstance(text, str) else []
            found += [part for part in parts if part.startswith(_SCHEMES) or (key == "model" and ":" in part)]
    return list(dict.fromkeys(found))


def source(reference: str, settings: Settings) -> Source:
    """What a reference means. SettingsError if it means nothing."""
    pin = _PINNED.fullmatch(reference)
    place = pin["place"] if pin else reference
    scheme = place[: place.find(":") + 1]
    kinds: dict[str, type[Source]] = {"package:": Package, "file:": Local, "hf:": Hub}
    if scheme not in _SCHEMES or "#" in place or ".." in PurePosixPath(place).parts:
        raise SettingsError(f"model {reference!r} is no weights reference; write {FORMS}.")
    return kinds.get(scheme, Bucket)(reference, place, pin and pin["sha256"], settings)
