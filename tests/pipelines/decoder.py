"""One pool of decoder processes for all tests of a process: the start of a child takes a second."""

import atexit
import functools

from pipelines.media.pool import Decoder


@functools.cache
def shared_decoder() -> Decoder:
    """The pool, closed when this process ends."""
    decoder = Decoder()
    atexit.register(decoder.close)
    return decoder
