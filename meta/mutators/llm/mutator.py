"""One operator with one model: a Mutator like the others, whose proposals come from strictly parsed replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.report.evidence_text import RowIds
from inner_loop.behaviour import misfit
from inner_loop.models.contract import Message, Reply
from inner_loop.models.scrub import scrub
from meta.mutators.base import ChildProposal, ModelCalls, ParentProgram, parent_ids
from meta.mutators.llm import assemble, prompts
from meta.mutators.llm.briefing import MutationBriefing, TriedMutation
from meta.mutators.llm.conversation import Talk, converse
from meta.mutators.llm.generation_calls import GenerationCalls
from meta.mutators.llm.idea_use import IdeaMarks, kept_by_others
from meta.mutators.llm.kinds import Job, Kind, problems
from meta.mutators.llm.prompt_detail import PromptDetail, fitted
from meta.mutators.llm.reply import BadReply, MutationReply, parse
from meta.mutators.llm.toolbox import Toolbox, related
from meta.mutators.llm.traces import Trace, joined
from meta.mutators.offline.cross_sections import chapters
from programs.edit import without_patch
from programs.errors import ProgramError
from programs.file_set import is_document
from programs.patches import ProgramPatch
from programs.program import Program
from programs.text import clipped
from trainer.values.conditional import unread

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.evidence import Evidence

REPAIR, PASSED = "repair", "passed: "
NEW_PATCHES = 2  # of one child
GLIMPSED = ("merge", "bold")  # operators whose reply does not repeat the text of a parent
EXAMPLE = 2500  # most bytes of a parent that only shows what a program looks like
BY_ITEMS = ("add", "delete")  # those whose reply need not, where the parent's ideas are numbered


@dataclass(frozen=True)
class Rejected:
    """A reply that became no child, its valid parts (None: it has none), and why."""

    text: str
    kept: MutationReply | None
    problem: str


@dataclass(frozen=True)
class LlmMutator:
    kind: Kind
    model: str  # the preferred model
    calls: GenerationCalls
    briefing: MutationBriefing

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def parents(self) -> int:
        return self.kind.parents

    @property
    def open(self) -> bool:
        return self.calls.open

    def report(self, proposal: ChildProposal, refusal: str) -> None:
        """All operators of a generation share its briefing. A job that was passed is no proposal."""
        if refusal.startswith(PASSED):
            return
        reason = refusal or proposal.reason
        if not refusal and proposal.calls is None and not is_document(proposal.text):  # a rule does not say what is new
            first = Program.parse(proposal.text).ideas[:1]
            reason += "".join(f"; the first: {idea.text}" for idea in first)
        self.briefing.siblings.append(TriedMutation(proposal.operator, proposal.parent_ids, reason, not refusal))

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        """None if no further calls are possible, or if nothing that the operator may do with these parents changes what
        the researcher does."""
        job = self.kind.offer(self.briefing.reader, [parent.program for parent in parents], rng)
        return None if job is None else self.carry_out(parents, evidence, job)

    def carry_out(
        self, parents: Sequence[ParentProgram], evidence: Evidence, job: Job, rejected: Rejected | None = None
    ) -> ChildProposal | None:
        """The proposal for one job; None if no further calls are possible, or if the prompt is too long. ``rejected``:
        the reply of this job that is to be repaired."""
        near = self._near(parents) if rejected is None else []  # a repair needs no traces
        purpose = f"mutate {self.name if rejected is None else REPAIR}"
        build = partial(self._messages, parents, evidence, job, rejected, near)
        built = fitted(self.calls, build, self.briefing.access, purpose) if self.calls.open else None
        if built is None:
            return None
        messages, ids, detail = built
        box = Toolbox(near) if self.briefing.access.how == "tools" and rejected is None and detail.traces else None
        talk = converse(self.calls, self.model, messages, purpose, box)
        propose = partial(
            ChildProposal,
            operator=REPAIR if rejected else self.name,
            parent_ids=parent_ids(parents),
            calls=self._calls(talk, messages, rejected),
        )
        if talk.reply is None:
            refusal = self.calls.unfit or f"no model answers: {self.calls.silent}"
            return propose(text="", reason="", evidence_ids=(), refusal=refusal)
        answer, text, wrong = self._child(parents, talk.reply, ids, job, rejected)
        if answer is not None and answer.passed:
            return propose(text="", reason=answer.reason, evidence_ids=(), refusal=f"{PASSED}{answer.reason}")
        can_repair = rejected is None and talk.reply.finish == "stop"
        again = partial(self._again, parents, evidence, job, talk.reply.text, answer) if can_repair else None
        return propose(
            text=text if not wrong else "",
            reason=ids.lengthened(answer.reason) if answer and not wrong else "",
            evidence_ids=answer.evidence_ids if answer else (),
            refusal=wrong,
            remark=answer.remark if answer else "",
            repair=again,
        )

    def _messages(
        self,
        parents: Sequence[ParentProgram],
        evidence: Evidence,
        job: Job,
        rejected: Rejected | None,
        near: Sequence[Trace],
        detail: PromptDetail,
    ) -> tuple[list[Message], RowIds]:
        system, ids = self.briefing.system(evidence, detail)
        shown_traces, logs = joined(near, self.briefing.access.bytes) if detail.traces else ("", "")
        marked = [parent.program for parent in parents if self._is_marked(parent.program)]
        marks = {program.program_id: IdeaMarks.of(program, evidence, bool(detail.rows)) for program in marked}
        more = {"traces": shown_traces, "unit": evidence.unit, **self._from_others(parents, evidence, rejected, detail)}
        user = self._prompt(parents, job, ids, rejected, detail, marks, **more)
        return [Message("system", system), Message("user", user, logs)], ids

    def _from_others(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rejected: Rejected | None, detail: PromptDetail
    ) -> dict[str, Any]:
        """What other programs have to offer: to a script's writer the ideas that their runs kept, to others the best of
        them."""
        programs = self.briefing.programs if detail.rows == 1.0 and rejected is None else {}
        best = next((p for p in evidence.programs if p.program_id in {*programs} - {*parent_ids(parents)}), None)
        if self.briefing.reader.scripted:
            ideas = kept_by_others([parent.program for parent in parents], evidence, programs)
            return {"kept_ideas": ideas, "other": None}
        return {"kept_ideas": (), "other": None if best is None else (best, programs[best.program_id])}

    def _child(
        self, parents: Sequence[ParentProgram], reply: Reply, ids: RowIds, job: Job, rejected: Rejected | None
    ) -> tuple[MutationReply | None, str, str]:
        """(what the reply has of the form, the child's text, the problem)."""
        answer: MutationReply | None = None
        try:
            answer = self._parsed(reply, ids, rejected)
            if answer.passed:
                return answer, "", ""
            text, left_out = self._fitting(parents, self._text(parents, answer, job))
            answer = replace(answer, remark="; ".join(filter(None, [answer.remark, *left_out])))
            return answer, text, self._wrong(parents, text)
        except BadReply as bad:
            return answer or bad.kept, "", str(bad)
        except ProgramError as bad:
            return answer, "", bad.message

    def _again(
        self,
        parents: Sequence[ParentProgram],
        evidence: Evidence,
        job: Job,
        said: str,
        kept: MutationReply | None,
        problem: str,
    ) -> ChildProposal | None:
        """Ask once for a repaired reply of the same form."""
        return self.carry_out(parents, evidence, job, Rejected(said, kept, problem))

    def _calls(self, talk: Talk, messages: Sequence[Message], rejected: Rejected | None) -> ModelCalls:
        return ModelCalls(
            model=talk.reply.model if talk.reply else None,
            tokens=talk.tokens,
            usd=talk.usd,
            call=talk.number,
            prompt=tuple((m.role, scrub(m.text)) for m in messages),
            meta_program_id=self.briefing.instruction.program_id,
            repairs=self.name if rejected else None,
            turns=talk.turns,
        )

    def _near(self, parents: Sequence[ParentProgram]) -> list[Trace]:
        """The traces that concern these parents."""
        ids = {parent.program.program_id for parent in parents}
        above = {p for trace in self.briefing.traces if trace.program_id in ids for p in trace.parent_ids}
        return related(self.briefing.traces, ids, above)

    def _prompt(
        self,
        parents: Sequence[ParentProgram],
        job: Job,
        ids: RowIds,
        rejected: Rejected | None,
        detail: PromptDetail,
        marks: Mapping[str, IdeaMarks],
        **more: Any,
    ) -> str:
        first = parents[0].program
        siblings = self.briefing.siblings[-detail.siblings :] if detail.siblings else []
        glimpsed = (*GLIMPSED, *BY_ITEMS) if first.program_id in marks else GLIMPSED
        new_fields = (
            self.kind.payload == "program" or assemble.CHARTER in job.sections or not self.briefing.reader.scripted
        )
        most = detail.parents if rejected or self.name in glimpsed else None
        if self.name == "bold" and first.program_id in marks and most is None:
            most = EXAMPLE
        return prompts.render(
            f"{REPAIR if rejected else self.name}.md.j2",
            parents=parents,
            kind=self.kind,
            job=job,
            sections=job.sections,
            scripted=self.briefing.reader.scripted,
            shown=partial(self._shown, marks, most=most),
            marks=marks,
            numbered=first.program_id in marks
            and self.kind.payload == "section"
            and first.ideas
            and {*job.sections} - {assemble.CHARTER},
            queued=self.briefing.reader.reads_ideas(first),
            files=list(first.further),
            entry=first.files[0][0],
            chapters=[[assemble.CHARTER, *filter(None, chapters(p.program.text))] for p in parents],
            most_words=int(0.9 * first.words),
            siblings=self.briefing.shown(siblings, ids),
            rejected=rejected,
            detail=detail,
            new_fields=new_fields,
            charter=self.briefing.charter([parent.program for parent in parents], new_fields),
            **more,
        )

    def _shown(self, marks: Mapping[str, IdeaMarks], program: Program, first: Program, most: int | None = None) -> str:
        """A parent's text, at most so many bytes of it; for a job about sections without those that nothing reads."""
        marked = marks.get(program.program_id)
        other = first if first != program else None
        text = program.text if marked is None else assemble.read_by_script(program, marked.by_id, other)
        return text if most is None else clipped(text, most)

    def _is_marked(self, program: Program) -> bool:
        """Whether a parent is shown as the script reads it, with its ideas numbered."""
        return self.briefing.reader.scripted and self.name != "distil" and not program.is_set

    def _parsed(self, reply: Reply, ids: RowIds, rejected: Rejected | None) -> MutationReply:
        if reply.finish == "length":
            raise BadReply(f"cut off after {reply.tokens_out} tokens")
        if reply.calls and not reply.text.strip():
            raise BadReply("the model called tools instead of replying")
        if reply.finish == "content_filter" or not reply.text.strip():
            raise BadReply("the model gave no answer")
        offered = {**self.briefing.long_ids, **ids.by_short}
        return parse(reply.text, self.kind.payload, offered, rejected.kept if rejected else None)

    def _text(self, parents: Sequence[ParentProgram], answer: MutationReply, job: Job) -> str:
        first = parents[0].program
        if self.kind.payload == "program":
            return assemble.whole(first, answer)
        if self.kind.payload == "merge":
            return assemble.merged(first, parents[1].program, answer)
        if self.name == "rewrite":
            wanted = {name.casefold() for name in job.sections}
            other = next((name for name in answer.sections if name.casefold() not in wanted), None)
            if other is not None:
                raise BadReply(
                    f"section {' and '.join(job.sections)} was requested, the reply has {other[:60]}", answer
                )
        return assemble.with_sections(first, answer)

    def _fitting(self, parents: Sequence[ParentProgram], text: str) -> tuple[str, list[str]]:
        """The text without its new patches that fit no script, or beyond the most that are allowed, and why."""
        known = {patch.edit_name for parent in parents for patch in parent.program.patches}
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

    def _wrong(self, parents: Sequence[ParentProgram], text: str) -> str:
        """The problem of a child: it is invalid, has a warning that no parent has, or does not follow the
        instruction."""
        child = parents[0].program.with_text(text) if parents[0].program.is_set else None
        text = child.document if child else text
        before = {m for parent in parents for m in problems(parent.program.document, self._unread)}
        new = [message for message in problems(text, self._unread) if message not in before]
        if new:
            return f"lint: {new[0]}"
        return self.kind.check(parents[0].program, child or Program.parse(text))

    def _unread(self, term: str) -> str:
        """Why no task can read a term; empty if one can."""
        each = [unread(task.edits, term) for task in self.briefing.tasks]
        return each[0] if all(each) else ""
