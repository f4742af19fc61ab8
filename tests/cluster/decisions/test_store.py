"""Decisions: who decides last must have seen what was decided before; nothing is lost; locks end."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.access.identity import Identity
from cluster.decisions.api_types import Decision, DecisionQuery, NewDecision
from cluster.decisions.entries import Conflict, MediaFile
from cluster.decisions.rules import ReviewRules
from cluster.decisions.store import DecisionStore
from cluster.errors import SettingsError
from cluster.records import asset_id

ANN, BOB = Identity("Ann", "reviewer", id="a" * 12), Identity("Bob", "reviewer", id="b" * 12)


def file(name: str, parent: str | None = None) -> MediaFile:
    uri = f"s3://b/{name}"
    return MediaFile(asset_id(uri), uri, parent, {"nsfw": "m1"})


FILM = file("case-1/film.mp4")


@pytest.fixture
def store(tmp_path):
    store = DecisionStore(tmp_path / "decisions.sqlite")
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch):
    """The time that the store sees: `clock[0]` seconds."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("cluster.decisions.store.time.time", lambda: now[0])
    return now


def decide(store, who, label, version, of=FILM, **more):
    (outcome,) = store.decide([(of, NewDecision(version=version, label=label, **more))], who)
    return outcome


def labels(store, of=FILM):
    return [decision.label for decision in store.history(of.asset)]


def test_a_decision_says_who_when_what_and_with_which_models(store, clock):
    decide(store, ANN, "relevant", 0, tags=("weapon", "weapon", " car "), note="at 0:12")
    assert store.history(FILM.asset) == [
        Decision(
            asset=FILM.asset,
            uri=FILM.uri,
            version=1,
            label="relevant",
            tags=("weapon", "car"),
            note="at 0:12",
            who="Ann",
            at="2027-01-15T08:00:00.000Z",
            models={"nsfw": "m1"},
            undo=False,
        )
    ]


def test_who_has_not_seen_the_present_decision_changes_nothing_and_gets_it(store):
    decide(store, ANN, "relevant", 0)
    outcome = decide(store, BOB, "not relevant", 0)
    assert isinstance(outcome, Conflict) and outcome.present.who == "Ann"
    assert labels(store) == ["relevant"]
    assert decide(store, BOB, "not relevant", 1).version == 2
    assert isinstance(decide(store, BOB, "unsure", 3), Conflict)
    assert labels(store) == ["not relevant", "relevant"]


def test_of_two_reviewers_who_decide_at_the_same_time_neither_overwrites_the_other(tmp_path):
    stores = [DecisionStore(tmp_path / "decisions.sqlite") for _ in range(2)]  # as two processes have it
    rounds = range(40)

    def decide_all(at):
        won = []
        for version in rounds:
            outcome = decide(stores[at], (ANN, BOB)[at], "relevant", version)
            if isinstance(outcome, Decision):
                won.append(outcome.version)
        return won

    with ThreadPoolExecutor(4) as pool:
        won = [*pool.map(decide_all, (0, 1, 0, 1))]
    versions = [decision.version for decision in stores[0].history(FILM.asset)]
    assert versions == sorted(versions, reverse=True) and len(set(versions)) == len(versions)
    assert sorted(version for of_one in won for version in of_one) == versions[::-1]  # each success is in the history
    for store in stores:
        store.close()


def test_an_undo_restores_the_decision_before_and_keeps_both(store):
    decide(store, ANN, "relevant", 0, note="first", tags=("car",))
    decide(store, BOB, "unsure", 1)
    restored = store.undo(FILM.asset, 2, BOB)
    assert (restored.label, restored.note, restored.tags, restored.who) == ("relevant", "first", ("car",), "Bob")
    assert restored.undo and restored.version == 3
    assert labels(store) == ["relevant", "unsure", "relevant"]
    held = store.present([FILM.asset])[FILM.asset]
    assert (held.who, held.note, held.version, held.undo) == ("Ann", "first", 3, False)  # it is Ann's again
    assert store.page(DecisionQuery(who=("Ann",)))[0] == [held] and store.page(DecisionQuery(who=("Bob",)))[0] == []
    assert store.undo(FILM.asset, 3, ANN).label is None
    assert store.undo(FILM.asset, 4, ANN) is None
    assert store.present([FILM.asset]) == {}
    assert isinstance(store.undo(FILM.asset, 1, ANN), Conflict)
    assert decide(store, ANN, "unsure", 4).version == 5
    assert store.undo(FILM.asset, 5, ANN).label is None


