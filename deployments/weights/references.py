"""References to weights: the values of detectors' `model` settings; " + " joins the parts of one.

The classes of sources.py and hub.py describe their forms and the order in which places are tried. Any reference may end
in `#sha256=HEX`, the digest of a file, or of a folder by copies.digest: other bytes are refused. Pickles run any code
they contain when they are loaded, so weights that are only pickles are refused, too, unless they are pinned.
"""

import re
from collections.abc import Iterator, Mapping
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
    """Every reference in a detector's config, once: in `model` and other settings, but not in `gallery`.

    An empty list if another cluster answers for the detector.
    """
    if config.remote:
        return []
    found = []
    for key, value in config.model_dump(exclude={"gallery"}).items():
        for text in value.values() if isinstance(value, dict) else [value]:
            parts = text.split(JOINT) if isinstance(text, str) else []
            found += [part for part in parts if part.startswith(_SCHEMES) or (key == "model" and ":" in part)]
    return list(dict.fromkeys(found))


def sources(configs: Mapping[str, DetectorConfig], settings: Settings) -> Iterator[tuple[str, Source]]:
    """Every detector with each source of its weights."""
    for name, config in configs.items():
        for reference in named(config):
            yield name, source(reference, settings)


def source(reference: str, settings: Settings) -> Source:
    """The source that a reference names. SettingsError if it is not a reference."""
    pin = _PINNED.fullmatch(reference)
    place = pin["place"] if pin else reference
    scheme = place[: place.find(":") + 1]
    kinds: dict[str, type[Source]] = {"package:": Package, "file:": Local, "hf:": Hub}
    if scheme not in _SCHEMES or "#" in place or ".." in PurePosixPath(place).parts:
        raise SettingsError(f"model {reference!r} is no weights reference; write {FORMS}.")
    return kinds.get(scheme, Bucket)(reference, place, pin and pin["sha256"], settings)
