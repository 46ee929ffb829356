"""A mixture of proposers, drawn by their shares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inner_loop.contracts import Proposal, Proposer, Situation


class Mixture:
    """Draws one proposer by share. If it has nothing to offer, the others are drawn; if none has, the fallback."""

    name = "mixture"

    def __init__(self, shares: Mapping[str, float], proposers: Mapping[str, Proposer], fallback: Proposer) -> None:
        self._shares = dict(shares)
        self._proposers = dict(proposers)
        self._fallback = fallback

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        open_shares = dict(self._shares)
        while open_shares:
            name = _draw(open_shares, rng)
            if proposal := self._proposers[name].propose(situation, rng):
                return proposal
            del open_shares[name]
        return self._fallback.propose(situation, rng)


def _draw(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    names = list(shares)
    if len(names) == 1:
        return names[0]
    weights = np.array([shares[name] for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
