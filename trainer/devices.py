"""Devices: the trainers of one run, which carry out several experiments at once.

A sandbox dies with the *thread* that started it (PR_SET_PDEATHSIG, prctl(2); bubblewrap's --die-with-parent). Each
device therefore has its own thread, which lives as long as its launcher and starts all its experiments. The template
and its monitor, processes of that device, measure CPU time; our scoring is measured by the CPU clock of the device's
thread. Several devices are therefore measured as accurately as one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue

from programs.common.closing import Closing
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome

MOST_DEVICES = 64


@dataclass(frozen=True)
class Completed:
    """A completed experiment. ``began`` and ``ended``: seconds of the monotonic clock; ``started_at``: UTC."""

    outcome: Outcome
    started_at: str
    began: float
    ended: float


class Devices(Closing):
    """``count`` trainers of one task: ``trainer`` and copies of it, made when a wave first needs them.

    Between two waves the caller may use ``trainer`` directly, from the thread that made it.
    """

    def __init__(self, trainer: Trainer, count: int = 1) -> None:
        self.trainer = trainer
        self.count = count
        self._hands: list[_Hand] = []

    def run(self, specs: Sequence[Spec], go_on: Callable[[], bool]) -> Iterator[tuple[int, Completed]]:
        """Carry out ``specs``, started in order; yields the position and result of each experiment when it ends.

        ``go_on`` is called before each start. After it has returned False, nothing more is started; running experiments
        end and are yielded. An exception of a trainer is raised after all running experiments have ended.
        """
        if self.count == 1 or len(specs) < 2 or self.trainer.instant:
            for position, spec in enumerate(specs):
                if not go_on():
                    return
                yield position, carry_out(self.trainer, spec)
            return
        yield from self._side_by_side(specs, go_on)

    def _side_by_side(self, specs: Sequence[Spec], go_on: Callable[[], bool]) -> Iterator[tuple[int, Completed]]:
        free = self._ready(min(self.count, len(specs)))
        ended: SimpleQueue[_DeviceResult] = SimpleQueue()
        waiting = deque(enumerate(specs))
        flying, going = 0, True
        failure: BaseException | None = None
        try:
            while True:
                while waiting and free and going:
                    going = failure is None and go_on()
                    if going:
                        free.pop(0).inbox.put((*waiting.popleft(), ended))
                        flying += 1
                if not flying:
                    break
                one = ended.get()
                flying -= 1
                free.append(one.hand)
                failure = failure or one.failure
                if one.completed is not None:
                    yield one.position, one.completed
        finally:
            for _ in range(flying):  # if the caller leaves early, wait until no trainer is in use
                ended.get()
        if failure is not None:
            raise failure

    def _ready(self, count: int) -> list[_Hand]:
        while len(self._hands) < count:
            trainer = self.trainer.another() if self._hands else self.trainer
            trainer.lease, trainer.alone = self.trainer.lease, self.trainer.alone
            hand = _Hand(trainer, len(self._hands))
            hand.start()
            self._hands.append(hand)
        return self._hands[:count]

    def close(self) -> None:
        """Close the additional trainers, each in its own thread, and end the threads."""
        for hand in self._hands:
            hand.inbox.put(None)
        for hand in self._hands:
            hand.join()
        self._hands.clear()


@dataclass(frozen=True)
class _DeviceResult:
    hand: _Hand
    position: int
    completed: Completed | None
    failure: BaseException | None = None


class _Hand(threading.Thread):
    """The thread of one device. It closes its trainer at the end, except the first, which belongs to the caller."""

    def __init__(self, trainer: Trainer, number: int) -> None:
        super().__init__(name=f"device-{number}", daemon=True)
        self.trainer = trainer
        self.number = number
        self.inbox: SimpleQueue[tuple[int, Spec, SimpleQueue[_DeviceResult]] | None] = SimpleQueue()

    def run(self) -> None:
        while (job := self.inbox.get()) is not None:
            position, spec, ended = job
            try:
                ended.put(_DeviceResult(self, position, carry_out(self.trainer, spec)))
            except BaseException as error:  # thread boundary: the caller raises it
                ended.put(_DeviceResult(self, position, None, error))
        if self.number:
            self.trainer.close()


def carry_out(trainer: Trainer, spec: Spec) -> Completed:
    """Run one experiment and record its times."""
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    began = time.monotonic()
    outcome = trainer.run(spec)
    return Completed(outcome, started_at, began + trainer.waited, time.monotonic())


def busy_seconds(completed: Sequence[Completed]) -> float:
    """Wall seconds in which at least one of the experiments was running."""
    total, until = 0.0, float("-inf")
    for one in sorted(completed, key=lambda one: one.began):
        total += max(0.0, one.ended - max(one.began, until))
        until = max(until, one.ended)
    return total
