"""`raysift doctor` as a command: which parts it looks at, what it prints, how it exits."""

import json
import threading

import pytest
from typer.testing import CliRunner

import raysift
from commands.checks.check import Check, together
from commands.checks.doctor import SLOWLY
from tests.commands.checks.stand_ins import isolate


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without settings, cards, copies of weights or a Raysift."""
    isolate(tmp_path, monkeypatch)


def run(*arguments):
    return CliRunner().invoke(raysift.cli, ["doctor", *arguments])


def test_the_embedded_profile_needs_nothing_that_is_not_installed():
    done = run("--json")
    told = json.loads(done.output)
    assert (done.exit_code, told["ok"], told["profile"]) == (0, True, "embedded")
    weights = [check for check in told["checks"] if check["what"].startswith("weights")]
    assert weights and all(check["state"] == "ok" for check in weights)


def test_the_gpu_profile_without_a_card_is_said_to_be_slow():
    told = " ".join(run("--profile", "gpu").output.replace("│", " ").split())
    assert SLOWLY in told and "run on the CPU, slowly" in told


def test_a_profile_that_cannot_run_exits_1(monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    done = run("--profile", "gpu", "--json")
    assert done.exit_code == 1 and json.loads(done.output)["ok"] is False


def test_what_is_not_started_is_a_note_and_what_was_started_and_is_silent_fails(monkeypatch):
    done = run("--json")
    told = {check["what"]: check for check in json.loads(done.output)["checks"]}
    assert told["Raysift"] == {"what": "Raysift", "state": "note", "said": "not started: `raysift up`"}
    assert done.exit_code == 0 and not {"Ray", "API", "Chroma", "app"} & set(told)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")  # another launcher's word
    done = run("--json")
    told = {check["what"]: check for check in json.loads(done.output)["checks"]}
    assert done.exit_code == 1 and {told[part]["state"] for part in ("Ray", "API", "Chroma")} == {"fails"}
    assert "Start it: `raysift up`, or what launches it on several machines." in told["Ray"]["said"]


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("rayy: {}", "there is no setting 'rayy'. Correct its spelling or remove it."),
        ("detectors: {ocr: {flor: 1}}", "settings, detectors.ocr: there is no setting 'flor'."),
    ],
)
def test_a_key_that_is_wrong_is_named_and_nothing_else_is_looked_at(tmp_path, file, advice):
    (tmp_path / "settings.yaml").write_text(file)
    done = run("--json")
    (check,) = json.loads(done.output)["checks"]
    assert done.exit_code == 1 and (check["what"], check["state"]) == ("settings", "fails") and advice in check["said"]


def test_which_settings_are_read_is_said_and_not_their_values(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_CACHE__DAYS", "77")
    (tmp_path / "settings.yaml").write_text("profile: embedded")
    (told,) = (check for check in json.loads(run("--json").output)["checks"] if check["what"] == "settings")
    assert str(tmp_path / "settings.yaml") in told["said"] and "RAYSIFT_CACHE__DAYS" in told["said"]
    assert "77" not in told["said"]


def test_a_part_that_hangs_or_breaks_down_is_told_of_beside_the_others(monkeypatch):
    monkeypatch.setattr("commands.checks.check.PART_S", 0.2)
    hangs, told = threading.Event(), []

    def breaks():
        raise RuntimeError("odd")

    parts = {"a": lambda: hangs.wait(5), "b": breaks, "c": lambda: [Check("c", "ok", "fine")]}
    checks = together(parts, told.append)
    hangs.set()
    assert [(check.what, check.state) for check in checks] == [("a", "fails"), ("b", "fails"), ("c", "ok")]
    assert "it hangs" in checks[0].said and "RuntimeError: odd" in checks[1].said
    assert told[0] == "looking at a, b, c" and told[-1] == "looking at a"


def test_what_a_part_has_said_before_it_hangs_or_breaks_down_is_kept(monkeypatch):
    monkeypatch.setattr("commands.checks.check.PART_S", 0.2)
    hangs = threading.Event()

    def part(end):
        yield Check("first", "ok", "fine")
        end()

    checks = together({"a": lambda: part(lambda: hangs.wait(5)), "b": lambda: part(lambda: {}["disk"])}, str)
    hangs.set()
    assert [check.what for check in checks] == ["first", "a", "first", "b"]
    assert [check.state for check in checks] == ["ok", "fails"] * 2
