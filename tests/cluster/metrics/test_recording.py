"""Recording of metrics: values and labels reach the sink, and nothing happens without one."""

import pytest

from cluster.metrics import declared
from cluster.metrics.recording import outcome_of, record, timed
from tests.cluster.metrics.recorded import recorded


def test_a_process_without_a_sink_records_nothing():
    record(declared.UNITS, 1, kind="image", outcome="done")


def test_labels_other_than_the_declared_ones_are_refused():
    with recorded(), pytest.raises(ValueError, match="raysift_units_total has the labels"):
        record(declared.UNITS, 1, uri="s3://evidence/secret.jpg")


def test_a_counter_that_counts_nothing_makes_no_series():
    with recorded() as values:
        record(declared.LEFT_OUT, 0)
        record(declared.JOBS, 0, state="waiting")
    assert values == [("raysift_jobs", 0.0, {"state": "waiting"})]


def test_time_is_measured_also_if_the_work_fails():
    with recorded() as values:
        with outcome_of(declared.CHROMA_SECONDS, "answered"):
            pass
        with pytest.raises(OSError), outcome_of(declared.CHROMA_SECONDS, "answered"):
            raise OSError
        with timed(declared.STAGE_SECONDS, stage="fetch"):
            pass
    assert [labels for _, _, labels in values] == [{"outcome": "answered"}, {"outcome": "failed"}, {"stage": "fetch"}]
    assert all(0 <= seconds < 1 for _, seconds, _ in values)
