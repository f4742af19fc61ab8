"""How ray_cluster.yaml's autoscaler gets its EC2 machines: spot, and on demand where there is no spot to be had."""

import logging
from collections.abc import Mapping
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import NODE_KIND_HEAD, TAG_RAY_NODE_KIND

log = logging.getLogger(__name__)

# of the last zone that was tried: one may not have the type at all
NO_SPOT = ("InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow", "Unsupported")


class SpotElseOnDemand(AWSNodeProvider):
    """Ray's provider, which by itself asks for the refused type again, and never for one of a lower `priority`.

    A node type says InstanceMarketOptions, as it does without this. NodeLaunchException when neither is to be had.
    """

    def _create_node(self, node_config: Mapping[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        try:
            return dict(super()._create_node(dict(node_config), tags, count))
        except NodeLaunchException as refused:
            if refused.category not in NO_SPOT or "InstanceMarketOptions" not in node_config:
                raise
            log.warning("no spot %s (%s): on demand", node_config["InstanceType"], refused.category)
            paid = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
            return dict(super()._create_node(paid, tags, count))

    def terminate_node(self, node_id: str) -> None:
        """End it. Only a head is stopped and kept, where cache_stopped_nodes says so: a worker that started on demand
        would be taken again before spot is asked for.
        """
        self.terminate_nodes([node_id])

    def terminate_nodes(self, node_ids: list[str]) -> None:
        """The same of several."""
        heads = [id for id in node_ids if self.node_tags(id).get(TAG_RAY_NODE_KIND) == NODE_KIND_HEAD]
        for id in heads:
            super().terminate_node(id)
        if workers := [id for id in node_ids if id not in heads]:
            self.ec2.meta.client.terminate_instances(InstanceIds=workers)
