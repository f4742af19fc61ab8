"""Keyword search in text that was read or heard."""

import functools
import re
import unicodedata


def find_keywords(passage: str, words: tuple[str, ...], around: int = 60) -> list[tuple[str, str]]:
    """The keywords in a passage, each once: pairs of the text as it stands there and its context of `around` letters.

    Case and accents do not count; an asterisk at the end of a keyword stands for any ending.
    """
    passage = unicodedata.normalize("NFC", passage)
    found: dict[str, tuple[str, str]] = {}
    for match in _pattern(words).finditer(_without_accents(passage)):
        start, end = max(0, match.start() - around), min(len(passage), match.end() + around)
        context = ("…" if start else "") + passage[start:end].strip() + ("…" if end < len(passage) else "")
        found.setdefault(match[0].lower(), (passage[match.start() : match.end()], context))
    return list(found.values())


@functools.cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern of whole words in any case; a blank matches a hyphen or nothing. Chinese has no word boundaries."""
    alternatives = []
    for word in sorted(words, key=len, reverse=True):
        bare = _without_accents(unicodedata.normalize("NFC", word.rstrip("*")))
        written = r"[\s-]*".join(map(re.escape, bare.split()))
        ending = r"\w*" if word.endswith("*") else ""
        spaceless = "\u3040" <= bare[:1] <= "\u9fff"
        alternatives.append(written if spaceless else rf"(?<!\w){written}{ending}(?!\w)")
    return re.compile("|".join(alternatives) or r"(?!)", re.IGNORECASE)


def _without_accents(text: str) -> str:
    """The text without accents, which OCR often misses; its length stays the same."""
    parts = (unicodedata.normalize("NFD", letter) for letter in text)
    # a Hangul syllable decomposes, too, but its parts are letters
    return "".join(
        part[0] if all(map(unicodedata.combining, part[1:])) else own for own, part in zip(text, parts, strict=True)
    )
