"""The application as Serve is given it."""

import subprocess
import sys

import pytest

from cluster.errors import SettingsError
from cluster.settings import Settings
from pipelines.application import build
from tests.support.paths import ROOT


def test_a_level_for_a_part_that_does_not_exist_is_refused_by_its_name():
    with pytest.raises(SettingsError, match=r"logs\.levels: there is no 'ocrr'; there are driver"):
        build(Settings(logs={"levels": {"ocrr": "DEBUG"}}))


DEPLOYED = """
from cluster.settings import Settings
from pipelines.application import build
for replicas in (1, 2):
    api = build(Settings(api={"replicas": replicas}))._bound_deployment
    print(api._deployment_config.max_surge_percent, api._replica_config.max_replicas_per_node)
"""


def test_a_single_api_is_upgraded_by_one_beside_it_and_several_are_on_different_nodes():
    # in a process of its own: an application that has answered requests, as in tests, cannot be deployed any more
    done = subprocess.run([sys.executable, "-c", DEPLOYED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["100 None", "0 1"]
