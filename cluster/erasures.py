"""Erasure of cached answers: by a mark beside the galleries, nodes that are down now erase their caches later."""

from uuid import uuid4

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.settings import Settings
from cluster.storage import buckets

MARK = "_erased"  # neither its name nor its content says whom the erasure was for


def demand(settings: Settings) -> None:
    """Write a new mark: every cache that was last opened under another mark is erased when it is next opened."""
    sink, path = results_files.sink(settings.galleries, settings.s3_endpoint)
    sink.create_dir(path, recursive=True)
    with sink.open_output_stream(f"{path}/{MARK}") as file:
        file.write(uuid4().hex.encode())


def mark(settings: Settings) -> str:
    """The latest mark, empty if no erasure was ever requested. OSError if the galleries cannot be reached."""
    try:
        store, path = buckets.filesystem(f"{settings.galleries}/{MARK}", settings.s3_endpoint)
    except SettingsError as error:
        raise OSError(str(error)) from None
    if not store.get_file_info(path).is_file:
        return ""
    with store.open_input_file(path) as file:
        return bytes(file.read()).decode()
