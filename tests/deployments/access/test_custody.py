"""The chain of custody: which entries of the audit log concern the files of a report."""

import pytest

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.settings import Settings
from deployments.access.custody import Concerned
from deployments.access.service import Access

ANN = Identity("Ann", "reviewer", id="a" * 12)
HERE, THERE = "1" * 32, "2" * 32


@pytest.fixture
def log(tmp_path):
    log = Audit(tmp_path)
    log.record(ANN, "signed in")
    log.record(ANN, "case made", "harbour", folders=("s3://b/1",))
    log.record(ANN, "case made", "other", folders=("s3://b/2",))
    log.record(ANN, "job submitted", "scan-1", uris=("s3://b/1",))
    log.record(ANN, "job submitted", "scan-2")
    log.record(ANN, "original viewed", HERE, "10.0.0.1", purpose="case 7")
    log.record(ANN, "original viewed", THERE)
    log.record(ANN, "decided", "relevant", assets=[f"{THERE} {HERE}", "3" * 32])
    log.record(ANN, "faces matched", THERE, matches=[f"{THERE} 0.93 {HERE} 0.81", "3" * 32 + " 0.5"])
    log.record(ANN, "faces matched", HERE, matches=[f"{THERE} 0.93"])
    log.record(ANN, "exported", "csv", filters="case=harbour&label=a")
    log.record(ANN, "exported", "csv", filters="label=b")
    log.record(ANN, "exported", "csv", filters="case=other")
    log.record(ANN, "exported", "csv", filters=f"id={THERE}&case=harbour")
    log.record(ANN, "exported", "csv", filters=f"id={HERE}&id={THERE}")
    return log


def custody(log, case="harbour", limited=False):
    access = Access(Settings(state_dir=log.path.parent))
    return access.custody(Concerned(frozenset([HERE]), frozenset(["scan-1"]), case, limited))


def told(custody):
    return [(entry["what"], entry.get("filters", entry.get("of"))) for entry in custody.entries]


OWN = [("case made", "harbour"), ("job submitted", "scan-1"), ("original viewed", HERE), ("decided", "relevant")]
OWN += [("faces matched", None)]


def test_the_entries_are_those_on_the_files_their_jobs_their_case_and_exports_that_may_have_them(log):
    exports = ["case=harbour&label=a", "label=b", f"id={HERE}&id={THERE}"]
    found = custody(log)
    assert told(found) == [*OWN, *(("exported", filters) for filters in exports)]
    assert [entry["assets"] for entry in found.entries[2:5]] == [[HERE]] * 3
    assert found.entries[2]["purpose"] == "case 7" and "from" not in found.entries[2]
    assert (found.lines, found.last, found.fault) == (15, log.verify().last, None)


def test_a_limited_caller_learns_nothing_of_other_cases_nor_what_others_exported(log):
    assert told(custody(log, limited=True)) == [*OWN, ("exported", "csv"), ("exported", "csv")]
    without_case = [entry for entry in OWN if entry[0] != "case made"]
    assert told(custody(log, None, limited=True)) == [*without_case, ("exported", "csv")]


def test_a_report_of_all_files_has_all_exports_that_may_have_them(log):
    assert len([what for what, _ in told(custody(log, None)) if what == "exported"]) == 4


def test_a_cut_list_of_ids_may_have_every_file(log):
    log.record(ANN, "exported", "csv", filters="&".join(f"id={n:032}" for n in range(40)))
    assert "id=" in told(custody(log))[-1][1]
    assert len(told(custody(log, limited=True))) == len(OWN) + 2


def test_a_broken_log_says_so_and_gives_the_entries_before_the_fault(log):
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([*lines[:7], lines[7].replace(b"relevant", b"unrelated"), *lines[8:]]))
    found = custody(log)
    assert found.fault == "line 8 was changed" and found.lines == 7
    assert told(found) == OWN[:3]


def test_a_log_that_is_not_there_has_no_entries(tmp_path):
    assert custody(Audit(tmp_path)).entries == ()
