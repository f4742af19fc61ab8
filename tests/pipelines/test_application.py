"""The application as Serve is given it."""

import pytest

from cluster.errors import SettingsError
from cluster.settings import Settings
from pipelines.application import build


def test_a_level_for_a_part_that_does_not_exist_is_refused_by_its_name():
    with pytest.raises(SettingsError, match=r"logs\.levels: there is no 'ocrr'; there are driver"):
        build(Settings(logs={"levels": {"ocrr": "DEBUG"}}))


def test_a_single_api_is_upgraded_by_one_beside_it_and_several_are_on_different_nodes():
    (single, several) = (build(Settings(api={"replicas": n}))._bound_deployment for n in (1, 2))
    assert single._deployment_config.max_surge_percent == 100
    assert single._replica_config.max_replicas_per_node is None
    assert several._replica_config.max_replicas_per_node == 1
    assert several._deployment_config.max_surge_percent == 0
