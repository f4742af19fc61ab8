"""Media files for tests, and what a listing says of them."""

from pathlib import Path

import pytest

from cluster.errors import SettingsError
from cluster.records import MediaItem
from cluster.storage.listing import list_media


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listed(uri: str | Path, s3_endpoint: str | None = None) -> dict[str, str | None]:
    return {item.uri.rpartition("/")[2]: item.kind for item in list_media(str(uri), s3_endpoint)}


def item_of(path: Path) -> MediaItem:
    (item,) = list_media(str(path))
    return item


def complaint(uri: str | Path, s3_endpoint: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        list(list_media(str(uri), s3_endpoint))
    return str(caught.value)
