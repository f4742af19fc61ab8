"""Measure what all detectors cost on photographs and a film against plain loops: `python -m bench.media`.

A loop calls the same detectors in one process of one thread, on pictures that Pillow or PyAV decodes. It also measures
the sampling of a film's frames against decoding one frame a second, and whisper against faster-whisper's greedy
decoding with its voice activity detection, over the same weights. It prints medians and ratios.

CPU-seconds are those of the whole machine: nothing else should run on it.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import material
from bench.figures import RAYSIFT, Measured, timed

PHOTOS, FILM_S, SPEECH_S, BATCH = 40, 60, 300, 8
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def detectors() -> dict[str, Any]:
    """Every detector of the default settings, loaded and warm, on one thread."""
    import cv2

    from cluster.settings import load
    from deployments.detector import detector_class
    from deployments.serving.placement import configs

    cv2.setNumThreads(1)
    loaded = {name: detector_class(name)(config) for name, config in configs(load()).items()}
    for detector in loaded.values():
        detector.detect([detector.example()])
    return loaded


def detected(loaded: dict[str, Any], pictures: Iterable[Any]) -> None:
    """Call each detector of pictures on batches of them, and each of text on what was read."""
    samples, read = list(pictures), []
    for name, detector in loaded.items():
        if "image" in detector.modalities:
            for begin in range(0, len(samples), BATCH):
                found = detector.detect(samples[begin : begin + BATCH])
                if name == "ocr":
                    read += [" ".join(one.text for one in each if one.text) for each in found]
    from cluster.records import Sample

    texts = [Sample(text=text) for text in read if text]
    for detector in loaded.values():
        if "text" in detector.modalities and texts:
            detector.detect(texts)


def loop_of_photographs(folder: Path) -> dict[str, float]:
    """Seconds and CPU-seconds of the loop over a folder of JPEGs."""
    from PIL import Image

    from cluster.records import Sample

    loaded = detectors()
    return _measured(
        lambda: detected(
            loaded, (Sample(pixels=np.asarray(Image.open(file).convert("RGB"))) for file in sorted(folder.iterdir()))
        )
    )


def loop_of_film(path: Path) -> dict[str, float]:
    """Seconds and CPU-seconds of the loop over one frame a second of a film, and over its sound."""
    from cluster.records import Sample

    loaded = detectors()

    def run() -> None:
        detected(loaded, (Sample(pixels=pixels) for pixels in frames(path)))
        loaded["whisper"].detect([Sample(sound=sound(path))])

    return _measured(run)


def frames(path: Path) -> Iterable[Any]:
    """One frame a second, decoded on one thread."""
    import av

    due = 0.0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            if float(frame.time or 0) >= due - 1e-6:
                yield frame.to_ndarray(format="rgb24")
                due += 1


def sound(path: Path) -> Any:
    """The sound of a file, (n,) mono at 16 kHz."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=material.SOUND_RATE_HZ)
        heard = [*container.decode(audio=0), None]  # None flushes the resampler
        return np.concatenate([piece.to_ndarray()[0] for frame in heard for piece in resampler.resample(frame)])


def sampling(path: Path) -> dict[str, dict[str, float]]:
    """Plain decoding of a film at one frame a second, and the product's choice of frames."""
    from cluster.settings import load
    from pipelines.media import decoding

    settings = load().decoding
    return {
        "plain": _measured(lambda: list(frames(path))),
        "sampled": _measured(lambda: list(decoding.frames(path, "video", settings))),
    }


def listening(path: Path) -> dict[str, dict[str, float]]:
    """faster-whisper's greedy decoding with its voice activity detection, and the detector, over the same weights."""
    from cluster.records import Sample
    from cluster.settings import load
    from deployments.detectors.whisper import Whisper, _Small
    from deployments.models import runtime, speech, whisper
    from deployments.serving.placement import configs

    config, heard = configs(load())["whisper"], sound(path)
    first, second, _ = runtime.weights(config.model, parts=3)
    model = whisper.load(speech.joined(first, second, runtime.cache_folder("whisper-base"), _Small.sha256), "cpu")
    detector = Whisper(config)
    greedy = {"beam_size": 1, "temperature": 0.0, "condition_on_previous_text": False, "vad_filter": True}

    def plain() -> None:
        segments, _ = model.transcribe(heard, language="en", word_timestamps=True, **greedy)
        list(segments)

    detector.detect([detector.example()])
    return {"plain": _measured(plain), "detector": _measured(lambda: detector.detect([Sample(sound=heard)]))}


