"""Draws the dashboards of monitoring/dashboards from a running Prometheus, by their own queries, places and units.

It stands in for Grafana, which Debian, PyPI and npm do not have.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tests.support.paths import ROOT

FOLDER = ROOT / "monitoring" / "dashboards"
RATE_INTERVAL = "40s"  # Grafana's $__rate_interval for values that are ten seconds old, at most
COLUMNS, INCHES = 24, 0.62  # of a dashboard's grid, and of one column
ROW_INCHES = 0.34
MOST_NAMED = 7  # series in a legend
Series = list[tuple[str, list[float], list[float]]]  # name, times in seconds since 1970, values
Ask = Callable[[str], list[dict[str, Any]]]  # a query -> its series over time, as Prometheus' query_range gives them


def boards() -> dict[str, dict[str, Any]]:
    """Each dashboard by the name of its file."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


def series(panel: dict[str, Any], ask: Ask) -> Series:
    """What a panel shows: the series of its queries, named by their legends."""
    found: Series = []
    for target in panel["targets"]:
        for one in ask(target["expr"].replace("$__rate_interval", RATE_INTERVAL)):
            labels = one["metric"]
            name = re.sub(r"\{\{(\w+)\}\}", lambda match, of=labels: of.get(match[1], ""), target["legendFormat"])
            points = [(float(at), float(value)) for at, value in one["values"] if value not in ("NaN", "+Inf", "-Inf")]
            if points:
                found.append((name.strip() or "value", [at for at, _ in points], [value for _, value in points]))
    return found


def draw(board: dict[str, Any], ask: Ask, to: Path) -> list[str]:
    """Write a picture of a dashboard; returns the titles of the panels that have no data."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = Figure(figsize=(COLUMNS * INCHES, height * ROW_INCHES + 0.5))
    FigureCanvasAgg(figure)
    top = 1 - 0.5 / (height * ROW_INCHES + 0.5)
    figure.text(0.01, (1 + top) / 2, board["title"], fontsize=14, weight="bold", va="center")
    empty = []
    for panel in board["panels"]:
        at = panel["gridPos"]
        low, tall = top * (1 - (at["y"] + at["h"]) / height), top * at["h"] / height
        if panel["type"] == "row":
            figure.text(0.01, low + tall / 2, panel["title"], fontsize=11, weight="bold", va="center")
            continue
        box = (at["x"] / COLUMNS + 0.045, low + 0.26 * tall, at["w"] / COLUMNS - 0.06, 0.56 * tall)
        shown = series(panel, ask)
        _panel(figure.add_axes(box), panel, shown)
        if not shown:
            empty.append(panel["title"])
    figure.savefig(to, dpi=80)
    return empty


def _panel(axes: Any, panel: dict[str, Any], shown: Series) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not shown:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", va="center", color="grey", fontsize=9)
        return
    for name, times, values in shown:
        axes.plot(times, values, linewidth=1.2, label=name)
    axes.set_ylim(bottom=defaults.get("min"), top=defaults.get("max"))
    axes.yaxis.set_major_formatter(lambda value, _: written(value, defaults.get("unit", "short")))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda at, _: time.strftime("%H:%M:%S", time.gmtime(at)))
    columns = 2 if sum(len(name) for name, _, _ in shown[:MOST_NAMED]) > 60 else 4
    axes.legend(
        *zip(*list(zip(*axes.get_legend_handles_labels(), strict=True))[:MOST_NAMED], strict=True),
        fontsize=6, loc="upper left", bbox_to_anchor=(-0.08, -0.13), ncols=columns, frameon=False, columnspacing=1,
    )  # fmt: skip


def written(value: float, unit: str) -> str:
    """A value in a unit of Grafana's, shortened."""
    if unit == "s":
        return f"{value:g} s" if value >= 1 or not value else f"{value * 1000:g} ms"
    if unit == "percentunit":
        return f"{value * 100:g} %"
    if unit == "percent":
        return f"{value:g} %"
    if unit in ("bytes", "Bps"):
        power = next((power for power in (3, 2, 1) if abs(value) >= 1000**power), 0)
        return f"{value / 1000**power:g} {('B', 'kB', 'MB', 'GB')[power]}{'/s' if unit == 'Bps' else ''}"
    return f"{value:g}/s" if unit in ("ops", "reqps") else f"{value:g}"
