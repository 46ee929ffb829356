"""Causal words are said of randomised and paired designs only: in pages, in what mutators write, at the terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from analysis.evidence.page_text import RowIds, page
from meta.mutators.base import ParentProgram
from meta.mutators.mix import Mix
from programs.shelf import starter
from tests.planted_evidence import edit, evidence, idea, with_model

CAUSAL = re.compile(
    r"\b(earn\w*|gained|caus\w*|effects?|because|due to|thanks to|makes?|made|brought|helps?|improv\w*|"
    r"difference|worth)\b", re.IGNORECASE,
)  # fmt: skip
CHOSEN = edit("MOMENTUM", 0.9, 0.2, low=0.1, high=0.3, q=0.01, design="observational")


def about(text: str, identity: str) -> list[str]:
    """The lines that cite a row."""
    return [told for told in text.splitlines() if identity in told]


def test_the_evidence_calls_observational_rows_associations() -> None:
    [told] = about(page(evidence(CHOSEN), RowIds(whole=True)), CHOSEN.credit_id)
    assert "associated with" in told and not CAUSAL.search(told), told
    [told] = about(page(evidence(replace(CHOSEN, design="randomised")), RowIds(whole=True)), CHOSEN.credit_id)
    assert "caused a gain of" in told


def test_mutators_do_not_write_causes_where_edits_were_chosen() -> None:
    chosen = [edit(f"K{i}", v, 0.1 + 0.02 * i, design="observational") for i in range(5) for v in (1, 2)]
    facts = with_model(evidence(*chosen, ideas=(idea("d1", "a `k0=1` `k1=2` b", 3.0),)))
    parents = [ParentProgram(starter(name), None) for name in ("idea-queue", "local")]
    known = {text for p in parents for text in p.program.text.splitlines()}
    rng, written = np.random.default_rng(1), 0
    for mutator in Mix().operators:
        proposal = mutator.propose(parents[: mutator.parents], facts, rng)
        if proposal is None:
            continue
        for told in [proposal.reason, *(t for t in proposal.text.splitlines() if t not in known and "`k" in t)]:
            written += 1
            assert not CAUSAL.search(told), told
    assert written > 5
