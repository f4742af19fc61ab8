"""Photographs, films and speech for benches, made from pictures in installed packages and samples/speech.ogg.

Each seed gives other bytes, so that no cache of an earlier round answers.
"""

import importlib.util
import wave
from itertools import chain
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

PICTURES = {
    "skimage": (
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "motorcycle_left.png",
        "page.png",
        "rocket.jpg",
        "text.png",
    ),
    "matplotlib": ("grace_hopper.jpg",),
}
FOLDERS = {"skimage": "data", "matplotlib": "mpl-data/sample_data"}
LINES = ("Keep this gate closed", "Platform 7 departs 14:35", "Ring twice for deliveries", "No entry after dark")
SPEECH = Path(__file__).parents[1] / "samples" / "speech.ogg"
SOUND_RATE_HZ, FILM_RATE, SHOT_S = 16_000, 25, 4
LONG_PX, FILM_SIZE = 1280, (1280, 720)


def photographs(folder: Path, count: int, seed: int) -> Path:
    """Write JPEGs of 1280 px: packaged pictures, each cropped and lit anew, a quarter of them with writing."""
    folder.mkdir(parents=True)
    random, base = np.random.default_rng(seed), _pictures()
    for n in range(count):
        _varied(base[n % len(base)], random, LINES[n // 4 % len(LINES)] if n % 4 == 0 else "").save(
            folder / f"{n:03}.jpg", quality=90
        )
    return folder


def film(path: Path, seconds: int, seed: int) -> Path:
    """Write a 720p film of shots of four seconds, slow pans over pictures of which half have writing, with speech."""
    random, base = np.random.default_rng(seed), _pictures()
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FILM_RATE, options={"preset": "veryfast", "crf": "21"})
        video.width, video.height, video.pix_fmt = *FILM_SIZE, "yuv420p"
        audio = out.add_stream("aac", rate=SOUND_RATE_HZ)
        audio.layout = "mono"
        for shot in range(seconds // SHOT_S):
            wide = _varied(base[shot % len(base)], random, LINES[shot % len(LINES)] if shot % 2 else "")
            wide = wide.resize((FILM_SIZE[0] + 200, FILM_SIZE[1] + 100))
            for n in range(SHOT_S * FILM_RATE):
                frame = wide.crop((n, n // 2, n + FILM_SIZE[0], n // 2 + FILM_SIZE[1]))
                out.mux(video.encode(av.VideoFrame.from_image(frame)))
        out.mux(video.encode())
        heard = speech(seconds)
        for begin in range(0, len(heard), 1024):
            sound = av.AudioFrame.from_ndarray(heard[None, begin : begin + 1024], "s16", "mono")
            sound.sample_rate, sound.pts = SOUND_RATE_HZ, begin
            out.mux(audio.encode(sound))
        out.mux(audio.encode())
    return path


def speech(seconds: int) -> npt.NDArray[np.int16]:
    """The recording again and again, (n,) mono at SOUND_RATE_HZ."""
    with av.open(str(SPEECH)) as source:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_RATE_HZ)
        frames = chain(source.decode(audio=0), [None])  # None flushes the resampler
        once = np.concatenate([piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)])
    return np.tile(once, seconds * SOUND_RATE_HZ // len(once) + 1)[: seconds * SOUND_RATE_HZ]


def recording(path: Path, seconds: int) -> Path:
    """Write the speech as WAV."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SOUND_RATE_HZ)
        out.writeframes(speech(seconds).tobytes())
    return path


def _pictures() -> list[Image.Image]:
    found = []
    for package, names in PICTURES.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None, f"{package} is part of the lock file"
        found += [Image.open(Path(spec.origin).parent / FOLDERS[package] / name).convert("RGB") for name in names]
    return found


def _varied(picture: Image.Image, random: np.random.Generator, line: str) -> Image.Image:
    left, top = (int(side * part) for side, part in zip(picture.size, random.uniform(0, 0.06, 2), strict=True))
    picture = picture.crop((left, top, *picture.size))
    scale = LONG_PX / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    picture = ImageEnhance.Brightness(picture).enhance(float(random.uniform(0.8, 1.2)))
    if line:
        ImageDraw.Draw(picture).text(
            (60, picture.height - 120), line, "white", ImageFont.load_default(56), stroke_width=3, stroke_fill="black"
        )
    return picture
