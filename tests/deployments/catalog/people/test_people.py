"""Groups of faces and their corrections, over a catalogue that is filled meanwhile."""

from pathlib import Path

import pytest

from cluster.access.audit import Audit
from cluster.errors import SettingsError
from cluster.people.api_types import Corrected, GroupQuery
from cluster.people.store import FaceChanged
from cluster.records import asset_id
from deployments.catalog.people import compared
from deployments.catalog.people.grouping import grouped
from tests.deployments.catalog.people.conftest import ANN, BOB, BOX, DISTANCE, LIMITED, People, face, uri
from tests.support.stored import found, row


def test_groups_are_sorted_by_their_faces_and_the_others_are_counted(people: People):
    page = people.page()
    assert [(group.name, group.faces, group.files) for group in page.groups] == [(None, 7, 7), (None, 3, 3)]
    assert (page.total, page.faces, page.alone, page.unclear, page.no_faces) == (2, 10, 1, 0, 0)
    assert len({sample.uri for sample in page.groups[0].samples}) == 4


def test_a_face_without_a_vector_is_unclear_and_in_no_group(people: People):
    poor = found("face", "face", 0.92, box=BOX, evidence="no vector: too small (24 px, 40 needed)")
    people.load(row("s3://b/case-1/poor.jpg", poor))
    assert (people.page().unclear, people.page().faces) == (1, 10)


def test_a_vector_of_an_earlier_answer_is_not_taken(people: People):
    people.vectors.add([row(uri(8), face(2), unit=8, minutes=1)])  # of a row that is not in the catalogue yet
    people.load(row("s3://b/case-1/other.jpg", unit=20))
    assert (people.groups(), people.page().unclear) == ([(None, 6), (None, 3)], 1)


def test_who_is_seen_in_some_frames_of_one_film_is_a_group_with_times(people: People):
    frames = [face(9, time_s=t) for t in (1.0, 2.0, 3.0, 40.0)]
    people.load(row("s3://b/case-1/film.mp4", *frames, kind="video", duration_s=60.0))
    (group,) = (group for group in people.page().groups if group.files == 1)
    shown = people.catalog.face_group(group.face, GroupQuery(), DISTANCE, None, ANN)
    assert [(one.faces, one.spans) for one in shown.appearances] == [(4, ((1.0, 3.0), (40.0, 40.0)))]


def test_a_named_group_keeps_its_name_and_takes_in_new_faces(people: People):
    assert people.name(people.group(0), "Ann Example").faces == 7
    assert people.groups() == [("Ann Example", 7), (None, 3)]
    people.load(row("s3://b/case-1/new.jpg", face(1, 2)))
    assert people.groups() == [("Ann Example", 8), (None, 3)]
    assert [group.name for group in people.page(name="ann ex").groups] == ["Ann Example"]
    assert people.page(name="nobody").groups == ()


def test_a_false_face_is_in_no_group_and_in_no_count(people: People):
    group = people.group(1)
    false = people.faces(group)[0]
    people.reject(group, false.id, reason="face")
    page = people.page()
    assert [(group.faces, group.files) for group in page.groups] == [(7, 7), (2, 2)]
    assert (page.faces, page.no_faces) == (9, 1)
    assert false.id not in {one.id for group in page.groups for one in people.faces(group)}
    people.load(row("s3://b/case-1/new.jpg", face(2, 3)))
    assert [count for _, count in people.groups()] == [7, 3]


def test_a_group_that_was_split_stays_split_when_faces_are_grouped_again(people: People):
    group = people.group(0)
    others = [one.id for one in people.faces(group)[:3]]
    people.split(group, *others)
    assert people.groups() == [(None, 4), (None, 3), (None, 3)]
    people.load(*(row(f"s3://b/case-1/new-{n}.jpg", face(1, n)) for n in range(4)))
    split = [{one.id for one in people.faces(group)} for group in people.page().groups]
    assert sum(len(faces) for faces in split) == 14
    assert sum(set(others) <= faces for faces in split) == 1
    assert not any(set(others) & faces and len(set(others) & faces) < 3 for faces in split)
    assert len(people.page().groups) == 3


