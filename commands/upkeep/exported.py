"""Where the nodes of this machine's cluster export their values for Prometheus, for `raysift status` and `top`."""

import json
from pathlib import Path

from cluster.metrics.exported import Exported, read
from cluster.processes import Processes
from cluster.settings import Settings

TARGETS = "prom_metrics_service_discovery.json"  # of Ray, in its temporary folder
RAY_UP = Path("/tmp/ray")  # that folder on a cluster of `ray up`


def look(settings: Settings) -> Exported | None:
    """What all nodes export now, on the head; None where Ray has written no list of its nodes."""
    folders = (Processes(settings).ray_temp, RAY_UP)
    lists = [folder / TARGETS for folder in folders if (folder / TARGETS).exists()]
    if not lists:
        return None
    # of the targets, the dashboard's and the autoscaler's need not listen
    return read([target for group in json.loads(lists[0].read_text()) for target in group["targets"]])
