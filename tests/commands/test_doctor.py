"""`raysift doctor` as a command: which parts it checks, what it prints, how it exits."""

import json
import threading

import pytest
from typer.testing import CliRunner

import raysift
from commands.checks.check import Check, run_checks
from commands.checks.doctor import SLOWLY
from tests.commands.checks.stand_ins import isolate


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without settings, cards, copies of weights or a Raysift."""
    isolate(tmp_path, monkeypatch)


def run(*arguments):
    return CliRunner().invoke(raysift.cli, ["doctor", *arguments])


def test_the_embedded_profile_needs_only_installed_packages():
    done = run("--json")
    report = json.loads(done.output)
    assert (done.exit_code, report["ok"], report["profile"]) == (0, True, "embedded")
    weights = [check for check in report["checks"] if check["what"].startswith("weights")]
    assert weights and all(check["state"] == "ok" for check in weights)


def test_the_gpu_profile_without_a_card_is_reported_as_slow():
    report = " ".join(run("--profile", "gpu").output.replace("│", " ").split())
    assert SLOWLY in report and "run on the CPU, slowly" in report


def test_the_examples_of_detectors_need_the_api():
    done = run("--deep", "--json")
    (check,) = (check for check in json.loads(done.output)["checks"] if check["what"] == "examples")
    assert done.exit_code == 1 and check["said"].endswith("Start it: `raysift up`")


def test_a_profile_that_cannot_run_exits_1(monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    done = run("--profile", "gpu", "--json")
    assert done.exit_code == 1 and json.loads(done.output)["ok"] is False


def test_a_part_that_was_not_started_is_a_note_and_a_silent_one_fails(monkeypatch):
    done = run("--json")
    report = {check["what"]: check for check in json.loads(done.output)["checks"]}
    assert report["Raysift"] == {"what": "Raysift", "state": "note", "said": "not started: `raysift up`"}
    assert done.exit_code == 0 and not {"Ray", "API", "Chroma", "app"} & set(report)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")  # set by another launcher
    done = run("--json")
    report = {check["what"]: check for check in json.loads(done.output)["checks"]}
    assert done.exit_code == 1 and {report[part]["state"] for part in ("Ray", "API", "Chroma")} == {"fails"}
    assert "Start it: `raysift up`, or what launches it on several machines." in report["Ray"]["said"]


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("rayy: {}", "there is no setting 'rayy'. Correct its spelling or remove it."),
        ("detectors: {ocr: {flor: 1}}", "settings, detectors.ocr: there is no setting 'flor'."),
    ],
)
def test_a_wrong_key_is_named_and_nothing_else_is_checked(tmp_path, file, advice):
    (tmp_path / "settings.yaml").write_text(file)
    done = run("--json")
    (check,) = json.loads(done.output)["checks"]
    assert done.exit_code == 1 and (check["what"], check["state"]) == ("settings", "fails") and advice in check["said"]


def test_the_sources_of_settings_are_shown_without_values(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_CACHE__DAYS", "77")
    (tmp_path / "settings.yaml").write_text("profile: embedded")
    (report,) = (check for check in json.loads(run("--json").output)["checks"] if check["what"] == "settings")
    assert str(tmp_path / "settings.yaml") in report["said"] and "RAYSIFT_CACHE__DAYS" in report["said"]
    assert "77" not in report["said"]


def test_a_part_that_hangs_or_raises_is_reported_beside_the_others(monkeypatch):
    monkeypatch.setattr("commands.checks.check.PART_S", 0.2)
    hangs, report = threading.Event(), []

    def breaks():
        raise RuntimeError("odd")

    parts = {"a": lambda: hangs.wait(5), "b": breaks, "c": lambda: [Check("c", "ok", "fine")]}
    checks = run_checks(parts, report.append)
    hangs.set()
    assert [(check.what, check.state) for check in checks] == [("a", "fails"), ("b", "fails"), ("c", "ok")]
    assert "it hangs" in checks[0].said and "RuntimeError: odd" in checks[1].said
    assert report[0] == "checking a, b, c" and report[-1] == "checking a"


def test_checks_of_a_part_before_it_hangs_or_raises_are_kept(monkeypatch):
    monkeypatch.setattr("commands.checks.check.PART_S", 0.2)
    hangs = threading.Event()

    def part(end):
        yield Check("first", "ok", "fine")
        end()

    checks = run_checks({"a": lambda: part(lambda: hangs.wait(5)), "b": lambda: part(lambda: {}["disk"])}, str)
    hangs.set()
    assert [check.what for check in checks] == ["first", "a", "first", "b"]
    assert [check.state for check in checks] == ["ok", "fails"] * 2
