"""People, with the embedded networks: enrolled, named in earlier results, rejected, removed again."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.access.identity import Identity
from cluster.people.api_types import PeopleQuery
from cluster.records import MediaItem, ModelVersion
from cluster.results.codec import to_row
from cluster.settings import Decoding
from deployments.catalog.catalog import Catalog
from deployments.detector import DetectorResponse
from deployments.detectors.face import Face, FaceConfig
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import Rejections
from pipelines.detect.detecting import File, analyze
from pipelines.media.pool import Decoder
from pipelines.people import match, purge
from tests.deployments.detectors.test_contract import MEDIA, on_media, real
from tests.support.fakes.vectors import MemoryVectors
from tests.support.stored import commit

pytestmark = on_media

OBAMA = "Barack Obama"
WITH_HIM = {"obama_2.jpg", "pair_obama_biden.jpg", "composite_news_en.mp4"}
WITHOUT = {"biden_1.jpg", "hopper_1.jpg", "collins_astronaut.png"}
MODEL = Face.version(FaceConfig())


class InProcess:
    """The detector face, without Serve."""

    model_versions = {"face": ModelVersion("face", MODEL, FaceConfig().floor)}  # noqa: RUF012

    def __init__(self, face):
        self.face = face

    def taking(self, modality):
        return {"face"} if modality == "image" else set()

    async def ask(self, names, samples):
        return {"face": DetectorResponse(self.face.detect(samples), 0.0, 0.0)}


def face(gallery):
    return Face(FaceConfig(gallery=gallery.uri), infer=real("face").infer)


def scan(gallery, out):
    paths = [next(MEDIA.glob(f"*/{name}")) for name in sorted(WITH_HIM | WITHOUT)]
    items = [MediaItem(path.as_uri(), path.stat().st_size, "e1") for path in paths]
    files = [File(item, path, None, frozenset(["face"])) for item, path in zip(items, paths, strict=True)]
    with Decoder() as decoder:
        results = asyncio.run(analyze(files, InProcess(face(gallery)), decoder, Decoding()))
    commit(out, "1.parquet", *(to_row(result, n, "job", 0) for n, result in enumerate(results)))
    return str(out)


def found(out):
    """Name of the file -> hits of the newest answers."""
    return {
        answer.row["uri"].rsplit("/", 1)[-1]: [one for one in answer.found if one.detection.label != "face"]
        for answer in match.current(out)
    }


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return Gallery(str(tmp_path_factory.mktemp("galleries") / "face"))


@pytest.fixture(scope="module")
def before(gallery, tmp_path_factory):
    """The results of a scan before anybody was enrolled."""
    return scan(gallery, tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def named(gallery, before):
    """The same results, matched after he was enrolled with another photo."""
    assert not any(found(before).values())
    gallery.add(OBAMA, MEDIA / "faces" / "obama_1.jpg")
    match.match(before, face(gallery).enrolled.watch_list(), MODEL)
    return before


def test_an_enrolled_person_is_named_once_in_his_files_and_in_no_other(named):
    hits = found(named)
    assert {name for name, of in hits.items() if of} == WITH_HIM
    for name in ("obama_2.jpg", "pair_obama_biden.jpg"):
        (hit,) = hits[name]
        assert hit.detection.label == OBAMA and hit.detection.score > 0.5
        assert hit.detection.evidence.startswith("distance 0.3")
    times = [hit.detection.time_s for hit in hits["composite_news_en.mp4"]]
    assert len(times) == len(set(times)) >= 4 and max(times) < 4.5  # he is in its first 4 s


def test_a_match_gives_the_same_hits_as_a_new_scan(named, gallery, tmp_path):
    def results(out):
        return {
            name: [(replace(finding.detection, score=0, vectors=()), finding.propagated) for finding in findings]
            for name, findings in found(out).items()
        }

    assert results(scan(gallery, tmp_path)) == results(named)


def test_unknown_faces_of_one_person_are_a_group(tmp_path):
    rows = [
        {**row, "uri": f"s3://b/{n}", "unit_id": n}
        for n, name in enumerate(("obama_1.jpg", "obama_2.jpg", "pair_obama_biden.jpg", "hopper_1.jpg"))
        for row in [scanned(name)]
    ]
    vectors = MemoryVectors()
    vectors.add(rows)
    catalog = Catalog(":memory:", vectors=vectors)
    catalog.load(commit(tmp_path, "1.parquet", *rows))
    page = catalog.people(PeopleQuery(), FaceConfig().distance, None, Identity("Ann", "viewer"))
    assert [(group.faces, group.files) for group in page.groups] == [(3, 3)]
    assert {face.uri for face in page.groups[0].samples} == {f"s3://b/{n}" for n in range(3)}
    assert page.alone == 2  # Biden beside him, and Hopper
    catalog.close()


def scanned(name):
    path = MEDIA / "faces" / name
    file = File(MediaItem(path.as_uri(), 1, "e1"), path, None, frozenset(["face"]))
    with Decoder() as decoder:
        (result,) = asyncio.run(analyze([file], InProcess(real("face")), decoder, Decoding()))
    return to_row(result, 0, "job", 0)


def test_a_rejected_face_loses_the_name_and_a_purge_removes_the_person(named, gallery):
    (pair,) = (answer for answer in match.current(named, None, lambda uri: "pair_" in uri))
    (wrong,) = match.of(OBAMA, pair.found)
    Rejections(gallery.uri).add(OBAMA, wrong.detection.vectors[0].values, MODEL)
    match.match(named, face(gallery).enrolled.watch_list(), MODEL)
    assert {name for name, of in found(named).items() if of} == WITH_HIM - {"pair_obama_biden.jpg"}

    person = purge.find(OBAMA, named, face(gallery).enrolled.watch_list(), MODEL)
    done = purge.remove(OBAMA, named, person.vectors)
    assert done.hits and done.faces and purge.left(OBAMA, named, person.vectors) == 0
    assert not any(found(named).values())
    for answer in match.current(named):
        for one in answer.found:
            assert not one.detection.vectors or "obama_2" not in answer.row["uri"]
    assert not [file.name for file in Path(named).iterdir() if OBAMA.encode() in file.read_bytes()]
