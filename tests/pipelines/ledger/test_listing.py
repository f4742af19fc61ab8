"""The ledger: the units that a job must analyse."""

from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from cluster.errors import SettingsError
from cluster.records import ModelVersion
from pipelines.ledger.left_out import LeftOutFiles
from pipelines.ledger.listing import LEDGER, UNCUT, Listed, Places, unit_id, write_ledger
from pipelines.ledger.stored import stored
from tests.support.servers.many_objects import CREDENTIALS, lister_apart
from tests.support.stored import commit, cut, row

WANTED = {name: ModelVersion(name, "m1", 0.2) for name in ("nsfw", "ocr")}
MB = 1_000_000
MKV = b"\x1aE\xdf\xa3"
PNG = b"\x89PNG\r\n\x1a\n"


def rows(tmp_path: Path, folder: str = "ledger") -> dict[str, dict]:
    """What was written, by the file's name."""
    found = [row for file in (tmp_path / folder).iterdir() for row in pq.read_table(file).to_pylist()]
    return {Path(unit["uri"]).name: unit for unit in found}


def write(tmp_path: Path, *uris: str | Path, wanted=WANTED, segment_s=60.0) -> Listed:
    for folder in ("ledger", "uncut"):
        for file in (tmp_path / folder).glob("*.parquet"):
            file.unlink()
    places = [(tmp_path / folder).as_uri() for folder in ("ledger", "uncut")]
    seen = stored((tmp_path / "out").as_uri())
    with LeftOutFiles() as left_out:
        return write_ledger(Places(tuple(map(str, uris))), *places, left_out, seen, wanted, segment_s, None)


