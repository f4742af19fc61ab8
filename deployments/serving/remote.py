"""A detector that lives in another cluster: its samples go to that cluster's API, its answers come back."""

import logging
import random
import ssl
import time
from itertools import count
from pathlib import Path
from typing import Any

from cluster.api_types import DetectorState
from cluster.errors import SettingsError
from cluster.records import Sample
from deployments.detector import DetectorConfig, DetectorResponse, detector_class
from deployments.serving import wire

log = logging.getLogger(__name__)

CONNECT_S = 5.0
READY_S = 10.0  # an API says within 8 whether it is ready
IDLE_S = 60.0  # that an unused connection is kept: to open one costs two or three times the latency


class RemoteAway(Exception):
    """The other cluster cannot be reached, or cannot answer now: nobody's fault here, and no sample's."""


class RemoteSlow(RemoteAway, TimeoutError):
    """It took a batch and has not answered in time: it is busy, or a sample of the batch never ends."""


class RemoteRefuses(SettingsError):
    """The other cluster is not set up for this one: the sentence says what to set where."""


class RemoteDetector:
    """Asks another cluster's API about samples, as a replica asks a detector that is loaded here."""

    back_off_s = 0.2  # doubled every time
    retries_for_s = 10.0  # then whoever asks decides how long to wait

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
            auth=(remote.user, _password(name, remote.password_file)) if remote.password_file else None,
            verify=_authorities(name, remote.ca_file),
            params={"model": kind.version(config.there), "floor": config.floor},
            headers={"Content-Type": wire.MEDIA_TYPE},
            limits=httpx.Limits(max_connections=remote.max_in_flight, keepalive_expiry=IDLE_S),
            trust_env=False,
        )

    def ask(self, samples: list[Sample]) -> DetectorResponse:
        """An answer for each sample, in order, and what it cost there.

        RemoteAway when that cluster is not to be had for a while, RemoteRefuses when it must be set up otherwise.
        """
        body = wire.pack_samples(samples)
        if len(body) > wire.MOST_BYTES:  # said before it is sent; whoever asks tries them one by one
            raise ValueError(f"{len(body):,} bytes are more than an API takes at a time")
        began = time.monotonic()
        for attempt in count():
            try:
                return self._post(body)
            except RemoteAway as error:
                wait_s = self.back_off_s * 2**attempt * random.uniform(0.5, 1)
                slow, over = isinstance(error, RemoteSlow), time.monotonic() + wait_s - began > self.retries_for_s
                if slow or over:
                    raise
                log.info("%s, attempt %d", error, attempt + 1)
                time.sleep(wait_s)
        raise AssertionError

    def is_ready(self) -> bool | None:
        """Whether that cluster calls this detector ready. None: it calls it busy, so that only a sample can tell.

        That cluster gets no sample for it: one every few seconds would keep its cards, and wake detectors that sleep.
        """
        answer = self._sent("GET", "/v1/ready", READY_S)
        try:
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
            return wire.unpack_asked(answer.content)
        except wire.Malformed as error:
            raise self._no_api(error) from None

    def _sent(self, method: str, path: str, timeout_s: float, body: bytes | None = None) -> Any:
        import httpx

        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S)
        try:
            return self.client.request(method, path, content=body, timeout=timeout)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise RemoteSlow(f"{self._who} has not answered in {timeout_s:.0f} s") from None
        except httpx.RequestError as error:  # an answer that a proxy garbled, DecodingError, is one too
            raise RemoteAway(f"{self._who} cannot be reached: {type(error).__name__}: {error}") from None

    def _check(self, answer: Any) -> None:
        who = self._who
        # Serve's proxies know no route while they start
        starts = answer.status_code == 404 and "/-/routes" in answer.text
        if starts or answer.status_code == 429 or answer.status_code >= 500:
            raise RemoteAway(f"{who} answers {answer.status_code}: {_said(answer)}")
        if answer.status_code in (413, 422):  # of these samples alone: others may be taken
            raise ValueError(f"{who} does not take it: {_said(answer)}")
        if not answer.is_success:
            raise RemoteRefuses(self._refused(answer.status_code, _said(answer)))

    @property
    def _who(self) -> str:
        return f"detector {self.name} of {self.remote.url}"

    def _no_api(self, error: Exception) -> RemoteRefuses:
        return RemoteRefuses(
            f"detectors.{self.name}.remote.url: what answers at {self.remote.url} is no API of this version "
            f"({error}). Correct the URL, or run the same version in both clusters."
        )

    def _refused(self, status: int, said: str) -> str:
        where, key = self.remote.url, f"detectors.{self.name}.remote"
        if status in (401, 403):
            return (
                f"{key}: {where} does not let {self.remote.user or 'nobody'} in ({status}). "
                f"Correct {key}.user or what stands in its password_file."
            )
        if status == 409:
            return f"detectors.{self.name}: {where} says: {said}"
        return f"{key}.url: {where} answers {status}: {said}. Correct the URL, or what that cluster is set to."


def _password(name: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"detectors.{name}.remote.password_file: {file} cannot be read ({type(error).__name__}). "
            "Put it on every node that the detector may run on."
        ) from None


def _authorities(name: str, file: Path | None) -> Any:
    """What a certificate is checked against."""
    try:
        return True if file is None else ssl.create_default_context(cafile=str(file))
    except OSError as error:  # SSLError is one
        raise SettingsError(
            f"detectors.{name}.remote.ca_file: {file} cannot be read as certificates ({type(error).__name__}). "
            "Put the PEM file of the authority on every node that the detector may run on."
        ) from None


def _said(answer: Any) -> str:
    """The sentence in an answer that says no: ours in JSON, or the beginning of a proxy's page."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return " ".join(answer.text.split())[:200] or "nothing more"
