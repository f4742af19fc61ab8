"""Print the table of metrics for docs/metrics.md: `python -m cluster.metrics`."""

from cluster.metrics.declared import METRICS


def table() -> str:
    """A Markdown table of all metrics, one line each."""
    rows = [
        f"| `{metric.exported}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |" for metric in METRICS
    ]
    return "\n".join(["| name | kind | labels | what it measures |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
