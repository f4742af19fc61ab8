"""How many requests of one kind are answered at the same time in one API process."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException


class Places:
    """The places for requests of one kind; an attribute of the class that has their route."""

    taken = 0

    @contextmanager
    def take(self, most: int, refusal: str, retry_after_s: int) -> Iterator[None]:
        """Hold a place while the block runs. HTTPException 503 with the refusal if `most` are taken.

        A route takes it before it waits for anything, as other requests come meanwhile.
        """
        if self.taken >= most:
            raise HTTPException(503, refusal, {"Retry-After": str(retry_after_s)})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
