"""The client of the served detectors: repeated calls, absent detectors, samples that a detector fails on."""

import asyncio
import pickle
from dataclasses import replace

import pytest
from PIL import Image
from ray.exceptions import ObjectLostError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError

from cluster.records import Failure, ModelVersion, Sample
from deployments.detector import DetectorAway, DetectorResponse
from deployments.detectors.clip import ClipConfig
from deployments.detectors.logo import Logo, LogoConfig
from deployments.galleries.store import Gallery
from deployments.serving.client import ServedDetectors
from tests.support.serving.handles import FOUND, Handle, ask, served

DIED, GONE = RayActorError(), DeploymentUnavailableError(None)


@pytest.mark.parametrize("fault", [DIED, GONE, ObjectLostError("00" * 28, None, ""), ReplicaUnavailableError(None)])
def test_a_call_that_failed_by_the_clusters_fault_is_repeated(fault):
    handle = Handle(fault, fault)
    assert ask(handle, "a", "b") == DetectorResponse([FOUND, FOUND], 2, 0.5)
    assert handle.calls == [2, 2, 2]


def test_the_version_of_a_detector_follows_its_gallery_and_stays_while_that_cannot_be_listed(tmp_path):
    config = LogoConfig(gallery=str(tmp_path / "logos"))
    here = ModelVersion("logo", Logo.version(config), config.floor)
    client = ServedDetectors({}, {"logo": here}, {"logo": config})
    assert client.current_versions(["logo"]) == {"logo": here}
    Image.new("RGB", (40, 20)).save(tmp_path / "mark.png")
    Gallery(config.gallery).add("PayPal", tmp_path / "mark.png")
    assert client.current_versions(["logo"]) == {"logo": replace(here, model=Logo.version(config))} != {"logo": here}
    (tmp_path / "logos").rename(tmp_path / "elsewhere")
    (tmp_path / "logos").write_bytes(b"no folder")
    assert client.current_versions(["logo"]) == {"logo": here}


def test_an_absent_detector_is_reported_when_waiting_begins_and_when_it_ends():
    reports: list[tuple[str, bool]] = []
    ask(Handle(GONE, GONE), "a", report_away=lambda *report: reports.append(report))
    assert reports == [("clip", True), ("clip", False)]
    ask(Handle(), "a", report_away=lambda *report: reports.append(report))
    assert reports[2:] == [("clip", False)]  # another worker, which died, may have reported it as away


def test_after_the_timeout_a_job_gets_the_absent_detector_and_the_others_answers():
    detectors = served({"clip": Handle(GONE), "ocr": Handle()}, detector_timeout_s=0)
    with pytest.raises(DetectorAway, match=r"^clip$") as raised:
        asyncio.run(detectors.ask(["clip", "ocr"], [Sample(text="a")]))
    assert raised.value.answered == {"ocr": DetectorResponse([FOUND], 1, 0.25)}


def test_detector_away_can_be_pickled():
    error = pickle.loads(pickle.dumps(DetectorAway("ocr", {"clip": DetectorResponse([FOUND])})))
    assert (error.name, str(error), error.answered) == ("ocr", "ocr", {"clip": DetectorResponse([FOUND])})


def test_for_an_upload_an_absent_detector_is_a_failure_for_every_sample():
    answers = ask(Handle(GONE), "a", "b", raise_if_away=False, detector_timeout_s=0).answers
    assert [answer.step for answer in answers] == ["clip", "clip"]
    assert "has not answered for 0 s" in answers[0].reason


def test_a_sample_that_a_detector_fails_on_does_not_affect_the_others_of_its_batch():
    response = ask(Handle(poison="b"), "a", "b", "c")
    assert response.answers[0] == response.answers[2] == FOUND
    assert response.answers[1] == Failure("clip", "the detector failed on it: ValueError: too odd")
    assert (response.seconds, response.gpu_seconds) == (2, 0.5)


def test_a_call_over_its_deadline_is_cancelled_and_a_sample_that_never_ends_is_a_failure():
    handle = Handle(slow="b")
    answers = ask(handle, "a", "b").answers
    assert answers == [FOUND, Failure("clip", "the detector failed on it: it took longer than deadline_s, 3 times")]
    assert sum(call.cancelled for call in handle.made) == 6, "three times with its neighbour, three times alone"


def test_a_sample_that_kills_every_replica_is_a_failure_if_the_detector_answers_its_example():
    assert ask(Handle(DIED, DIED, DIED), "a").answers == [
        Failure("clip", "the detector failed on it: its process died, 3 times")
    ]


def test_while_a_detector_does_not_answer_its_own_example_no_sample_is_blamed():
    assert ask(Handle(*[DIED] * 9, ready=False), "a").answers == [FOUND]


def test_which_detectors_take_a_modality_is_known_from_their_classes():
    detectors = served(dict.fromkeys(["clip", "ocr", "whisper"], Handle()))
    assert detectors.taking("image") == {"clip", "ocr"}
    assert detectors.taking("sound") == {"whisper"}
    assert detectors.taking("text") == {"clip"}


def test_answers_depend_on_a_detectors_own_settings_and_not_on_how_it_is_served():
    one, other, served_otherwise = (
        ServedDetectors({"clip": Handle()}, {}, {"clip": config}).states["clip"]
        for config in (ClipConfig(), ClipConfig(labels=("a", "b")), ClipConfig(replicas=2, deadline_s=1, gpus=0.5))
    )
    assert one == served_otherwise != other


def test_events_of_replicas_that_do_not_answer_are_left_out():
    detectors = served({"clip": Handle(), "ocr": Handle(GONE)})
    assert asyncio.run(detectors.events()) == {"clip": [{"batch halved": 2}, {}], "ocr": []}
