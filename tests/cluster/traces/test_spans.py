"""What a span holds, and to which span it belongs, in this process and beyond."""

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from itertools import islice

import pytest

from cluster.traces import spans
from tests.cluster.traces.kept import kept_spans

OFF = """
import sys
from cluster.traces import exporting, spans
from cluster.traces.settings import Traces
exporting.start(Traces(), "api")
with spans.span("a", id="scan-1") as span:
    span.attributes["n"] = 1
    print(spans.recorded(), spans.carried(), list(spans.over("b", iter([1, 2]))))
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_an_endpoint_nothing_is_recorded_and_the_sdk_is_not_imported():
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False None [1, 2]", "[]"]


def test_spans_are_parts_of_the_one_around_them_also_in_tasks_and_threads():
    async def batch():
        with spans.span("batch"):
            await asyncio.gather(asyncio.to_thread(part, "fetch"), call())

    async def call():
        with spans.span("detector"):
            await asyncio.sleep(0)

    def part(name):
        with spans.span(name):
            pass

    with kept_spans() as kept, spans.span("job", id="scan-1"):
        asyncio.run(batch())
        part("report")
    assert kept.paths() == {"job", "job/batch", "job/batch/fetch", "job/batch/detector", "job/report"}


def test_a_span_that_ends_after_recording_has_stopped_is_recorded_and_no_error():
    with ExitStack() as request, kept_spans() as kept:
        request.enter_context(spans.span("request"))
        items = spans.over("items", iter((1, 2)))
        next(items)
    assert list(items) == [2]
    assert {span.name for span in kept.spans} == {"request", "items"}


def test_a_span_is_carried_to_another_process_and_all_drivers_of_a_job_have_one_trace():
    with kept_spans() as kept:
        with spans.span("first driver", id="scan-1"):
            parent = spans.carried()
        with spans.span("batch", parent):
            pass
        with spans.span("second driver", id="scan-1"):
            pass
        with spans.span("another job", id="scan-2"):
            pass
    first, batch, second, other = sorted(kept.spans, key=lambda span: span.start_time)
    assert batch.parent.span_id == first.context.span_id
    assert f"{first.context.trace_id:032x}" == spans.trace_id("scan-1")
    assert first.context.trace_id == batch.context.trace_id == second.context.trace_id != other.context.trace_id
    assert spans.carried() is None


def test_what_a_caller_sends_as_its_trace_and_is_none_begins_a_new_one():
    with kept_spans() as kept, spans.span("request", "nonsense", id="r-1"):
        pass
    assert f"{kept.named('request').context.trace_id:032x}" == spans.trace_id("r-1")


def test_the_parts_of_an_unsampled_parent_are_not_recorded_here_or_elsewhere():
    with kept_spans() as kept:
        with spans.span("job", id="scan-1"):
            parent = spans.unsampled(spans.carried())
        with spans.span("batch", parent), spans.span("fetch"):
            carried = spans.carried()
        with spans.span("inference", carried):
            pass
    assert kept.paths() == {"job"}


def test_a_failure_is_recorded_by_its_type_without_its_text():
    with kept_spans() as kept, pytest.raises(OSError), spans.span("fetch"):
        raise FileNotFoundError(2, "gone", "/data/case-7/a.jpg")
    span = kept.named("fetch")
    assert span.status.description == "FileNotFoundError" and not span.status.is_ok
    assert not span.events and "case-7" not in span.to_json()


def test_a_span_over_items_ends_with_them_or_with_their_reader():
    def items():
        yield from (1, 2)
        raise ValueError("/data/case-7/a.jpg")

    with kept_spans() as kept, spans.span("batch"):
        assert list(islice(spans.over("decode", iter("abc"), what="frames"), 2)) == ["a", "b"]
        with pytest.raises(ValueError):
            list(spans.over("failing", items()))
    assert kept.paths() == {"batch", "batch/decode", "batch/failing"}
    assert kept.named("decode").attributes["items"] == 2 and kept.named("decode").status.is_unset
    assert kept.named("failing").status.description == "ValueError"


def test_what_makes_items_is_inside_of_their_span_and_its_reader_is_not():
    def frames():
        for n in range(2):
            with spans.span("decoder"):
                frame = n
            yield frame

    with kept_spans() as kept, spans.span("batch"):
        for _ in spans.over("decode", frames()):
            with spans.span("detector"):
                pass
    assert kept.paths() == {"batch", "batch/decode", "batch/decode/decoder", "batch/detector"}


def test_the_work_of_a_process_that_sends_no_spans_is_recorded_by_its_own_times():
    with kept_spans() as kept:
        with spans.span("decode", id="scan-1"):
            part_of = spans.around()
        spans.record("decoder", part_of, 1700000000.25, 1700000002.5, "died", process=7)
        spans.record("decoder", None, 1.0, 2.0)  # of nothing that is traced
    span = kept.named("decoder")
    assert (span.start_time, span.end_time) == (1700000000_250_000_000, 1700000002_500_000_000)
    assert span.attributes == {"process": 7} and span.status.description == "died"
    assert kept.paths() == {"decode", "decode/decoder"}
    assert spans.around() is None
