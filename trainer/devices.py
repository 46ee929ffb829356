"""Devices: the trainers of one run, which carry out several experiments at once.

A sandbox dies with the *thread* that started it (PR_SET_PDEATHSIG, prctl(2); bubblewrap's --die-with-parent). Each
device therefore has its own thread, which lives as long as its launcher and starts all its experiments. The template
and its monitor, processes of that device, measure CPU time; our scoring is measured by the CPU clock of the device's
thread. Several devices are therefore measured as accurately as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from programs.common.closing import Closing
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome

MOST_DEVICES = 64


class Devices(Closing):
    """``count`` trainers of one task: ``trainer`` and copies of it, made when a wave first needs them.

    Between two waves the caller may use ``trainer`` directly, from the thread that made it.
    """

    def __init__(self, trainer: Trainer, count: int = 1) -> None:
        self.trainer = trainer
        self.count = count
        self._open: list[tuple[Trainer, ThreadPoolExecutor]] = []  # each executor is the one thread of its trainer

    def run(self, specs: Sequence[Spec], go_on: Callable[[], bool]) -> Iterator[tuple[int, Outcome]]:
        """Carry out ``specs``, started in order; yields the position and result of each experiment when it ends.

        ``go_on`` is called before each start. After it has returned False, nothing more is started; running experiments
        end and are yielded. An exception of a trainer is raised after all running experiments have ended.
        """
        if self.count == 1 or len(specs) < 2 or self.trainer.instant:
            for position, spec in enumerate(specs):
                if not go_on():
                    return
                yield position, self.trainer.run(spec)
            return
        yield from self._side_by_side(specs, go_on)

    def _side_by_side(self, specs: Sequence[Spec], go_on: Callable[[], bool]) -> Iterator[tuple[int, Outcome]]:
        free, waiting = self._ready(min(self.count, len(specs))), deque(enumerate(specs))
        running: dict[Future[Outcome], tuple[int, tuple[Trainer, ThreadPoolExecutor]]] = {}
        failure: BaseException | None = None
        may_start = True
        try:
            while running or (waiting and may_start):
                while waiting and free and may_start:
                    if may_start := failure is None and go_on():
                        (position, spec), (trainer, executor) = waiting.popleft(), free.pop(0)
                        running[executor.submit(trainer.run, spec)] = position, (trainer, executor)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    position, device = running.pop(future)
                    free.append(device)
                    failure = failure or future.exception()
                    if future.exception() is None:
                        yield position, future.result()
        finally:
            wait(running)  # if the caller leaves early, until no trainer is in use
        if failure is not None:
            raise failure

    def _ready(self, count: int) -> list[tuple[Trainer, ThreadPoolExecutor]]:
        while len(self._open) < count:
            trainer = self.trainer.another() if self._open else self.trainer
            trainer.lease, trainer.alone = self.trainer.lease, self.trainer.alone
            self._open.append((trainer, ThreadPoolExecutor(1, f"device-{len(self._open)}")))
        return self._open[:count]

    def close(self) -> None:
        """Close the additional trainers, each in its own thread, and end the threads."""
        for trainer, executor in self._open[1:]:
            executor.submit(trainer.close)
        for _, executor in self._open:
            executor.shutdown()
        self._open.clear()


def busy_seconds(outcomes: Sequence[Outcome]) -> float:
    """Wall seconds in which at least one of the experiments was running."""
    total, until = 0.0, float("-inf")
    for outcome in sorted(outcomes, key=lambda one: one.began):
        total += max(0.0, outcome.ended - max(outcome.began, until))
        until = max(until, outcome.ended)
    return total
