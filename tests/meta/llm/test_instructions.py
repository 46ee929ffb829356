"""Instructions for writers as arms: the one whose children gain most is drawn most, and a model may add one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.effects.rows import MutationCredit
from analysis.ledger.writing_events import MutationEvent
from inner_loop.events import CallEvent
from inner_loop.models.client import ModelClient
from meta.mutators.llm.calls import PER_GENERATION, GenerationCalls
from meta.mutators.llm.instructions import MOST, PURPOSE, Instructions
from programs.errors import MetaloopError
from programs.program import Program
from programs.shelf import meta_programs
from tests.events import example
from tests.llm.kits import MODEL, kit, staff
from tests.llm.researcher import prompt_of
from tests.llm.server import LlmServer
from tests.llm.writer import PLANTED

ONE, OTHER = (Program.parse(f"# {name}\n\n- Write {name}.\n", name) for name in ("one", "other"))


def history(gains: dict[Program, list[float]]) -> tuple[list[MutationEvent], list[MutationCredit]]:
    mutations, credits = [], []
    for program, each in gains.items():
        for n, gain in enumerate(each):
            child = f"{program.name}-{n}"
            mutations.append(
                example(MutationEvent, child_id=child, accepted=True, model=MODEL, meta_program_id=program.program_id)
            )
            credits.append(MutationCredit(
                credit_id=child, design="paired", child_id=child, name=child, operator="rewrite", parent_ids=("p1",),
                task="t", estimate=gain, se=0.05, low=None, high=None, n=3, q=None, unit="nats",
            ))  # fmt: skip
    return mutations, credits


def drawn(gains: dict[Program, list[float]]) -> Counter[str]:
    arms, rng = Instructions([ONE, OTHER], *history(gains)), np.random.default_rng(1)
    return Counter(arms.draw(rng).name for _ in range(400))


def test_children_that_gain_more_than_their_parents_speak_for_their_instruction() -> None:
    assert min(drawn({}).values()) > 150  # nothing is known
    assert drawn({ONE: [0.3, 0.35, 0.32, 0.3], OTHER: [-0.1, 0.0, -0.05, -0.1]})["one"] > 350
    assert drawn({ONE: [0.3], OTHER: [-0.1]})["other"] > 20  # one child each proves little


def test_a_repair_counts_for_its_instruction_and_a_refusal_for_none() -> None:
    mutations, credits = history({ONE: [0.3, 0.3, 0.3]})
    refused = [replace(event, accepted=False) for event in mutations]
    assert Instructions([ONE, OTHER], mutations, credits)._arms[ONE.program_id, None].effects
    assert not Instructions([ONE, OTHER], refused, credits)._arms[ONE.program_id, None].effects


@pytest.fixture
def calls(server: LlmServer) -> GenerationCalls:
    return GenerationCalls(
        {MODEL: ModelClient(kit(run_id=""), 1)}, generation=3, most=5, config=staff(), note=lambda _: None,
        stopped=lambda: MetaloopError("stopped"),
    )  # fmt: skip


def test_a_model_writes_a_new_one_when_all_have_been_tried(server: LlmServer, calls: GenerationCalls) -> None:
    arms = Instructions([ONE, OTHER], *history({ONE: [0.3, 0.2]}))
    assert not arms.all_tried
    arms = Instructions([ONE, OTHER], *history({ONE: [0.3, 0.2], OTHER: [0.1, -0.3]}))
    assert arms.all_tried
    arms.extend(calls, MODEL, "nats")
    asked = prompt_of(server.seen[0])
    assert "# `one`: child minus parent +0.25 nats" in asked and "# `other`: child minus parent -0.1 nats" in asked
    assert "- Write one." in asked and [program.text for program in arms.programs] == [ONE.text, OTHER.text, PLANTED]
    arms.extend(calls, MODEL, "nats")
    assert len(arms.programs) == 3  # the same one again
    many = [Program.parse(f"# P{n}\n\n- x\n", str(n)) for n in range(MOST)]
    assert not Instructions([ONE], *history({ONE: [0.1, 0.2]})).all_tried  # the user's own stays alone
    assert not Instructions(many, *history({program: [0.1, 0.2] for program in many})).all_tried


@pytest.mark.parametrize(
    ("reply", "added"),
    [('{"limits": "x", "instruction": "# New\\n\\n- Bet."}', True), ("no", False), ('{"limits": "x"}', False),
     ('{"limits": "x", "instruction": "%s"}' % ("word " * 2000), False)],
)  # fmt: skip
def test_it_is_read_again_from_the_recorded_call(reply: str, added: bool) -> None:
    def call(**how: Any) -> CallEvent:
        return example(CallEvent, **({"purpose": PURPOSE, "status": "ok", "text": reply, "number": 30_000} | how))

    for of, known in ((call(), added), (call(number=4 * PER_GENERATION), False), (call(purpose="turn"), False)):
        arms = Instructions([ONE], [], [])
        arms.recall([of], 4)
        assert (len(arms.programs) == 2) == known


def test_the_library_has_a_general_one_and_others() -> None:
    names = [program.name for program in meta_programs()]
    assert names[0] == "meta" and len(names) >= 3
