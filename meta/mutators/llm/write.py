"""The two operators with a model, rewrite and merge, and the repair of a reply that makes no child."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.evidence.task_evidence import Evidence
from inner_loop.behaviour import misfit
from inner_loop.events import CallEvent
from inner_loop.models.contract import Message, bytes_of
from inner_loop.models.scrub import scrub
from meta.mutators.base import ChildProposal, ModelCalls, ParentProgram, parent_ids
from meta.mutators.llm.calls import PROMPT_BYTES, GenerationCalls
from meta.mutators.llm.prompt import SHARES, Briefing, Job
from meta.mutators.llm.reply import MOST_REASON, BadReply, WrittenChild, build_child, match_rows, parse_reply
from programs.common.bounded import handling_text
from programs.common.text import one_line
from programs.edit import without_patch
from programs.file_set import is_document
from programs.lint import check
from programs.patches import ProgramPatch
from programs.program import Program
from trainer.values.conditional import unread

REWRITE, MERGE, REPAIR = "rewrite", "merge", "repair"
OPERATORS = {REWRITE: 1, MERGE: 2}  # and how many parents each has
JOBS = ("improve", "prune", "bold")  # of a rewriting, as write.md.j2 words them
DECLINED = "declined: "
NEW_PATCHES = 2  # of one child
MOST_LIMITS = 400  # characters


@dataclass(frozen=True)
class Writer:
    """One operator with one preferred model."""

    name: str
    model: str
    calls: GenerationCalls
    briefing: Briefing
    instruction: Program

    @property
    def parents(self) -> int:
        return OPERATORS[self.name]

    @property
    def open(self) -> bool:
        return self.calls.open

    def report(self, proposal: ChildProposal, refusal: str) -> None:
        """All writers of a generation share its briefing. What was declined is no proposal."""
        if refusal.startswith(DECLINED):
            return
        reason = refusal or proposal.reason
        if not refusal and proposal.calls is None and not is_document(proposal.text):  # a rule does not say what is new
            reason += "".join(f"; the first: {idea.text}" for idea in Program.parse(proposal.text).ideas[:1])
        self.briefing.note(proposal.operator, proposal.parent_ids, reason, not refusal)

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        """None if no further calls are possible, or if the prompt is too long."""
        can_prune = len(parents[0].program.ideas if self.briefing.scripted else parents[0].program.directives) > 1
        jobs = JOBS if can_prune else [job for job in JOBS if job != "prune"]
        job = Job(jobs[int(rng.integers(len(jobs)))] if self.name == REWRITE else MERGE)
        return self._ask(parents, job) if self.open else None

    def _ask(self, parents: Sequence[ParentProgram], job: Job) -> ChildProposal | None:
        purpose = f"mutate {REPAIR if job.rejected else job.name}"
        build = partial(self.briefing.messages, parents, job, self.instruction)
        built = self._fitted(build, purpose)
        if built is None:
            return None
        messages, ids = built
        number, reply = self.calls.ask(self.model, messages, purpose)
        answer, text, left_out = None, "", list[str]()
        if reply is None:
            wrong = self.calls.unfit or f"no model answers: {self.calls.silent}"
        else:
            answer, text, left_out, wrong = self._child([parent.program for parent in parents], reply)
        rows, remark = match_rows(answer.evidence, ids) if answer else ((), "")
        final = reply is None or reply.finish != "stop" or bool(job.rejected) or wrong.startswith(DECLINED)
        return ChildProposal(
            text="" if wrong else text,
            operator=REPAIR if job.rejected else self.name,
            reason=answer.why if answer and not wrong else "",
            evidence_ids=rows,
            parent_ids=parent_ids(parents),
            calls=ModelCalls(
                model=reply.model if reply else None,
                tokens=reply.tokens if reply else 0,
                usd=reply.usd if reply else 0.0,
                call=number,
                prompt=tuple((m.role, scrub(m.text)) for m in messages),
                meta_program_id=self.instruction.program_id,
                repairs=self.name if job.rejected else None,
                limits=one_line(answer.limits)[:MOST_LIMITS] or None if answer else None,
            ),
            refusal=wrong,
            remark="; ".join(filter(None, [remark, *left_out])),
            repair=None if reply is None or final else partial(self._again, parents, job, reply.text),
        )

    def _again(self, parents: Sequence[ParentProgram], job: Job, reply: str, problem: str) -> ChildProposal | None:
        """Ask once for a repaired reply."""
        return self._ask(parents, Job(job.name, reply, problem)) if self.open else None

    def _fitted(
        self, build: Callable[[float], tuple[list[Message], dict[str, str]]], purpose: str
    ) -> tuple[list[Message], dict[str, str]] | None:
        """The messages with as much detail as fits, and the rows that they show. None where nothing fits, which is
        noted."""
        messages: list[Message] = []
        for share in SHARES:
            messages, ids = build(share)
            if bytes_of(messages) <= PROMPT_BYTES and self.calls.fits(messages):
                return messages, ids
        self.calls.too_long(purpose, messages)
        return None

    def _child(self, parents: Sequence[Program], reply: CallEvent) -> tuple[WrittenChild | None, str, list[str], str]:
        """(what the reply has of the form, the child's text, what of it was left out, the problem)."""
        answer: WrittenChild | None = None
        try:
            with handling_text(BadReply):
                if reply.finish == "length":
                    raise BadReply(f"cut off after {reply.tokens_out} tokens")
                if reply.finish == "content_filter" or not reply.text.strip():
                    raise BadReply("the model gave no answer")
                answer = parse_reply(reply.text)
                if answer.decline and answer.ideas is None and answer.charter is None and not answer.sections:
                    return answer, "", [], DECLINED + one_line(answer.decline)[:MOST_REASON]
                if not answer.why:
                    raise BadReply("the reason is empty")
                text, left_out = self._fitting(parents, build_child(parents, answer))
                return answer, text, left_out, self._wrong(parents, text)
        except BadReply as bad:
            return answer, "", [], str(bad)

    def _fitting(self, parents: Sequence[Program], text: str) -> tuple[str, list[str]]:
        """The text without its new patches that fit no script, or beyond the most that are allowed, and why."""
        known = {patch.edit_name for parent in parents for patch in parent.patches}
        left_out: list[str] = []
        while "patch:" in text and not is_document(text):
            new = [patch for patch in Program.parse(text).patches if patch.problem or patch.edit_name not in known]
            wrong = [(patch, why) for at, patch in enumerate(new) if (why := self._misfit(patch, at))]
            if not wrong:
                break
            text = without_patch(text, wrong[0][0])
            left_out.append(f"patch {wrong[0][0].name} left out: {wrong[0][1]}")
        return text, left_out

    def _misfit(self, patch: ProgramPatch, at: int) -> str:
        """Why a new patch, the at-th of its program, cannot be tried on any task."""
        if patch.problem or at >= NEW_PATCHES:
            return patch.problem or f"{NEW_PATCHES} new ones at most"
        reasons = [misfit(patch, task, []) for task in self.briefing.tasks]
        return reasons[0] if all(reasons) else ""

    def _wrong(self, parents: Sequence[Program], text: str) -> str:
        """The first warning of a child that no parent has; empty if there is none."""
        before = {message for parent in parents for message in self._problems(parent.document)}
        new = [message for message in self._problems(text) if message not in before]
        return f"lint: {new[0]}" if new else ""

    def _problems(self, text: str) -> list[str]:
        """Errors and warnings of a text as lines without their numbers."""
        problems = [m for m in check(text, "child", self._unread) if m.level in ("error", "warning")]
        return [f"{m.file}: {m.message}" if m.file else m.message for m in problems]

    def _unread(self, term: str) -> str:
        """Why no task can read a term; empty if one can."""
        reasons = [unread(task.edits, term) for task in self.briefing.tasks]
        return reasons[0] if all(reasons) else ""
