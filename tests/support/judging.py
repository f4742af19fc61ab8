"""Write label files, and evaluate stored results against them."""

import io
import json
from pathlib import Path

from PIL import Image

from pipelines.evaluation import answers, evaluating, labelling


def labels(folder: Path, *lines: object) -> Path:
    """Write labels.jsonl into the folder; returns its path. Strings are written unchanged, anything else as JSON."""
    path = folder / "labels.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def said(uri: str, **statements: object) -> dict[str, object]:
    """A line of labels for s3://b/URI: detector -> its labels."""
    return {"uri": f"s3://b/{uri}", "labels": statements}


def judged(folder: Path, *lines: object, thresholds: dict[str, float] | None = None, base_rate: float | None = None):
    """Evaluate the results committed under the folder against these lines of labels."""
    labelled = labelling.read(labels(folder, *lines))
    stored = answers.stored(str(folder), [item.uri for item in labelled])
    facts = {"made_at": "now", "labels": "labels.jsonl", "results": "here"}
    return evaluating.evaluate(labelled, stored, thresholds or {}, base_rate, {}, **facts)


def jpeg() -> bytes:
    """A red JPEG of 8 x 6 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(buffer, "JPEG")
    return buffer.getvalue()
