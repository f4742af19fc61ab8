"""Labels of the media in ../shared/media, taken from its MANIFEST.md, for `raysift evaluate` by hand:
`python -m tests.support.labels ../shared/media > labels.jsonl`.

Logo labels assume a gallery filled from the same folder: `raysift logos add NAME P` for each image P of logos/, NAME
being the file name without suffix. The media contain no explicit content and no restrained person: for nsfw and
restraint they measure false positives only.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FACES = {
    "obama_1.jpg": ["Obama"],
    "obama_2.jpg": ["Obama"],
    "biden_1.jpg": ["Biden"],
    "biden_2.jpg": ["Biden"],
    "pair_obama_biden.jpg": ["Obama", "Biden"],
    "collins_astronaut.png": ["Collins"],
    "hopper_1.jpg": ["Hopper"],
}
TEXTS = {
    "easyocr_english.png": "Reduce your risk of coronavirus infection: Clean hands with soap and water or "
    "alcohol-based hand rub Cover nose and mouth when coughing and sneezing with tissue or flexed elbow Avoid close "
    "contact with anyone with cold or flu-like symptoms Thoroughly cook meat and eggs No unprotected contact with live "
    "wild or farm animals World Health Organization",
    "easyocr_french.jpg": "Mairie du 1er Palais du LOUVRE LES ARTS DÉCORATIFS Musée du LOUVRE Théâtre du PALAIS-ROYAL",
    "easyocr_korean.png": "서울 평양 Seoul Pyeongyang 56Km 205Km",
    "skimage_page.png": True,  # cut in the middle of a line
}
NO_TEXT = ("brick.png", "chelsea.png", "coffee.png", "rocket.jpg")
WORDS = {
    "jfk.flac": "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your "
    "country.",
    "english_one_two_three.wav": "one two three",
    "french.aiff": "et c'est la dictée numéro 1",
    "new-home-in-the-stars-16k.wav": "We must find a new home in the stars.",
    "sb_spk1_snt1.wav": "the child almost hurt the small dog",
    "sb_spk1_snt2.wav": "drop the two when you add the figures",
    "sb_spk1_snt3.wav": "at that high level the air is pure",
    "pyannote_two_speakers.wav": True,
}
NEWS = "BREAKING NEWS Press briefing 14:30 ARCHIVE TAPE 7 Rear Admiral MISSION STS-93 Launch day"


def lines(media: Path) -> Iterator[dict[str, Any]]:
    """Yield one line of labels per file: its URI, and detector -> labels."""
    logos = sorted(picture.stem for picture in (media / "logos").iterdir())

    def line(path: str, *, shown: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
        """An image or video without explicit content or restraint, and with no other logos than `shown`."""
        seen = {"nsfw": {"nsfw": False}, "restraint": {"*": False}, "logo": {name: name in shown for name in logos}}
        return {"uri": str((media / path).absolute()), "labels": seen | more}

    for name, people in FACES.items():
        yield line(f"faces/{name}", face={"face": people})
    for name, text in TEXTS.items():
        yield line(f"text/{name}", ocr={"text": text}, face={"face": 0})
    for name in ("phototest", "eurotext"):
        text = (media / "text" / f"{name}.txt").read_text("utf-8").replace("\f", "")
        yield line(f"text/{name}.tif", ocr={"text": text}, face={"face": 0})
    for picture in sorted((media / "negatives").iterdir()):
        read = {"ocr": {"text": ""}} if picture.name in NO_TEXT else {}
        yield line(f"negatives/{picture.name}", face={"face": 0}, **read)
    for name, words in WORDS.items():
        yield {"uri": str((media / "speech" / name).absolute()), "labels": {"whisper": {"speech": words}}}
    yield line(
        "video/composite_news_en.mp4",
        shown=("postgresql", "firefox"),
        face={"face": ["Obama", "Hopper", "Collins"]},
        ocr={"text": NEWS},
        whisper={"speech": WORDS["jfk.flac"]},
    )
    yield line("video/composite_dialog_en.mp4", face={"face": 2}, ocr={"text": ""}, whisper={"speech": True})
    yield line("video/intel_head-pose-face-detection-female-and-male.mp4", face={"face": 2}, ocr={"text": ""})
    yield line("video/intel_classroom.mp4", face={"face": 4})
    yield line("video/intel_one-by-one-person_20s.mp4")


if __name__ == "__main__":
    for labelled in lines(Path(sys.argv[1])):
        print(json.dumps(labelled, ensure_ascii=False))
