"""What a run expects of a proposer: it changes something, is reproducible, and spends nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inner_loop import proposers
from inner_loop.bench import Bench
from inner_loop.contracts import Proposer, ProposerStart, Situation
from inner_loop.surroundings import Surroundings
from meta.conformance.base import BAD, FAILING, GOOD, Conformance, changes, edit_of, open_bench
from programs.charter import PROPOSERS, Charter
from programs.ideas import ProgramIdea
from trainer.conditional import ConditionalEdit
from trainer.experiment import Trainer

if TYPE_CHECKING:
    from pydantic import JsonValue

IDEAS = tuple(
    (ProgramIdea(f"idea {n}", f"d{n}", n, ()), ConditionalEdit(edit_of([change])))
    for n, change in enumerate(changes(1, 6)[3:])
)
NEARLY = tuple(edit_of([change]) for change in changes(1, 7)[4:])
TRIED = ((GOOD, "keep"), (FAILING, "discard"), (BAD, "discard"), *((edit, "discard") for edit in NEARLY))


class ProposerConformance(Conformance):
    """Of a proposer by itself and in a mixture, as a program's front matter asks for it."""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, trainer: Trainer) -> Bench:
        """With some history: an edit that was kept, one that failed, others that were dropped."""
        bench, _ = open_bench(trainer)
        for edit, decision in TRIED:
            bench.decide(bench.experiment(edit), decision, "for the test")
        return bench

    def test_it_has_its_name(self, name: str) -> None:
        assert PROPOSERS.get(name)(ProposerStart(IDEAS, ("d0",))).name == name

    def test_it_proposes_by_itself_and_signs(self, bench: Bench, name: str) -> None:
        """Without the mixture, whose other proposers answer for one that has nothing to offer."""
        part, here, rng = PROPOSERS.get(name)(ProposerStart(IDEAS, ("d0",))), situation(bench), np.random.default_rng(3)
        proposals = [proposal for _ in range(12) if (proposal := part.propose(here, rng)) is not None]
        assert proposals, "it has nothing to propose after six experiments"
        assert all(proposal.proposer == name and here.allowed(proposal.edit) for proposal in proposals)

    @pytest.mark.parametrize(
        "charter", [{}, {"no_repeat": True, "avoid_failures": True}, {"focus": ["optimizer"]}], ids=str
    )
    def test_proposals_are_allowed_reproducible_and_free(
        self, bench: Bench, name: str, charter: dict[str, JsonValue]
    ) -> None:
        """They come from the generator alone. Two patches need not apply together; the researcher skips such."""
        here = situation(bench, **charter)
        spent, length = bench.remaining, len(bench.history)
        one, other = np.random.default_rng(5), np.random.default_rng(5)
        first, second = mixture(name), mixture(name)
        for _ in range(12):
            proposal = first.propose(here, one)
            assert proposal == second.propose(here, other)
            assert proposal is not None and proposal.because and proposal.proposer in PROPOSERS.names
            assert here.allowed(proposal.edit)
            if len(proposal.edit.apply) < 2:
                assert bench.source_of(proposal.edit, here.parent) != here.parent.source
        assert (bench.remaining, len(bench.history)) == (spent, length)
        assert one.random() == other.random()

    def test_none_means_that_nothing_is_left_to_try(self, bench: Bench, name: str) -> None:
        nothing = replace(situation(bench), allowed=lambda edit: False)
        assert mixture(name).propose(nothing, np.random.default_rng(1)) is None


def mixture(name: str) -> Proposer:
    return proposers.make(Charter.model_validate({"proposers": {name: 1.0}}), IDEAS, ("d0",))


def situation(bench: Bench, **charter: object) -> Situation:
    return Surroundings(Charter.model_validate(charter)).situation(bench, bench.head)
