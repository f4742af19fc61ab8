"""What the head measures at regular times."""

import socket

from cluster.settings import ChromaListener, Settings
from deployments.jobs.gauges import HeadGauges
from tests.cluster.metrics.recorded import recorded
from tests.deployments.jobs.jobs_api import submit


def measured(jobs, port):
    settings = Settings(state_dir=jobs.settings.state_dir, chroma=ChromaListener(port=port))
    with recorded() as values:
        HeadGauges(jobs.store, settings).record()
    return {(name, *labels.values()): value for name, value, labels in values}


def test_jobs_are_counted_by_state_also_where_there_are_none(jobs):
    submit(jobs)
    blocked = submit(jobs)
    jobs.store.change(blocked, state="blocked")
    with socket.create_server(("127.0.0.1", 0)) as chroma:
        values = measured(jobs, chroma.getsockname()[1])
    assert {state: values["raysift_jobs", state] for state in ("waiting", "listing", "running", "blocked")} == {
        "waiting": 1, "listing": 0, "running": 0, "blocked": 1,
    }  # fmt: skip
    assert values["raysift_chroma_up",] == 1
    assert 0 < values["raysift_disk_free_bytes", "state"] <= values["raysift_disk_size_bytes", "state"]


def test_a_chroma_that_takes_no_connection_is_measured_as_down(jobs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert measured(jobs, port)["raysift_chroma_up",] == 0


def test_files_that_a_listing_left_out_are_counted_once_a_job(jobs):
    job = submit(jobs)
    jobs.tick()
    with recorded() as values:
        for _ in range(2):  # another driver that resumes the job reports the same
            jobs.note(job, units=3, left_out_files=7)
    assert values == [("raysift_left_out_files_total", 7.0, {})]
