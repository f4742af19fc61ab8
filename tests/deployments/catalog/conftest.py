"""The catalogue that the tests of queries share."""

from collections.abc import Iterator

import pytest

from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Five files of one job, of which one failed."""
    tmp_path = tmp_path_factory.mktemp("results")
    commit(
        tmp_path / "out",
        "a.parquet",
        row(
            "s3://b/x/one.jpg",
            found("nsfw", "nude", 0.9, box=(0.1, 0.2, 0.3, 0.4)),
            found("ocr", "text", 0.8, text="Total Due 42"),
            unit=1,
            width=640,
            height=480,
            sha256="aa",
            thumbnail=b"jpeg",
        ),
        row("s3://b/x/Two.jpg", found("nsfw", "nude", 0.4), found("nsfw", "suggestive", 0.7), unit=2, minutes=1),
    )
    commit(
        tmp_path / "out",
        "b.parquet",
        row(
            "s3://b/y/three.mp4",
            found("nsfw", "nude", 0.6, time_s=3.0),
            found("whisper", "speech", 0.95, span=(1.25, 4.5), text="the total is due"),
            kind="video",
            duration_s=61.23456,
            unit=3,
            minutes=2,
        ),
        row("s3://b/y/four.jpg", unit=4, minutes=3, answered=("nsfw",)),
        row("s3://b/y/five.jpg", unit=5, minutes=4, kind=None, failures=[("fetch", "gone")]),
    )
    catalog = Catalog(":memory:")
    assert catalog.load_all(str(tmp_path / "out")) == 5
    yield catalog
    catalog.close()
