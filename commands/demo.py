"""The media of `raysift demo`, made from pictures in installed packages and one recording in the repository."""

import importlib.util
import shutil
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SPEECH = Path(__file__).parents[1] / "samples" / "speech.ogg"
RATE = 10  # frames a second of the video
SIZE = (1280, 720)


def clear(state_dir: Path) -> None:
    """Delete the state of an earlier demo."""
    shutil.rmtree(state_dir, ignore_errors=True)


def make(folder: Path) -> Path:
    """Make the folder and fill it: two portraits, a notice, a picture without people, a video with speech and captions,
    a recording and a broken file. Returns the folder.
    """
    folder.mkdir(parents=True)
    astronaut = _packaged("skimage", "data/astronaut.png")
    shutil.copy(astronaut, folder / "astronaut.png")
    shutil.copy(_packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"), folder / "admiral.jpg")
    shutil.copy(_packaged("skimage", "data/coffee.png"), folder / "coffee.png")
    shutil.copy(SPEECH, folder / "recording.ogg")
    _card("NOTICE", "Keep this gate closed at all times", "Deliveries: ring twice").save(folder / "notice.png")
    portrait = Image.open(astronaut).convert("RGB").resize((560, 560))
    spoken = _card("BREAKING NEWS", "Suspect held at the main gate", "")
    spoken.paste(portrait, (700, 80))
    _video(folder / "news.mp4", [spoken, _card("MISSION REPORT", "Launch day", "Live from the control room")])
    whole = (folder / "admiral.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 3])
    return folder


def _packaged(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is part of the lock file"
    return Path(spec.origin).parent / file


def _card(title: str, line: str, small: str) -> Image.Image:
    card = Image.new("RGB", SIZE, (18, 44, 84))
    draw = ImageDraw.Draw(card)
    for text, y, size in ((title, 110, 76), (line, 520, 48), (small, 610, 40)):
        draw.text((60, y), text, fill="white", font=ImageFont.load_default(size=size))
    return card


def _video(path: Path, cards: list[Image.Image]) -> None:
    """Write a video that shows the cards one after the other, with the recording as its sound and of its length."""
    with av.open(str(SPEECH)) as source, av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "28"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = out.add_stream("aac", rate=48_000)
        duration_s = 0.0
        for frame in source.decode(audio=0):
            duration_s = float(frame.time or 0) + frame.samples / frame.sample_rate
            frame.pts = None
            out.mux(audio.encode(frame))
        out.mux(audio.encode())
        for n in range(int(duration_s * RATE)):
            card = cards[min(int(n / (duration_s * RATE) * len(cards)), len(cards) - 1)]
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.asarray(card), format="rgb24")))
        out.mux(video.encode())
