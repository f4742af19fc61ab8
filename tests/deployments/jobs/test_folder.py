"""The folder of a job: no job name leads to another folder, and no file in it blocks a reader."""

import os

import pytest

from cluster.errors import SettingsError
from deployments.jobs import folder
from deployments.jobs import job as jobs


@pytest.mark.parametrize("job", ["", ".", "..", "../../secret", "a/b", "/etc", "scan-1/../scan-2", "a\0b"])
def test_no_name_of_a_job_leads_out_of_its_folder(tmp_path, job):
    out = (tmp_path / "found").as_uri()
    calls = [
        lambda: folder.place(out, job),
        lambda: folder.read(out, job, "queue"),
        lambda: folder.write(out, job, "queue", {}),
        lambda: jobs.read(out, job),
    ]
    for call in calls:
        with pytest.raises(SettingsError, match="cannot be the name of a job"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_fifo_in_a_jobs_folder_does_not_block(tmp_path):
    (tmp_path / "_raysift" / "jobs" / "scan-1").mkdir(parents=True)
    os.mkfifo(tmp_path / "_raysift" / "jobs" / "scan-1" / "queue.json")
    (tmp_path / "_raysift" / "jobs" / "scan-1" / "report.json").mkdir()
    for page in ("queue", "report"):
        with pytest.raises(SettingsError, match="no regular file"):
            folder.read(tmp_path.as_uri(), "scan-1", page)
    assert folder.read(tmp_path.as_uri(), "scan-1", "job") is None
