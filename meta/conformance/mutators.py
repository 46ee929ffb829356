"""What an evolution expects of a mutator: sound children, determinism, honest ancestry."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from analysis.report.evidence import Evidence
from meta.conformance.base import Conformance
from meta.conformance.evidence_of import PLANTED, evidence, score
from meta.mutators.base import ChildProposal, Mutator, OfflineMutator, ParentProgram
from meta.mutators.mix import MUTATORS
from programs import shelf
from programs.lint import lint
from programs.program import Program

MIXED = """---
other: 1
metaloop:
  proposers: {queue: .7, local: 0.3}
---
# T

Intro
wrapped.

- one `a`
  - nested

> quoted

| a | b |
|---|---|
| 1 | `x` |

```bash
ls
```
## Ideas
1. Try `lr=2e-3`.
2. Second
<!-- a comment -->
"""
HARD = {
    "mixed": MIXED,
    "one word": "Improve",
    "crlf": MIXED.replace("\n", "\r\n"),
    "byte order mark": f"\ufeff{MIXED}",
    "front matter only": "---\nmetaloop:\n  wave: 4\n---\n",
    "thematic breaks": "---\n\nA text between two breaks\n\n---\n\nand another.\n",
}


class MutatorConformance(Conformance):
    """On the library's programs and on any markdown, with planted evidence and with none."""

    @pytest.fixture
    def mutator(self, name: str) -> OfflineMutator:
        return MUTATORS.get(name)()

    def test_it_has_its_name_and_a_share(self, mutator: OfflineMutator, name: str) -> None:
        assert mutator.name == name and mutator.share > 0 and mutator.parents >= 1

    @pytest.mark.parametrize("seed", range(2))
    def test_children_are_sound(self, mutator: Mutator, seed: int) -> None:
        programs = shelf.starters()
        proposals = 0
        for index, first in enumerate(programs):
            second = programs[(index + 5 + seed) % len(programs)]
            proposal = propose(mutator, first, second, seed)
            if proposal is None:
                continue
            proposals += 1
            child = Program.parse(proposal.text)
            assert child.program_id not in {first.program_id}
            assert not [m for m in lint(child) if m.level == "error"]
            assert proposal.operator == mutator.name
            assert proposal.reason and "\n" not in proposal.reason
            assert proposal.parent_ids[0] == first.program_id
            assert set(proposal.parent_ids) <= {first.program_id, second.program_id}
            assert set(proposal.evidence_ids) <= {c.credit_id for c in PLANTED.edits}
            assert propose(mutator, first, second, seed) == proposal
        assert proposals > 0

    @pytest.mark.parametrize("text", HARD.values(), ids=HARD.keys())
    def test_any_markdown_can_be_a_parent(self, mutator: Mutator, text: str) -> None:
        first, second = parsed(text, "first"), parsed(MIXED, "second")
        for seed in range(2):
            for one, other in ((first, second), (second, first)):
                proposal = propose(mutator, one, other, seed)
                if proposal is not None:
                    Program.parse(proposal.text)

    def test_no_evidence_is_no_failure(self, mutator: Mutator) -> None:
        proposal = propose(mutator, shelf.starter("local"), shelf.starter("idea-queue"), 0, evidence())
        assert proposal is None or not proposal.evidence_ids


@cache
def parsed(text: str, name: str) -> Program:
    """Parents are the same for every mutator."""
    return Program.parse(text, name)


def propose(
    mutator: Mutator, first: Program, second: Program, seed: int, facts: Evidence = PLANTED
) -> ChildProposal | None:
    parents = [ParentProgram(first, score(first.program_id)), ParentProgram(second, None)][: mutator.parents]
    return mutator.propose(parents, facts, np.random.default_rng(seed))
