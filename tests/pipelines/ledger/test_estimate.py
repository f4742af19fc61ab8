"""The dry run: what a scan would do, why, and what it would take."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from cluster.errors import SettingsError
from cluster.records import ModelVersion, Usage
from cluster.settings import Prices
from commands.dry_run import as_json, show
from pipelines.ledger.estimate import Amount, Cost, Plan, history, plan
from pipelines.ledger.stored import stored
from tests.support.stored import commit, row

WANTED = {name: ModelVersion(name, "m1") for name in ("nsfw", "ocr")}
REPLICAS = {"nsfw": 1, "ocr": 2}
NO_PRICES = Prices()


def planned(tmp_path: Path, *uris: Path, wanted=WANTED, replicas=REPLICAS, prices=NO_PRICES, tell=None) -> Plan:
    out = (tmp_path / "out").as_uri()
    return plan([str(uri) for uri in uris], stored(out), wanted, 60.0, history(out), replicas, prices, None, tell)


def sized(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def spent(kind: str, size: int, *costs: Usage, **more) -> dict:
    return row(f"s3://b/{kind}", kind=kind, usage=costs, **more) | {"size": size}


@pytest.fixture
def media(tmp_path):
    for name, size in (("a.jpg", 10), ("b.jpg", 20), ("c.mp4", 4000)):
        sized(tmp_path / "media" / name, size)
    return tmp_path / "media"


@pytest.fixture
def measured(tmp_path):
    """Where nsfw took 1 s a picture and 1 ms a byte of video; ocr 2 s and 4 ms, half of it on a card."""
    commit(
        tmp_path / "out",
        "1.parquet",
        spent("image", 15, Usage("nsfw", 1.0, 0.0), Usage("ocr", 2.0, 1.0)),
        spent("image", 15, Usage("nsfw", 9.0, 0.0, reused=True), Usage("ocr", 2.0, 1.0)),
        spent("video", 1000, Usage("nsfw", 1.0, 0.0), Usage("ocr", 4.0, 2.0)),
    )


def test_tells_what_would_be_done_and_why_and_writes_nothing(tmp_path, media):
    told: list[int] = []
    found = planned(tmp_path, media, tell=told.append)
    assert found.units == {("new", "image"): Amount(2, 30), ("new", "video"): Amount(1, 4000)}
    assert [(ask.detector, ask.files) for ask in found.asks] == [("nsfw", 3), ("ocr", 3)]
    assert (found.skipped, told) == (0, [3])
    assert {path.name for path in tmp_path.iterdir()} == {"media"}


def test_what_was_never_measured_here_has_no_estimate(tmp_path, media):
    found = planned(tmp_path, media)
    assert found.busiest is found.seconds is found.price is None
    assert all(ask.cost is None for ask in found.asks)


def test_estimates_by_what_was_spent_pictures_by_number_and_recordings_by_size(tmp_path, media, measured):
    found = planned(tmp_path, media, prices=Prices(cpu_hour=3.6, gpu_hour=36))
    nsfw, ocr = found.asks
    assert nsfw.cost == Cost(2 * 1.0 + 4 * 1.0, 0.0, 6.0)
    assert ocr.cost == Cost(2 * 2.0 + 4 * 4.0, 10.0, 0.0)
    assert (found.busiest, found.seconds) == ("ocr", 20.0 / 2)
    assert found.price == pytest.approx(6.0 * 3.6 / 3600 + 10.0 * 36 / 3600)


def test_without_prices_it_costs_nothing_that_could_be_told(tmp_path, media, measured):
    assert planned(tmp_path, media).price is None


def test_a_detector_that_was_not_measured_on_a_kind_leaves_all_without_an_estimate(tmp_path, media, measured):
    sized(media / "d.wav", 10)
    found = planned(tmp_path, media)
    assert found.seconds is None and all(ask.cost is None for ask in found.asks)


def test_files_without_a_suffix_are_taken_for_the_mean_of_all(tmp_path, measured):
    found = planned(tmp_path, sized(tmp_path / "media" / "unnamed", 10))
    assert found.asks[1].cost.seconds == pytest.approx((2.0 + 2.0 + 4.0) / 3)


def test_detectors_that_live_together_take_turns(tmp_path, media, measured):
    found = planned(tmp_path, media, replicas={"nsfw+ocr": 2})
    assert (found.busiest, found.seconds) == ("nsfw+ocr", (6.0 + 20.0) / 2)


def test_the_segments_of_a_film_are_one_file(tmp_path):
    parts = [spent("video", 900, Usage("ocr", 1.0, 0.0), segment=(n, 3, 60.0)) for n in range(3)]
    commit(tmp_path / "out", "1.parquet", *parts)
    on = history(str(tmp_path / "out"))["ocr", "video"]
    assert (on.on.files, on.on.bytes) == (pytest.approx(1), pytest.approx(900))
    assert on.spent == Cost(3.0, 0.0, 3.0)


def test_only_what_is_missing_is_counted_and_what_is_unchanged_is_skipped(tmp_path, media):
    before = {}
    for path in media.iterdir():
        now = path.stat()
        before[path.name] = (path.as_uri(), f"{now.st_size}-{now.st_mtime_ns}")
    commit(
        tmp_path / "out",
        "1.parquet",
        row(before["a.jpg"][0], etag=before["a.jpg"][1], answered=WANTED),
        row(before["b.jpg"][0], etag=before["b.jpg"][1], answered=["nsfw"]),
        row(before["c.mp4"][0], etag="another", answered=WANTED),
    )
    found = planned(tmp_path, media)
    assert found.units == {("new detector", "image"): Amount(1, 20), ("changed", "video"): Amount(1, 4000)}
    assert [(ask.detector, ask.files) for ask in found.asks] == [("nsfw", 1), ("ocr", 2)]
    assert found.skipped == 1


def test_where_all_is_done_nothing_would_be_asked(tmp_path, media):
    (media / "c.mp4").unlink()
    now = (media / "a.jpg").stat()
    (media / "b.jpg").unlink()
    stored_row = row((media / "a.jpg").as_uri(), etag=f"{now.st_size}-{now.st_mtime_ns}", answered=WANTED)
    commit(tmp_path / "out", "1.parquet", stored_row)
    found = planned(tmp_path, media)
    assert (found.units, found.asks, found.skipped, found.seconds) == ({}, (), 1, None)
    assert "work of each detector" not in text(found)


def test_a_place_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nowhere"):
        planned(tmp_path, tmp_path / "nowhere")


def text(found: Plan) -> str:
    console = Console(width=120)
    with console.capture() as shown:
        console.print(show(found))
    return shown.get()


def test_people_read_why_and_what_the_estimate_is_of(tmp_path, media, measured):
    shown = text(planned(tmp_path, media, prices=Prices(cpu_hour=360)))
    assert "to be analysed" in shown and "unchanged, skipped" in shown
    assert "about 0.2 minutes: ocr takes longest, with all its replicas at work" in shown
    assert "it costs 0.60" in shown
    assert "no estimate: nothing was measured here yet of nsfw, ocr" in text(planned(tmp_path / "elsewhere", media))


def test_programs_read_the_same(tmp_path, media, measured):
    told = json.loads(json.dumps(as_json(planned(tmp_path, media))))
    assert told["files"] == 3 and told["skipped"] == 0
    assert told["units"][0] == {"reason": "new", "kind": "image", "files": 2, "bytes": 30}
    assert told["detectors"][0] == {"detector": "nsfw", "files": 3, "seconds": 6.0, "gpu_seconds": 0.0}
    assert told["estimate"] == {"busiest": "ocr", "seconds": 10.0, "cost": None}
