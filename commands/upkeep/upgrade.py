"""`raysift upgrade`: new models, settings and code for a Raysift that runs, without an interruption."""

import os

import psutil

from cluster import gpus
from cluster.access.tokens import KEY_VARIABLES
from cluster.errors import SettingsError
from cluster.processes import Processes
from cluster.records import OVER
from cluster.settings import PREFIX, load
from commands.terminal import api_client, console, waiting

MOST_JOBS = 1000  # the newest, among which those are that are not over
OF_COMMANDS = {*KEY_VARIABLES, f"{PREFIX}STATE_DIR"}  # variables that do not differ by mistake


def upgrade() -> None:
    """Replace the detectors and the API of a running Raysift by those of the present settings, models and code.

    Requests are answered meanwhile. Not while a job runs: half of its files would have the answers of other models.
    """
    take_environment(Processes(load()))
    settings = load()
    processes = Processes(settings)
    with api_client(settings) as api:
        jobs = api.get("/v1/jobs", params={"limit": MOST_JOBS})
        jobs.raise_for_status()
    refuse_jobs([job["job"] for job in jobs.json() if job["state"] not in OVER])
    os.environ.update(processes.environment())
    # imported only now: other commands do not wait for numpy, and Ray reads the path of its token at its import
    from commands.up import check_weights, deploy, may_start
    from deployments.serving.placement import check_cards

    with may_start(settings), waiting("upgrading") as tell:
        check_cards(settings, gpus.cards())  # raises for a wrong key, before anything is replaced
        check_weights(settings, tell)
        deploy(settings, processes, tell)
    console.print("upgraded: the detectors, the API and what it asks. The app and Chroma run on as they were")


def take_environment(processes: Processes) -> None:
    """Take over the settings that `raysift up` was given in its environment, as drivers of jobs do.

    SettingsError if Ray was not started by it here, or if a variable of this process says something else.
    """
    ray = processes.alive().get("ray")
    if ray is None:
        raise SettingsError(f"Raysift does not run (state in {processes.state}). Start it with `raysift up`.")
    its, own = (
        {name: value for name, value in environment.items() if name.startswith(PREFIX) and name not in OF_COMMANDS}
        for environment in (psutil.Process(ray).environ(), os.environ)
    )
    others = sorted(name for name in own if own[name] != its.get(name))
    if others:
        raise SettingsError(
            f"{', '.join(others)}: jobs go by the environment of `raysift up`, which had other values. Unset it here, "
            "and set the new value in settings.yaml."
        )
    os.environ.update(its)


def refuse_jobs(unfinished: list[str]) -> None:
    """SettingsError if there are jobs that are not over."""
    if unfinished:
        raise SettingsError(
            f"{', '.join(unfinished)} is not over: wait for it, or cancel it and resume it after the upgrade."
        )
