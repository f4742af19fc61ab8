"""Weights of a few bytes, and helpers that store, mirror and load them."""

import struct

import pytest

from cluster.errors import SettingsError
from cluster.settings import load
from deployments.models import runtime
from deployments.weights import copies, references
from deployments.weights.copies import Manifest, Store

NET = "hf:acme/net@main"
FILES = {"model.safetensors": b"numbers" * 100, "config.json": b"{}", "sub/words.txt": b"a\nb\n"}
PICKLE = b"PK\3\4 or what torch.save writes"
CTRANSLATE2 = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + bytes(20)


def write(folder, files):
    """Write path -> content under the folder; returns the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def mirrored(to, files=FILES, reference=NET):
    """Put the model into a mirror at `to`; returns the folder of its files there."""
    folder = write(to.parent / "pulled", files)
    name = references.source(reference, load()).name
    manifest = Manifest(source=reference, commit="c" * 40, licence="mit", files=copies.held(folder))
    Store(str(to), None).put(name, manifest, folder, lambda size: None)
    return to / name / copies.FILES


def state(reference):
    """The state of a reference's weights on this machine."""
    return references.source(reference, load()).state()


def refused(reference):
    """The message of the SettingsError, one line, that loading the reference must raise."""
    with pytest.raises(SettingsError) as error:
        runtime.weights(reference)
    assert "\n" not in str(error.value)
    return str(error.value)