def _measured(call: Callable[[], Any]) -> dict[str, float]:
    began, used = time.monotonic(), time.process_time()
    call()
    return {"s": time.monotonic() - began, "CPU-s": time.process_time() - used}


def scan(measured: Measured, name: str, place: Path, out: Path) -> None:
    """Run `raysift scan` to its end."""
    with timed(measured, name):
        done = subprocess.run(
            [RAYSIFT, "scan", str(place), "--out", str(out), "--json"], capture_output=True, text=True
        )
    if done.returncode:
        raise SystemExit(f"the scan of {place} failed: {done.stdout}{done.stderr}")


def one_round(measured: Measured, folder: Path, number: int) -> None:
    """Measure everything once, on media that no earlier round has scanned."""
    photos = material.photographs(folder / f"photos-{number}", PHOTOS, 100 + number)
    films = folder / f"film-{number}"
    films.mkdir()
    film = material.film(films / "film.mp4", FILM_S, 200 + number)
    speech = material.recording(folder / f"speech-{number}.wav", SPEECH_S)

    def alone(call: Callable[..., Any], path: Path) -> Any:
        with get_context("spawn").Pool(1) as pool:
            return pool.apply(call, [path])

    for name, values in (
        (f"loop, {PHOTOS} photographs", alone(loop_of_photographs, photos)),
        (f"loop, film of {FILM_S} s", alone(loop_of_film, film)),
        *((f"film's frames, {key}", values) for key, values in alone(sampling, film).items()),
        *((f"speech of {SPEECH_S} s, {key}", values) for key, values in alone(listening, speech).items()),
    ):
        for unit, value in values.items():
            measured.add(f"{name}, {unit}", value)
    scan(measured, f"raysift scan, {PHOTOS} photographs", photos, folder / f"out-photos-{number}")
    scan(measured, f"raysift scan, film of {FILM_S} s", films, folder / f"out-film-{number}")


def ratios(measured: Measured) -> dict[str, float]:
    """What Raysift takes, divided by what the plain loop takes."""

    def of(ours: str, plain: str) -> float:
        return measured.median(ours) / measured.median(plain)

    return {
        "photographs, CPU": of(f"raysift scan, {PHOTOS} photographs, CPU-s", f"loop, {PHOTOS} photographs, CPU-s"),
        "film, wall": of(f"raysift scan, film of {FILM_S} s, s", f"loop, film of {FILM_S} s, s"),
        "film's frames, wall": of("film's frames, sampled, s", "film's frames, plain, s"),
        "speech, CPU": of(f"speech of {SPEECH_S} s, detector, CPU-s", f"speech of {SPEECH_S} s, plain, CPU-s"),
    }


def main() -> None:
    """Start a cluster with all detectors, measure, and print the table and, as the last line, all values as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.media", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    measured = Measured()
    with TemporaryDirectory(prefix="raysift-bench-") as place:
        os.environ["RAYSIFT_STATE_DIR"] = str(Path(place) / "state")
        try:
            with timed(measured, "raysift up, all detectors"):
                subprocess.run([RAYSIFT, "up"], check=True, capture_output=True)
            os.environ.update(THREADS)  # of the loops; the cluster runs already
            for number in range(rounds):
                one_round(measured, Path(place), number)
        finally:
            subprocess.run([RAYSIFT, "down"], check=True, capture_output=True)
    table = Table("figure", "median")
    for name in measured.values:
        table.add_row(name, f"{measured.median(name):.2f}")
    for name, ratio in ratios(measured).items():
        table.add_row(f"{name}, to the loop", f"{ratio:.2f}")
    Console().print(table)
    print(json.dumps(measured.values))


if __name__ == "__main__":
    main()
