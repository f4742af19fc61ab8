"""A detector of another cluster: samples are sent to that cluster's API, which returns the answers."""

import logging
import ssl
from pathlib import Path
from typing import Any

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from cluster.access import tokens
from cluster.api_types import DetectorState
from cluster.errors import SettingsError
from cluster.metrics.declared import REMOTE_SECONDS
from cluster.metrics.recording import timed
from cluster.records import Sample
from deployments import correlation
from deployments.detector import DetectorConfig, DetectorResponse, detector_class
from deployments.serving import wire

log = logging.getLogger(__name__)

CONNECT_S = 5.0
READY_PATH = "/v1/ready"
READY_S = 10.0  # an API reports within 8 s whether it is ready
IDLE_S = 60.0  # how long an unused connection is kept: to open one costs two or three times the latency


class RemoteAway(Exception):
    """The other cluster cannot be reached or cannot answer now. Neither this cluster nor a sample is at fault."""


class RemoteSlow(RemoteAway, TimeoutError):
    """The other cluster took a batch and has not answered in time: it is busy, or a sample of the batch never ends."""


class RemoteRefuses(SettingsError):
    """The other cluster is not set up for this one. The message says which setting to change in which cluster."""


class RemoteDetector:
    """A client of another cluster's API that a replica calls like a detector that is loaded here."""

    back_off_s = 0.2  # before the first repetition; doubled each time
    retries_for_s = 10.0  # then the caller decides how long to wait

    def __init__(self, name: str, config: DetectorConfig) -> None:
        import httpx

        assert config.remote is not None
        kind = detector_class(name)
        self.name = name
        self.remote = remote = config.remote
        self.example = kind.example
        self.path = f"/v1/detect/{name}/samples"
        self.client = httpx.Client(
            base_url=remote.url,
            verify=_authorities(name, remote.ca_file),
            params={"model": kind.version(config.there), "floor": config.floor, "wire": wire.VERSION},
            headers={"Content-Type": wire.SAMPLES_TYPE, **_authorization(name, remote.key_file)},
            limits=httpx.Limits(max_connections=remote.max_in_flight, keepalive_expiry=IDLE_S),
            trust_env=False,
        )

    def ask(self, samples: list[Sample]) -> DetectorResponse:
        """The other cluster's response: an answer for each sample, in order, and what they cost there.

        RemoteAway when that cluster does not answer for retries_for_s, RemoteSlow when it took the samples and did not
        answer in time, RemoteRefuses when an operator must change a setting, ValueError when it takes no such samples.
        """
        body = wire.pack_samples(samples)
        retrying = Retrying(
            retry=retry_if_exception_type(RemoteAway) & retry_if_not_exception_type(RemoteSlow),
            wait=wait_exponential(self.back_off_s) + wait_random(0, self.back_off_s),
            stop=stop_before_delay(self.retries_for_s),
            before_sleep=before_sleep_log(log, logging.INFO),
            reraise=True,
        )
        return retrying(self._post, body)

    def is_ready(self) -> bool | None:
        """Whether the other cluster reports this detector as ready. None: as busy, so that only a sample can tell.

        No sample is sent for it: one every few seconds would load its GPUs, and start detectors that are asleep.
        """
        answer = self._sent("GET", READY_PATH, READY_S)
        try:
            if not self.remote.key_file and not answer.json()["detectors"]:  # as to a probe, which names no detector
                raise RemoteRefuses(self._refused(401, "it names no detector without a key."))
            health = answer.json()["detectors"].get(self.name)
            state = DetectorState(health["state"]) if health else DetectorState.DOWN
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._check(answer)
            raise self._no_api(error) from None
        return None if state is DetectorState.BUSY else state.is_ready

    def _post(self, body: bytes) -> DetectorResponse:
        answer = self._sent("POST", self.path, self.remote.timeout_s, body)
        self._check(answer)
        try:
            return wire.unpack_response(answer.content)
        except wire.Malformed as error:
            raise self._no_api(error) from None

    def _sent(self, method: str, path: str, timeout_s: float, body: bytes | None = None) -> Any:
        import httpx

        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S)
        with timed(REMOTE_SECONDS, detector=self.name, outcome="away") as measured:
            try:
                answer = self.client.request(method, path, content=body, timeout=timeout, headers=correlation.headers())
            except (httpx.ReadTimeout, httpx.WriteTimeout):
                measured["outcome"] = "slow"
                raise RemoteSlow(f"{self._title} has not answered in {timeout_s:.0f} s") from None
            except httpx.RequestError as error:  # an answer that a proxy garbled, DecodingError, is one too
                raise RemoteAway(f"{self._title} cannot be reached: {type(error).__name__}: {error}") from None
            measured["outcome"] = _outcome(answer)
            return answer

    def _check(self, answer: Any) -> None:
        who = self._title
        if _is_away(answer):
            raise RemoteAway(f"{who} answers {answer.status_code}: {_error_text(answer)}")
        if answer.status_code in (413, 422):  # these samples are refused; others may be taken
            if answer.status_code == 422 and wire.VERSION_HEADER not in answer.headers:
                raise self._no_api(f"it answers {answer.status_code} to samples of version {wire.VERSION}")
            raise ValueError(f"{who} does not take it: {_error_text(answer)}")
        if not answer.is_success:
            raise RemoteRefuses(self._refused(answer.status_code, _error_text(answer)))

    @property
    def _title(self) -> str:
        return f"detector {self.name} of {self.remote.url}"

    def _no_api(self, reason: object) -> RemoteRefuses:
        return RemoteRefuses(
            f"detectors.{self.name}.remote.url: what answers at {self.remote.url} is no API of this version "
            f"({reason}). Correct the URL, or run the same version in both clusters."
        )

    def _refused(self, status: int, said: str) -> str:
        where, key = self.remote.url, f"detectors.{self.name}.remote"
        if status in (401, 403):
            return (
                f"{key}: {where} does not accept {'this key' if self.remote.key_file else 'requests without a key'} "
                f"({status}): {said} Correct {key}.key_file: it holds what `raysift keys add NAME --role reviewer` "
                "prints in that cluster."
            )
        if status == 409:
            return f"detectors.{self.name}: {where} says: {said}"
        return f"{key}.url: {where} answers {status}: {said}. Correct the URL, or what that cluster is set to."