def test_all_faces_of_a_group_cannot_be_split_off(people: People):
    group = people.group(1)
    with pytest.raises(SettingsError, match="all faces of the group"):
        people.split(group, *(one.id for one in people.faces(group)))


def test_a_face_that_is_not_this_person_never_comes_back_under_any_of_its_names(people: People):
    group = people.group(0)
    stranger = people.faces(group)[2].id
    people.reject(group, stranger)
    assert [count for _, count in people.groups()] == [6, 3]
    people.name(people.group(0), "Ann")
    people.load(row("s3://b/case-1/new.jpg", face(1)))
    assert people.groups() == [("Ann", 7), (None, 3)]
    people.name(people.group(0), "Bea")
    people.load(row("s3://b/case-1/newer.jpg", face(1)))
    assert people.groups() == [("Bea", 8), (None, 3)]
    assert people.page().alone == 2


def test_merged_groups_stay_one_with_the_name_that_one_of_them_had(people: People):
    people.name(people.group(1), "Carl")
    people.merge(people.group(0), people.group(1))
    assert people.groups() == [("Carl", 10)]
    people.load(row("s3://b/case-1/new.jpg", face(1)), row("s3://b/case-1/newer.jpg", face(2)))
    assert people.groups() == [("Carl", 12)]


def test_a_name_that_another_group_has_makes_them_one(people: People):
    people.name(people.group(0), "Ann")
    people.name(people.group(1), "Ann")
    assert people.groups() == [("Ann", 10)]


def test_an_undo_restores_what_was_before_and_the_last_correction_is_shown(people: People):
    assert people.page().last is None
    people.name(people.group(0), "Ann")
    merged = people.merge(people.group(0), people.group(1))
    last = people.page().last
    assert (last.correction, last.what, last.who) == (merged.correction, "merged", "Ann")
    assert people.undo(merged).faces == merged.faces
    assert people.groups() == [("Ann", 7), (None, 3)]
    named = people.page().last
    assert named.what == "named"
    people.undo(named)
    assert (people.groups(), people.page().last) == ([(None, 7), (None, 3)], None)
    assert people.undo(named).who == "Ann"  # it is taken back already


def test_of_two_reviewers_the_later_one_changes_nothing_and_hears_who_was_first(people: People):
    seen = people.group(0)
    assert isinstance(people.name(seen, "Ann", ANN), Corrected)
    assert people.name(seen, "Bob", BOB) == FaceChanged("Ann")
    assert people.merge(people.group(1), seen, BOB) == FaceChanged("Ann")
    assert people.groups() == [("Ann", 7), (None, 3)]
    chosen = people.group(0)
    away = people.faces(chosen)[0].id
    people.split(chosen, away, who=ANN)
    assert people.reject(chosen, away, reason="face", who=BOB) == FaceChanged("Ann")
    assert people.page().no_faces == 0


def test_a_correction_is_not_taken_back_over_somebody_elses(people: People):
    named = people.name(people.group(0), "Ann", ANN)
    people.name(people.group(0), "Bea", BOB)
    assert people.undo(named, ANN) == FaceChanged("Bob")
    assert people.page(ANN).last is None
    assert people.groups()[0] == ("Bea", 7)


def test_who_sees_one_case_sees_its_faces_only_and_changes_nothing_else(people: People):
    of_all = people.name(people.group(0), "Ann")
    assert people.groups(LIMITED) == [("Ann", 3)]
    elsewhere = people.group(1)
    assert people.name(elsewhere, "Eve", LIMITED) is None
    assert people.undo(of_all, LIMITED) is None
    assert people.merge(people.group(0, LIMITED), elsewhere, LIMITED) is None
    own = people.group(0, LIMITED)
    other = next(one.id for one in people.faces(people.group(0)) if "case-1" in one.uri)
    assert isinstance(people.reject(own, other, who=LIMITED), FaceChanged)
    people.name(own, "Eve", LIMITED)
    assert people.groups(LIMITED) == [("Eve", 3)]
    assert set(people.groups()) == {("Ann", 4), (None, 3), ("Eve", 3)}


