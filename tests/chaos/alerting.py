"""A cluster and a Prometheus that watches it by the rules of monitoring/alerts.yaml, with shorter durations."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.chaos.conftest import Broken, until
from tests.support.paths import ROOT
from tests.support.servers import prometheus
from tests.support.servers.far_api import Far, running

RULES = yaml.safe_load((ROOT / "monitoring" / "alerts.yaml").read_text())
FACTOR = 20  # by which all durations of the rules are divided
# What is not divided: Ray sends values every ten seconds, the head and Serve set theirs as often, and most faults take
# some seconds to be noticed.
LATE_S = 45.0
AVERAGE_S = 86400  # the range of what is usual in the last day; it delays nothing


def within_s(alert: str) -> float:
    """Seconds from a fault to its alert, and from its end to the alert's, at most, by the divided rules."""
    (rule,) = (rule for group in RULES["groups"] for rule in group["rules"] if rule["alert"] == alert)
    ranges = [prometheus.seconds(text) for text in re.findall(r"\[(\w+)\]", rule["expr"])]
    longest = max((length for length in ranges if length < AVERAGE_S), default=0)
    return (longest + prometheus.seconds(rule.get("for", "0s"))) / FACTOR + LATE_S


class OtherCluster:
    """The API of another cluster, which answers for the detector nsfw by a stub."""

    def __init__(self, far: Far, port: int) -> None:
        self.far, self.port = far, port
        self._running = ExitStack()

    def start(self) -> None:
        """Answer from now on."""
        self._running.enter_context(running(self.far, self.port))

    def stop(self) -> None:
        """Close the port."""
        self._running.close()


@dataclass
class Watched:
    """The cluster, what watches it, and the other cluster that it depends on."""

    broken: Broken
    prometheus: prometheus.Prometheus
    other: OtherCluster
    on_small_disk: bool
    report: Callable[..., None]
    beside: set[str] = field(default_factory=set)  # further alerts that fired since `quiet`

    def quiet(self) -> None:
        """Wait until no alert fires. AssertionError if one does not end."""
        until(lambda: not self.prometheus.firing(), "an alert of an earlier fault still fires")
        self.beside = set()

    def fires(self, *alerts: str, meanwhile: Callable[[], Any] = lambda: None) -> dict[str, float]:
        """Alert -> seconds until it fires, for alerts whose fault has just begun.

        `meanwhile` is called again and again. AssertionError if one takes longer than its rule says.
        """
        return self._changed(alerts, True, meanwhile)

    def clears(self, *alerts: str, meanwhile: Callable[[], Any] = lambda: None) -> dict[str, float]:
        """As `fires`: alert -> seconds until it fires no more, for alerts whose fault has just ended."""
        return self._changed(alerts, False, meanwhile)

    def note(self, fault: str, fired: dict[str, float], cleared: dict[str, float]) -> None:
        """Record when each alert of a fault fired and ended."""
        for alert, seconds in fired.items():
            self.report(f"{fault}: {alert}", fired_s=seconds, cleared_s=cleared[alert])
        print(f"{fault}: beside them {sorted(self.beside)}")

    def _changed(self, alerts: tuple[str, ...], fire: bool, meanwhile: Callable[[], Any]) -> dict[str, float]:
        began, after = time.monotonic(), dict[str, float]()
        while len(after) < len(alerts):
            meanwhile()
            firing = self.prometheus.firing()
            self.beside |= firing - {*alerts}
            since_s = time.monotonic() - began
            after |= {alert: since_s for alert in alerts if alert not in after and (alert in firing) is fire}
            late = [alert for alert in alerts if alert not in after and since_s > within_s(alert)]
            assert not late, f"{late} {'do not fire' if fire else 'still fire'} after {since_s:.0f} s"
            time.sleep(0.3)
        return after
