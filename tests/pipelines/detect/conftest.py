"""The cache of this folder's tests."""

from pathlib import Path

import pytest

from cluster.cache import Cache, FileStore


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(FileStore(tmp_path / "state" / "cache.sqlite", max_mb=10))