def test_names_of_files_that_a_caller_does_not_see_are_not_shown(people: People):
    group = people.group(1)  # in case 1 only
    people.name(group, "Secret")
    page = people.page(LIMITED)
    assert (page.faces, page.alone, page.last) == (3, 0, None) and "Secret" not in page.model_dump_json()


def test_decisions_hold_when_another_model_finds_the_face_in_a_box_that_is_a_little_different(people: People):
    group = people.group(1)
    false = next(one for one in people.faces(group) if one.uri == uri(4))
    people.reject(group, false.id, reason="face")
    people.load(row(uri(4), face(2, 1, "m2", box=(0.11, 0.1, 0.31, 0.4)), unit=1, minutes=1))
    assert people.page().no_faces == 1
    people.load(row(uri(4), face(2, 1, "m2", box=(0.5, 0.5, 0.7, 0.8)), unit=1, minutes=2))
    assert people.page().no_faces == 0


def test_enrolled_people_are_groups_of_their_names_and_a_wrong_hit_leaves_them(people: People):
    hit = found("face", "Dora", 0.8, box=BOX)
    people.load(*(row(f"s3://b/case-1/dora-{n}.jpg", face(20 + 5 * n), hit) for n in range(2)))
    group = next(group for group in people.page().groups if group.name == "Dora")
    assert (group.faces, group.enrolled) == (2, True)
    wrong = people.faces(group)[0].id
    people.reject(group, wrong)
    assert ("Dora", 1) in people.groups() and asset_id("s3://b/case-1/dora-0.jpg") in wrong


def test_a_correction_that_changes_nothing_is_refused(people: People):
    people.name(people.group(0), "Ann")
    with pytest.raises(SettingsError, match="so already"):
        people.name(people.group(0), "Ann")


def test_purged_hits_take_the_compared_faces_with_them(people: People):
    people.page()
    people.vectors._records.clear()
    people.catalog.forget("face", "Nobody")
    page = people.page()
    assert (page.groups, page.unclear) == ((), 11)


def test_groups_are_made_once_for_all_who_ask_until_somebody_decides(people: People, monkeypatch: pytest.MonkeyPatch):
    made = []
    monkeypatch.setattr(compared, "grouped", lambda *given: made.append(given) or grouped(*given))
    seen = [people.page(), people.page(BOB), people.page(name="ann")]
    assert (len(made), [len(page.groups) for page in seen]) == (1, [2, 2, 0])
    people.name(people.group(0), "Ann")
    assert people.groups() == people.groups(BOB) == [("Ann", 7), (None, 3)]
    assert len(made) == 2


def test_a_new_face_belongs_to_the_nearest_of_several_people_in_its_cluster(people: People):
    group = people.group(0)
    alike = [one.id for one in people.faces(group) if one.uri in (uri(0), uri(8))]  # their vectors are equal
    people.split(group, *alike)
    people.load(*(row(f"s3://b/case-1/new-{n}.jpg", face(1, n), unit=30 + n) for n in range(4)))
    (split,) = (group for group in people.page().groups if group.faces == 3 and group.version)
    assert {one.uri for one in people.faces(split)} == {uri(0), uri(8), "s3://b/case-1/new-0.jpg"}


def test_what_cannot_be_recorded_is_not_corrected_and_not_taken_back(people: People, tmp_path: Path):
    named = people.name(people.group(0), "Ann")
    (record,) = Audit(tmp_path / "state").records()
    assert (record["what"], record["name"]) == ("group of faces named", "Ann")
    assert (record["correction"], record["faces"]) == (named.correction, named.faces)
    log = tmp_path / "state" / "audit.jsonl"
    log.unlink()
    log.mkdir()  # no line can be appended
    for change in (
        lambda: people.name(people.group(0), "Bea"),
        lambda: people.merge(people.group(0), people.group(1)),
        lambda: people.split(people.group(0), people.faces(people.group(0))[0].id),
        lambda: people.reject(people.group(0), people.faces(people.group(0))[0].id),
        lambda: people.undo(named),
    ):
        with pytest.raises(OSError):
            change()
    assert people.groups() == [("Ann", 7), (None, 3)]
    assert people.page().last.correction == named.correction
