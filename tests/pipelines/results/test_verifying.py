"""Verification of a job: its ledger against its rows. Without units the vector store is not called."""

from dataclasses import replace

import pyarrow as pa
import pytest

from cluster.errors import SettingsError
from cluster.results.rolling_writer import Shards
from cluster.settings import Settings
from deployments.jobs import job as jobs
from deployments.jobs.job import Job
from pipelines.ledger.left_out import LeftOutFiles
from pipelines.ledger.listing import LEDGER
from pipelines.results import verifying
from pipelines.results.auditing import Audit
from pipelines.results.verifying import Verified, verify


def owing(units, out):
    jobs.write(Job("scan-1", ("file:///media",), out, 1.0, units=units))


def test_a_job_without_units_has_lost_none(tmp_path):
    owing(0, tmp_path.as_uri())
    assert verify(tmp_path.as_uri(), "scan-1", Settings()) == Verified(0, 0, 0, 0, 0, 0)


def test_a_job_that_is_not_listed_yet_or_unknown_is_a_settings_error(tmp_path):
    owing(None, tmp_path.as_uri())
    for name in ("scan-1", "scan-2"):
        with pytest.raises(SettingsError, match="has not listed its files"):
            verify(tmp_path.as_uri(), name, Settings())


def test_listed_files_are_those_of_the_ledger_the_unchanged_and_the_left_out(tmp_path, monkeypatch):
    out, place = tmp_path.as_uri(), tmp_path / "_raysift" / "jobs" / "scan-1"
    task = Job("scan-1", ("file:///media",), out, 1.0, units=5, skipped=3, files_listed=9)
    jobs.write(task)
    row = dict.fromkeys(LEDGER.names) | {"unit_id": 1, "uri": "file:///media/a.jpg", "detectors": ["nsfw"]}
    film = [row | {"unit_id": 2 + n, "uri": "file:///media/film.mp4"} for n in range(2)]
    inside = {"uri": "file:///media/x.zip!b.jpg", "parent": "file:///media/x.zip"}
    archive = [
        row | {"unit_id": 4, "uri": "file:///media/x.zip"},
        row | inside | {"unit_id": 5},
    ]
    with Shards((place / "ledger").as_uri(), LEDGER, None) as ledger:
        ledger.add(pa.Table.from_pylist([row, *film, *archive], LEDGER))
    with LeftOutFiles((place / "left_out").as_uri()) as left_out:
        left_out.add("file:///media/c.txt", "it is empty")
        left_out.add("file:///media/d.txt", "it is empty")
    monkeypatch.setattr(verifying, "audit", lambda *_: Audit(0, 0, {}))
    verified = verify(out, "scan-1", Settings())
    assert (verified.listed, verified.unchanged, verified.left_out, verified.unaccounted) == (9, 3, 2, 1)
    jobs.write(replace(task, files_listed=8))
    assert verify(out, "scan-1", Settings()).unaccounted == 0
