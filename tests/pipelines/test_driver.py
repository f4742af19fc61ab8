"""A job's driver with real folders, ledgers and catalogue, and a stand-in for Ray."""

import json
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from cluster.errors import SettingsError
from cluster.records import ModelVersion
from cluster.settings import Scanning, Settings
from cluster.vectors import VectorsDown
from deployments.catalog.catalog import Catalog
from deployments.detector import DetectorAway
from deployments.jobs import folder as job_folder
from deployments.jobs.job import Job
from deployments.jobs.queue import Jobs
from pipelines.calls import Calls
from pipelines.driver import Driver, resumed
from pipelines.ending import report_end
from tests.deployments.jobs.jobs_api import JobsApi
from tests.support.stored import commit, row

SERVED = {name: ModelVersion(name, "m1") for name in ("nsfw", "ocr")}


class Handle:
    """A deployment handle to an object of this process: `.method.remote(...).result(timeout_s)`, as Serve has it.

    Its first calls fail with `faults`.
    """

    def __init__(self, it, *faults: Exception):
        self.it, self.faults = it, list(faults)

    def __getattr__(self, method):
        handle = self

        class Call:
            def remote(self, *arguments, **more):
                self.call = lambda: getattr(handle.it, method)(*arguments, **more)
                return self

            def result(self, timeout_s):
                assert 0 < timeout_s < 3600
                if handle.faults:
                    raise handle.faults.pop(0)
                try:
                    return self.call()
                except SettingsError as error:
                    raise RayTaskError(method, "a traceback", error).as_instanceof_cause() from None

        return Call()


class NoVectors:
    """A vector store that is away."""

    def indexed(self, files):
        raise VectorsDown("it is away")


class Place:
    """Media, results, the deployments, and what an analysis does."""

    def __init__(self, folder: Path, **scanning):
        self.media, self.out = folder / "media", (folder / "out").as_uri()
        self.media.mkdir()
        for n in range(6):
            (self.media / f"{n}.jpg").write_bytes(b"x")
        self.settings = Settings(state_dir=folder, scanning=Scanning(roots=(str(folder),), **scanning))
        self.jobs = Jobs(folder / "jobs.sqlite", self.settings, lambda url: JobsApi(), every_s=None)
        self.catalog = Catalog(":memory:")
        self.fails: set[str] = set()  # names of files
        self.commits = 6  # units, before ...
        self.then = lambda: None  # ... this happens
        self.runs = 0

    def analyze(self, ledger, units, out, job, sequence, served, settings):
        self.runs += 1
        files = sorted(Path(ledger.removeprefix("file://")).glob("*.parquet"))
        owed = [one for file in files for one in pq.read_table(file).to_pylist()]
        assert len(owed) == units
        have = {one["unit_id"] for one in self.rows() if one["job"] == job}
        rows = []
        for one in sorted(owed, key=lambda one: one["uri"]):
            if one["unit_id"] in have or len(have) + len(rows) == self.commits:
                continue
            bad = one["uri"].rsplit("/", 1)[-1] in self.fails
            failures, answered = ([("ocr", "it failed")], ["nsfw"]) if bad else ([], one["detectors"])
            told = {"job": job, "unit": one["unit_id"], "etag": one["etag"]}
            rows.append(row(one["uri"], failures=failures, answered=answered, **told) | {"sequence": sequence})
        if rows:
            commit(Path(self.out.removeprefix("file://")) / f"job={job}", f"{self.runs}.parquet", *rows)
        self.then()

    def rows(self):
        files = Path(self.out.removeprefix("file://")).glob("job=*/*.parquet")
        return [one for file in files for one in pq.read_table(file, partitioning=None).to_pylist()]

    def drive(self, job="scan-1", attempt=None, jobs_faults=(), catalog_faults=(), **task):
        jobs, catalog = Handle(self.jobs, *jobs_faults), Handle(self.catalog, *catalog_faults)
        attempt = attempt or job
        calls = Calls(self.out, job, attempt, jobs, catalog)
        calls.first_wait_s = 0.0
        task = Job(**{"job": job, "uris": (str(self.media),), "out": self.out, "submitted_at": time.time()} | task)
        calls.tell("begin", attempt, list(task.uris), self.out, list(task.detectors))
        with report_end(calls):
            driver = Driver(calls, self.settings, NoVectors(), run=self.analyze)
            outcome = driver.run(task, SERVED)
            calls.tell("over", attempt, outcome.exit_code, driver.message)
            return outcome


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.catalog.close()


def test_a_job_analyses_its_units_and_writes_a_report(place):
    place.fails = {"3.jpg"}
    outcome = place.drive()
    assert (outcome.units, outcome.done, outcome.failed, outcome.skipped, outcome.exit_code) == (6, 6, 1, 0, 3)
    told = place.jobs.one("scan-1")
    assert (told.state, told.units) == ("finished", 6)
    assert "not searchable yet" in told.message, "there is no vector store"
    report = job_folder.read(place.out, "scan-1", "report")
    assert (report["done"], [one["units"] for one in report["failures"]]) == (6, [1])
    assert place.catalog.job("scan-1") == {"done": 6, "failed": 1}


def test_a_job_that_was_stopped_analyses_only_the_rest(place):
    place.commits = 4

    def die():
        raise SystemExit(15)

    place.then = die
    with pytest.raises(SystemExit):
        place.drive()
    place.commits, place.then = 6, lambda: None
    (place.media / "late.jpg").write_bytes(b"x")
    outcome = place.drive(uris=("/whatever the command line says",))
    assert (outcome.units, outcome.done, outcome.exit_code) == (6, 6, 0), "it lists nothing again"
    sequences = sorted(stored_row["sequence"] for stored_row in place.rows())
    assert len(sequences) == 6 and sequences[0] == sequences[3] < sequences[4] == sequences[5]
    assert job_folder.read(place.out, "scan-1", "report")["done"] == 6


