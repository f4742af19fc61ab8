"""Every metric of Raysift: name, kind, help, labels. docs/metrics.md lists the same, which a test compares.

Names follow Prometheus: base units (seconds, bytes), `_total` for counters. Ray's exporter puts `ray_` before each.
Labels have few values, all known from the settings or from this code: no file, job, person or text of a caller.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

PREFIX = "ray_"  # of exported names
# upper bounds of a histogram's buckets
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds of a request
LONG = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds of work on samples or files
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `buckets`: upper bounds, of a histogram only."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """The name in Prometheus; a histogram has it with _bucket, _sum and _count."""
        return PREFIX + self.name

    @property
    def total(self) -> "Metric | None":
        """The counter of all seconds that a histogram of seconds has observed; None for other metrics.

        Ray's exporter makes a histogram's _sum of its buckets, as if every value lay in the middle of one.
        """
        if self.kind != "histogram" or not self.name.endswith("_seconds"):
            return None
        name = self.name.removeprefix("raysift_").removesuffix("_seconds")
        return _counter(f"{name}_time_seconds", self.help, *self.labels)


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"raysift_{name}_total", "counter", help, labels)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"raysift_{name}", "gauge", help, labels)


def _histogram(name: str, help: str, *labels: str, buckets: tuple[float, ...] = QUICK) -> Metric:
    return Metric(f"raysift_{name}", "histogram", help, labels, buckets)


# ---- scans
UNITS = _counter("units", "files and segments of films that scans analysed; outcome: done, failed", "kind", "outcome")
FRAMES = _counter("frames", "frames of scans; source: analysed, or propagated from an equal one before", "source")
FINDINGS = _counter("findings", "findings of scans", "detector")
FAILURES = _counter("failures", "failures in results of scans; step: fetch, decode or a detector", "step")
STAGE_SECONDS = _histogram(
    "stage_seconds",
    "time of one batch of files in a stage: fetch, probe, frames, sound, file_text, text_pass, memo",
    "stage",
    buckets=LONG,
)
CACHE_LOOKUPS = _counter("cache_lookups", "answers asked of the cache; outcome: hit, miss", "detector", "outcome")
LEFT_OUT = _counter("left_out_files", "files that listings of jobs left out: no media, excluded, or unreadable")

# ---- detectors
DETECTOR_SECONDS = _histogram("detector_seconds", "time of one call that a detector answered", "detector", buckets=LONG)
DETECTOR_SAMPLES = _counter("detector_samples", "samples that detectors answered", "detector")
BATCH_SAMPLES = _histogram("detector_batch_samples", "samples in one call of a detector", "detector", buckets=SIZES)
DETECTOR_PROBES = _counter(
    "detector_probes", "checks of a detector by its example; state: ok, busy, asleep, failing, silent, down",
    "detector", "state",
)  # fmt: skip
OUT_OF_MEMORY = _counter("out_of_memory", "times a GPU's memory did not suffice; outcome: halved, failed", "outcome")
EVENTS = _counter("events", "other events in replicas: models dropped, passages left out", "event")
GPU_MEMORY = _gauge("gpu_memory_bytes", "GPU memory of a replica's process, as the driver reports it", "detectors")
GPU_USE = _gauge("gpu_utilization_ratio", "share of the GPU's time that a replica's process used", "detectors")
REMOTE_SECONDS = _histogram(
    "remote_request_seconds",
    "time of requests to another cluster; outcome: answered, slow, away, refused",
    "detector",
    "outcome",
    buckets=LONG,
)

# ---- API
API_SECONDS = _histogram(
    "api_request_seconds", "time to the end of an answer of the API; route as in docs/security.md, code: 2xx to 5xx",
    "method", "route", "code",
)  # fmt: skip
CALL_SECONDS = _histogram(
    "call_seconds", "time of the API's calls to the catalogue, the queue of jobs and the owner of the keys; "
    "outcome: answered, late, failed", "to", "method", "outcome",
)  # fmt: skip

FIRST_PAINT = _histogram(
    "app_first_paint_seconds", "time from the request of a page of the app to its first paint, as browsers measure it"
)

# ---- stores
STORAGE_SECONDS = _histogram(
    "storage_seconds", "time of reads of files; operation: fetch (a whole file), list (a page of a bucket); "
    "scheme: file, s3, gs; outcome: done, failed", "operation", "scheme", "outcome", buckets=LONG,
)  # fmt: skip
STORAGE_BYTES = _counter("storage_read_bytes", "bytes that scans fetched", "scheme")
CHROMA_SECONDS = _histogram(
    "chroma_request_seconds", "time of calls to Chroma, retries included; outcome: answered, failed", "outcome"
)

# ---- the head, every ten seconds
JOBS = _gauge("jobs", "jobs that are not over", "state")
CHROMA_UP = _gauge("chroma_up", "1: Chroma's port takes connections; 0: it does not")
DISK_FREE = _gauge("disk_free_bytes", "free space for other users than root; place: state, temporary", "place")
DISK_SIZE = _gauge("disk_size_bytes", "size of that file system", "place")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
