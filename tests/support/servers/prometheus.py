"""Run a real Prometheus with alert rules for tests, as a child process. `make chaos` gets its program."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.browser import free_port
from tests.support.paths import ROOT
from tests.support.servers.process import running_server

PROGRAM = ROOT / ".raysift" / "tools" / "prometheus"
SCRAPE_S, EVALUATION_S, START_S = 2, 1, 60.0
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = r"\d+[smhd]"
IN_EXPRESSION = re.compile(r"(?<=\[)[^\]]+(?=\])|(?<=offset )\w+")


def seconds(duration: str) -> float:
    """The seconds of a duration of Prometheus with one unit: "5m", "1d"."""
    return int(duration[:-1]) * SECONDS[duration[-1]]


def quickened(rules: dict[str, Any], factor: int) -> dict[str, Any]:
    """Alert rules whose durations are divided: `for`, ranges and offsets. ValueError for one that would not be whole
    seconds, or that is written in another way than "5m".
    """

    def divided(duration: str) -> str:
        if not re.fullmatch(DURATION, duration) or seconds(duration) % factor:
            raise ValueError(f"{duration} cannot be divided by {factor} here")
        return f"{int(seconds(duration)) // factor}s"

    def quick(rule: dict[str, Any]) -> dict[str, Any]:
        expression = IN_EXPRESSION.sub(lambda found: divided(found[0]), rule["expr"])
        return {**rule, "expr": expression} | ({"for": divided(rule["for"])} if "for" in rule else {})

    return {"groups": [{**group, "rules": [quick(rule) for rule in group["rules"]]} for group in rules["groups"]]}


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of a query now: {"metric": labels, "value": [time, text]} of each series."""
        return list(self._get("query", query=expression)["result"])

    def over(self, expression: str, since: float, until: float, step_s: int = 5) -> list[dict[str, Any]]:
        """The series of a query between two times: {"metric": labels, "values": [[seconds since 1970, text], ...]}."""
        times = {"start": f"{since:.0f}", "end": f"{until:.0f}", "step": f"{step_s}s"}
        return list(self._get("query_range", query=expression, **times)["result"])

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=30, trust_env=False)
        return dict(answer.raise_for_status().json()["data"])


@contextmanager
def prometheus(folder: Path, discovery: Path, rules: dict[str, Any]) -> Iterator[Prometheus]:
    """Run a Prometheus with these rules, which scrapes the targets of Ray's service discovery file."""
    assert PROGRAM.exists(), f"{PROGRAM} is missing: run `make .raysift/tools/prometheus`"
    folder.mkdir()
    files = {"files": [str(discovery)], "refresh_interval": "2s"}
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{EVALUATION_S}s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "ray", "file_sd_configs": [files]}],
    }
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(PROGRAM),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (
        (folder / "prometheus.log").open("wb") as log,
        running_server(command, f"http://{address}/-/ready", START_S, stderr=log),
    ):
        yield Prometheus(f"http://{address}")
