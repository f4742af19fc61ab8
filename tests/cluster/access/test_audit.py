"""The audit log: a line that is changed, missing or moved is found."""

import json
import stat
import subprocess
import sys

import pytest

from cluster.access.audit import NOBODY, Audit
from cluster.access.identity import Identity

ANN = Identity("ann", "reviewer", None, "0a1b")


@pytest.fixture
def log(tmp_path):
    log = Audit(tmp_path)
    for n in range(5):
        log.record(ANN, "original viewed", f"asset {n}", "10.0.0.7", purpose="case 7")
    return log


def lines(log):
    return log.path.read_text().splitlines()


def rewrite(log, lines):
    log.path.write_text("".join(f"{line}\n" for line in lines))


def test_a_record_says_who_did_what_when_and_from_where(log):
    record = next(log.records())
    assert {key: record[key] for key in ("n", "who", "role", "key", "what", "of", "from", "purpose")} == {
        "n": 1, "who": "ann", "role": "reviewer", "key": "0a1b", "what": "original viewed", "of": "asset 0",
        "from": "10.0.0.7", "purpose": "case 7",
    }  # fmt: skip
    assert record["at"].endswith("Z") and len(record["at"]) == 24


def test_an_untouched_log_is_whole(log, tmp_path):
    assert log.verify().fault is None and log.verify().lines == 5
    assert log.verify().last == json.loads(lines(log)[-1])["hash"]
    assert Audit(tmp_path / "none").verify() == (Audit(tmp_path / "none2").verify())
    for file in tmp_path.glob("audit.*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda all: [all[0], all[1].replace("asset 1", "asset 9"), *all[2:]], "line 2 was changed"),
        (lambda all: [all[0], *all[2:]], "line 2 is missing or out of order"),
        (lambda all: all[1:], "line 1 is missing or out of order"),
        (lambda all: [all[1], all[0], *all[2:]], "line 1 is missing or out of order"),
        (lambda all: all[:-1], "1 lines at the end are missing"),
        (lambda all: [], "5 lines at the end are missing"),
        (lambda all: [*all[:2], "{}", *all[2:]], "line 3 is missing or out of order"),
        (lambda all: [*all[:2], "torn", *all[2:]], "line 3 is no record"),
        (lambda all: [*all[:2], "[1]", *all[2:]], "line 3 is missing or out of order"),
        # what a reader of the file sees, and a parser does not
        (lambda all: [all[0].replace('"who"', '"who": "eve", "who"'), *all[1:]], "line 1 was changed"),
        (lambda all: [f"{all[0]}  ", *all[1:]], "line 1 was changed"),
        (lambda all: [all[0], "[" * 100_000, *all[1:]], "line 2 is no record"),
    ],
)
def test_what_was_done_to_the_log_is_found(log, change, fault):
    rewrite(log, change(lines(log)))
    assert log.verify().fault == fault


def test_a_line_that_was_made_anew_with_its_hash_does_not_fit_the_next_one(log, tmp_path):
    forged = Audit(tmp_path / "forged")
    forged.record(ANN, "signed in")
    forged.record(ANN, "original viewed", "another asset")
    rewrite(log, [lines(log)[0], lines(forged)[1], *lines(log)[2:]])
    assert log.verify().fault == "line 2 does not follow the line before it"
    rewrite(log, lines(forged))
    assert log.verify().fault == "3 lines at the end are missing"


def test_a_log_goes_on_after_a_crash_in_the_middle_of_a_line(log):
    with log.path.open("a") as file:
        file.write('{"n": 6, "at":')
    log.record(NOBODY, "sign-in failed")
    assert log.verify().fault == "line 6 is no record"
    assert json.loads(lines(log)[-1])["n"] == 6


def test_a_record_for_which_the_disk_has_no_room_leaves_nothing_and_the_next_one_follows(log, tmp_path):
    program = (
        "import resource, signal, sys; from pathlib import Path; from cluster.access.audit import NOBODY, Audit; "
        "log = Audit(Path(sys.argv[1])); size = log.path.stat().st_size; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY)); "
        "log.record(NOBODY, 'sign-in failed')"
    )
    failed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert "File too large" in failed.stderr
    log.record(ANN, "signed in")
    assert (log.verify().fault, log.verify().lines) == (None, 6)


def test_several_processes_write_one_chain(log, tmp_path):
    program = (
        "import sys; from pathlib import Path; from cluster.access.audit import NOBODY, Audit; "
        "log = Audit(Path(sys.argv[1])); [log.record(NOBODY, 'x', str(n)) for n in range(30)]"
    )
    others = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    for n in range(30):
        log.record(ANN, "y", str(n))
    assert [other.wait(30) for other in others] == [0, 0]
    checked = log.verify()
    assert (checked.lines, checked.fault) == (95, None)


def test_long_values_and_line_breaks_stay_in_one_short_line(log):
    log.record(ANN, "search", "x\n" * 5000)
    assert len(lines(log)) == 6 and len(lines(log)[-1]) < 5000
    assert log.verify().fault is None


def test_a_line_that_is_appended_while_the_log_is_read_is_no_fault(log):
    noted = log._noted

    def appended():
        end = noted()
        log.record(ANN, "original viewed", "another")
        return end

    log._noted = appended
    assert log.verify().fault is None
    log._noted = noted
    assert log.verify().lines == 6


def test_long_lists_of_a_request_are_cut_and_the_chain_goes_on(log):
    log.record(ANN, "key made", under=["\x01" * 5000] * 100, name="x" * 5000)
    log.record(ANN, "original viewed", "asset 9")
    checked = log.verify()
    assert (checked.lines, checked.fault) == (7, None)
    *_, long, last = log.records()
    assert len(long["under"]) == 11 and long["under"][-1] == "and 90 more"
    assert len(long["name"]) == 1000 and last["n"] == 7
