"""The store of cases, and which folders a case and a caller have in common."""

import threading
from pathlib import Path

import pytest

from cluster.cases.case import common, joined
from cluster.cases.store import CaseStore
from cluster.errors import SettingsError


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return CaseStore(tmp_path / "access.sqlite")


def test_a_case_is_kept_when_the_file_is_opened_again(store: CaseStore, tmp_path: Path):
    made = store.add("harbour", "The harbour", ["s3://b/7"], "ann")
    store.close()
    assert made is not None and CaseStore(tmp_path / "access.sqlite").all() == [made]


def test_a_second_case_of_a_name_is_refused_and_the_first_stays(store: CaseStore):
    first = store.add("harbour", "", ["s3://b/7"], "ann")
    assert store.add("harbour", "another", [], "bob") is None
    assert store.get("harbour") == first


def test_what_a_change_does_not_name_stays(store: CaseStore):
    store.add("harbour", "The harbour", ["s3://b/7", "s3://b/8"], "ann")
    changed = store.change("harbour", remove=["s3://b/8"], add=["s3://c"])
    assert changed is not None
    assert (changed.title, changed.folders, changed.closed_at) == ("The harbour", ("s3://b/7", "s3://c"), None)
    closed = store.change("harbour", closed=True)
    assert closed is not None and store.change("harbour", closed=True) == closed == store.get("harbour")
    opened = store.change("harbour", closed=False)
    assert opened is not None and (opened.closed_at, opened.folders) == (None, changed.folders)


def test_an_unknown_case_is_neither_changed_nor_removed(store: CaseStore):
    assert (store.get("x"), store.change("x", title="y"), store.remove("x")) == (None, None, False)
    store.add("x", "", [], "ann")
    assert store.remove("x") and store.all() == []


def test_folders_that_are_added_at_the_same_time_are_all_kept(tmp_path: Path, store: CaseStore):
    store.add("harbour", "", [], "ann")
    others = [CaseStore(tmp_path / "access.sqlite") for _ in range(4)]

    def add(other: CaseStore, n: int) -> None:
        for k in range(5):
            other.change("harbour", add=[f"s3://b/{n}-{k}"])

    threads = [threading.Thread(target=add, args=(other, n)) for n, other in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    case = store.get("harbour")
    assert case is not None and len(case.folders) == 20


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "access.sqlite").write_text("no database, but as long as a page of one" * 100)
    with pytest.raises(SettingsError, match=r"access\.sqlite do not open"):
        CaseStore(tmp_path / "access.sqlite")


@pytest.mark.parametrize(
    ("folders", "prefixes", "expected"),
    [
        (("s3://b/7",), None, ("s3://b/7",)),
        (("s3://b/7",), (), ()),
        (("s3://b/7", "s3://c"), ("s3://b",), ("s3://b/7",)),
        (("s3://b",), ("s3://b/7", "s3://c"), ("s3://b/7",)),
        (("s3://b/7",), ("s3://b/7",), ("s3://b/7",)),
        (("s3://b/7",), ("s3://b/70",), ()),
    ],
)
def test_a_caller_and_a_case_have_in_common_what_lies_in_both(folders, prefixes, expected):
    assert common(folders, prefixes) == expected


def test_a_folder_in_another_one_of_the_case_is_not_kept():
    assert joined(["s3://b/7"], ["s3://b/7/x", "s3://b/8"]) == ("s3://b/7", "s3://b/8")
    assert joined(["s3://b/7"], ["s3://b"]) == ("s3://b",)