def test_opinions_are_what_each_reviewer_decided_last_and_did_not_take_back(store):
    decide(store, ANN, "relevant", 0)
    decide(store, BOB, "unsure", 1)
    decide(store, BOB, "not relevant", 2)

    def shown():
        return [(opinion.who, opinion.label) for opinion in store.opinions()[FILM.asset]]

    assert shown() == [("Ann", "relevant"), ("Bob", "not relevant")]
    store.undo(FILM.asset, 3, BOB)
    assert shown() == [("Ann", "relevant"), ("Bob", "unsure")]
    store.undo(FILM.asset, 4, ANN)
    assert shown() == [("Ann", "relevant")]


def test_pages_of_decisions_have_each_once_newest_first(store):
    for n in range(7):
        decide(store, (ANN, BOB)[n % 2], "relevant", 0, file(f"case-{n % 3}/{n}.jpg"), tags=(f"t{n}",))
    seen, after = [], None
    while True:
        items, after = store.page(DecisionQuery(size=3, after=after))
        seen += [decision.uri[-5:] for decision in items]
        if after is None:
            break
    assert seen == [f"{n}.jpg" for n in range(6, -1, -1)]
    assert len(store.page(DecisionQuery(who=("Ann",)))[0]) == 4
    assert [decision.tags for decision in store.page(DecisionQuery(tag=("t3", "t5")))[0]] == [("t5",), ("t3",)]


def test_the_list_has_present_decisions_and_with_history_all(store):
    decide(store, ANN, "relevant", 0)
    decide(store, ANN, "unsure", 1)
    store.undo(FILM.asset, 2, ANN)
    store.undo(FILM.asset, 3, ANN)
    assert store.page(DecisionQuery())[0] == []
    assert [decision.version for decision in store.page(DecisionQuery(history=True))[0]] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("prefixes", "seen"),
    [((), 0), (("s3://b/case-1",), 1), (("s3://b/x.zip",), 1), (("s3://b",), 3), (("s3://b/%",), 0)],
)
def test_a_limited_caller_sees_the_decisions_on_own_files(store, prefixes, seen):
    for of in (FILM, file("case-10/a.jpg"), file("x.zip!in/a.jpg", "s3://b/x.zip")):
        decide(store, ANN, "relevant", 0, of)
    assert len(store.page(DecisionQuery(), prefixes)[0]) == seen
    assert store.decided_since(0, ANN.owner, prefixes) == (seen, seen)


def test_a_file_is_locked_for_one_reviewer_until_the_lock_expires(store, clock):
    ids = [file(f"{n}.jpg").asset for n in range(2)]
    assert store.lock_one(ids, ANN.owner, 60) == (ids[0], clock[0] + 60)
    assert store.lock_one(ids, ANN.owner, 60)[0] == ids[0]  # the own one again, as after a reload
    assert store.lock_one(ids, BOB.owner, 60)[0] == ids[1]
    assert store.lock_one(ids[:1], BOB.owner, 60) is None
    assert store.locked(BOB.owner) == {ids[0]} and store.locked(ANN.owner) == {ids[1]}
    clock[0] += 61
    assert store.locked(BOB.owner) == set()
    assert store.lock_one(ids[:1], BOB.owner, 60)[0] == ids[0]


def test_a_lock_ends_when_the_file_is_decided_or_left(store):
    store.lock_one([FILM.asset], ANN.owner, 60)
    store.unlock(FILM.asset, BOB.owner)  # it is not Bob's
    assert store.locked(BOB.owner) == {FILM.asset}
    decide(store, ANN, "relevant", 0)
    assert store.locked(BOB.owner) == set()
    store.lock_one([FILM.asset], ANN.owner, 60)
    store.unlock(FILM.asset, ANN.owner)
    assert store.locked(BOB.owner) == set()


def test_no_byte_of_an_erased_file_or_of_a_note_that_names_it_stays(tmp_path, store):
    kept = file("kept.jpg")
    decide(store, ANN, "relevant", 0, note="seen at the harbour")
    decide(store, ANN, "relevant", 0, kept, note="like film.mp4, with José", tags=("José",))
    decide(store, BOB, "unsure", 1, kept, note="nothing of that")
    assert store.erase(lambda uri: uri == FILM.uri, lambda text: "film.mp4" in text or "José" in text) == 2
    assert [decision.note for decision in store.history(kept.asset)] == ["nothing of that", "[erased]"]
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert b"film.mp4" not in content and b"harbour" not in content and "José".encode() not in content


def test_the_file_is_its_owners_and_a_broken_one_is_named(tmp_path, store):
    assert stat.S_IMODE((tmp_path / "decisions.sqlite").stat().st_mode) == 0o600
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(SettingsError, match=r"broken\.sqlite does not open"):
        DecisionStore(tmp_path / "broken.sqlite")


@pytest.mark.parametrize("labels", [{}, {"none": True}, {" a": True}, {"": None}, {str(n): None for n in range(11)}])
def test_labels_that_cannot_be_shown_or_chosen_are_refused(labels):
    with pytest.raises(ValueError, match="label"):
        ReviewRules(labels=labels)
