"""Queues of files to review, and the filters of decisions, on a catalogue that is being filled."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.api_queries import AssetFilter, AssetQuery
from cluster.decisions.api_types import AssetDecision, Decision, NextReview, ReviewQueue
from cluster.decisions.entries import Conflict
from cluster.decisions.rules import ReviewRules
from cluster.records import asset_id
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row

ANN, BOB = Identity("Ann", "reviewer", id="a" * 12), Identity("Bob", "reviewer", id="b" * 12)
LIMITED = Identity("Eve", "reviewer", ("s3://b/case-2",), id="e" * 12)
RULES = ReviewRules()
NUDE = AssetFilter(detector_label=("nsfw:nude",))


def uri(n: int) -> str:
    return f"s3://b/case-{1 if n < 4 else 2}/{n}.jpg"


ID = {n: asset_id(uri(n)) for n in range(6)}
NUMBER = {id: n for n, id in ID.items()}


@pytest.fixture
def catalog(tmp_path):
    """Files 0 to 5 with scores that rise; two of them, 4 and 5, are of case 2. The file of decisions outlives it."""
    catalog = Catalog(":memory:", decisions=tmp_path / "decisions.sqlite", audit=Audit(tmp_path / "state"))
    catalog.load(commit(tmp_path / "out", "a.parquet", *map(nude, range(6))))
    yield catalog
    catalog.close()


def nude(n: int):
    return row(uri(n), found("nsfw", "nude", 0.3 + n / 10, "nsfw-model"), found("ocr", "text", 0.5, "reader"), unit=n)


def decide(catalog, who, n, label="relevant", version=0, **more):
    (written,) = catalog.decide([AssetDecision(asset=ID[n], version=version, label=label, **more)], who)
    return written


def state(catalog, id, within=None):
    return catalog.decision(id, RULES, within)


def take(catalog, who, lock_s=600.0, **more):
    """The number of the next file; None if there is none."""
    return NUMBER.get(catalog.next_review(NextReview(filter=NUDE, **more), who, lock_s, who.prefixes).asset)


def listed(catalog, **filters):
    return {NUMBER[item["id"]] for item in catalog.assets(AssetQuery(**filters))["items"]}


def test_a_decision_has_the_models_of_what_was_found(catalog):
    written = decide(catalog, ANN, 2, note="seen")
    assert written.outcome == "stored" and written.decision.models == {"nsfw": "nsfw-model", "ocr": "reader"}
    shown = state(catalog, ID[2])
    assert (shown.version, shown.decision, shown.history) == (1, written.decision, (written.decision,))
    assert shown.labels == ("relevant", "not relevant", "unsure")
    assert state(catalog, "0" * 32) is None and state(catalog, "no-id") is None


def test_an_id_in_another_form_is_no_way_round_the_version(catalog):
    decide(catalog, ANN, 2)
    other_form = AssetDecision.model_construct(asset=ID[2].upper(), version=0, label="unsure", tags=(), note="")
    assert catalog.decide([other_form], BOB)[0].outcome == "not found"
    assert catalog.undo(ID[2].upper(), 0, BOB) == Conflict(state(catalog, ID[2]).decision)


def test_several_files_are_decided_at_once_each_for_itself(catalog):
    decide(catalog, BOB, 1, "unsure")
    wanted = [AssetDecision(asset=asset, version=0, label="relevant") for asset in (ID[0], ID[1], "0" * 32, ID[5])]
    written = catalog.decide(wanted, ANN)
    assert [one.outcome for one in written] == ["stored", "changed", "not found", "stored"]
    assert [one.asset for one in written] == [decision.asset for decision in wanted]
    assert written[1].decision.who == "Bob"
    assert listed(catalog, decision=("relevant",)) == {0, 5}


def test_files_are_filtered_by_decision_and_tag(catalog):
    decide(catalog, ANN, 0, tags=("car", "street"))
    decide(catalog, ANN, 1, "unsure", tags=("car",))
    assert listed(catalog, decision=("none",)) == {2, 3, 4, 5}
    assert listed(catalog, decision=("none", "unsure")) == {1, 2, 3, 4, 5}
    assert listed(catalog, tag=("street",)) == {0}
    assert listed(catalog, tag=("car",), decision=("unsure",)) == {1}
    facets = catalog.facets(AssetQuery(tag=("car",)))
    assert facets["total"] == 2 and facets["decisions"] == {"relevant": 1, "unsure": 1}
    assert facets["tags"] == {"car": 2, "street": 1}
    assert catalog.facets(AssetQuery(decision=("none",)))["decisions"] == {"none": 4, "relevant": 1, "unsure": 1}
    assert catalog.facets(AssetQuery(under=(uri(5),)))["decisions"] == {}
    catalog.undo(ID[1], 1, ANN)
    assert listed(catalog, tag=("car",)) == {0}


def test_an_undo_of_what_was_decided_meanwhile_is_a_conflict(catalog):
    decide(catalog, ANN, 0)
    decide(catalog, BOB, 0, "unsure", 1)
    outcome = catalog.undo(ID[0], 1, ANN)
    assert isinstance(outcome, Conflict) and outcome.present.who == "Bob"
    assert catalog.undo(ID[5], 0, ANN) is None and catalog.undo("0" * 32, 0, ANN) is None


def test_the_next_file_is_the_best_without_decision_that_nobody_else_has(catalog):
    assert take(catalog, ANN) == 5
    assert take(catalog, ANN) == 5  # as after a reload
    assert take(catalog, BOB) == 4
    decide(catalog, ANN, 5)
    assert take(catalog, ANN) == 3
    assert take(catalog, ANN, skip=(ID[3], ID[2])) == 1
    assert take(catalog, BOB, sort="name", skip=(ID[4],)) == 0
    assert take(catalog, ANN, lock_s=0, skip=tuple(ID.values())) is None


def test_a_file_whose_lock_has_expired_is_the_next_one_for_others(catalog):
    assert take(catalog, ANN, lock_s=0) == 5
    assert take(catalog, BOB) == 5


def test_a_file_that_is_left_is_the_next_one_for_others(catalog):
    assert take(catalog, ANN) == 5
    catalog.release(ID[5], ANN)
    assert take(catalog, BOB) == 5


def test_files_that_a_job_adds_meanwhile_join_the_queue(catalog, tmp_path):
    for n in range(6):
        decide(catalog, ANN, n)
    assert take(catalog, ANN) is None
    new = "s3://b/case-1/new.jpg"
    catalog.load(commit(tmp_path / "out", "b.parquet", row(new, found("nsfw", "nude", 0.9), unit=9)))
    assert catalog.next_review(NextReview(filter=NUDE), ANN, 60, None).asset == asset_id(new)


def test_reviewers_at_the_same_time_never_get_the_same_file(catalog):
    people = [Identity(f"r{n}", "reviewer", id=f"{n}" * 12) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        taken = [*pool.map(lambda who: take(catalog, who), people)]
    assert sorted(taken) == [0, 1, 2, 3, 4, 5]


def test_a_second_review_is_of_files_that_one_other_reviewer_has_decided(catalog):
    decide(catalog, ANN, 0)
    decide(catalog, BOB, 1, "unsure")
    decide(catalog, ANN, 2)
    decide(catalog, BOB, 2, "not relevant", 1)
    assert take(catalog, BOB, second=True) == 0
    assert take(catalog, ANN, second=True) == 1
    assert take(catalog, LIMITED, second=True) is None
    third = Identity("Cy", "reviewer", id="c" * 12)
    catalog.release(ID[1], ANN)
    assert take(catalog, third, second=True, decided_by="Bob") == 1
    assert state(catalog, ID[2]).disputed and not state(catalog, ID[0]).disputed


def test_progress_counts_files_and_the_pace_of_the_last_hour(catalog):
    for n in range(3):
        decide(catalog, ANN, n, ("relevant", "unsure")[n % 2])
    decide(catalog, BOB, 0, "unsure", 1)
    first = catalog.progress(ReviewQueue(filter=NUDE), ANN, None)
    assert (first.total, first.done) == (6, 3)
    assert (first.last_hour, first.own_last_hour) == (4, 3)
    second = catalog.progress(ReviewQueue(filter=NUDE, second=True), ANN, None)
    assert (second.total, second.done) == (3, 1)
    assert catalog.progress(ReviewQueue(), LIMITED, LIMITED.prefixes).total == 2


def test_a_limited_reviewer_decides_and_sees_only_own_files(catalog):
    decide(catalog, ANN, 0)
    assert decide(catalog, LIMITED, 0, version=1).outcome == "not found"
    assert state(catalog, ID[0], LIMITED.prefixes) is None
    assert catalog.undo(ID[0], 1, LIMITED) is None
    assert take(catalog, LIMITED) == 5
    assert decide(catalog, LIMITED, 5).outcome == "stored"


def test_decisions_outlive_the_catalogue(catalog, tmp_path):
    decide(catalog, ANN, 0, tags=("car",))
    again = Catalog(":memory:", decisions=tmp_path / "decisions.sqlite")
    again.load(commit(tmp_path / "other", "a.parquet", nude(0), nude(1)))
    assert {item["uri"] for item in again.assets(AssetQuery(tag=("car",)))["items"]} == {uri(0)}
    assert isinstance(state(again, ID[0]).decision, Decision)
    again.close()


def test_what_cannot_be_recorded_is_not_decided_and_not_taken_back(catalog, tmp_path):
    audit = tmp_path / "state" / "audit.jsonl"
    assert decide(catalog, ANN, 0).outcome == "stored"
    assert [record["what"] for record in Audit(tmp_path / "state").records()] == ["decided"]
    audit.unlink()
    audit.mkdir()  # no line can be appended
    with pytest.raises(OSError):
        decide(catalog, ANN, 1)
    with pytest.raises(OSError):
        catalog.undo(ID[0], 1, ANN)
    assert state(catalog, ID[1]).history == ()
    assert (state(catalog, ID[0]).version, state(catalog, ID[0]).decision.label) == (1, "relevant")
    audit.rmdir()
    assert decide(catalog, ANN, 1).outcome == "stored"
