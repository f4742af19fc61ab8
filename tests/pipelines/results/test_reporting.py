"""The report of a job, and the ledger of a job that retries failed units."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.records import ModelVersion, Segment, Usage
from cluster.settings import Prices
from cluster.storage.listing import list_media
from deployments.jobs import folder as job_folder
from pipelines.ledger.listing import LEDGER, UNCUT, unit_id
from pipelines.ledger.retrying import write_ledger
from pipelines.results.reporting import report, write
from tests.support.stored import commit, found, row

WANTED = {name: ModelVersion(name, "m1") for name in ("nsfw", "ocr")}


def usage(**seconds):
    return tuple(Usage(name, one[0], one[1], one[0] == 0) for name, one in seconds.items())


@pytest.fixture
def out(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/1.jpg", found("ocr", "text", 0.9), unit=1, usage=usage(ocr=(10.0, 0.0), nsfw=(1.0, 0.5)), frames=1),
        row("s3://b/2.jpg", unit=2, usage=usage(ocr=(0.0, 0.0), nsfw=(0.0, 0.0))),
        row("s3://b/3.jpg", unit=3, failures=[("decode", "it declares 30,000 x 30,000 pixels, more than allowed")]),
        row("s3://b/4.jpg", unit=4, failures=[("decode", "it declares 40,000 x 9 pixels, more than allowed")]),
        row("s3://b/5.jpg", unit=5, failures=[("ocr", "the detector failed on it: ValueError: 'x y' is odd")]),
        row("s3://b/6.jpg", job="another", unit=6, failures=[("fetch", "gone")]),
    )
    commit(tmp_path, "b.parquet", row("s3://b/7.mp4", unit=7, segment=(0, 2, 60), frames=60, frames_propagated=20))
    return str(tmp_path)


def test_a_report_counts_what_is_committed_and_how_fast_it_went(out):
    told = report(out, "job", 8, 3, 10.0, Prices())
    assert (told.units, told.skipped, told.done, told.failed) == (8, 3, 6, 3)
    assert (told.files, told.bytes, told.files_per_s, told.bytes_per_s) == (5.5, 55, 0.55, 5.5)
    assert (told.frames, told.frames_carried) == (61, 20)


def test_failures_are_grouped_by_reason_with_an_example(out):
    failures = report(out, "job", 8, 3, 10.0, Prices()).failures
    assert [(one.step, one.reason, one.units) for one in failures] == [
        ("decode", "it declares N x N pixels, more than allowed", 2),
        ("ocr", "the detector failed on it: ValueError: … is odd", 1),
    ]
    assert failures[0].example == "s3://b/3.jpg"


def test_seconds_are_reported_by_detector_with_the_share_of_reused_answers(out):
    nsfw, ocr = report(out, "job", 8, 3, 10.0, Prices()).detectors
    assert (ocr.detector, ocr.units, ocr.reused, ocr.seconds, ocr.gpu_seconds) == ("ocr", 2, 1, 10.0, 0.0)
    assert (nsfw.seconds, nsfw.gpu_seconds, nsfw.reused, nsfw.cost) == (1.0, 0.5, 1, None)


def test_costs_are_reported_where_prices_are_set(out):
    assert report(out, "job", 8, 3, 10.0, Prices()).cost is None
    told = report(out, "job", 8, 3, 10.0, Prices(cpu_hour=36, gpu_hour=7200))
    assert [one.cost for one in told.detectors] == [1.0, 0.1]
    assert told.cost == 1.1 and told.cost_per_1000_files == 200.0


def test_a_report_has_what_1000_pictures_and_an_hour_of_recordings_take(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/1.jpg", unit=1, usage=usage(ocr=(1.0, 0.0), nsfw=(0.5, 0.25))),
        row("s3://b/2.jpg", unit=2, usage=usage(ocr=(3.0, 0.0), nsfw=(0.0, 0.0))),
        row("s3://b/3.wav", unit=3, kind="audio", duration_s=1800.0, usage=usage(whisper=(90.0, 0.0))),
        row("s3://b/4.wav", unit=4, kind="audio", usage=(Usage("whisper", 0.0, 0.0),)),
        *(
            row(
                "s3://b/5.mp4", unit=5 + n, kind="video", duration_s=7200.0, segment=(n, 2, 60), usage=usage(ocr=(9, 0))
            )
            for n in range(2)
        ),
    )
    rates = report(str(tmp_path), "job", 8, 0, 10.0, Prices(cpu_hour=36, gpu_hour=7200)).rates
    assert [(rate.detector, rate.kind, rate.seconds, rate.gpu_seconds, rate.cost) for rate in rates] == [
        ("nsfw", "image", 500.0, 250.0, 500.0),
        ("ocr", "image", 2000.0, 0.0, 20.0),
        ("ocr", "video", 9.0, 0.0, 0.09),
        ("whisper", "audio", 180.0, 0.0, 1.8),
    ]


def test_the_report_of_an_empty_job_is_zeros_and_can_be_stored(tmp_path):
    out = str(tmp_path)
    told = report(out, "job", 0, 7, 1.0, Prices(cpu_hour=1))
    assert (told.done, told.failed, told.cost_per_1000_files) == (0, 0, None)
    write(out, "job", told)
    assert job_folder.read(out, "job", "report")["skipped"] == 7
    assert job_folder.read(out, "other", "report") is None


def owed(folder, *rows):
    folder.mkdir(parents=True)
    empty = {"sha256": None, "segment": None, "reason": "new", "detectors": ["nsfw", "ocr"]}
    pq.write_table(pa.Table.from_pylist([empty | one for one in rows], LEDGER), folder / "0.parquet")
    return folder.as_uri()


def again(tmp_path, old):
    done = write_ledger(
        str(tmp_path / "out"), "job", old, str(tmp_path / "ledger"), str(tmp_path / "uncut"), WANTED, None
    )
    units = read(tmp_path / "ledger", LEDGER)
    assert done.units == len(units)
    return done, {one["uri"].rsplit("/", 1)[-1]: one for one in units}, read(tmp_path / "uncut", UNCUT)


def read(folder, schema):
    files = sorted(folder.glob("*.parquet"))
    return [one for file in files for one in pq.read_table(file, schema=schema).to_pylist()]


def media(folder, name, content=b"x"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    (item,) = list_media((folder / name).as_uri())
    unit = unit_id(item.uri, item.etag)
    return {"unit_id": unit, "uri": item.uri, "size": item.size, "etag": item.etag, "kind": item.kind}


def test_a_retry_has_exactly_the_failed_units_with_their_failed_detectors(tmp_path):
    good, torn, unread = (media(tmp_path / "media", f"{name}.jpg") for name in ("good", "torn", "unread"))
    old = owed(tmp_path / "old", good, torn, unread)
    commit(
        tmp_path / "out",
        "a.parquet",
        row(good["uri"], unit=good["unit_id"]),
        row(torn["uri"], unit=torn["unit_id"], failures=[("decode", "it ends early")]),
        row(unread["uri"], unit=unread["unit_id"], failures=[("ocr", "it failed on it")]),
        row(good["uri"], unit=good["unit_id"], job="another", failures=[("ocr", "not ours")]),
    )
    done, units, _ = again(tmp_path, old)
    assert {name: one["detectors"] for name, one in units.items()} == {
        "torn.jpg": ["nsfw", "ocr"],
        "unread.jpg": ["ocr"],
    }
    assert {one["reason"] for one in units.values()} == {"failed before"} and not done.gone
    assert units["torn.jpg"]["unit_id"] == torn["unit_id"]


def test_changed_files_are_retried_as_they_are_and_missing_ones_are_reported(tmp_path):
    folder = tmp_path / "media"
    changed, gone = media(folder, "changed.jpg"), media(folder, "gone.jpg")
    old = owed(tmp_path / "old", changed, gone)
    failed = [("ocr", "it failed on it")]
    rows = [row(one["uri"], unit=one["unit_id"], failures=failed) for one in (changed, gone)]
    commit(tmp_path / "out", "a.parquet", *rows)
    now = media(folder, "changed.jpg", b"longer")
    (folder / "gone.jpg").unlink()
    done, units, _ = again(tmp_path, old)
    assert done.gone == [gone["uri"]]
    assert (units["changed.jpg"]["unit_id"], units["changed.jpg"]["detectors"]) == (now["unit_id"], ["nsfw", "ocr"])


def test_a_failed_segment_is_retried_alone_and_a_changed_film_is_cut_again_once(tmp_path):
    folder = tmp_path / "media"
    film, other = media(folder, "film.mp4"), media(folder, "other.mp4")
    parts = [Segment(n, 2, 60.0, n * 60.0, None, None, n * 60.0, None) for n in range(2)]
    ledger, rows = [], []
    for one in (film, other):
        for part in parts:
            unit = unit_id(one["uri"], one["etag"], part)
            kept = {name: getattr(part, name) for name in Segment.__dataclass_fields__}
            ledger.append(one | {"unit_id": unit, "segment": kept, "sha256": "ab"})
            failures = [("ocr", "it failed")] if one is other or part.n == 1 else []
            rows.append(row(one["uri"], unit=unit, segment=(part.n, 2, 60), failures=failures))
    old = owed(tmp_path / "old", *ledger)
    commit(tmp_path / "out", "a.parquet", *rows)
    media(folder, "other.mp4", b"another film")
    done, units, uncut = again(tmp_path, old)
    assert units["film.mp4"]["segment"]["n"] == 1 and units["film.mp4"]["detectors"] == ["ocr"]
    assert (done.units, done.videos) == (1, 1)
    assert [(one["uri"], one["everything"], one["segment"]) for one in uncut] == [(other["uri"], ["nsfw", "ocr"], None)]


def test_a_job_without_failures_has_nothing_to_retry(tmp_path):
    good = media(tmp_path / "media", "good.jpg")
    old = owed(tmp_path / "old", good)
    commit(tmp_path / "out", "a.parquet", row(good["uri"], unit=good["unit_id"]))
    assert again(tmp_path, old)[0].units == 0
