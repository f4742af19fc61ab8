"""Cards as a stand-in for NVIDIA's library reports them, and their shares."""

from types import SimpleNamespace

import pytest

from cluster import gpus
from cluster.errors import SettingsError
from cluster.gpus import GB, Card
from cluster.settings import Settings
from deployments.serving.placement import check_cards, shares

NEEDS = {"nsfw": 1.2, "logo+restraint": 2.0, "ocr": 2.0, "face": 1.3, "whisper": 4.0, "clip": 1.8}


class Driver:
    """A stand-in for the used part of pynvml."""

    class NVMLError(Exception):
        pass

    def __init__(self, *cards, broken=False):
        self.cards = cards
        self.broken = broken
        self.open = 0

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, n):
        return self.cards[n]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return next(card for card in self.cards if card[0] in uuid)

    def nvmlDeviceGetName(self, handle):
        return handle[0]

    def nvmlDeviceGetMemoryInfo(self, handle):
        if self.broken:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(total=handle[1] * GB, free=handle[2] * GB)


TWO = [("A10", 24, 20), ("L4", 22, 22)]


@pytest.fixture(autouse=True)
def all_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_cards_are_listed_with_their_memory_and_the_library_is_shut_down():
    driver = Driver(*TWO)
    assert gpus.cards(driver) == [Card("A10", 24, 20), Card("L4", 22, 22)]
    assert driver.open == 0
    assert gpus.smallest_gb(gpus.cards(driver)) == 22


def test_a_machine_without_a_driver_or_with_a_lost_card_has_none():
    class Without(Driver):
        def nvmlInit(self):
            raise self.NVMLError("no library")

    assert gpus.cards(Without()) == []
    assert gpus.cards(Driver(*TWO, broken=True)) == []
    assert gpus.smallest_gb([]) == 0


@pytest.mark.parametrize(
    ("visible", "seen"), [("", []), ("-1", []), ("1", ["L4"]), ("1,0", ["L4", "A10"]), ("GPU-A10", ["A10"])]
)
def test_only_cards_in_cuda_visible_devices_are_listed(visible, seen, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [card.name for card in gpus.cards(Driver(*TWO))] == seen


def test_a_share_is_rounded_up_to_a_hundredth():
    assert gpus.fraction(1.2, 10) == 0.12
    assert gpus.fraction(1.21, 10) == 0.13
    assert gpus.fraction(1.2, 80) == 0.02


def test_on_10_gb_whisper_needs_another_card_and_the_rest_shares_one():
    plan = gpus.plan(NEEDS, 10)
    assert plan.fractions == {
        "nsfw": 0.12, "logo+restraint": 0.2, "ocr": 0.2, "face": 0.13, "whisper": 0.4, "clip": 0.18
    }  # fmt: skip
    assert plan.beyond == ("whisper",) and not plan.too_large
    assert round(sum(plan.fractions[group] for group in plan.on_one), 2) == 0.83
    assert plan.total == 1.23 and gpus.cards_needed(plan.fractions.values()) == 2


def test_on_24_gb_all_groups_share_one_card():
    plan = gpus.plan(NEEDS, 24)
    assert set(plan.on_one) == set(NEEDS) and not plan.beyond
    assert gpus.cards_needed(plan.fractions.values()) == 1


def test_groups_that_need_more_than_a_card_are_listed_and_groups_that_need_none_get_no_share():
    plan = gpus.plan({"whisper": 4.0, "clip": 0.0, "nsfw": 1.2}, 3)
    assert plan.too_large == ("whisper",)
    assert set(plan.fractions) == {"nsfw"}


def test_no_share_is_divided_between_two_cards():
    assert gpus.cards_needed([0.6, 0.6, 0.6]) == 3, "1.8 cards' worth"
    assert gpus.cards_needed([0.5, 0.3, 0.5, 0.7]) == 2
    assert gpus.cards_needed([1, 0.5, 0]) == 2
    assert gpus.cards_needed([]) == 0


def members(*needs):
    return {str(n): SimpleNamespace(**({"gpus": None, "gpu_memory_gb": 0.0} | need)) for n, need in enumerate(needs)}


def test_colocated_detectors_take_what_the_largest_of_them_needs():
    groups = {"logo+restraint": members({"gpu_memory_gb": 2.0}, {"gpu_memory_gb": 1.5}), "clip": members({})}
    assert shares(groups, 10) == {"logo+restraint": 0.2, "clip": 0.0}


def test_a_configured_share_overrides_the_plan():
    groups = {"ocr": members({"gpus": 0.5, "gpu_memory_gb": 2.0}), "face": members({"gpus": 0, "gpu_memory_gb": 1.3})}
    assert shares(groups, 10) == {"ocr": 0.5, "face": 0.0}
    assert shares(groups, 0) == {"ocr": 0.5, "face": 0.0}, "of a card in another machine of the cluster"


def test_without_a_card_no_detector_gets_a_share():
    assert shares({"ocr": members({"gpu_memory_gb": 2.0})}, 0) == {"ocr": 0.0}


def test_a_detector_that_fits_no_card_is_named_with_what_to_do():
    with pytest.raises(SettingsError, match=r"whisper needs 4.0 GB.*has 3.0.*detectors.whisper.gpus=0"):
        shares({"whisper": members({"gpu_memory_gb": 4.0})}, 3)


def settings(**detectors):
    return Settings(detectors=detectors)


def test_shares_beyond_the_available_cards_are_refused():
    asking = settings(ocr={"gpus": 0.6}, nsfw={"gpus": 0.6})
    assert check_cards(asking, [Card("A10", 24, 24)] * 2) == ""
    with pytest.raises(SettingsError, match=r"need 2 cards, and this machine has 1: nsfw 0.60, ocr 0.60"):
        check_cards(asking, [Card("A10", 24, 24)])
    with pytest.raises(SettingsError, match="need 2 cards"):
        check_cards(settings(ocr={"gpus": 0.6, "replicas": 2}), [Card("A10", 24, 24)])


def test_the_need_of_all_replicas_is_reported_and_the_minimum_is_planned():
    growing = settings(ocr={"gpus": 0.6, "replicas": 0, "max_replicas": 3})
    said = "with all replicas that max_replicas allows, the detectors need 3 cards of the cluster"
    assert check_cards(growing, [Card("A10", 24, 24)]) == said
    assert check_cards(growing, [Card("A10", 24, 24)] * 3) == ""


def test_large_models_without_a_card_are_reported_as_slow():
    large = settings(ocr={"gpu_memory_gb": 2.0}, nsfw={"gpu_memory_gb": 1.0})
    assert check_cards(large, []) == "nsfw, ocr find no NVIDIA card on this machine and run on the CPU, slowly"
    assert check_cards(settings(), []) == ""
    assert check_cards(large, [Card("A10", 24, 24)]) == ""
