"""Labels as people write them, and the evaluation of stored results by them."""

import io
import json
from pathlib import Path

from PIL import Image

from pipelines.evaluation import answers, evaluating, labelling


def labels(folder: Path, *lines: object) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def said(uri: str, **statements: object) -> dict[str, object]:
    return {"uri": f"s3://b/{uri}", "labels": statements}


def judged(folder: Path, *lines: object, thresholds: dict[str, float] | None = None, base_rate: float | None = None):
    """The evaluation of what is committed under the folder."""
    told = labelling.read(labels(folder, *lines))
    of = answers.stored(str(folder), [one.uri for one in told])
    facts = {"made_at": "now", "labels": "labels.jsonl", "results": "here"}
    return evaluating.evaluate(told, of, thresholds or {}, base_rate, {}, **facts)


def jpeg() -> bytes:
    to = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(to, "JPEG")
    return to.getvalue()
