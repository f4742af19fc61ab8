"""Drawn pictures without writing, of the kinds in which OCR sees letters: textures, patterns, rooms, plants."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Pixels = npt.NDArray[np.uint8]
Random = np.random.Generator


def frames(number: int, size: tuple[int, int] = (320, 240)) -> Iterator[Pixels]:
    """That many pictures (height, width, 3), always the same ones, of a dozen kinds in turn."""
    for n in range(number):
        random = np.random.default_rng(n)
        drawn = KINDS[n % len(KINDS)](random, *size)
        noisy = np.asarray(drawn.convert("RGB"), float) + random.normal(0, random.uniform(1, 8), (size[1], size[0], 3))
        yield noisy.clip(0, 255).astype(np.uint8)


def _tinted(grey: npt.NDArray[np.float64], random: Random) -> Image.Image:
    tint = random.uniform(0.5, 1, 3)
    return Image.fromarray((grey.clip(0, 255)[:, :, None] * tint).astype(np.uint8))


def _noise(random: Random, width: int, height: int) -> Image.Image:
    side = int(random.integers(1, 9))
    grains = random.normal(128, random.uniform(10, 80), (height // side + 1, width // side + 1))
    way = Image.Resampling.NEAREST if random.random() < 0.5 else Image.Resampling.BICUBIC
    return _tinted(grains, random).resize((width, height), way)


def _waves(random: Random, width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return _tinted(128 + 100 * np.sin(x * random.uniform(0, 0.1) + y * random.uniform(0, 0.1)), random)


def _stripes(random: Random, width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    turn, period = random.uniform(0, np.pi), random.uniform(6, 50)
    return _tinted(128 + 110 * np.sign(np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period)), random)


def _checks(random: Random, width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    side = int(random.integers(6, 60))
    return _tinted((x // side + y // side) % 2 * 180.0 + 40, random)


def _corridor(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#8a8780")
    draw = ImageDraw.Draw(picture)
    x, y = width * random.uniform(0.3, 0.7), height * random.uniform(0.35, 0.55)
    draw.polygon([(0, height), (width, height), (x + 20, y + 15), (x - 20, y + 15)], fill="#6b5f52")
    draw.polygon([(0, 0), (width, 0), (x + 20, y - 15), (x - 20, y - 15)], fill="#c9c6bd")
    for k in range(8):
        near = 0.82**k
        for side in (-1, 1):
            outer, inner = x + side * width * 0.6 * near, x + side * width * 0.53 * near
            edges = [(outer, y - height * 0.32 * near), (inner, y - height * 0.29 * near)]
            edges += [(inner, y + height * 0.48 * near), (outer, y + height * 0.55 * near)]
            draw.polygon(edges, fill=("#5a4632", "#4c5a63", "#75624b")[k % 3], outline="#222")
            knob = y + height * 0.1 * near
            draw.ellipse((inner - 4 * near, knob, inner + 3 * near, knob + 6 * near), fill="#ddd")
        lamp = (x - width * 0.1 * near, y - height * 0.5 * near, x + width * 0.1 * near, y - height * 0.46 * near)
        draw.rectangle(lamp, fill="#fffbe8")
    for _ in range(int(random.integers(0, 3))):
        _person(draw, width * random.uniform(0.2, 0.8), y, height * random.uniform(0.2, 0.6))
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.5)))


def _person(draw: ImageDraw.ImageDraw, x: float, y: float, tall: float) -> None:
    draw.ellipse((x - tall * 0.07, y - tall * 0.1, x + tall * 0.07, y + tall * 0.06), fill="#caa184")
    draw.rectangle((x - tall * 0.13, y + tall * 0.06, x + tall * 0.13, y + tall * 0.5), fill="#334")
    for left in (-0.1, 0.02):
        draw.rectangle((x + tall * left, y + tall * 0.5, x + tall * (left + 0.08), y + tall * 0.95), fill="#222")


def _bricks(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#b5aea5")
    draw = ImageDraw.Draw(picture)
    long, high = int(random.integers(20, 90)), int(random.integers(8, 36))
    for row, y in enumerate(range(0, height, high)):
        for x in range(-long + row % 2 * long // 2, width, long):
            shade = int(random.integers(-25, 25))
            draw.rectangle((x, y, x + long - 3, y + high - 3), fill=(150 + shade, 80 + shade, 60 + shade))
    return picture


def _tiles(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#ddd")
    draw = ImageDraw.Draw(picture)
    side = int(random.integers(12, 70))
    for y in range(0, height, side):
        for x in range(0, width, side):
            draw.rectangle((x, y, x + side - 2, y + side - 2), fill="#ccd2cc", outline="#777")
            if random.random() < 0.3:
                draw.line((x, y, x + side, y + side), fill="#444", width=2)
            if random.random() < 0.2:
                draw.line((x + side, y, x, y + side), fill="#444", width=2)
    return picture


def _leaves(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#23331d")
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(100, 300))):
        root = random.uniform(0, 1, 2) * (width, height)
        turn, long = random.uniform(0, 2 * np.pi), random.uniform(8, 45)
        along = np.array([np.cos(turn), np.sin(turn)]) * long
        across, green = along[::-1] * (-0.3, 0.3), int(random.integers(60, 190))
        corners = [root, root + along / 2 + across, root + along, root + along / 2 - across]
        draw.polygon([tuple(corner) for corner in corners], fill=(green // 2, green, green // 3))
        draw.line((*root, *(root + along)), fill=(green // 3, green // 2, 20))
    return picture


def _fence(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), (120, 150, 190))
    draw = ImageDraw.Draw(picture)
    gap = int(random.integers(10, 40))
    for x in range(0, width, gap):
        draw.rectangle((x, height * 0.3, x + gap * 0.3, height * 0.8), fill="#333")
    for y in (0.4, 0.7):
        draw.rectangle((0, height * y, width, height * y + 6), fill="#333")
    return picture


def _shelves(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#5b4532")
    draw = ImageDraw.Draw(picture)
    for y in range(10, height, int(random.integers(60, 110))):
        x = 5
        while x < width - 20:
            thick, tall = int(random.integers(8, 30)), int(random.integers(40, 58))
            colour = tuple(int(one) for one in random.integers(30, 220, 3))
            draw.rectangle((x, y + 60 - tall, x + thick, y + 55), fill=colour, outline="#222")
            x += thick + 1
        draw.rectangle((0, y + 56, width, y + 62), fill="#3a2c1e")
    return picture


def _shapes(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#333a40")
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(3, 40))):
        x, y, side = random.uniform(0, width), random.uniform(0, height), random.uniform(8, 60)
        colour = tuple(int(one) for one in random.integers(40, 250, 3))
        shape = draw.ellipse if random.random() < 0.6 else draw.rectangle
        shape((x, y, x + side, y + side), outline=colour, width=int(random.integers(1, 8)))
    return picture


def _windows(random: Random, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), (150, 160, 170))
    draw = ImageDraw.Draw(picture)
    side = int(random.integers(22, 70))
    for y in range(10, height, side):
        for x in range(10, width, side):
            pane = (255, 240, 180) if random.random() < 0.3 else (50, 60, 80)
            draw.rectangle((x, y, x + side * 0.6, y + side * 0.7), fill=pane, outline="#222")
            draw.line((x + side * 0.3, y, x + side * 0.3, y + side * 0.7), fill="#222")
            draw.line((x, y + side * 0.35, x + side * 0.6, y + side * 0.35), fill="#222")
    return picture


KINDS: tuple[Callable[[Random, int, int], Image.Image], ...] = (
    _noise, _waves, _stripes, _checks, _corridor, _bricks, _tiles, _leaves, _fence, _shelves, _shapes, _windows,
)  # fmt: skip
