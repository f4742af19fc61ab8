"""A detector in another cluster: the requests to its API, the responses, and failures."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cluster.access import tokens
from cluster.errors import SettingsError
from cluster.records import Detection, Failure, ModelVersion, Sample
from deployments.api import sample_routes
from deployments.detector import DetectorResponse
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving import wire
from deployments.serving.remote import RemoteAway, RemoteDetector, RemoteRefuses, RemoteSlow
from tests.support.servers import far_api
from tests.support.servers.far_api import Far

SERVES_OWN = "Path '/v1/detect/nsfw/samples' not found. Ping http://.../-/routes for available routes."
PICTURES = [Sample(pixels=np.full((3, 2, 3), n, np.uint8)) for n in (7, 8, 9)]


def config(url="https://gpus.example.com", **remote):
    return NsfwConfig(backend="remote", remote={"url": url, "timeout_s": 5} | remote, model="m")


KEY = str(tokens.new())


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(RemoteDetector, "back_off_s", 0.01)
    monkeypatch.setattr(RemoteDetector, "retries_for_s", 0.05)


def counted(samples):
    return [[Detection("nsfw", float(sample.pixels[0, 0, 0]) / 10)] for sample in samples]


def test_a_batch_is_answered_in_order_with_the_cost_of_the_other_cluster():
    with far_api.running(Far(answer=counted)) as url:
        asked = RemoteDetector("nsfw", config(url)).ask(PICTURES)
    assert asked == DetectorResponse([[Detection("nsfw", score)] for score in (0.7, 0.8, 0.9)], 0.5, 0.25)


def test_calls_share_a_connection():
    far = Far()
    with far_api.running(far) as url:
        detector = RemoteDetector("nsfw", config(url))
        for _ in range(5):
            detector.ask(PICTURES)
    assert len(far.ports) == 5 and len(set(far.ports)) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [(429, "too many"), (500, ""), (502, "<h1>Bad Gateway</h1>"), (503, '{"detail": "not now"}'), (404, SERVES_OWN)],
)
def test_a_call_is_repeated_while_the_other_cluster_cannot_answer(fault, said, impatient):
    far = Far(answer=counted)
    far.faults, far.said = [fault, fault], said
    with far_api.running(far) as url:
        detector = RemoteDetector("nsfw", config(url))
        detector.retries_for_s = 10
        assert len(detector.ask(PICTURES).answers) == 3
        far.faults = [fault] * 100
        detector.retries_for_s = 0.05
        with pytest.raises(RemoteAway, match=f"answers {fault}: "):
            detector.ask(PICTURES)
    with pytest.raises(RemoteAway, match="cannot be reached: ConnectError"):
        detector.ask(PICTURES)


def test_a_call_without_an_answer_in_time_is_not_repeated():
    far = Far()
    far.free = threading.Event()
    with far_api.running(far) as url:
        with pytest.raises(RemoteSlow, match="has not answered in 0 s"):
            RemoteDetector("nsfw", config(url, timeout_s=0.2)).ask(PICTURES)
        far.free.set()
    assert len(far.ports) == 1


def refused(far, **remote):
    with far_api.running(far) as url, pytest.raises(RemoteRefuses) as raised:
        RemoteDetector("nsfw", config(url, **remote)).ask(PICTURES)
    return str(raised.value)


def test_the_key_of_the_file_gives_access_and_is_never_logged(key_file, caplog):
    with caplog.at_level(logging.DEBUG), far_api.running(Far(key=KEY)) as url:
        told = config(url, key_file=key_file)
        detector = RemoteDetector("nsfw", told)
        assert len(detector.ask(PICTURES).answers) == 3
    secret = tokens.parse(KEY).secret
    assert secret not in f"{caplog.text} {told!r} {vars(detector)!r}"
    said = refused(Far(key=str(tokens.new())), key_file=key_file)
    assert "does not accept this key (401): this key was revoked. Correct detectors.nsfw.remote.key_file" in said
    assert secret not in said
    assert "does not accept requests without a key (401)" in refused(Far(key=KEY))
    with pytest.raises(SettingsError, match=r"key_file: .*none cannot be read \(FileNotFoundError\)"):
        RemoteDetector("nsfw", config(key_file=key_file.with_name("none")))
    key_file.write_text("open sesame")
    with pytest.raises(SettingsError, match="holds no key") as refusal:
        RemoteDetector("nsfw", config(key_file=key_file))
    assert "sesame" not in str(refusal.value)


def test_a_certificate_is_checked_against_the_configured_authority(tmp_path, impatient):
    key, certificate = own_certificate(tmp_path)
    with far_api.running(Far(), ssl_keyfile=key, ssl_certfile=certificate) as url:
        trusting = RemoteDetector("nsfw", config(url, ca_file=certificate))
        assert len(trusting.ask(PICTURES).answers) == 3
        trusting.client.close()  # or the server waits half a minute for the connection when it stops
        with pytest.raises(RemoteAway, match="CERTIFICATE_VERIFY_FAILED"):
            RemoteDetector("nsfw", config(url)).ask(PICTURES)
    for file in (key, key.with_name("none")):
        with pytest.raises(SettingsError, match=rf"detectors\.nsfw\.remote\.ca_file: {file} cannot be read"):
            RemoteDetector("nsfw", config(ca_file=file))


def own_certificate(folder):
    """A self-signed certificate for 127.0.0.1: the files of its key and of itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=True)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "certificate").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    return folder / "key", folder / "certificate"


