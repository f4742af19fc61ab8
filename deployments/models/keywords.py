"""Words that are looked for in what was read or said."""

import functools
import re
import unicodedata


def find_keywords(passage: str, words: tuple[str, ...], around: int = 60) -> list[tuple[str, str]]:
    """Which of the words a passage holds, as they stand in it, each once, with what stands around it."""
    passage = unicodedata.normalize("NFC", passage)
    found: dict[str, tuple[str, str]] = {}
    for match in _pattern(words).finditer(_bare(passage)):
        start, end = max(0, match.start() - around), min(len(passage), match.end() + around)
        context = ("…" if start else "") + passage[start:end].strip() + ("…" if end < len(passage) else "")
        found.setdefault(match[0].lower(), (passage[match.start() : match.end()], context))
    return list(found.values())


@functools.cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Whole words in any case; blanks may be hyphens or be left out. Chinese has no blanks to begin or end at."""
    alternatives = []
    for word in sorted(words, key=len, reverse=True):
        bare = _bare(unicodedata.normalize("NFC", word.rstrip("*")))
        written = r"[\s-]*".join(map(re.escape, bare.split()))
        ending = r"\w*" if word.endswith("*") else ""
        spaceless = "\u3040" <= bare[:1] <= "\u9fff"
        alternatives.append(written if spaceless else rf"(?<!\w){written}{ending}(?!\w)")
    return re.compile("|".join(alternatives) or r"(?!)", re.IGNORECASE)


def _bare(text: str) -> str:
    """Without accents, which are often not read; as long as before."""
    parts = (unicodedata.normalize("NFD", letter) for letter in text)
    # a Hangul syllable has parts too, and is nothing without them
    return "".join(
        part[0] if all(map(unicodedata.combining, part[1:])) else own for own, part in zip(text, parts, strict=True)
    )
