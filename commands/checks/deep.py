"""`raysift doctor --deep`: each detector analyses a file that is known to show something, uploaded as a user would."""

import io
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import httpx
import numpy as np
from PIL import Image

from cluster.access.rules import purpose_header
from cluster.records import SOUND_RATE_HZ, Sample
from cluster.settings import Settings
from commands.checks.check import Check
from commands.terminal import authorization
from deployments.detector import detector_class, names

PURPOSE = "raysift doctor --deep"  # uploads that may show a face need one, and are in the audit log
DETECTOR_S = 180.0  # for the answer of a detector, which may have to load its models first
SHOWN = 3  # labels


def deep(settings: Settings, client: httpx.Client, update: Callable[[str], object]) -> Iterator[Check]:
    """A check of each detector that the API has: what it found in its own example, and in how many milliseconds.

    `update` is called with what is waited for.
    """
    url, headers = settings.api.url, authorization(settings) | purpose_header(PURPOSE)
    try:
        answer = client.get(f"{url}/v1/detectors", headers=headers)
    except httpx.TransportError as error:
        nobody = f"nothing answers at {url} ({type(error).__name__}). Start it: `raysift up`"
        yield Check("examples", "fails", nobody)
        return
    if not answer.is_success:
        yield Check("examples", "fails", _refusal(answer))
        return
    for name in (detector["name"] for detector in answer.json()):
        update(f"waiting for {name}")
        yield _found(name, url, headers, client)


def example_file(sample: Sample) -> tuple[str, bytes]:
    """A file, as name and content, that decodes to this sample: a PNG, a WAV, or a mail with the text."""
    content = io.BytesIO()
    if sample.pixels is not None:
        Image.fromarray(sample.pixels).save(content, "PNG")
        return "example.png", content.getvalue()
    if sample.sound is not None:
        with wave.open(content, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(SOUND_RATE_HZ)
            sound.writeframes((np.clip(sample.sound, -1, 1) * 32767).astype("<i2").tobytes())
        return "example.wav", content.getvalue()
    mail = EmailMessage()
    mail["From"] = mail["To"] = "raysift@localhost"
    mail["Subject"] = "example"
    mail.set_content(sample.text or "")
    return "example.eml", mail.as_bytes()


def _found(name: str, url: str, headers: dict[str, str], client: httpx.Client) -> Check:
    what = f"example {name}"
    if name not in names():
        return Check(what, "note", "this version of Raysift does not know it: run the API's own")
    file = example_file(detector_class(name).example())
    began = time.monotonic()
    try:
        answer = client.post(f"{url}/v1/detect/{name}", files={"file": file}, headers=headers, timeout=DETECTOR_S)
    except httpx.TransportError as error:
        late = f"no answer in {time.monotonic() - began:.0f} s ({type(error).__name__})"
        return Check(what, "fails", f"{late}. See `raysift status`, and the log of its replica.")
    took_ms = (time.monotonic() - began) * 1000
    if not answer.is_success:
        return Check(what, "fails", _refusal(answer))
    labels = Counter(found["label"] for found in answer.json()["detections"] if found["detector"] == name)
    if not labels:
        missing = "it finds nothing in its own example: its model is not what it should be, see `raysift models list`"
        return Check(what, "fails", f"{missing}; {took_ms:,.0f} ms")
    shown = ", ".join(label if count == 1 else f"{label} ({count})" for label, count in labels.most_common(SHOWN))
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return Check(what, "ok", f"found {shown}{more} in {took_ms:,.0f} ms")


def _refusal(answer: httpx.Response) -> str:
    """The API's own sentence; of a proxy's page, which has none, its status."""
    try:
        return f"{answer.status_code}: {answer.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the API answers {answer.status_code}"
