"""Captions within the pictures of a film (CEA-608, CEA-708), which are not read here: whether there are some."""

from typing import Any

from cluster.errors import MediaError

LEAST = 4  # pairs of characters or commands: fewer are noise


class ClosedCaptions:
    """Counts what the frames of a film carry."""

    def __init__(self) -> None:
        self._pairs = 0

    def look(self, frame: Any) -> None:
        """Count the characters that a decoded frame carries."""
        if self._pairs < LEAST:
            for data in frame.side_data:
                if data.type.name == "A53_CC":
                    content = bytes(data)
                    self._pairs += sum(_is_used(content[at : at + 3]) for at in range(0, len(content) - 2, 3))

    def require_none(self) -> None:
        """MediaError if the film has captions."""
        if self._pairs >= LEAST:
            raise MediaError("decode", "it has closed captions (CEA-608 or 708), which were not read")


def _is_used(triplet: bytes) -> bool:
    """Whether three bytes hold characters: they are valid, and no filling."""
    kind, is_valid = triplet[0] & 3, bool(triplet[0] & 4)
    filling = 0x7F if kind < 2 else 0xFF  # the characters of CEA-608 have a bit of parity
    return is_valid and any(byte & filling for byte in triplet[1:])
