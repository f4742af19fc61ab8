"""What a check says, and how many are asked at a time."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fails"]
GRADES: tuple[State, ...] = ("ok", "note", "fails")

ANSWER_S = 5.0  # that a server is given for one answer
PART_S = 20.0  # and a part for all of its checks


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at. "fails": the profile, or this part, does not work; "note": it does, but read it."""

    what: str
    state: State
    said: str


Question = Callable[[], Iterable[Check]]


def together(parts: Mapping[str, Question], tell: Callable[[str], object]) -> list[Check]:
    """The checks of all parts, in their order, asked at once; `tell` hears who is waited for."""
    answers: dict[str, list[Check]] = {name: [] for name in parts}
    waiting = list(parts)
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def answer(name: str, question: Question) -> None:
        try:
            for check in question():
                answers[name].append(check)  # as they come: what is known stays known, whatever the next one ends in
        except Exception as error:  # whatever is wrong with one part, the others are still to be told of
            said = f"it could not be checked: {type(error).__name__}: {error}"
            answers[name].append(Check(name, "fails", said))
        done.put(name)

    for part in parts.items():
        threading.Thread(target=answer, args=part, daemon=True).start()  # one that hangs does not keep us from leaving
    deadline = time.monotonic() + PART_S
    while waiting:
        tell(f"looking at {', '.join(waiting)}")
        try:
            waiting.remove(done.get(timeout=max(0.0, deadline - time.monotonic())))
        except queue.Empty:
            late = f"it was not done with its checks within {PART_S:.0f} s: it hangs, or the network does"
            answers |= {name: [*answers[name], Check(name, "fails", late)] for name in waiting}
            break
    return [check for name in parts for check in answers[name]]
