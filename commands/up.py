"""Start Raysift on this machine: Chroma, Ray, the detectors behind the API, the app; or only Chroma and the app."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from cluster import gpus
from cluster.errors import SettingsError
from cluster.processes import Processes, port_open
from cluster.settings import Settings

log = logging.getLogger(__name__)

SECONDS_TO_LOAD = 300.0
POLL_S = 2.0  # Serve describes the whole cluster for a status, while the detectors need the cores


def launch(settings: Settings, tell: Callable[[str], None]) -> None:
    """Start every part and wait until all answer; `tell` is called with what is being waited for.

    SettingsError if a setting is wrong, a port is taken, a part does not start or an erasure is unfinished; nothing is
    left running then.
    """
    with may_start(settings):
        _launch(settings, tell)


@contextmanager
def may_start(settings: Settings) -> Iterator[None]:
    """While no erasure begins on this state folder. SettingsError if one is at work or unfinished."""
    # imported only now: `raysift status` does not wait for numpy
    from pipelines.erasure import pending

    state = settings.state_dir.absolute()
    with pending.alone(state):
        pending.refuse_unfinished(state)
        yield


def _launch(settings: Settings, tell: Callable[[str], None]) -> None:
    processes = Processes(settings)
    processes.prepare()
    from deployments.serving.placement import check_cards

    if hint := check_cards(settings, gpus.cards()):  # raises for a wrong key, before anything is started
        log.warning(hint)
    check_weights(settings, tell)
    try:
        tell("starting Chroma, Ray and the app")
        processes.start_ray()
        processes.start_chroma()
        processes.start_app()
        deploy(settings, processes, tell)
        _wait_for_servers(processes)
    except BaseException:
        processes.stop()
        raise


def deploy(settings: Settings, processes: Processes, tell: Callable[[str], None]) -> None:
    """Have the Ray that starts or runs run the application, and wait until all of it is healthy.

    Serve replaces the replicas of one that runs already.
    """
    # imported while Ray starts, and only now, because it reads the path of its token at its import
    import ray
    from ray import serve

    from deployments.serving.placement import APP
    from pipelines.application import build

    application = build(settings)
    processes.wait("ray", lambda: dashboard_answers(settings))
    ray.init(address=processes.environment()["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    try:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        # where it runs already, this changes nothing
        serve.start(proxy_location="HeadOnly", http_options={"host": settings.api.host, "port": settings.api.port})
        target = serve.RunTarget(target=application, name=APP, route_prefix="/")
        serve.run_many([target], wait_for_applications_running=False)
        _wait_until_healthy(tell)
    finally:
        ray.shutdown()


def launch_beside_ray(settings: Settings, tell: Callable[[str], None]) -> None:
    """Start or restart Chroma and the app on the head of a cluster that one of Ray's launchers has started.

    SettingsError if `raysift up` has started that Ray, an erasure is unfinished, a port is taken or one of the two does
    not start. In the last two cases neither is left running.
    """
    with may_start(settings):
        _launch_beside_ray(settings, tell)


def _launch_beside_ray(settings: Settings, tell: Callable[[str], None]) -> None:
    processes = Processes(settings)
    if "ray" in processes.alive():
        raise SettingsError("this machine's Ray was started by `raysift up`, which has started Chroma and the app too.")
    processes.prepare_folder("chroma", "app")
    tell("starting Chroma and the app")
    try:
        processes.start_chroma()
        processes.start_app()
        _wait_for_servers(processes)
    except BaseException:
        processes.stop()
        raise


def _wait_for_servers(processes: Processes) -> None:
    settings = processes.settings
    processes.wait("chroma", lambda: port_open(settings.chroma))
    processes.wait("app", lambda: port_open(settings.app))


def check_weights(settings: Settings, tell: Callable[[str], None]) -> None:
    """Fetch the weights of every detector to this machine. SettingsError names all that are missing."""
    from deployments.models import runtime
    from deployments.serving.placement import configs
    from deployments.weights import references

    missing = []
    for name, config in configs(settings).items():
        tell(f"loading the weights of {name}")
        for reference in references.named(config):
            try:
                runtime.weights(reference)
            except SettingsError as error:
                missing.append(f"{name}: {error}")
    if missing:
        raise SettingsError("\n".join([*missing, "Or leave a detector out: RAYSIFT_DETECTORS__NAME__ENABLED=false"]))


def dashboard_answers(settings: Settings) -> bool:
    """Whether the head of a Ray cluster runs on this machine."""
    try:
        return httpx.get(f"{settings.ray.dashboard_url}/api/gcs_healthz", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _wait_until_healthy(tell: Callable[[str], None]) -> None:
    from ray import serve

    from deployments.serving.placement import APP

    deadline = time.monotonic() + SECONDS_TO_LOAD
    while True:
        app = serve.status().applications[APP]
        waiting = [name for name, deployment in app.deployments.items() if deployment.status != "HEALTHY"]
        if app.status == "RUNNING" and not waiting:
            return
        if app.status == "DEPLOY_FAILED" or time.monotonic() > deadline:
            reasons = "; ".join(f"{name}: {app.deployments[name].message}" for name in waiting) or app.message
            raise SettingsError(f"not every part started. {reasons}")
        tell(f"loading the detectors: waiting for {', '.join(waiting)}")
        time.sleep(POLL_S)