def sized(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    for name in ("a.jpg", "b.mp4", "deep/c.wav"):
        sized(folder / name, len(name))
    (folder / "deep" / "d").write_bytes(PNG)
    (folder / "readme.txt").write_text("no media")
    return folder


@pytest.fixture
def film(tmp_path):
    """Its path, URI and ETag."""
    path = sized(tmp_path / "films" / "f.mp4", 3 * MB)
    write(tmp_path, path)
    unit = rows(tmp_path, "uncut")["f.mp4"]
    return path, unit["uri"], unit["etag"]


def test_every_media_file_is_a_unit_for_every_detector(tmp_path, media):
    assert write(tmp_path, media) == Listed(units=4, videos=0, skipped=0, left_out=1)
    units = rows(tmp_path)
    assert {name: unit["kind"] for name, unit in units.items()} == {
        "a.jpg": "image",
        "b.mp4": "video",
        "c.wav": "audio",
        "d": "image",
    }
    assert all(unit["detectors"] == ["nsfw", "ocr"] and unit["reason"] == "new" for unit in units.values())
    assert all(unit["segment"] is unit["sha256"] is None for unit in units.values())
    assert {unit["unit_id"] for unit in units.values()} == {unit_id(u["uri"], u["etag"]) for u in units.values()}


def test_files_that_may_be_long_videos_are_listed_apart_for_cutting(tmp_path):
    for name, size in (("a.mp4", MB), ("small.mp4", MB - 1), ("b", 16 * MB), ("photo", 15 * MB), ("c.wav", 99 * MB)):
        sized(tmp_path / "in" / name, size)
        if "." not in name:
            with (tmp_path / "in" / name).open("r+b") as file:
                file.write(PNG if name == "photo" else MKV)
    assert write(tmp_path, tmp_path / "in") == Listed(units=3, videos=2, skipped=0)
    assert rows(tmp_path).keys() == {"small.mp4", "photo", "c.wav"}
    apart = rows(tmp_path, "uncut")
    assert apart.keys() == {"a.mp4", "b"}
    assert all(unit["everything"] == ["nsfw", "ocr"] and unit["answered"] == [] for unit in apart.values())
    assert pq.read_schema(next((tmp_path / "ledger").iterdir())).equals(LEDGER)
    assert pq.read_schema(next((tmp_path / "uncut").iterdir())).equals(UNCUT)


def test_a_unit_id_depends_on_content_and_cut_not_on_how_the_length_is_written():
    whole, part = unit_id("s3://b/a", "e1"), unit_id("s3://b/a", "e1", cut(0, 3, 60))
    assert part == unit_id("s3://b/a", "e1", cut(0, 3, 60.0))
    others = [
        unit_id("s3://b/a", "e2"),
        unit_id("s3://b/a", "e1", cut(1, 3, 60)),
        unit_id("s3://b/a", "e1", cut(0, 6, 30)),
    ]
    assert len({whole, part, *others}) == 5


def test_a_folder_within_another_is_not_listed_twice(tmp_path, media):
    assert write(tmp_path, media / "deep", media, f"{media}/").units == 4


def test_a_folder_within_another_is_not_listed_twice_whatever_sorts_between_them(tmp_path, media):
    sized(tmp_path / "media.old" / "e.png", 1)
    assert write(tmp_path, media, tmp_path / "media.old", media / "deep").units == 5


def test_folders_with_a_common_prefix_are_distinct(tmp_path, media):
    sized(tmp_path / "media2" / "e.png", 1)
    assert write(tmp_path, media, tmp_path / "media2").units == 5


def test_answered_files_are_skipped_and_changed_files_are_not(tmp_path, media):
    write(tmp_path, media)
    first = rows(tmp_path)
    commit(
        tmp_path / "out",
        "1.parquet",
        row(first["a.jpg"]["uri"], etag=first["a.jpg"]["etag"], answered=WANTED),
        row(first["b.mp4"]["uri"], etag="an older content", answered=WANTED),
        row(first["c.wav"]["uri"], etag=first["c.wav"]["etag"], answered=["nsfw"]),
        row(first["d"]["uri"], etag=first["d"]["etag"], failures=[("fetch", "the network")]),
    )
    assert write(tmp_path, media) == Listed(units=3, videos=0, skipped=1, left_out=1)
    assert {name: (unit["reason"], unit["detectors"]) for name, unit in rows(tmp_path).items()} == {
        "b.mp4": ("changed", ["nsfw", "ocr"]),
        "c.wav": ("new detector", ["ocr"]),
        "d": ("failed before", ["nsfw", "ocr"]),
    }


def answered_by(tmp_path: Path, path: Path, *model_versions: ModelVersion, **more) -> None:
    write(tmp_path, path)
    (unit,) = rows(tmp_path).values()
    stored_row = row(unit["uri"], etag=unit["etag"], **more)
    stored_row["model_versions"] = [
        {"detector": a.detector, "model": a.model, "floor": a.floor} for a in model_versions
    ]
    commit(tmp_path / "out", "1.parquet", stored_row)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (ModelVersion("ocr", "m2", 0.2), "new model"),
        (ModelVersion("ocr", "m1", 0.1), "lower floor"),
        (ModelVersion("clip", "m1"), "new detector"),
    ],
)
def test_only_a_detector_whose_model_has_changed_runs_again(tmp_path, media, wanted, reason):
    answered_by(tmp_path, media / "a.jpg", *WANTED.values())
    assert write(tmp_path, media / "a.jpg", wanted={**WANTED, wanted.detector: wanted}).units == 1
    (unit,) = rows(tmp_path).values()
    assert (unit["reason"], unit["detectors"]) == (reason, [wanted.detector])


def test_an_answer_with_a_lower_floor_covers_a_higher_floor(tmp_path, media):
    answered_by(tmp_path, media / "a.jpg", ModelVersion("nsfw", "m1", 0.1), ModelVersion("ocr", "m1", None))
    assert write(tmp_path, media / "a.jpg") == Listed(0, 0, 1)


def test_of_several_reasons_the_first_in_order_is_given(tmp_path, media):
    answered_by(tmp_path, media / "a.jpg", ModelVersion("nsfw", "m0"), failures=[("ocr", "it broke")])
    write(tmp_path, media / "a.jpg")
    (unit,) = rows(tmp_path).values()
    assert (unit["reason"], unit["detectors"]) == ("failed before", ["nsfw", "ocr"])


