"""The files of a queue that a reviewer has seen in this session, kept while the page is run again."""

from dataclasses import dataclass, field

from app import page
from cluster.decisions.api_types import MOST_AT_ONCE, NextReview, ReviewQueue


@dataclass
class Walk:
    """The files of one queue that were shown in this session, and the place among them."""

    queue: ReviewQueue
    files: list[str] = field(default_factory=list)
    until: str = ""  # how long the last one is kept for this reviewer, ISO 8601
    place: int = 0  # of the file that is shown; behind the last one, the next file is to be asked for
    decided: dict[str, int] = field(default_factory=dict)  # file -> version of the reviewer's own last decision

    def file(self) -> str | None:
        """The file at the place; behind the last one the next of the queue, which is then kept for this reviewer."""
        if self.place < len(self.files):
            return self.files[self.place]
        skip = tuple(self.files[-MOST_AT_ONCE:])
        item = page.api().next_review(NextReview(**dict(self.queue), skip=skip))
        if item.asset is not None:
            self.files.append(item.asset)
            self.until = item.until or ""
        return item.asset

    def begin_again(self) -> None:
        """Ask for all files of the queue again, also for those that were left out."""
        self.files, self.place, self.decided = [], 0, {}
