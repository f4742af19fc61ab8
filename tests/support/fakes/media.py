"""Media of the fake API, generated on request: an image, a face, a sound, a video."""

import io
import math
import struct
import wave
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

from cluster.settings import Decoding
from pipelines.media.originals import copies


def draw_picture(seed: str, width: int, height: int, caption: str, longest: int) -> bytes:
    """A JPEG of at most `longest` pixels a side. `seed`: at least 8 hex digits, which select pattern and colours."""
    number = int(seed[:8], 16)
    image = Image.linear_gradient("L").resize((width, height)).rotate(number % 4 * 90)
    colors = [f"hsl({(number + turn) % 360}, 45%, {light}%)" for turn, light in ((0, 25), (40, 75))]
    paper = Image.composite(Image.new("RGB", image.size, colors[1]), Image.new("RGB", image.size, colors[0]), image)
    pen = ImageDraw.Draw(paper)
    disc = (width * 0.22, height * 0.17, width * 0.46, height * 0.58)
    pen.ellipse(disc, fill=f"hsl({(number + 180) % 360}, 50%, 60%)")
    pen.rectangle((width * 0.1, height * 0.72, width * 0.9, height * 0.84), fill="white")
    pen.text((width * 0.12, height * 0.75), caption[:30], fill="black")
    paper.thumbnail((longest, longest))
    saved = io.BytesIO()
    paper.save(saved, "JPEG", quality=80)
    return saved.getvalue()


def draw_face(seed: str, turn: int) -> bytes:
    """A JPEG of a drawn face. `seed`: at least 8 hex digits, which select the colours."""
    number = int(seed[:8], 16)
    paper = Image.new("RGB", (128, 128), f"hsl({number % 360}, 30%, 45%)")
    pen = ImageDraw.Draw(paper)
    pen.ellipse((24, 14, 104, 118), fill=f"hsl({20 + number % 20}, 45%, {55 + number % 25}%)")
    look = turn // 1000 % 5 - 2
    for eye in (48, 80):
        pen.ellipse((eye - 7 + look, 50, eye + 7 + look, 62), fill="white")
        pen.ellipse((eye - 3 + 2 * look, 52, eye + 3 + 2 * look, 60), fill="black")
    pen.arc((46, 70, 82, 98), 20, 160, fill="#7a2b2b", width=4)
    saved = io.BytesIO()
    paper.save(saved, "JPEG", quality=80)
    return saved.getvalue()


def make_sound() -> bytes:
    """A WAV file with 8 s of a tone at 8 kHz sample rate."""
    saved = io.BytesIO()
    with wave.open(saved, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"".join(struct.pack("<h", int(2000 * math.sin(n / 5))) for n in range(64_000)))
    return saved.getvalue()


@cache
def make_part(of_sound: bool, from_s: float) -> tuple[str, bytes]:
    """The media type and bytes of the copy of `make_sound` or `make_video` from a time on; empty behind the end."""
    with TemporaryDirectory() as folder:
        (path := Path(folder) / "original").write_bytes(make_sound() if of_sound else make_video())
        media_type, *pieces = [*copies.part(path, from_s, Decoding())] or [""]
    return str(media_type), b"".join(map(bytes, pieces))


@cache
def make_video() -> bytes:
    """An MP4 file of 320 x 240 pixels with 12 s of a moving square at 10 frames per second."""
    import av

    saved = io.BytesIO()
    with av.open(saved, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for n in range(120):
            image = Image.new("RGB", (320, 240), "#27434d")
            ImageDraw.Draw(image).rectangle((32 + n * 1.6, 72, 96 + n * 1.6, 168), fill="#e0b040")
            film.mux(stream.encode(av.VideoFrame.from_image(image)))
        film.mux(stream.encode())
    return saved.getvalue()
