"""Work that the head does again and again, in threads of its own."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


def repeat(name: str, work: Callable[[], None], every_s: float) -> None:
    """Do it now and `every_s` seconds after its end, in a thread of that name, until the process ends.

    A fault is logged, and it is tried again.
    """

    def run() -> None:
        while True:
            try:
                work()
            except Exception:  # one fault must not end the thread for good
                log.exception("%s: a fault; it is tried again", name)
            time.sleep(every_s)

    threading.Thread(target=run, daemon=True, name=name).start()
