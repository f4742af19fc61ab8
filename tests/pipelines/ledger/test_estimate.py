"""The dry run: the files that a scan would analyse, why, and the estimate of its time and cost."""

import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from cluster.errors import SettingsError
from cluster.records import ModelVersion, Usage
from cluster.settings import Prices
from commands.dry_run import as_json, show
from pipelines.ledger.estimate import Plan, plan
from pipelines.ledger.listing import Places
from pipelines.ledger.stored import stored
from pipelines.results.costs import Amount, Cost, history
from tests.support.stored import commit, row

WANTED = {name: ModelVersion(name, "m1") for name in ("nsfw", "ocr")}
REPLICAS = {"nsfw": 1, "ocr": 2}
NO_PRICES = Prices()


def planned(tmp_path: Path, *uris: Path, wanted=WANTED, replicas=REPLICAS, prices=NO_PRICES, tell=None) -> Plan:
    out = (tmp_path / "out").as_uri()
    return plan(Places(tuple(map(str, uris))), stored(out), wanted, 60.0, history(out), replicas, prices, None, tell)


def sized(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def result_row(kind: str, size: int, *costs: Usage, **more) -> dict:
    return row(f"s3://b/{kind}", kind=kind, usage=costs, **more) | {"size": size}


@pytest.fixture
def media(tmp_path):
    for name, size in (("a.jpg", 10), ("b.jpg", 20), ("c.mp4", 4000)):
        sized(tmp_path / "media" / name, size)
    return tmp_path / "media"


@pytest.fixture
def measured(tmp_path):
    """Results in which nsfw took 1 s for a picture and 1 ms for a byte of video; ocr 2 s and 4 ms, half on a card."""
    commit(
        tmp_path / "out",
        "1.parquet",
        result_row("image", 15, Usage("nsfw", 1.0, 0.0), Usage("ocr", 2.0, 1.0)),
        result_row("image", 15, Usage("nsfw", 9.0, 0.0, reused=True), Usage("ocr", 2.0, 1.0)),
        result_row("video", 1000, Usage("nsfw", 1.0, 0.0), Usage("ocr", 4.0, 2.0), duration_s=100.0),
    )


def test_a_plan_counts_the_files_by_reason_and_writes_nothing(tmp_path, media):
    printed: list[int] = []
    made = planned(tmp_path, media, tell=printed.append)
    assert made.units == {("new", "image"): Amount(2, 30), ("new", "video"): Amount(1, 4000)}
    assert [(ask.detector, ask.files) for ask in made.asks] == [("nsfw", 3), ("ocr", 3)]
    assert (made.skipped, printed) == (0, [3])
    assert {path.name for path in tmp_path.iterdir()} == {"media"}


def test_without_past_results_there_is_no_estimate(tmp_path, media):
    made = planned(tmp_path, media)
    assert made.busiest is made.seconds is made.price is None
    assert all(ask.cost is None for ask in made.asks)


def test_images_are_estimated_by_number_and_recordings_by_size(tmp_path, media, measured):
    made = planned(tmp_path, media, prices=Prices(cpu_hour=3.6, gpu_hour=36))
    nsfw, ocr = made.asks
    assert nsfw.cost == Cost(2 * 1.0 + 4 * 1.0, 0.0, 6.0)
    assert ocr.cost == Cost(2 * 2.0 + 4 * 4.0, 10.0, 0.0)
    assert (made.busiest, made.seconds) == ("ocr", 20.0 / 2)
    assert made.price == pytest.approx(6.0 * 3.6 / 3600 + 10.0 * 36 / 3600)


def test_a_plan_has_the_cost_of_each_detector_and_what_it_took_for_such_files_before(tmp_path, media, measured):
    made = planned(tmp_path, media, prices=Prices(cpu_hour=3.6, gpu_hour=36))
    assert [ask.price for ask in made.asks] == [0.006, 0.1]
    images, films = [rate for rate in made.rates if rate.detector == "ocr"]
    assert (images.kind, images.seconds, images.gpu_seconds, images.cost) == ("image", 2000.0, 1000.0, 10.0)
    assert (films.kind, films.seconds, films.gpu_seconds, films.cost) == ("video", 144.0, 72.0, 0.72)
    printed = text(made)
    assert "1,000 pictures" in printed and "an hour of film" in printed and "144.0 s, 72.0 of a GPU" in printed
    assert json.loads(json.dumps(as_json(made)))["rates"][2]["cost"] == 10.0


def test_without_prices_there_is_no_cost(tmp_path, media, measured):
    assert planned(tmp_path, media).price is None


def test_a_kind_without_past_results_leaves_the_plan_without_an_estimate(tmp_path, media, measured):
    sized(media / "d.wav", 10)
    made = planned(tmp_path, media)
    assert made.seconds is None and all(ask.cost is None for ask in made.asks)


def test_files_of_unknown_kind_are_estimated_by_the_mean_of_all_kinds(tmp_path, measured):
    made = planned(tmp_path, sized(tmp_path / "media" / "unnamed", 10))
    assert made.asks[1].cost.seconds == pytest.approx((2.0 + 2.0 + 4.0) / 3)


def test_colocated_detectors_work_one_after_another(tmp_path, media, measured):
    made = planned(tmp_path, media, replicas={"nsfw+ocr": 2})
    assert (made.busiest, made.seconds) == ("nsfw+ocr", (6.0 + 20.0) / 2)


def test_the_segments_of_a_video_count_as_one_file(tmp_path):
    parts = [result_row("video", 900, Usage("ocr", 1.0, 0.0), segment=(n, 3, 60.0)) for n in range(3)]
    commit(tmp_path / "out", "1.parquet", *parts)
    past = history(str(tmp_path / "out"))["ocr", "video"]
    assert (past.analysed.files, past.analysed.bytes) == (pytest.approx(1), pytest.approx(900))
    assert past.cost == Cost(3.0, 0.0, 3.0)


def test_missing_answers_are_counted_and_unchanged_files_are_skipped(tmp_path, media):
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
    made = planned(tmp_path, media)
    assert made.units == {("new detector", "image"): Amount(1, 20), ("changed", "video"): Amount(1, 4000)}
    assert [(ask.detector, ask.files) for ask in made.asks] == [("nsfw", 1), ("ocr", 2)]
    assert made.skipped == 1


def test_without_missing_answers_the_plan_is_empty(tmp_path, media):
    (media / "c.mp4").unlink()
    now = (media / "a.jpg").stat()
    (media / "b.jpg").unlink()
    stored_row = row((media / "a.jpg").as_uri(), etag=f"{now.st_size}-{now.st_mtime_ns}", answered=WANTED)
    commit(tmp_path / "out", "1.parquet", stored_row)
    made = planned(tmp_path, media)
    assert (made.units, made.asks, made.skipped, made.seconds) == ({}, (), 1, None)
    assert "work of each detector" not in text(made)


def test_a_listing_that_is_ended_is_not_complete_and_estimates_nothing(tmp_path, media, measured):
    out = (tmp_path / "out").as_uri()
    made = plan(
        Places((str(media),)),
        stored(out),
        WANTED,
        60.0,
        history(out),
        REPLICAS,
        NO_PRICES,
        None,
        until=time.monotonic(),
    )
    assert (made.complete, made.seconds, made.price) == (False, None, None)
    assert as_json(made)["complete"] is False and as_json(made)["files"] == 3, "what was listed until then is counted"


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nowhere"):
        planned(tmp_path, tmp_path / "nowhere")


def text(made: Plan) -> str:
    console = Console(width=120)
    with console.capture() as shown:
        console.print(show(made))
    return shown.get()


def test_the_table_shows_the_reasons_and_the_estimate(tmp_path, media, measured):
    shown = text(planned(tmp_path, media, prices=Prices(cpu_hour=360)))
    assert "to be analysed" in shown and "unchanged, skipped" in shown
    assert "about 0.2 minutes: ocr takes longest, with all its replicas at work" in shown
    assert "it costs 0.60" in shown
    assert "no estimate: nothing was measured here yet of nsfw, ocr" in text(planned(tmp_path / "elsewhere", media))


def test_the_json_has_the_same_numbers(tmp_path, media, measured):
    printed = json.loads(json.dumps(as_json(planned(tmp_path, media))))
    assert printed["files"] == 3 and printed["skipped"] == 0
    assert printed["units"][0] == {"reason": "new", "kind": "image", "files": 2, "bytes": 30}
    assert printed["detectors"][0] == {"detector": "nsfw", "files": 3, "seconds": 6.0, "gpu_seconds": 0.0, "cost": None}
    assert printed["estimate"] == {"busiest": "ocr", "seconds": 10.0, "cost": None}
