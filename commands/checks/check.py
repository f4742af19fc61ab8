"""The result of a check, and a function that runs the checks of all parts at the same time."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fails"]
GRADES: tuple[State, ...] = ("ok", "note", "fails")

ANSWER_S = 5.0  # time limit of one answer of a server
PART_S = 20.0  # time limit of all checks of a part


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. "fails": the profile or the part does not work; "note": it works, with a reservation."""

    what: str
    state: State
    said: str


CheckPart = Callable[[], Iterable[Check]]


def run_checks(parts: Mapping[str, CheckPart], update: Callable[[str], object]) -> list[Check]:
    """Run the checks of all parts at the same time; `update` is called with the parts that are not done yet.

    Returns them in the order of the parts. A part that raises, or takes longer than PART_S, gets a failed check.
    """
    answers: dict[str, list[Check]] = {name: [] for name in parts}
    waiting = list(parts)
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(name: str, checks: CheckPart) -> None:
        try:
            for check in checks():
                answers[name].append(check)  # one by one, so that it is kept if the next one raises
        except Exception as error:  # a fault of one part must not hide the others
            message = f"it could not be checked: {type(error).__name__}: {error}"
            answers[name].append(Check(name, "fails", message))
        done.put(name)

    for part in parts.items():
        threading.Thread(target=run, args=part, daemon=True).start()  # a hanging thread must not keep the process alive
    deadline = time.monotonic() + PART_S
    while waiting:
        update(f"checking {', '.join(waiting)}")
        try:
            waiting.remove(done.get(timeout=max(0.0, deadline - time.monotonic())))
        except queue.Empty:
            late = f"its checks took longer than {PART_S:.0f} s: it hangs, or the network does"
            answers |= {name: [*answers[name], Check(name, "fails", late)] for name in waiting}
            break
    return [check for name in parts for check in answers[name]]
