"""Pictures for the watch list, with a decoder process and the embedded networks: uploads, and faces cut out."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from starlette.testclient import TestClient

from cluster.records import MediaItem, Result, Sample
from cluster.settings import Settings
from deployments.api.people.pictures import square
from deployments.api.people.watch_list import AROUND
from deployments.detectors.face import Face
from pipelines.detect.detecting import File, analyze
from pipelines.ledger.originals import Originals
from tests.commands.test_people_on_media import InProcess
from tests.deployments.detectors.test_contract import real
from tests.pipelines.decoder import shared_decoder
from tests.support.local_api import LocalApi


def portrait() -> Image.Image:
    return Image.fromarray(np.asarray(Face.example().pixels))


def jpeg(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    return sink.getvalue()


async def analyze_really(path: Path, name: str, wanted: frozenset[str], _: object, settings: Settings) -> Result:
    """As the application does it, with the detector in this process."""
    file = File(MediaItem(name, path.stat().st_size, ""), path, "0" * 64, wanted)
    detectors: Any = InProcess(real("face"))
    (result,) = await analyze([file], detectors, shared_decoder(), settings.decoding, stored=False)
    return result


@pytest.fixture
def client(running: LocalApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The real API with a decoder and the detector face."""
    monkeypatch.setattr(running.ingress, "originals", Originals(shared_decoder))
    monkeypatch.setattr(running.ingress, "analyze", analyze_really)
    monkeypatch.setattr(running.ingress, "detectors", SimpleNamespace(handles={}))
    with TestClient(running.app, headers=running.headers) as client:
        yield client
        client.delete("/v1/watch-list/people/Eileen")


def test_each_picture_is_accepted_or_refused_for_what_is_wrong_with_it(client: TestClient, running: LocalApi):
    whole = portrait()
    small, soft = whole.resize((140, 140)), whole.filter(ImageFilter.GaussianBlur(5))
    for content, reason in (
        (jpeg(small), "too small"),
        (jpeg(soft), "blurred"),
        (jpeg(whole.crop((0, 260, 120, 512))), "no face was found"),
        (jpeg(whole)[:300], ""),
        (b"%PDF-1.7", ""),
    ):
        answer = client.post("/v1/watch-list/people/Eileen", files={"file": ("a.jpg", content)})
        assert answer.status_code == 422 and reason in answer.json()["detail"], (reason, answer.text)
    gallery = running.ingress._gallery("people")
    assert gallery.references() == []
    accepted = client.post("/v1/watch-list/people/Eileen", files={"file": ("a.jpg", jpeg(whole))})
    assert accepted.json() == {"pictures": 1, "also": []}
    (stored,) = gallery.references()
    assert Image.open(io.BytesIO(gallery.read(stored))).size == whole.size and gallery.flaws() == []


def test_a_face_that_is_cut_out_with_what_is_around_it_is_the_same_person():
    (whole,) = real("face").detect([Sample(pixels=np.asarray(portrait()))])
    cut = square(portrait(), whole[0].box, AROUND)
    (again,) = real("face").detect([Sample(pixels=np.asarray(cut))])
    first, second = (np.asarray(found[0].vectors[0].values) for found in (whole, again))
    assert len(again) == 1 and np.linalg.norm(first - second) < 0.2
