"""A wave at the bench: experiments that are asked for together, carried out on all devices of the run, taken up in the
order of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.devices import Devices, Landing
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec
from trainer.source import Source

if TYPE_CHECKING:
    from inner_loop.record import Record

Known = tuple[Outcome, str]  # an outcome and when its experiment started


@dataclass(frozen=True)
class ExperimentRequest:
    """What is asked of the bench: one experiment, see `Bench.experiment`."""

    edit: Edit
    parent: Record | None = None
    because: tuple[str, ...] = ()
    fraction: float = 1.0
    replicate: int = 0
    description: str = ""
    proposer: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class PlannedExperiment:
    """An experiment with its number, and all that follows from what was asked; ``known``: it was recorded before."""

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
) -> list[Landing]:
    """Carry out what of a wave is not known; ``take`` is called for each, by number, as soon as those before it ended.

    An end by which nothing can be recorded (`fault`) keeps back all with a higher number, and is the last that is
    taken; nothing is launched after it. Returns the landings of those that were carried out now.
    """
    completed: list[Landing] = []
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
