"""An evolutionary search over all scripts of the run so far, for long runs: the best ones are crossed and changed."""

from __future__ import annotations

import numpy as np

from inner_loop.contracts import CitingProposer, Situation
from inner_loop.elite import PARENTS, elite_child
from inner_loop.events import Experiment, Proposal

DRAWS = 20


class EliteProposer(CitingProposer):
    """Offers nothing before two scripts were trained. Patches of the kept script stay: an edit cannot take them out."""

    name = "elite"

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        best = parents(situation)
        for _ in range(DRAWS if len(best) > 1 else 0):
            made = elite_child(situation.knobs, [record.config for record in best], rng)
            if made is None:
                return None
            wanted = {knob.name: made[1][knob.name] for knob in situation.knobs if knob.name in made[1]}
            edit = situation.space.between(situation.parent.config, wanted)
            if edit and situation.allowed(edit) and not situation.was_tried(edit):
                return Proposal(edit, self.name, self._directive_ids)
        return None


make = EliteProposer


def parents(situation: Situation) -> list[Experiment]:
    """The best different scripts that were trained in full, by their mean over seeds, best first: the first record of
    each."""
    firsts: dict[str, Experiment] = {}
    metrics: dict[str, dict[int, float]] = {}  # source → replicate → metric
    for record in situation.history:
        if record.full and record.metric is not None:
            firsts.setdefault(record.source_id, record)
            metrics.setdefault(record.source_id, {})[record.replicate] = record.metric

    def mean(source_id: str) -> float:
        values = metrics[source_id].values()
        return sum(values) / len(values)

    return [firsts[source_id] for source_id in sorted(firsts, key=lambda name: situation.sign * mean(name))][:PARENTS]