def _is_away(answer: Any) -> bool:
    """Whether the other cluster cannot answer now."""
    # Serve's proxies answer 404 to every route while they start
    starts = answer.status_code == 404 and "/-/routes" in answer.text
    return starts or answer.status_code == 429 or answer.status_code >= 500


def _outcome(answer: Any) -> str:
    """The outcome of a request in the metrics. A cluster that reports a detector as not ready, by 503, has answered."""
    if answer.request.url.path == READY_PATH and answer.status_code == 503:
        return "answered"
    if _is_away(answer):
        return "away"
    return "answered" if answer.is_success else "refused"


def _authorization(name: str, file: Path | None) -> dict[str, str]:
    """The header with the key of a file. SettingsError if it cannot be read, without what stands in it."""
    if file is None:
        return {}
    try:
        token = tokens.parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"detectors.{name}.remote.key_file: {file} cannot be read ({type(error).__name__}). "
            "Put it on every node that the detector may run on."
        ) from None
    if token is None:
        raise SettingsError(f"detectors.{name}.remote.key_file: {file} holds no key, which begins with rs_.")
    return {"Authorization": f"Bearer {token}"}


def _authorities(name: str, file: Path | None) -> Any:
    """What a certificate is checked against."""
    try:
        return True if file is None else ssl.create_default_context(cafile=str(file))
    except OSError as error:  # SSLError is one
        raise SettingsError(
            f"detectors.{name}.remote.ca_file: {file} cannot be read as certificates ({type(error).__name__}). "
            "Put the PEM file of the authority on every node that the detector may run on."
        ) from None


def _error_text(answer: Any) -> str:
    """The reason in an error response: Raysift's from its JSON, or the beginning of a proxy's page."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return " ".join(answer.text.split())[:200] or "nothing more"
