"""The Ray Serve deployments of the detectors: one generic class, and its options for each group of detectors."""

from collections.abc import Sequence
from typing import Any

from ray import serve

from cluster import gpus
from cluster.logs import setup
from cluster.settings import PREFIX, Settings
from cluster.traces import exporting
from cluster.traces.settings import Traces
from deployments import events, ray_metrics
from deployments.serving.placement import grouped, most_replicas, scale, shares
from deployments.serving.replica import Replica

# Threads that spin while they wait make torch 7 to 16 times slower on a busy machine.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
# By default glibc returns every buffer of a megabyte to the system at once; getting it back takes up to a quarter of
# the time in which such a buffer is filled. An arena for each thread would keep several times the memory.
KEEP_BUFFERS = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
# Ray 2.60 leaves every card visible to a replica that was given none of it.
NO_CARD = {"CUDA_VISIBLE_DEVICES": ""}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

# calls that wait in a replica, so that it need not wait for the next one; in each of several, fewer: routers know their
# queues only roughly, and calls that wait in one are missing in another (docs/decisions/0028)
QUEUED, QUEUED_IN_EACH = 3, 1


@serve.deployment(
    max_ongoing_requests=1 + QUEUED,
    # the default back-off of 25 to 500 ms costs a quarter and more of the throughput when all replicas are busy
    request_router_config={"initial_backoff_s": 0.005, "max_backoff_s": 0.05},
    graceful_shutdown_timeout_s=5,
    graceful_shutdown_wait_loop_s=0.1,
    health_check_period_s=2,  # the death of a replica is noticed no sooner
)
class DetectorDeployment(Replica):
    """A replica that reports its metrics and events to Ray, and its spans to where `traces` says."""

    def __init__(self, *arguments: Any, traces: Traces | None = None, **keywords: Any) -> None:
        ray_metrics.report()
        exporting.start(traces or Traces(), "detectors")
        setup.join_serve()
        events.listen(ray_metrics.report_event)
        super().__init__(*arguments, **keywords)


def deployments(settings: Settings, cards: Sequence[gpus.Card]) -> dict[str, serve.Application]:
    """Detector name -> its deployment, for every enabled detector; colocated detectors share one.

    GPU shares are planned for the memory of `cards`. Without cards, detectors.NAME.gpus still asks Ray for a card of
    another machine.
    """
    groups = grouped(settings)
    share = shares(groups, gpus.smallest_gb(cards))
    applications: dict[str, serve.Application] = {}
    for name, group in groups.items():
        environment = ONE_THREAD | KEEP_BUFFERS | OFFLINE | _sources(settings) | ({} if share[name] else NO_CARD)
        application = DetectorDeployment.options(  # type: ignore[attr-defined]
            name=name,
            **scale(group),
            # an upgrade starts the new replica first, unless the old one may have the only room on a card
            max_surge_percent=0 if share[name] else 100,
            max_ongoing_requests=max(config.max_in_flight for config in group.values())
            + (QUEUED if most_replicas(group) == 1 else QUEUED_IN_EACH),
            ray_actor_options={
                "num_cpus": max(config.cpus for config in group.values()),
                "num_gpus": share[name],
                "runtime_env": {"env_vars": environment},
            },
            logging_config=setup.serve_config(settings.logs, name),
        ).bind({member: config.model_dump() for member, config in group.items()}, share[name], traces=settings.traces)
        applications |= dict.fromkeys(group, application)
    return applications


def _sources(settings: Settings) -> dict[str, str]:
    """Environment variables by which a replica finds weights and galleries where this process would."""
    models = settings.models.model_dump(mode="json", exclude_none=True)
    variables = {f"{PREFIX}MODELS__{key.upper()}": str(value) for key, value in models.items()}
    return variables | ({"AWS_ENDPOINT_URL": settings.s3_endpoint} if settings.s3_endpoint else {})
