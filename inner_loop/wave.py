"""A wave: experiments requested together, run on all devices of the run, and recorded in the order of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.devices import Completed, Devices
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec
from trainer.source import Source

if TYPE_CHECKING:
    from inner_loop.record import Record

Known = tuple[Outcome, str]  # an outcome and when its experiment started


@dataclass(frozen=True)
class ExperimentRequest:
    """A request for one experiment, see `Bench.experiment`."""

    edit: Edit
    parent: Record | None = None
    because: tuple[str, ...] = ()
    fraction: float = 1.0
    replicate: int = 0
    description: str = ""
    proposer: str = ""
    source: Source | None = None
    program_id: str | None = None  # of a night: whose turn it is


@dataclass(frozen=True)
class PlannedExperiment:
    """A request with its number, parent and spec; ``known``: its recorded outcome."""

    ask: ExperimentRequest
    number: int
    parent: Record | None
    spec: Spec
    known: Known | None


def run_wave(
    devices: Devices,
    wave: Sequence[PlannedExperiment],
    go_on: Callable[[], bool],
    take: Callable[[PlannedExperiment, Known], None],
) -> list[Completed]:
    """Run the experiments of a wave that are not known. ``take`` is called for each in the order of numbers, as soon as
    all before it have ended.

    An outcome that cannot be recorded (`fault`) holds back all higher numbers and is taken last; nothing is launched
    after it. Returns what was run now.
    """
    completed: list[Completed] = []
    ended: dict[int, Known] = {one.number: one.known for one in wave if one.known is not None}
    waiting = [one for one in wave if one.known is None]
    order = iter(wave)
    following = next(order, None)

    def broken() -> bool:
        return any(outcome.status == "fault" for outcome, _ in ended.values())

    def take_up() -> None:
        nonlocal following
        while following is not None and following.number in ended:
            if ended[following.number][0].status == "fault":
                return
            take(following, ended[following.number])
            following = next(order, None)

    take_up()
    for index, result in devices.run([one.spec for one in waiting], lambda: not broken() and go_on()):
        completed.append(result)
        ended[waiting[index].number] = result.outcome, result.started_at
        take_up()
    if following is not None and following.number in ended:
        take(following, ended[following.number])
    return completed
