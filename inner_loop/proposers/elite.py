"""An evolutionary search over all scripts of the run so far, for long runs: the best ones are crossed and changed."""

from __future__ import annotations

import numpy as np

from inner_loop.contracts import Proposal, ProposerStart, Situation
from inner_loop.moves import others
from inner_loop.record import Record
from trainer.edits import Value

PARENTS = 4  # best scripts, kept or not
CROSSED = 0.3  # share of proposals that take each setting from one of two parents; the others change one parent
MOST_CHANGED = 3  # settings that are given another value
DRAWS = 20


class EliteProposer:
    """Patches of the kept script stay: an edit cannot take them out."""

    name = "elite"

    def __init__(self, because: tuple[str, ...] = ()) -> None:
        self._because = because

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        best = parents(situation)
        for _ in range(DRAWS if best else 0):
            wanted = self._wanted(situation, best, rng)
            edit = situation.space.between(situation.parent.config, wanted)
            if edit and situation.allowed(edit) and not situation.was_tried(edit):
                return Proposal(edit, self.name, self._because)
        return None

    def _wanted(self, situation: Situation, best: list[Record], rng: np.random.Generator) -> dict[str, Value]:
        """The settings of a new script, of the knobs that may change."""
        first = best[int(rng.integers(len(best)))].config
        wanted = {knob.name: first[knob.name] for knob in situation.knobs if knob.name in first}
        if len(best) > 1 and rng.random() < CROSSED:
            second = best[int(rng.integers(len(best)))].config
            return {name: second.get(name, value) if rng.random() < 0.5 else value for name, value in wanted.items()}
        movable = [knob for knob in situation.knobs if others(knob, wanted)]
        count = min(len(movable), int(rng.integers(1, MOST_CHANGED + 1)))
        for at in sorted(rng.choice(len(movable), size=count, replace=False)) if movable else ():
            moves = others(movable[at], wanted)
            wanted[movable[at].name] = moves[int(rng.integers(len(moves)))].value
        return wanted


def make(start: ProposerStart) -> EliteProposer:
    return EliteProposer(start.because)


def parents(situation: Situation) -> list[Record]:
    """The best different scripts that were trained in full, best first."""
    scored = [record for record in situation.history if record.ok and record.full and record.metric is not None]
    ordered = sorted(scored, key=lambda record: (situation.sign * float(record.metric or 0.0), record.number))
    best: dict[str, Record] = {}
    for record in ordered:
        best.setdefault(record.source.source_id, record)
    return list(best.values())[:PARENTS]