def test_a_job_with_an_incomplete_listing_is_listed_again(place):
    place.drive()
    begun = job_folder.read(place.out, "scan-1", "job")
    job_folder.write(place.out, "scan-1", "job", begun | {"listed": False})
    (place.media / "late.jpg").write_bytes(b"x")
    place.commits = 7
    assert (place.drive(attempt="raysubmit_2").units, len(place.rows())) == (1, 7)


def test_unchanged_files_are_skipped(place):
    place.drive()
    outcome = place.drive("scan-2")
    assert (outcome.units, outcome.skipped, outcome.exit_code, place.runs) == (0, 6, 0, 1)
    assert job_folder.read(place.out, "scan-2", "report")["skipped"] == 6


def test_failed_files_are_retried_by_another_job(place):
    place.fails = {"3.jpg", "4.jpg"}
    place.drive()
    (place.media / "4.jpg").unlink()
    place.fails = set()
    outcome = place.drive("scan-2", retry_of="scan-1")
    (done,) = (one for one in place.rows() if one["job"] == "scan-2")
    assert done["uri"].endswith("3.jpg") and [one["detector"] for one in done["model_versions"]] == ["ocr"]
    assert (outcome.units, outcome.exit_code) == (1, 0)


def test_one_of_the_missing_files_is_named(place):
    place.fails = {"4.jpg"}
    place.drive()
    (place.media / "4.jpg").unlink()
    assert place.drive("scan-2", retry_of="scan-1").units == 0
    assert place.jobs.one("scan-2").message.startswith("1 of the files are gone")


def test_missing_units_are_an_error(place):
    place.commits = 5
    with pytest.raises(SettingsError, match=r"1 of 6 files have no result.*raysift jobs resume scan-1"):
        place.drive()
    assert place.jobs.one("scan-1").state == "failed"


def test_an_absent_detector_ends_the_job_with_advice(place):
    place.commits = 2

    def away():
        raise DetectorAway("ocr")

    place.then = away
    with pytest.raises(SettingsError, match="detector ocr was away for an hour: `raysift jobs resume scan-1`"):
        place.drive()
    assert place.jobs.one("scan-1").state == "failed"
    assert job_folder.read(place.out, "scan-1", "report")["done"] == 2
    place.commits, place.then = 6, lambda: None
    place.jobs.resume("scan-1")
    place.jobs.tick()
    assert place.drive(attempt="scan-1-2").done == 6


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["at a terminal", "ignored as under nohup"])
def sigint(request):
    """The SIGINT handler that this process inherited."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


def test_a_job_with_too_many_failures_ends_early(tmp_path, sigint):
    place = Place(tmp_path, max_failed_share=0.3)
    place.commits, place.fails = 3, {"0.jpg", "1.jpg"}

    def work_on():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            time.sleep(0.05)

    place.then = work_on
    with pytest.raises(SettingsError, match=r"2 of 6 files failed, more than scanning\.max_failed_share allows"):
        place.drive()
    place.catalog.close()
    assert place.jobs.one("scan-1").state == "failed"
    assert signal.getsignal(signal.SIGINT) is sigint


def test_another_interrupt_is_not_taken_for_too_many_failures(place, sigint):
    place.then = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        place.drive()


def test_a_second_driver_of_a_job_is_refused(place):
    place.jobs.submit([str(place.media)], place.out, [])
    (job,) = place.jobs.newest(1)
    place.jobs.tick()
    with pytest.raises(SettingsError, match="still runs; cancel it first"):
        place.drive(job.job, attempt="raysubmit_9")
    assert place.runs == 0


@pytest.mark.parametrize("fault", [ActorDiedError(), TimeoutError("it hangs")])
def test_calls_are_repeated_while_the_jobs_deployment_is_lost_or_hangs(place, fault):
    assert place.drive(jobs_faults=[fault] * 3).done == 6
    with pytest.raises(type(fault)):
        place.drive("scan-2", jobs_faults=[fault] * 4)


def test_a_hanging_catalogue_does_not_keep_a_job_from_ending(place):
    assert place.drive(catalog_faults=[TimeoutError("it hangs")] * 99).done == 6
    job = place.jobs.one("scan-1")
    assert job.state == "finished" and "not searchable yet: the next scan tries again" in job.message


@pytest.mark.parametrize(
    ("error", "final", "message"),
    [
        (ValueError("bug"), True, "ValueError: bug; see `raysift jobs logs scan-1`"),
        (ActorDiedError(), False, ""),
    ],
)
def test_a_bug_is_final_and_a_fault_of_the_cluster_is_not(place, error, final, message):
    def fail():
        raise error

    place.then = fail
    with pytest.raises(type(error)):
        place.drive()
    job = place.jobs.one("scan-1")
    assert (job.state == "failed", job.message, job.ended_at is not None) == (final, message, final)


def test_wrong_folders_detectors_and_jobs_are_settings_errors(place, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SettingsError, match="no image, video or audio under"):
        place.drive(uris=(str(tmp_path / "nothing"),))
    with pytest.raises(SettingsError, match="no detector 'nsfww'; there are nsfw, ocr"):
        place.drive("scan-2", detectors=("nsfww",))
    with pytest.raises(SettingsError, match="there is no job scan-9 in"):
        resumed(place.out, "scan-9", place.settings)


def test_the_task_of_a_job_is_in_its_folder(place):
    place.drive()
    folder = Path(job_folder.place(place.out, "scan-1").removeprefix("file://"))
    assert json.loads((folder / "job.json").read_text())["detectors"] == ["nsfw", "ocr"]
    assert resumed(place.out, "scan-1", place.settings).units == 6
