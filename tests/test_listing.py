"""The ledger: what a job owes."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stored import commit, row

from cluster.errors import SettingsError
from pipelines.listing import Listed, write_ledger
from pipelines.storing import stored

MODELS = {"nsfw": "m1", "ocr": "m1"}


def ledger(tmp_path: Path) -> list[dict]:
    return pq.read_table(tmp_path / "ledger").to_pylist()


def write(tmp_path: Path, *uris: str, models=MODELS) -> Listed:
    return write_ledger(list(uris), (tmp_path / "ledger").as_uri(), stored((tmp_path / "out").as_uri()), models, None)


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.jpg", "b.mp4", "deep/c.wav", "deep/d"):
        (folder / name).write_bytes(b"x" * len(name))
    (folder / "readme.txt").write_text("no media")
    return folder


def test_every_media_file_is_a_unit_that_owes_every_detector(tmp_path, media):
    assert write(tmp_path, str(media)) == Listed(units=4, skipped=0)
    units = ledger(tmp_path)
    assert {Path(unit["uri"]).name: unit["kind"] for unit in units} == {
        "a.jpg": "image",
        "b.mp4": "video",
        "c.wav": "audio",
        "d": None,
    }
    assert all(unit["detectors"] == ["nsfw", "ocr"] for unit in units)
    assert len({unit["unit_id"] for unit in units}) == 4


def test_a_folder_within_another_is_not_listed_twice(tmp_path, media):
    assert write(tmp_path, str(media / "deep"), str(media), f"{media}/").units == 4


def test_folders_whose_names_begin_alike_are_two(tmp_path, media):
    (tmp_path / "media2").mkdir()
    (tmp_path / "media2" / "e.png").write_bytes(b"x")
    assert write(tmp_path, str(media), str(tmp_path / "media2")).units == 5


def test_what_has_been_answered_is_not_owed_again_and_what_has_changed_is(tmp_path, media):
    write(tmp_path, str(media))
    first = {Path(unit["uri"]).name: unit for unit in ledger(tmp_path)}
    commit(
        tmp_path / "out",
        "1.parquet",
        row(first["a.jpg"]["uri"], etag=first["a.jpg"]["etag"], answered=MODELS),
        row(first["b.mp4"]["uri"], etag="an older content", answered=MODELS),
        row(first["c.wav"]["uri"], etag=first["c.wav"]["etag"], answered=["nsfw"]),
    )
    for file in (tmp_path / "ledger").iterdir():
        file.unlink()
    assert write(tmp_path, str(media)) == Listed(units=3, skipped=1)
    assert {Path(unit["uri"]).name: unit["detectors"] for unit in ledger(tmp_path)} == {
        "b.mp4": ["nsfw", "ocr"],
        "c.wav": ["ocr"],
        "d": ["nsfw", "ocr"],
    }


def test_another_model_is_owed_though_the_old_one_has_answered(tmp_path, media):
    write(tmp_path, str(media / "a.jpg"))
    (unit,) = ledger(tmp_path)
    commit(tmp_path / "out", "1.parquet", row(unit["uri"], etag=unit["etag"], answered=MODELS))
    (tmp_path / "ledger" / "000000.parquet").unlink()
    assert write(tmp_path, str(media / "a.jpg"), models=MODELS | {"ocr": "m2"}).units == 1
    assert ledger(tmp_path)[0]["detectors"] == ["ocr"]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nowhere"):
        write(tmp_path, str(tmp_path / "nowhere"))
