"""The instructions for writers (meta programs) as arms of a bandit: children carry the one that wrote them, and their
gains over their parents decide which is drawn. When all have been tried, a model may write a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.statistics import mean_interval
from inner_loop.models.contract import Message
from meta.mutators.bandit import ArmHistory, arm_histories, believe
from meta.mutators.llm.calls import PER_GENERATION, GenerationCalls
from meta.mutators.llm.reply import BadReply, WrittenInstruction, parsed, schema
from meta.mutators.llm.templates import render
from programs.bounded import handling_text
from programs.program import Program

if TYPE_CHECKING:
    import numpy as np

    from analysis.effects.rows import MutationCredit
    from analysis.ledger.writing_events import MutationEvent
    from inner_loop.events import CallEvent

PURPOSE = "instruct"
MEASURED = 2  # children of each instruction before a new one is written
MOST = 6  # instructions of a study
WORDS = 450  # of a new one


class Instructions:
    """``programs``: the arms, the study's own first."""

    def __init__(
        self, programs: Sequence[Program], mutations: Sequence[MutationEvent], credits: Sequence[MutationCredit]
    ) -> None:
        self.programs = list(programs)
        self._arms = arm_histories(mutations, credits, lambda event: (event.meta_program_id or "", None))

    def draw(self, rng: np.random.Generator) -> Program:
        """The one with the highest draw (Thompson 1933); children cost the same whichever wrote them."""
        names = [(program.program_id, None) for program in self.programs]
        draws = [arm.worth(float(rng.standard_normal())) for arm in believe(names, self._arms, 1.0, {})]
        return self.programs[draws.index(max(draws))]

    @property
    def all_tried(self) -> bool:
        """Whether each of several has measured children, so that a model may learn from the comparison; the user's own
        stays the only one."""
        return 1 < len(self.programs) < MOST and all(len(self._gains(one)) >= MEASURED for one in self.programs)

    def _gains(self, program: Program) -> list[float]:
        """Of its children over their parents."""
        return [gain for gain, _ in self._arms.get((program.program_id, None), ArmHistory()).effects]

    def extend(self, calls: GenerationCalls, model: str, unit: str) -> None:
        """Ask for a new instruction, and add it. Raises as `GenerationCalls.ask`."""
        rows = [(program, mean_interval(self._gains(program))) for program in self.programs]
        text = render("instruct.md.j2", rows=rows, unit=unit, words=WORDS)
        talk = calls.converse(model, [Message("user", text)], PURPOSE, schema(WrittenInstruction), None)
        self._add(talk.reply.text if talk.reply else "")

    def recall(self, calls: Sequence[CallEvent], generation: int) -> None:
        """Add those that were written in earlier generations."""
        for call in calls:
            if call.purpose == PURPOSE and call.status == "ok" and call.number < generation * PER_GENERATION:
                self._add(call.text)

    def _add(self, reply: str) -> None:
        """The instruction of a reply; nothing where it has none, or one that is known."""
        try:
            with handling_text(BadReply):
                new = Program.parse(parsed(reply, WrittenInstruction).instruction.strip() + "\n", "written")
        except BadReply:
            return
        if new.words <= 2 * WORDS and new.program_id not in {program.program_id for program in self.programs}:
            self.programs.append(new)
