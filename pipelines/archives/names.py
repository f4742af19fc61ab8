"""Names of members: bytes of unknown code pages to text, and names to clean and different paths."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_CODE_PAGES = ["cp866", "cp1251", "cp932", "gb18030", "big5", "cp949", "cp1252", "cp1256", "cp1255", "cp850", "cp437"]
_NO_TEXT = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")  # halves of UTF-16 pairs; \udc80 to \udcff stand for bytes


def code_page(names: Iterable[bytes], otherwise: str = "cp437") -> str:
    """The most probable encoding of all these names together: UTF-8 where they are valid, else one of old systems."""
    together = b"\n".join(name for name in names if not name.isascii())
    if not together:
        return otherwise
    try:
        together.decode()
        return "utf-8"
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    best = from_bytes(together, cp_isolation=_CODE_PAGES, threshold=0.5).best()
    return best.encoding if best is not None else otherwise


def clean(name: str) -> str:
    """A member's name as a relative path with "/"; never empty, without "." and ".." parts.

    Names in UTF-16 may have half a pair, which no URI can hold: it becomes U+FFFD.
    """
    parts = [
        part
        for part in _NO_TEXT.sub("\ufffd", name).replace("\\", "/").replace("\0", "").split("/")
        if part not in ("", ".")
    ]
    return "/".join("__" if part == ".." else part for part in parts) or "member"


class Unique:
    """Makes the names of a container's members different from each other."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        """The name, with a number before its suffix if it was there before: "a (2).jpg"."""
        path, candidate = PurePosixPath(name), name
        while candidate in self._seen:
            self._seen[name] += 1
            candidate = str(path.with_name(f"{path.stem} ({self._seen[name]}){path.suffix}"))
        self._seen[candidate] = 1
        return candidate
