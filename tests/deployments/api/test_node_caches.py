"""Erasing the caches of all nodes: at once on those that answer, by a mark on those that are down."""

import subprocess
import sys

import pytest

from cluster import cache, erasures
from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.api.node_caches import erase_caches
from tests.support.paths import ROOT


class Nodes:
    """Stand-ins for nodes: a state folder each, the same galleries for all."""

    def __init__(self, folder):
        self.folder = folder
        self.down = set[str]()

    def settings(self, host):
        return Settings(state_dir=self.folder / host, galleries_uri=(self.folder / "galleries").as_uri())

    def cache(self, host):
        return cache.open_cache(self.settings(host))

    def listed(self, *hosts):
        return [{"NodeID": host, "NodeManagerHostname": host, "Alive": host not in self.down} for host in hosts]

    def erase(self, id, settings):
        assert id not in self.down, "a node that is down was asked"
        return cache.erase_file(self.settings(id))


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path)
    for host in ("head", "worker", "away"):
        nodes.cache(host).put({"Ann": b"Ann is in it", "Bob": b"Bob too"})
    return nodes


def bytes_of(folder):
    return b"".join(file.read_bytes() for file in folder.glob("cache.sqlite*"))


def test_nodes_that_are_up_are_erased_and_one_that_is_down_is_named(nodes):
    nodes.down = {"away"}
    erased = erase_caches(nodes.settings("head"), nodes.listed("head", "worker", "away"), nodes.erase)
    assert erased == ErasedCaches(entries={"head": 2, "worker": 2}, failed={}, away=["away"])
    for host in ("head", "worker"):
        assert nodes.cache(host).get(["Ann", "Bob"]) == {}
        assert b"Ann is in it" not in bytes_of(nodes.folder / host)
    assert b"Ann is in it" in bytes_of(nodes.folder / "away")


def test_a_node_that_returns_erases_its_cache_before_it_is_read(nodes):
    nodes.down = {"away"}
    erase_caches(nodes.settings("head"), nodes.listed("head", "worker", "away"), nodes.erase)
    back = nodes.cache("away")
    assert back.get(["Ann", "Bob"]) == {}
    assert b"Ann is in it" not in bytes_of(nodes.folder / "away")
    back.put({"Eve": b"new"})
    assert nodes.cache("away").get(["Eve"]) == {"Eve": b"new"}, "it is erased once, not each time it is opened"


def test_a_node_that_was_lost_and_has_joined_again_is_not_away(nodes):
    lost = {"NodeID": "before", "NodeManagerHostname": "worker", "Alive": False}
    erased = erase_caches(nodes.settings("head"), [lost, *nodes.listed("head", "worker")], nodes.erase)
    assert erased.away == [] and set(erased.entries) == {"head", "worker"}


def test_a_node_that_does_not_answer_is_named_with_the_reason_and_others_are_erased(nodes):
    def erase(id, settings):
        if id == "worker":
            raise TimeoutError("it did not answer for 30 s")
        return nodes.erase(id, settings)

    erased = erase_caches(nodes.settings("head"), nodes.listed("head", "worker"), erase)
    assert erased.entries == {"head": 2}
    assert erased.failed == {"worker": "it did not answer for 30 s"}
    assert nodes.cache("worker").get(["Ann"]) == {}, "the mark is found when the cache is opened next"


def test_a_redis_that_cannot_be_reached_is_a_failure(nodes):
    settings = nodes.settings("head").model_copy(
        update={"cache": Settings().cache.model_copy(update={"redis_url": "redis://127.0.0.1:1"})}
    )
    erased = erase_caches(settings, nodes.listed("head"), nodes.erase)
    assert erased.entries == {"head": 2} and "was not cleared" in erased.failed["Redis"]


def test_a_cache_is_not_used_while_it_is_unknown_whether_it_must_be_erased(nodes, monkeypatch):
    def unreachable(settings):
        raise OSError("the bucket does not answer")

    monkeypatch.setattr(erasures, "mark", unreachable)
    assert nodes.cache("worker").get(["Ann"]) == {}
    with pytest.raises(SettingsError, match="the bucket does not answer"):
        cache.erase_file(nodes.settings("worker"))


def test_a_node_without_a_cache_gets_none(nodes):
    assert cache.erase_file(nodes.settings("new")) == 0
    assert not (nodes.folder / "new").exists()


def test_a_file_of_the_previous_version_is_read_until_an_erasure_is_requested(nodes):
    settings = nodes.settings("worker")
    store = nodes.cache("worker").store
    store._open().execute("DROP TABLE erased")
    assert nodes.cache("worker").get(["Ann"]) == {"Ann": b"Ann is in it"}
    erasures.demand(settings)
    assert nodes.cache("worker").get(["Ann"]) == {}


def test_bytes_of_answers_that_were_replaced_before_are_erased_too(nodes):
    entries = nodes.cache("worker")
    entries.put({"Ann": b"her face " * 5000})
    entries.put({"Ann": b"short"})
    assert b"her face" in bytes_of(nodes.folder / "worker")
    cache.erase_file(nodes.settings("worker"))
    assert b"her face" not in bytes_of(nodes.folder / "worker")


IN_A_CLUSTER = """
import logging, ray, sys
from cluster import cache
from cluster.settings import Settings
from deployments.api.node_caches import erase_cluster
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
settings = Settings(state_dir=sys.argv[1])
cache.open_cache(settings).put({"a": b"1", "b": b"2"})
print(erase_cluster(settings).model_dump_json())
"""


@pytest.mark.ray
def test_a_task_on_each_node_of_a_cluster_erases_its_file(tmp_path):
    command = [sys.executable, "-c", IN_A_CLUSTER, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    erased = ErasedCaches.model_validate_json(done.stdout.splitlines()[-1])
    assert list(erased.entries.values()) == [2] and erased.failed == {} and erased.away == []
