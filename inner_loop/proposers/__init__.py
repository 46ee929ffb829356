"""Where the next edit comes from: one way per file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inner_loop.contracts import Proposer
    from inner_loop.proposers.mixture import Mixture
    from programs.charter import Charter
    from programs.ideas import Idea
    from trainer.edits import Edit


def make(charter: Charter, ideas: Sequence[tuple[Idea, Edit]], because: tuple[str, ...] = ()) -> Mixture:
    """The charter's mixture. `ideas` are those that the task knows, `because` is cited for all but the queue's."""
    from inner_loop.proposers.local import LocalProposer
    from inner_loop.proposers.mixture import Mixture
    from inner_loop.proposers.queue import QueueProposer
    from inner_loop.proposers.random import RandomProposer
    from inner_loop.proposers.recombine import RecombineProposer
    from inner_loop.proposers.tpe import TpeProposer

    known: dict[str, Proposer] = {
        "queue": QueueProposer(ideas),
        "random": RandomProposer(because),
        "local": LocalProposer(because),
        "tpe": TpeProposer(because),
        "recombine": RecombineProposer(because),
    }
    return Mixture(dict(charter.proposers.items()), known, fallback=RandomProposer(because))
