"""Write files for tests, and list them."""

from pathlib import Path

import pytest

from cluster.errors import SettingsError
from cluster.records import MediaItem
from cluster.storage.listing import list_media


def put(path: Path, content: bytes = b"x") -> Path:
    """Write a file, with its folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listed(uri: str | Path, s3_endpoint: str | None = None) -> dict[str, str | None]:
    """File name -> kind of the media that the URI lists."""
    return {item.uri.rpartition("/")[2]: item.kind for item in list_media(str(uri), s3_endpoint)}


def item_of(path: Path) -> MediaItem:
    """The listing's only item for a path."""
    (item,) = list_media(str(path))
    return item


def complaint(uri: str | Path, s3_endpoint: str | None = None) -> str:
    """The message of the SettingsError that listing the URI must raise."""
    with pytest.raises(SettingsError) as caught:
        list(list_media(str(uri), s3_endpoint))
    return str(caught.value)
