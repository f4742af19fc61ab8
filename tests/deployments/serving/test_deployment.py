"""The options of the detectors' deployments, and how Ray Serve scales and replaces their replicas."""

import pytest

from cluster.errors import SettingsError
from cluster.gpus import Card
from cluster.settings import Settings
from deployments.serving.deployment import deployments
from deployments.serving.placement import versions
from deployments.serving.status import conditions
from tests.support.serving.own_ray import run_in_own_ray


def test_a_model_version_holds_the_detectors_floor():
    ocr = versions(Settings(detectors={"ocr": {"floor": 0.25}}))["ocr"]
    assert (ocr.detector, ocr.floor) == ("ocr", 0.25) and ocr.model


def scaling(**config):
    return deployments(Settings(detectors={"ocr": config}), [])["ocr"]._bound_deployment


def test_a_detector_with_a_higher_maximum_scales_with_the_requests():
    options = scaling(replicas=0, max_replicas=4, downscale_delay_s=60)._deployment_config.autoscaling_config
    assert (options.min_replicas, options.max_replicas, options.target_ongoing_requests) == (0, 4, 2)
    assert (options.upscale_delay_s, options.downscale_delay_s, options.downscale_to_zero_delay_s) == (5, 60, 300)
    assert scaling(replicas=0)._deployment_config.autoscaling_config.max_replicas == 1
    assert scaling(replicas=2)._deployment_config.autoscaling_config is None
    assert scaling(replicas=2, max_replicas=2).num_replicas == 2


def test_a_maximum_below_the_minimum_of_replicas_is_refused():
    with pytest.raises(SettingsError, match=r"detectors.ocr: .*max_replicas is 1, and replicas, the least, is 2"):
        scaling(replicas=2, max_replicas=1)


def test_without_a_cluster_every_detector_is_up():
    assert conditions(["ocr"]) == {"ocr": "up"}


@pytest.mark.parametrize(("cards", "share", "visible"), [([], 0, ""), ([Card("A", 10, 10)], 0.2, None)])
def test_a_replica_without_a_share_of_a_gpu_sees_none(cards, share, visible):
    deployed = deployments(Settings(detectors={"ocr": {"gpu_memory_gb": 2}}), cards)["ocr"]._bound_deployment
    assert deployed.ray_actor_options["num_gpus"] == share
    assert deployed.ray_actor_options["runtime_env"]["env_vars"].get("CUDA_VISIBLE_DEVICES") == visible
    assert deployed.init_args[1] == share


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_serve_replaces_a_replica_whose_memory_keeps_growing():
    seen = run_in_own_ray("tests.support.serving.leaking")
    assert seen["before"] != seen["after"], "the same process went on"
    assert seen["cards"] == "", "it was given none"
    assert seen["events"] == [{"made": 1}]


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_a_detector_scales_from_no_replica_to_three_and_back():
    seen = run_in_own_ray("tests.support.serving.scaling")  # it waits for three replicas, and for none again
    assert seen["at first"] == {"nsfw": "asleep", "ocr": "down"} and seen["once asked"] == {"nsfw": "up"}
    assert seen["first answer"] < 60


@pytest.mark.parametrize(("card_gb", "percent"), [(0, 100), (24, 0)])
def test_an_upgrade_starts_a_new_replica_first_unless_the_old_one_is_on_a_card(card_gb, percent):
    cards = [Card("L4", card_gb, card_gb)] if card_gb else []
    deployed = deployments(Settings(detectors={"ocr": {"gpu_memory_gb": 2}}), cards)["ocr"]._bound_deployment
    assert deployed._deployment_config.max_surge_percent == percent


def test_fewer_calls_wait_in_each_of_several_replicas_than_in_a_single_one():
    for replicas, waiting in ((1, 3), (4, 1)):
        settings = Settings(detectors={"nsfw": {"max_replicas": replicas}})
        deployed = deployments(settings, [])["nsfw"]._bound_deployment
        assert deployed.max_ongoing_requests == 1 + waiting
