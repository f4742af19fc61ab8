"""How much of a container is unpacked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one container of a folder or bucket, with all containers in it."""

    depth: int = 3  # containers in containers: a.zip!b.zip!c.zip!picture.jpg is the deepest
    members: int = 10_000
    total_bytes: int = 20_000_000_000  # unpacked
    ratio: int = 200  # bytes unpacked for each byte that is stored ...
    free_bytes: int = 10_000_000  # ... of a member larger than this
    pages: int = 500  # of a PDF
    page_px: int = 2000  # longest side of a page that is drawn

    def most_bytes(self, packed: int) -> int:
        """How many bytes may be unpacked from so many stored ones."""
        return min(self.total_bytes, max(self.free_bytes, self.ratio * packed))
