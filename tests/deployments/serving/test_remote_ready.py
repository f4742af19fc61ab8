"""Readiness of a detector in another cluster: as that cluster reports it, without loading its GPUs."""

import asyncio

import httpx
import pytest

from cluster.access import tokens
from cluster.api_types import DetectorState as State
from cluster.records import Detection, Sample
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving.remote import RemoteAway, RemoteDetector, RemoteRefuses, RemoteSlow
from deployments.serving.replica import Replica
from tests.cluster.metrics.recorded import recorded
from tests.support.servers import far_api
from tests.support.servers.far_api import Far


def config(url, **remote):
    return NsfwConfig(backend="remote", remote={"url": url, "timeout_s": 5} | remote, model="m")


def found(samples):
    return [[Detection("nsfw", 0.9)] for _ in samples]


def is_ready(replica):
    return asyncio.run(replica.answers_example("nsfw"))


@pytest.mark.parametrize(
    ("state", "ready"),
    [(State.OK, 1), (State.ASLEEP, 1), (State.DOWN, 0), (State.FAILING, 0), (State.SILENT, 0)],
)
def test_a_remote_detector_is_as_ready_as_its_cluster_reports_and_gets_no_sample_for_it(state, ready):
    far = Far(answer=found)
    with far_api.running(far) as url:
        replica = Replica({"nsfw": config(url).model_dump()})
        assert far.samples == 1, "the example, when it starts: model and key are right"
        far.states = {"nsfw": state, "ocr": State.DOWN}
        assert [is_ready(replica) for _ in range(3)] == [ready] * 3
    assert far.samples == 1


def test_a_remote_detector_that_is_busy_gets_an_example():
    far = Far(answer=found)
    far.states = {"nsfw": State.BUSY}
    with far_api.running(far) as url:
        replica = Replica({"nsfw": config(url).model_dump()})
        assert is_ready(replica) == 1 and far.samples == 2
        far.answer = lambda samples: [[] for _ in samples]
        assert is_ready(replica) == 0


def test_a_detector_that_does_not_run_there_is_not_ready():
    far = Far()
    far.states = {"ocr": State.OK}
    with far_api.running(far) as url:
        assert RemoteDetector("nsfw", config(url)).is_ready() is False


def test_an_unreachable_cluster_is_away_and_a_refusal_is_a_settings_error(tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(key := str(tokens.new()))
    far = Far(key=key)
    with far_api.running(far) as url:
        detector = RemoteDetector("nsfw", config(url, key_file=key_file))
        assert detector.is_ready() is True
        far.faults, far.said = [502, 503, 200], "<h1>a proxy's page</h1>"
        for status in (502, 503):
            with pytest.raises(RemoteAway, match=f"answers {status}: <h1>a proxy's page"):
                detector.is_ready()
        with pytest.raises(RemoteRefuses, match="is no API of this version"):
            detector.is_ready()
        with pytest.raises(RemoteRefuses, match="does not accept requests without a key"):
            RemoteDetector("nsfw", config(url)).is_ready()
    with pytest.raises(RemoteAway, match="cannot be reached: ConnectError"):
        detector.is_ready()


def through(answer):
    """A remote detector whose API is behind a proxy that answers like this."""
    detector = RemoteDetector("nsfw", config("http://gpus"))
    detector.retries_for_s = 0.0
    detector.client = httpx.Client(base_url="http://gpus", transport=httpx.MockTransport(answer))
    return detector


def test_a_response_that_a_proxy_garbled_is_not_blamed_on_a_sample():
    garbled = through(lambda request: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Junk()))
    for ask in (lambda: garbled.ask([garbled.example()]), garbled.is_ready):
        with pytest.raises(RemoteAway, match="cannot be reached: DecodingError"):
            ask()


class Junk(httpx.SyncByteStream):
    def __iter__(self):
        yield b"this is no gzip"


def test_a_readiness_check_has_a_shorter_timeout_than_a_batch():
    waits = []

    def hangs(request):
        waits.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("")

    detector = through(hangs)
    with pytest.raises(RemoteSlow, match="has not answered in 10 s"):
        detector.is_ready()
    with pytest.raises(RemoteSlow, match="has not answered in 5 s"):
        detector.ask([detector.example()])
    assert waits == [10, 5]


def test_requests_to_the_other_cluster_are_measured_with_their_outcome(monkeypatch):
    monkeypatch.setattr(RemoteDetector, "retries_for_s", 0.0)
    far = Far()
    with recorded() as values, far_api.running(far) as url:
        one = RemoteDetector("nsfw", config(url))
        one.is_ready()
        far.faults = [429, 401]
        for error in (RemoteAway, RemoteRefuses):
            with pytest.raises(error):
                one.ask([Sample(text="a")])
    with recorded() as later, pytest.raises(RemoteAway):
        one.ask([Sample(text="a")])
    assert {name for name, _, _ in values} == {"raysift_remote_request_seconds"}
    assert [labels["outcome"] for _, _, labels in [*values, *later]] == ["answered", "away", "refused", "away"]