@pytest.mark.parametrize("other", [{"model": "m2"}, {"floor": 0.2}])
def test_another_model_or_floor_is_refused_with_a_message_that_names_both(other):
    said = refused(Far(**other))
    assert f"nsfw is {other.get('model', 'm')} with floor {other.get('floor', 0.1)} here, and m with floor 0.1" in said
    assert "detectors.nsfw.remote.profile" in said


def test_an_unknown_detector_and_a_url_that_is_no_api_are_settings_errors():
    far = Far()
    far.routes.detectors.model_versions = {"ocr": ModelVersion("ocr", "m")}
    assert "answers 404: no detector 'nsfw' runs here; there are ocr" in refused(far)
    far.faults, far.said = [200], "<h1>Welcome</h1>"
    assert "is no API of this version" in refused(far)


def test_refused_samples_are_an_error_of_their_batch_alone(monkeypatch):
    monkeypatch.setattr(wire, "MAX_BYTES", 2000)
    far = Far()
    with far_api.running(far) as url:
        detector = RemoteDetector("nsfw", config(url))
        with pytest.raises(ValueError, match="send fewer at a time"):
            detector.ask([Sample(pixels=np.zeros((30, 30, 3), np.uint8))])
        with pytest.raises(ValueError, match="nsfw takes image, not text"):
            detector.ask([Sample(text="a")])
        junk, much = (detector.client.post(detector.path, content=body) for body in (b"junk", b"x" * 3000))
        asked = len(far.ports)
        with pytest.raises(ValueError, match="more than an API takes"):
            detector.ask([Sample(text="x" * 3000)])
    assert junk.status_code == 422 and "no samples" in junk.json()["detail"]
    assert much.status_code == 413 and len(far.ports) == asked


def test_an_api_limits_the_requests_with_samples_before_it_reads_them(monkeypatch):
    monkeypatch.setattr(sample_routes, "AT_ONCE", 2)
    far = Far(answer=counted)
    far.free = threading.Event()
    with far_api.running(far) as url, ThreadPoolExecutor(2) as pool:
        detector = RemoteDetector("nsfw", config(url, max_in_flight=3))
        calls = [pool.submit(detector.ask, PICTURES) for _ in range(2)]
        while far.now < 2:
            time.sleep(0.005)
        refused = detector.client.post(detector.path, content=b"junk")
        far.free.set()
        assert [len(call.result().answers) for call in calls] == [3, 3]
        assert detector.client.post(detector.path, content=b"junk").status_code == 422
        assert len(detector.ask(PICTURES).answers) == 3
    assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"
    assert "2 requests with samples are here already" in refused.json()["detail"]
    assert far.routes.sampling.taken == 0


def test_a_failure_is_passed_on_and_a_detector_that_is_away_there_is_away_here(monkeypatch, impatient):
    far = Far(answer=lambda samples: [Failure("nsfw", "too odd") for _ in samples])
    with far_api.running(far) as url:
        detector = RemoteDetector("nsfw", config(url))
        assert detector.ask(PICTURES).answers == [Failure("nsfw", "too odd")] * 3
        monkeypatch.setattr(sample_routes, "PATIENCE_S", 0)
        far.answer = lambda samples: raised(RemoteAway("it is another's"))
        with pytest.raises(RemoteAway, match="answers 503: nsfw has not answered for 0 s"):
            detector.ask(PICTURES)


def raised(error):
    raise error


def test_a_cluster_of_the_previous_version_is_told_why_its_samples_are_refused():
    far = Far()
    with far_api.running(far) as url:
        detector = RemoteDetector("nsfw", config(url))
        detector.client.params = detector.client.params.remove("wire")  # version 1 did not send it
        arrow = {"Content-Type": "application/vnd.apache.arrow.stream"}
        answer = detector.client.post(detector.path, content=b"\xff\xff\xff\xff", headers=arrow)
        assert answer.status_code == 409 and far.samples == 0
        assert "version 2 of the format between clusters, and not in 1" in answer.json()["detail"]
        assert "Run the same version of Raysift in both clusters" in answer.json()["detail"]
        with pytest.raises(RemoteRefuses, match="Run the same version of Raysift in both clusters"):
            detector.ask(PICTURES)


def test_a_cluster_that_does_not_have_this_version_is_refused_and_no_sample_is_blamed():
    far = Far()
    far.faults, far.said = [422], '{"detail": "these are no samples: no Arrow stream"}'
    message = refused(far)
    assert "it answers 422 to samples of version 2" in message and "run the same version in both clusters" in message
