"""Records spans. A process that has not begun to export them, which is the default, records nothing.

The span around the running code is kept in a variable of ours, not in OpenTelemetry's: libraries add to its current
span what must not leave the cluster, such as the query of a URL, or the text of an exception. Ray Serve's own tracing
is not used for the same reason: it names spans by the paths of requests.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol, TypeVar

Attribute = str | int | float | bool

T = TypeVar("T")


@dataclass(slots=True)
class Span:
    """A span that is not over. Its fields are recorded at its end.

    An attribute holds no name of a file, no text of a person or file, no secret: at most a file's `asset_id`.
    """

    name: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    error: str | None = None  # a word: the type of an exception, a status


class Recorder(Protocol):
    """What sends spans, see exporting.py. A context is its own representation of a span."""

    def begin(self, name: str, parent: Any, id: str | None, began_s: float | None = None) -> Any:
        """The context of a new span, below the context `parent` or the span of a `carried` string; None: a new trace.

        `id`: of the request or job, by which a new trace is numbered. `began_s`: seconds since 1970, by default now.
        """

    def end(self, context: Any, span: Span, ended_s: float | None = None) -> None:
        """Record that the span is over, by default now."""

    def carried(self, context: Any) -> str:
        """The context as a string for other processes: a `traceparent` of W3C Trace Context."""


_RECORDERS: list[Recorder] = []
_CURRENT: ContextVar[Any] = ContextVar("span", default=None)


def use(recorder: Recorder | None) -> None:
    """Send every span of this process there from now on; None: nowhere."""
    _RECORDERS[:] = [] if recorder is None else [recorder]


def recorded() -> bool:
    """Whether this process records spans."""
    return bool(_RECORDERS)


def trace_id(id: str) -> str:
    """The number, 32 hex digits, of the trace of a request or job with this id, unless a caller gave it another."""
    return sha256(id.encode()).hexdigest()[:32]


def carried() -> str | None:
    """The current span, for `parent` of a span in another process; None outside of spans."""
    context = _CURRENT.get()
    return None if context is None or not _RECORDERS else _RECORDERS[0].carried(context)


def unsampled(parent: str) -> str:
    """A parent whose parts are not recorded, in this process or any other."""
    return f"{parent.rpartition('-')[0]}-00"  # without the flag `sampled`


@contextmanager
def span(name: str, parent: str | None = None, id: str | None = None, **attributes: Attribute) -> Iterator[Span]:
    """Record what the block does, as a part of the span that `parent` names, else of the one around it.

    Without both it begins the trace of a request or job, by its `id`. The block may change the span that is yielded.
    """
    now = Span(name, attributes)
    if not _RECORDERS:
        yield now
        return
    recorder = _RECORDERS[0]  # also of its end, if the process has another by then
    context = recorder.begin(name, parent or _CURRENT.get(), id)
    before = _CURRENT.set(context)
    try:
        yield now
    except BaseException as error:
        now.error = now.error or type(error).__name__
        raise
    finally:
        _CURRENT.reset(before)
        recorder.end(context, now)


def over(name: str, items: Iterator[T], **attributes: Attribute) -> Iterator[T]:
    """The items; a span is recorded from the first one to the end, with how long the reader did other things.

    The reader may take each item in another thread.
    """
    return _over(Span(name, attributes), items) if _RECORDERS else items


def around() -> Any:
    """The span around the running code, for `record`; None outside of spans."""
    return _CURRENT.get() if _RECORDERS else None


def record(
    name: str, part_of: Any, began_s: float, ended_s: float, error: str | None = None, **attributes: Attribute
) -> None:
    """Record what another process did between two times, in seconds since 1970, as a part of a span of `around`.

    For processes that cannot send spans themselves. Outside of spans nothing is recorded.
    """
    if _RECORDERS and part_of is not None:
        recorder = _RECORDERS[0]
        recorder.end(recorder.begin(name, part_of, None, began_s), Span(name, attributes, error), ended_s)


def _over(now: Span, items: Iterator[T]) -> Iterator[T]:
    recorder = _RECORDERS[0]
    context = recorder.begin(now.name, _CURRENT.get(), None)
    count, waited_s = 0, 0.0

    def within() -> Iterator[T]:
        """The items, each made inside of this span, whichever thread asks for it."""
        while True:
            before = _CURRENT.set(context)
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                _CURRENT.reset(before)
            yield item

    try:
        for item in within():
            count += 1
            left = time.monotonic()
            yield item
            waited_s += time.monotonic() - left
    except Exception as error:
        now.error = type(error).__name__
        raise
    finally:
        now.attributes |= {"items": count, "waited_s": round(waited_s, 4)}
        recorder.end(context, now)