def segments(uri: str, etag: str, which, of: int, length_s=60.0, answered=("nsfw", "ocr"), **more) -> list[dict]:
    return [row(uri, etag=etag, segment=(n, of, length_s), answered=answered, **more) for n in which]


def test_a_film_is_done_when_all_segments_are_and_stays_done_when_the_length_changes(tmp_path, film):
    path, uri, etag = film
    commit(tmp_path / "out", "1.parquet", *segments(uri, etag, range(3), 3))
    assert write(tmp_path, path) == Listed(0, 0, 1)
    assert write(tmp_path, path, segment_s=30.0) == Listed(0, 0, 1)


def test_the_ledger_lists_the_stored_segments_of_an_unfinished_film(tmp_path, film):
    path, uri, etag = film
    commit(tmp_path / "out", "1.parquet", *segments(uri, etag, [0], 3))
    commit(tmp_path / "out", "2.parquet", *segments(uri, etag, [2], 3, answered=["ocr"]))
    assert write(tmp_path, path) == Listed(0, 1, 0)
    unit = rows(tmp_path, "uncut")["f.mp4"]
    assert unit["reason"] == "unfinished"
    # cut or not: stored segments do not count for the whole file
    assert unit["detectors"] == unit["everything"] == ["nsfw", "ocr"]
    assert unit["answered"] == [
        {"segment": 0, "detectors": ["nsfw", "ocr"]},
        {"segment": 2, "detectors": ["ocr"]},
    ]


def test_segments_of_another_length_do_not_count_for_an_unfinished_film(tmp_path, film):
    path, uri, etag = film
    commit(tmp_path / "out", "1.parquet", *segments(uri, etag, [0, 1], 3))
    assert write(tmp_path, path, segment_s=30.0) == Listed(0, 1, 0)
    unit = rows(tmp_path, "uncut")["f.mp4"]
    assert (unit["answered"], unit["detectors"]) == ([], ["nsfw", "ocr"])


def test_a_video_that_was_stored_whole_needs_only_missing_detectors_if_it_stays_whole(tmp_path, film):
    path, uri, etag = film
    commit(tmp_path / "out", "1.parquet", row(uri, etag=etag, answered=["nsfw"]))
    write(tmp_path, path)
    unit = rows(tmp_path, "uncut")["f.mp4"]
    assert (unit["reason"], unit["detectors"], unit["everything"]) == ("new detector", ["ocr"], ["nsfw", "ocr"])


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nowhere"):
        write(tmp_path, tmp_path / "nowhere")


def test_a_ledger_that_cannot_be_written_is_a_settings_error(tmp_path, media):
    (tmp_path / "ledger").write_text("a file")
    with pytest.raises(SettingsError, match="ledger cannot be written"):
        write(tmp_path, media)


@pytest.mark.chaos  # a hundred thousand objects are listed
def test_a_long_ledger_is_written_in_files_with_bounded_memory(tmp_path, monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    places = [(tmp_path / folder).as_uri() for folder in ("ledger", "uncut")]
    used: dict[int, int] = {}

    def tell(listed: int) -> None:
        used[listed] = psutil.Process().memory_info().rss >> 20

    with lister_apart(100_500, 1000) as endpoint:
        seen = stored((tmp_path / "out").as_uri())
        where, left_out = Places(("s3://b/in",)), LeftOutFiles()
        listed = write_ledger(where, *places, left_out, seen, WANTED, 60.0, endpoint, tell)
    assert listed == Listed(100_500, 0, 0, 0)
    files = [pq.ParquetFile(file) for file in sorted((tmp_path / "ledger").iterdir())]
    assert [file.metadata.num_rows for file in files] == [100_000, 500]
    assert files[0].metadata.num_row_groups == 10
    assert list(used) == [*range(10_000, 100_001, 10_000), 100_500]
    # a file takes 400 bytes or more in Python: if all were kept, the second half would take 20 MB
    assert used[100_000] - used[50_000] < 12
