"""One operator with one model: a Mutator like the others, whose proposals come from strictly parsed replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from inner_loop.models.contract import Message, Reply
from inner_loop.models.scrub import scrub
from meta.mutators.base import ChildProposal, ModelCalls, ParentProgram, parent_ids
from meta.mutators.llm import assemble, prompts
from meta.mutators.llm.briefing import MutationBriefing, TriedMutation
from meta.mutators.llm.conversation import converse
from meta.mutators.llm.generation_calls import PROMPT_BYTES, GenerationCalls
from meta.mutators.llm.kinds import Kind, kind
from meta.mutators.llm.reply import BadReply, MutationReply, parse
from meta.mutators.llm.toolbox import Toolbox, related
from meta.mutators.llm.traces import Trace, joined
from meta.mutators.offline.cross_sections import chapters
from programs.errors import ProgramError
from programs.lint import check
from programs.program import Program
from trainer.conditional import known

if TYPE_CHECKING:
    import numpy as np

    from analysis.evidence import Evidence

IDEAS = "Ideas"
SIBLINGS = 20  # proposals of this generation that are shown


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
        """All operators of a generation share its briefing."""
        parents, reason = ", ".join(proposal.parent_ids), refusal or proposal.reason
        self.briefing.siblings.append(TriedMutation(proposal.operator, parents, reason, not refusal))

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        """None if no further calls are possible, or these parents offer this operator nothing."""
        first = parents[0].program
        section = self._section(first, rng) if self.name == "rewrite" else ""
        if self.name == "repair":
            faults = problems(first.document, self._known)
            return self._propose(parents, evidence, section, problem=faults[0], broken=first.text) if faults else None
        return self._propose(parents, evidence, section)

    def _propose(
        self,
        parents: Sequence[ParentProgram],
        evidence: Evidence,
        section: str,
        *,
        repairs: str | None = None,
        **more: Any,
    ) -> ChildProposal | None:
        system, offered = self.briefing.system(evidence)
        near = self._near(parents) if repairs is None else []  # a repair needs no traces
        shown_traces, logs = joined(near, self.briefing.access.bytes)
        user = self._prompt(parents, section, traces=shown_traces, unit=evidence.unit, **more)
        messages = [Message("system", system), Message("user", user, logs)]
        most = PROMPT_BYTES + self.briefing.access.bytes
        if not self.calls.open or sum(len(m.whole.encode("utf-8", "replace")) for m in messages) > most:
            return None
        box = Toolbox(near) if self.briefing.access.how == "tools" and repairs is None else None
        talk = converse(self.calls, self.model, messages, f"mutate {self.name}", box)
        reply = talk.reply
        calls = ModelCalls(
            model=reply.model if reply else None,
            tokens=talk.tokens,
            usd=talk.usd,
            call=talk.number,
            prompt=tuple((m.role, scrub(m.text)) for m in messages),
            meta_program_id=self.briefing.instruction.program_id,
            repairs=repairs,
            turns=talk.turns,
        )
        propose = partial(ChildProposal, operator=self.name, parent_ids=parent_ids(parents), calls=calls)
        again = partial(self._again, parents, evidence, section) if repairs is None and self.name != "repair" else None
        if reply is None:
            refusal = self.calls.unfit or f"no model answers: {self.calls.silent}"
            return propose(text="", reason="", evidence_ids=(), refusal=refusal)
        try:
            answer = self._parsed(reply, offered)
            text = self._text(parents, answer, section)
            wrong = self._wrong(parents, text)
            broken = answer.body if parents[0].program.is_set else text
        except (BadReply, ProgramError) as bad:
            wrong = bad.message if isinstance(bad, ProgramError) else str(bad)
            answer, text, broken = MutationReply("", (), "", ""), reply.text, reply.text
        return propose(
            text=text if not wrong else "",
            reason=answer.reason,
            evidence_ids=answer.evidence_ids,
            refusal=wrong,
            repair=partial(again, broken) if again and reply.finish == "stop" else None,
        )

    def _again(
        self, parents: Sequence[ParentProgram], evidence: Evidence, section: str, broken: str, problem: str
    ) -> ChildProposal | None:
        """Ask once for a repaired reply."""
        mended = replace(kind("repair"), check=self.kind.check)
        mend = LlmMutator(mended, self.model, self.calls, self.briefing)
        return mend._propose(parents, evidence, section, repairs=self.name, problem=problem, broken=broken)

    def _near(self, parents: Sequence[ParentProgram]) -> list[Trace]:
        """The traces that concern these parents."""
        ids = {parent.program.program_id for parent in parents}
        above = {p for trace in self.briefing.traces if trace.program_id in ids for p in trace.parent_ids}
        return related(self.briefing.traces, ids, above)

    def _section(self, program: Program, rng: np.random.Generator) -> str:
        """Charter, ideas or any other section; a scripted researcher reads only the first two."""
        names = assemble.section_names(program)
        if self.briefing.researcher == "scripted":
            ideas = next((d.heading for d in program.directives if d.kind == "idea"), IDEAS)
            names = [assemble.CHARTER, ideas]
        return names[int(rng.integers(len(names)))]

    def _prompt(self, parents: Sequence[ParentProgram], section: str, **more: Any) -> str:
        first = parents[0].program
        names = assemble.section_names(first)
        return prompts.render(
            f"{self.kind.name}.md.j2",
            parents=parents,
            kind=self.kind,
            section=section,
            sections=names,
            files=list(first.further),
            entry=first.files[0][0],
            body=assemble.body_of(first, section) if section in names else "",
            chapters=[[assemble.CHARTER, *filter(None, chapters(p.program.text))] for p in parents],
            most_words=int(0.9 * first.words),
            siblings=self.briefing.siblings[-SIBLINGS:],
            **more,
        )

    def _parsed(self, reply: Reply, offered: frozenset[str]) -> MutationReply:
        if reply.finish == "length":
            raise BadReply(f"cut off after {reply.tokens_out} tokens")
        if reply.calls and not reply.text.strip():
            raise BadReply("the model called tools instead of replying")
        if reply.finish == "content_filter" or not reply.text.strip():
            raise BadReply("the model gave no answer")
        return parse(reply.text, self.kind.payload, offered)

    def _text(self, parents: Sequence[ParentProgram], answer: MutationReply, section: str) -> str:
        first = parents[0].program
        if self.kind.payload == "program":
            return assemble.whole(first, answer)
        if self.kind.payload == "merge":
            return assemble.merged(first, parents[1].program, answer)
        if section and answer.name.casefold() != section.casefold():
            raise BadReply(f"section {section} was requested, the reply has {answer.name[:60]}")
        return assemble.with_section(first, answer)

    def _wrong(self, parents: Sequence[ParentProgram], text: str) -> str:
        """The problem of a child: it is invalid, has a warning that no parent has, or does not follow the
        instruction."""
        child = parents[0].program.with_text(text) if parents[0].program.is_set else None
        text = child.document if child else text
        known = {m for parent in parents for m in problems(parent.program.document, self._known)}
        new = [message for message in problems(text, self._known) if message not in known]
        if new:
            return f"lint: {new[0]}"
        return self.kind.check(parents[0].program, child or Program.parse(text))

    def _known(self, term: str) -> bool:
        return known(self.briefing.task.edits, term)


def problems(text: str, known: Any = None) -> list[str]:
    """Errors and warnings of a text as lines without their numbers."""
    return [
        f"{m.file}: {m.message}" if m.file else m.message
        for m in check(text, "child", known)
        if m.level in ("error", "warning")
    ]
