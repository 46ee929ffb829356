"""New instructions, written by a model from what the earlier ones led to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.evidence_brief import RowIds
from analysis.statistics import Mean
from analysis.wording import listed
from analysis.writing_events import GenerationEvent, InstructionEvent
from inner_loop.models.contract import Message, Reply
from meta.breed import next_version
from meta.instructions.plan import TRIES
from meta.instructions.trials import Trial, by_task, calls_of, score
from meta.mutators.llm import prompts
from meta.mutators.llm.generation_calls import PER_GENERATION
from meta.mutators.llm.reply import BadReply, MutationReply, parse
from programs.errors import ProgramError
from programs.program import Program
from programs.text import clipped

if TYPE_CHECKING:
    from arena.study import Study
    from inner_loop.models.client import ModelClient
    from meta.mutators.llm.generation_calls import GenerationCalls

MOST_WORDS = 800  # of an instruction; today's has about 400
BEST = 2  # instructions whose text is shown
SHOWN = 12  # jobs of an instruction that are shown: those of the largest and of the smallest values
PAGE_BYTES = 40_000


@dataclass(frozen=True)
class TriedInstruction:
    """An instruction with its jobs so far; ``reason``: of one that a model wrote."""

    program: Program
    trials: Sequence[Trial]
    reason: str = ""

    @property
    def score(self) -> Mean:
        return score(self.trials)

    @property
    def counts(self) -> str:
        """``5 accepted, 1 refused``."""
        outcomes = Counter(trial.became for trial in self.trials)
        return listed(f"{outcomes[name]} {name}" for name in ("accepted", "refused", "passed") if outcomes[name])


@dataclass(frozen=True)
class ShownInstruction(TriedInstruction):
    """The same with the ids of the prompt."""

    label: str = ""
    shown: Sequence[tuple[str, Trial]] = ()


def write(
    study: Study, clients: Mapping[str, ModelClient], tried: Sequence[TriedInstruction], number: int, count: int
) -> None:
    """Write ``count`` new instructions as step ``number``, unless that step is closed. ``tried``: the best one first.
    One that is refused twice is left out."""
    if number in study.state.generations:
        return
    calls = calls_of(study, clients, number, TRIES * count)
    written: list[InstructionEvent] = []
    for _ in range(count):
        problem = ""
        for _ in range(TRIES):
            event = _proposal(calls, next(iter(clients)), tried, written, problem)
            written.append(event)
            if event.accepted:
                break
            problem = event.reason
    for event in written:
        study.record(event)
    study.record(GenerationEvent(generation=number, program_ids=(), elite_ids=()))


def _proposal(
    calls: GenerationCalls,
    model: str,
    tried: Sequence[TriedInstruction],
    written: Sequence[InstructionEvent],
    problem: str,
) -> InstructionEvent:
    shown, ids = shown_with_ids(tried)
    tasks = len(by_task([trial for one in tried for trial in one.trials]))
    page = clipped(prompts.render("instruction.page.md.j2", rows=shown, tasks=tasks), PAGE_BYTES)
    system = prompts.render("instruction.system.md.j2", page=page, tasks=tasks, most_words=MOST_WORDS)
    siblings = [event.reason for event in written if event.accepted]
    user = prompts.render("instruction.user.md.j2", best=shown[:BEST], siblings=siblings, problem=problem)
    number, reply = calls.ask(model, [Message("system", system), Message("user", user)], "write an instruction")
    if reply is None:
        assert calls.problem is not None
        raise calls.problem
    program, answer, refusal = _read(reply, ids, [one.program for one in tried], written)
    return InstructionEvent(
        generation=number // PER_GENERATION,
        attempt=len(written),
        program_id=program.program_id if program else None,
        name=program.name if program else "",
        operator="written",
        accepted=program is not None,
        reason=refusal or (ids.lengthened(answer.reason) if answer else ""),
        text=program.text if program else "",
        parent_ids=(tried[0].program.program_id,),
        evidence_ids=answer.evidence_ids if answer else (),
        model=reply.model,
        tokens=reply.tokens,
        usd=reply.usd,
        call=number,
    )


def _read(
    reply: Reply, ids: RowIds, known: Sequence[Program], written: Sequence[InstructionEvent]
) -> tuple[Program | None, MutationReply | None, str]:
    """(the instruction, the reply's parts, the problem)."""
    answer: MutationReply | None = None
    try:
        if reply.finish != "stop" or not reply.text.strip():
            raise BadReply("the reply was cut off" if reply.finish == "length" else "the model gave no answer")
        answer = parse(reply.text, "program", ids.by_short)
        if answer.passed:
            return None, answer, f"passed: {answer.reason}"
        name = next_version(known[0].name, [*(program.name for program in known), *(event.name for event in written)])
        program = Program.parse(answer.body.strip("\n") + "\n", name)
    except BadReply as bad:
        return None, answer or bad.kept, str(bad)
    except ProgramError as bad:
        return None, answer, bad.message
    if not program.words or program.words > MOST_WORDS:
        return None, answer, f"the instruction has {program.words} words; it needs 1 to {MOST_WORDS}"
    if program.program_id in {*(one.program_id for one in known), *(one.program_id for one in written)}:
        return None, answer, "the instruction is one that was tried before"
    return program, answer, ""


def shown_with_ids(tried: Sequence[TriedInstruction]) -> tuple[list[ShownInstruction], RowIds]:
    """Instructions as ``i1``, jobs as ``j1``; a job is cited by its instruction, task and number."""
    ids = RowIds()
    rows = []
    for one in tried:
        ranked = sorted(one.trials, key=lambda trial: -trial.value)
        chosen = ranked if len(ranked) <= SHOWN else [*ranked[: SHOWN // 2], *ranked[-SHOWN // 2 :]]
        jobs = [(ids.of(f"{t.instruction_id}:{t.task}:{t.job}", "j"), t) for t in chosen]
        label = ids.of(one.program.program_id, "i")
        rows.append(ShownInstruction(one.program, one.trials, one.reason, label, jobs))
    return rows, ids
