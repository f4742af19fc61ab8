"""`raysift erase --person`: the hits, vectors, thumbnails and photos of one person."""

import pytest
from PIL import Image

from cluster.people.store import FaceStore
from cluster.records import asset_id
from commands.erasure import planning
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import Photo, Rejections, WatchList
from tests.commands.erasure.commands import content, proof, run, words
from tests.support.machine import ANN, BOX, FACE, GONE, IMAGE, MODEL, OTHER, STAYS, as_bytes, picture, stored_row
from tests.support.stored import commit, found

READ = "s3://bucket/case-9/other.jpg"


@pytest.fixture
def enrolled(machine, tmp_path, monkeypatch):
    """Ann is enrolled with the face of GONE, was named in it, was rejected once, and her name was read in OTHER."""
    Image.new("RGB", (20, 20)).save(tmp_path / "ann.png")
    gallery = Gallery(f"{machine.settings.galleries}/face")
    gallery.add(ANN, tmp_path / "ann.png")
    Rejections(gallery.uri).add(ANN, FACE[OTHER], MODEL)
    hit = found("face", ANN, 0.9, MODEL, box=BOX)
    text = found("ocr", "text", 0.9, text=f"{ANN} was here")
    commit(machine.results, "5.parquet", stored_row(GONE, hit, minutes=90), stored_row(OTHER, text, minutes=90))
    watch = WatchList([Photo(ANN, "ann.png", FACE[GONE])], {}, 0.5)
    monkeypatch.setattr(planning, "watch_list", lambda config, settings: watch)
    return machine


def test_an_erased_person_is_in_no_store_and_other_faces_stay(enrolled):
    done = run("erase", "--person", ANN, "--yes")
    assert done.exit_code == 0, done.exception
    face = as_bytes(FACE[GONE])
    assert enrolled.holding(face[:64], face[-64:], picture(0)[200:300]) == []
    assert enrolled.holding(ANN.encode()) == ["results/5.parquet"], "the text that was read stays, as is said"
    assert "1 files have the name in their address or in a text that was read or heard" in words(done)
    assert asset_id(OTHER) in words(done) and "the name stays in 1 texts" in words(done)
    assert len(enrolled.holding(as_bytes(IMAGE[GONE])[:64])) == 3, "what else was found in the file stays"
    assert enrolled.holding(as_bytes(FACE[STAYS])[:64]) and enrolled.holding(picture(1)[200:300])
    assert not (enrolled.place / "galleries" / "face" / ANN).exists()
    assert Gallery(f"{enrolled.settings.galleries}/face").references() == []
    facts = proof(enrolled)
    assert facts["traces"] == 0 and facts["assets"] == [] and facts["selected_by"] == "person"
    assert ANN not in str(facts) and ANN not in (enrolled.state / "audit.jsonl").read_text()


def test_a_person_whom_only_reviewers_have_named_is_erased(machine):
    done = run("erase", "--person", ANN, "--yes")
    assert done.exit_code == 0, done.exception
    assert machine.holding(as_bytes(FACE[GONE])[:64], picture(0)[200:300]) == []
    store = FaceStore(machine.state / "faces.sqlite")
    assert [(entry.label, entry.tags) for entry in store.latest().values()] == [("#1f2e3d4c5b6a", ())]
    store.close()
    assert ANN.encode() not in (machine.state / "faces.sqlite").read_bytes()


def test_decisions_on_faces_of_an_erased_file_are_gone(machine):
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    store = FaceStore(machine.state / "faces.sqlite")
    assert [entry.tags for entry in store.latest().values()] == [(ANN,)]
    store.close()


def test_pictures_of_enrolled_people_that_were_cut_out_of_an_erased_file_are_gone(machine):
    gallery = Gallery(f"{machine.settings.galleries}/face")
    for n, uri in enumerate((GONE, STAYS)):
        gallery.add_contents(ANN, [(".png", picture(n))], asset_id(uri))
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    (left,) = gallery.references()
    gallery.discard([asset_id(STAYS)])
    assert gallery.references() == [], left


def test_a_person_who_is_neither_enrolled_nor_found_is_not_erased(enrolled):
    before = content(enrolled.place)
    assert "nothing of it is stored" in words(run("erase", "--person", "Eve", "--yes"))
    after = content(enrolled.place)
    assert {file for file in before if before[file] != after.get(file) and "sqlite" not in file.name} == set()


def test_a_hold_on_a_file_that_shows_the_person_forbids_it(enrolled):
    assert run("hold", "add", "--asset", GONE, "--reason", "case 7").exit_code == 0
    refused = run("erase", "--person", ANN, "--yes")
    assert "a legal hold forbids it" in str(refused.exception) and "case 7 (1 files)" in str(refused.exception)
    assert enrolled.holding(as_bytes(FACE[GONE])[:64])
