"""The deployment `analysis`: which batches of a job are in its trace."""

from pipelines.analysis import is_traced


def test_the_first_batches_of_a_job_are_in_its_trace_and_of_many_thousands_a_few():
    traced = [batch for batch in range(1, 130_000) if is_traced(batch)]
    assert traced[:100] == [*range(1, 101)]
    assert traced[100:111] == [200, 300, 400, 500, 600, 700, 800, 900, 1000, 2000, 3000]
    assert len(traced) < 150
