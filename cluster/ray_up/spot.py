"""The node provider of ray_cluster.yaml: EC2 spot machines, with a fallback to on-demand ones."""

import logging
from collections.abc import Mapping
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import NODE_KIND_HEAD, TAG_RAY_NODE_KIND

log = logging.getLogger(__name__)

# error codes of RunInstances without spot capacity, as reported for the last zone that was tried. Unsupported: the zone
# does not have the machine type.
NO_SPOT = ("InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow", "Unsupported")


class SpotElseOnDemand(AWSNodeProvider):
    """Ray's AWS provider with a fallback for node types with InstanceMarketOptions.

    Ray itself would request the refused type again and again, and never one with a lower `priority`. Raises
    NodeLaunchException if EC2 refuses the on-demand machine as well, or refuses spot for another reason.
    """

    def _create_node(self, node_config: Mapping[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        try:
            return dict(super()._create_node(dict(node_config), tags, count))
        except NodeLaunchException as refused:
            if refused.category not in NO_SPOT or "InstanceMarketOptions" not in node_config:
                raise
            log.warning("EC2 has no spot %s (%s); start it on demand", node_config["InstanceType"], refused.category)
            on_demand = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
            return dict(super()._create_node(on_demand, tags, count))

    def terminate_node(self, node_id: str) -> None:
        """Terminate a node. With cache_stopped_nodes only a head is stopped and kept: a stopped on-demand worker would
        be reused before spot is requested.
        """
        self.terminate_nodes([node_id])

    def terminate_nodes(self, node_ids: list[str]) -> None:
        """Terminate several nodes, as `terminate_node`."""
        heads = [id for id in node_ids if self.node_tags(id).get(TAG_RAY_NODE_KIND) == NODE_KIND_HEAD]
        for id in heads:
            super().terminate_node(id)
        if workers := [id for id in node_ids if id not in heads]:
            self.ec2.meta.client.terminate_instances(InstanceIds=workers)
