"""An act is in the audit log before it takes effect: what cannot be recorded, for lack of space, does not happen."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.settings import Settings
from deployments.access.service import Access

ADMIN = Identity("Ada", "admin", id="a" * 12)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(Settings(state_dir=tmp_path / "state"))


@contextmanager
def no_record(state: Path) -> Iterator[None]:
    """While no line can be appended to the audit log."""
    log, aside = state / "audit.jsonl", state / "aside"
    shutil.move(log, aside)
    log.mkdir()
    yield
    log.rmdir()
    shutil.move(aside, log)


def refused(state: Path, act: Callable[[], object]) -> None:
    with no_record(state), pytest.raises(OSError):
        act()


def test_keys_and_sessions(access: Access, tmp_path: Path):
    state = tmp_path / "state"
    id, key = access.add_key(ADMIN, "Bob", "viewer", None, None, "")
    refused(state, lambda: access.add_key(ADMIN, "Eve", "admin", None, None, ""))
    refused(state, lambda: access.revoke(ADMIN, id, ""))
    kept = access.keys()
    assert "Eve" not in {one.name for one in kept}
    bob = access.identify(key).identity
    assert bob is not None and bob.name == "Bob"
    session = access.sign_in_with(key, "")
    who = access.identify(session.token).identity
    refused(state, lambda: access.sign_out(who, ""))
    assert access.identify(session.token).identity == who
    assert access.revoke(ADMIN, id, "") and access.identify(key).identity is None
    whats = [record["what"] for record in Audit(state).records()]
    assert whats == ["key made", "signed in", "key revoked"]


def test_cases(access: Access, tmp_path: Path):
    state = tmp_path / "state"
    access.add_case(ADMIN, "one", "", ("s3://b/one",), "")
    refused(state, lambda: access.add_case(ADMIN, "two", "", (), ""))
    refused(state, lambda: access.change_case(ADMIN, "one", {"add": ("s3://b/two",)}, ""))
    refused(state, lambda: access.remove_case(ADMIN, "one", ""))
    assert [(case.name, case.folders) for case in access.cases()] == [("one", ("s3://b/one",))]
    assert access.remove_case(ADMIN, "one", "") and access.cases() == []
    assert [record["what"] for record in Audit(state).records()] == ["case made", "case removed"]
