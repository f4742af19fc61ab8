"""The figures of a soak, and when it fails."""

import json
from collections import Counter

import pytest

from bench.growth import Held
from bench.soak import figures
from bench.soak.figures import Requests


class Watched:
    """The memory of processes, as `growth.Watch` has measured it."""

    left_mb = 1000.0

    def __init__(self, grown_mb=0.0, killed=0, ended=()):
        self.kinds = {"replica api": Held([0.0, 60.0, 120.0, 180.0], [500.0 + grown_mb * n / 2 for n in range(4)], 1)}
        self.most = {"killed": float(killed)}
        self.ended = Counter(ended)

    def killed_by_the_kernel(self):
        return 0


def requests(failed=0, asked=2000):
    """Requests of two routes, of which one may fail."""
    counted = Requests()
    for n in range(asked):
        counted.note("GET /v1/assets", n / 1000, None)
    for _ in range(failed):
        counted.note("GET /v1/search", 1.0, "503 search is unavailable")
    return counted


def test_the_figures_are_percentiles_by_route_and_the_availability(capsys):
    assert figures.judge(Watched(), requests(failed=1)) == []
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["routes"]["GET /v1/assets"] == [2000, 0, 999.5, 1899.0, 1979.0]
    assert printed["availability"] == pytest.approx(2000 / 2001)
    assert printed["growth_mb"] == {"replica api": [0.0, 0.0]}


@pytest.mark.parametrize(
    ("watched", "asked", "problem"),
    [
        (Watched(), requests(failed=3), "3 of 2,003 requests failed; 0.1% may"),
        (Watched(), Requests(), "0 of 0 requests failed"),
        (Watched(grown_mb=500), requests(), "replica api grew by 500 MB; 200 are allowed"),
        (Watched(killed=1), requests(), "a process was killed for lack of memory"),
        (Watched(ended=["replica clip", "driver", "decoders"]), requests(), "replica clip: 1 processes ended"),
    ],
)
def test_it_fails_for_failed_requests_growth_and_killed_processes(watched, asked, problem):
    (said,) = figures.judge(watched, asked)
    assert said.startswith(problem)


def test_it_fails_for_a_scan_that_did_not_finish_without_a_failed_file():
    counted = requests()
    counted.scanned({"state": "finished", "done": 40, "failed": 0, "message": ""})
    counted.scanned({"state": "failed", "done": 3, "failed": 1, "message": "its driver died"})
    assert figures.judge(Watched(), counted) == ["a scan ended as failed, 1 files failed: its driver died"]
    assert (counted.scans, counted.files) == (2, 43)


def test_the_page_has_each_route_each_kind_of_process_and_each_failure():
    counted = requests(failed=1)
    counted.scanned({"state": "finished", "done": 40, "failed": 0, "message": ""})
    page = figures.page(Watched(), counted, 3600, ["clip", "nsfw"])
    assert "60 minutes with clip and nsfw" in page and "2,001 requests, 1 of them failed, availability 99.9500%" in page
    assert "| `GET /v1/assets` | 2,000 | 0 | 1,000 | 1,899 | 1,979 |" in page
    assert "| replica api | 1 | 500 | 500 | +0 |" in page
    assert page.endswith("- 1 times: GET /v1/search: 503 search is unavailable")
