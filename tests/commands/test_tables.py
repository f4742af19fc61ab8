"""Every table of the command line fits on a terminal of 80 columns: no word of usual length is cut."""

import io

from rich.console import Console

from cluster import gpus
from cluster.settings import Settings
from commands import evaluate, models, tables
from commands.checks import doctor, shares
from commands.checks.check import Check
from deployments.weights.sources import State
from pipelines.evaluation.measures import Figure
from pipelines.evaluation.verdicts import Evaluation

JOB = {
    "job": "scan-20261129-093349-6f49c4",
    "state": "cancelled",
    "units": 1_234_567,
    "done": 1_000_000,
    "failed": 12_345,
    "skipped": 98_765,
    "listed": 0,
    "left_out": 0,
    "uris": ["s3://evidence-of-the-northern-office/cases/2026/case-0007", "s3://evidence/case 8"],
    "uri_count": 5000,
    "out": "s3://evidence-of-the-northern-office/found",
    "detectors": ["clip", "face", "logo", "nsfw", "ocr", "restraint", "whisper"],
    "priority": "urgent",
    "retry_of": "scan-20261128-093349-abcdef",
    "seconds": 43_210.5,
    "message": "its driver died (exit code -9); started again, 1 of 3 times",
    "attempts": [f"scan-20261129-093349-6f49c4{n}" for n in ("", "-2", "-3")],
    "submitted_at": "2026-11-29T09:33:49.123Z",
    "started_at": None,
    "ended_at": "2026-11-29T19:33:49.123Z",
    "summary": {
        "detectors": [
            {
                "detector": "restraint",
                "files": 123_456,
                "detections": 1_234_567,
                "top_labels": [{"label": "handcuffs", "files": 99_999}, {"label": "leg shackles", "files": 8}],
                "example": "keep this gate closed at all times",
            }
        ],
        "failed": [{"uri": "s3://b/a.jpg", "step": "decode", "reason": "it ends in the middle of the picture"}],
    },
}
REPORT = {
    "files_per_s": 23.45,
    "bytes_per_s": 12e6,
    "frames": 1_234_567,
    "frames_carried": 123_456,
    "cost": 1234.5,
    "cost_per_1000_files": 1.25,
    "detectors": [
        {
            "detector": "restraint",
            "units": 1_234_567,
            "reused": 123_456,
            "seconds": 123_456.7,
            "gpu_seconds": 123_456.7,
            "cost": 123.45,
        }
    ],
    "failures": [
        {
            "units": 12_345,
            "step": "detect",
            "reason": "the detector failed on it: it took longer than deadline_s, 3 times",
            "example": "s3://evidence-of-the-northern-office/cases/2026/case-0007/pictures/IMG_20260101_120000.jpg",
        }
    ],
}


def rendered(*parts) -> str:
    console = Console(width=80, file=io.StringIO())
    for part in parts:
        console.print(part)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    return text


def check_words(text: str, *values: str) -> None:
    """Check that the text has every word of these values uncut."""
    words = {word for value in values for word in str(value).split()}
    assert not [word for word in words if word not in text], text


def test_the_list_of_jobs():
    text = rendered(tables.jobs([JOB, JOB | {"units": None, "state": "listing", "priority": "normal"}]))
    check_words(text, JOB["job"], "cancelled urgent listing not listed yet")
    check_words(text, "1,000,000 of 1,234,567 done", "12,345 failed, 98,765 unchanged")
    assert "s3://evidence-of-the" in text and "…" in text
    warned = JOB | {"state": "finished", "outcome": "complete_with_warnings"}
    check_words(rendered(tables.jobs([warned])), "finished with warnings, urgent")
    check_words(rendered(tables.facts(warned)), "finished with warnings")


def test_the_properties_of_a_job():
    text = rendered(tables.facts(JOB))
    check_words(text, *(JOB[name] for name in ("job", "state", "message", "out", "retry_of", "submitted_at")))
    check_words(text, *JOB["attempts"], *JOB["detectors"], *JOB["uris"], "and 4,998 more")


def test_what_detectors_take_for_each_kind_of_file():
    figures = {"seconds": 12_345.6, "gpu_seconds": 3_456.7, "cost": 123.4567}
    text = rendered(tables.rates([{"detector": "restraint", "kind": kind, **figures} for kind in tables.PER], "before"))
    check_words(
        text, "1,000 pictures", "an hour of film", "an hour of sound", "12,345.6 s, 3,456.7 of a GPU", "123.4567"
    )


def test_the_summary_costs_and_failures_of_a_job():
    text = rendered(tables.summary(JOB))
    check_words(
        text, "restraint 123456 1234567 handcuffs 99999, leg shackles 8,", "it ends in the middle of the picture"
    )
    text = rendered(tables.costs(REPORT))
    check_words(text, "detector units known already seconds GPU cost restraint 1234567 10% 123456.7 123.45")
    text = rendered(tables.failures(REPORT))
    check_words(text, REPORT["failures"][0]["reason"], "12345 detect")


def test_the_checks_of_the_doctor():
    said = "nobody may write to /srv/evidence/state: give its user the right to, or set another state_dir"
    text = rendered(doctor._checked("embedded", [Check("weights of restraint", "fails", said)]))
    check_words(text, "weights of restraint fails", said)
    card = gpus.Card("NVIDIA H200", 139.0, 130.0)
    memory = shares.plans(Settings(profile="gpu"), [card])
    text = rendered(shares.table(memory))
    check_words(text, "cards needed 10 GB 24 GB 80 GB this NVIDIA H200", *" ".join(memory["memory_gb"]).split("+"))


class Weights:
    title = "openai/clip-vit-large-patch14"


def test_the_weights_of_the_detectors():
    state = State("hub", True, "apache-2.0", "0123456789abcdef", 1_200_000_000)
    text = rendered(models._table([("restraint", Weights(), state), ("whisper", Weights(), state)]))
    check_words(text, "restraint openai/clip-vit-large-patch14 apache-2.0, 0123456789 1.2 GB hub yes whisper")


def test_an_evaluation():
    figure = Figure(0.9712, 0.9501, 0.9856)
    presence = type("Presence", (), {})()
    presence.precision = presence.recall = presence.f1 = presence.average_precision = presence.best_f1 = figure
    presence.at_base_rate, presence.best_threshold = figure, 0.7512
    presence.positives, presence.negatives = 12_345, 98_765
    verdict = type("Judged", (), {"detector": "restraint", "label": "leg shackles", "presence": presence, "more": []})()
    judged = type("Evaluation", (), {"judged": [verdict], "base_rate": 0.001, "left_out": []})()
    assert {"judged", "base_rate", "left_out"} <= set(Evaluation.__dataclass_fields__)
    text = rendered(*evaluate.tables(judged))
    check_words(text, "restraint leg shackles 12345 of 111110 precision recall F1 AP best")
