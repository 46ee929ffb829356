"""A diagnosis before programs are written: one reply for each generation, which notes from the traces of the possible
parents' runs what limited their gain (after GEPA, Agrawal et al. 2025).

The notes are in the ledger. All prompts of the generation and of later ones show them, and children cite them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.ledger.writing_events import ReflectionEvent, ReflectionNote
from inner_loop.models.contract import Message
from inner_loop.researchers.quoting import sentences_of
from meta.mutators.llm import prompts
from meta.mutators.llm.conversation import converse
from meta.mutators.llm.prompt_detail import PromptDetail, fitted
from meta.mutators.llm.toolbox import Toolbox, related
from meta.mutators.llm.traces import joined
from programs.ids import content_id
from programs.text import clipped

if TYPE_CHECKING:
    from analysis.report.evidence import Evidence
    from analysis.report.evidence_text import RowIds
    from meta.mutators.base import ParentProgram
    from meta.mutators.llm.briefing import MutationBriefing
    from meta.mutators.llm.generation_calls import GenerationCalls
    from meta.mutators.llm.traces import Trace

TRACE_BYTES, FEW_BYTES = 24_000, 1_500  # of the runs' traces in its prompt; in that of a small context
MOST_NOTES, MOST_NOTE = 6, 320  # notes of a reply, characters of one
_NOTES = re.compile(r"^<notes>[ \t]*\n(.*?)^</notes>", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"^[-*] +(.+)$", re.MULTILINE)


def reflect(
    calls: GenerationCalls,
    model: str,
    briefing: MutationBriefing,
    parents: Sequence[ParentProgram],
    evidence: Evidence,
    traces: Sequence[Trace],
    generation: int,
) -> ReflectionEvent:
    """Ask for the notes; without any where no model answers or the reply has none. Raises as `GenerationCalls.ask`."""
    near = related(traces, {parent.program.program_id for parent in parents})
    searches = briefing.access.how == "tools"
    program_ids = tuple(parent.program.program_id for parent in parents)

    def build(detail: PromptDetail) -> tuple[list[Message], RowIds]:
        system, ids = briefing.system(evidence, detail)
        # without room for all of them, those of the nearest runs: notes are written from traces
        shown, _ = joined(near, 0 if searches and detail.traces else TRACE_BYTES if detail.traces else FEW_BYTES)
        user = prompts.render(
            "reflect.md.j2",
            parents=parents,
            unit=evidence.unit,
            traces=shown,
            siblings=(),
            detail=detail,
            new_fields=True,
            charter=briefing.charter([parent.program for parent in parents], True),
            marks={},
            kept_ideas=(),
            other=None,
            most=MOST_NOTES,
            characters=MOST_NOTE,
            shown=lambda program, _: program.text if detail.parents is None else clipped(program.text, detail.parents),
        )
        return [Message("system", system), Message("user", user)], ids

    built = fitted(calls, build, briefing.access, "reflect")
    if built is None:
        return ReflectionEvent(generation=generation, program_ids=program_ids, notes=(), model=None, call=0)
    messages, ids, detail = built
    talk = converse(calls, model, messages, "reflect", Toolbox(near) if searches and detail.traces else None)
    reply = talk.reply
    notes = notes_of(reply.text) if reply is not None else []
    return ReflectionEvent(
        generation=generation,
        program_ids=program_ids,
        notes=tuple(ReflectionNote(content_id("n", text), text) for text in map(ids.lengthened, notes)),
        model=reply.model if reply else None,
        tokens=talk.tokens,
        usd=talk.usd,
        call=talk.number,
    )


def notes_of(text: str) -> list[str]:
    """The items of the list of notes; each is one short line of untrusted text."""
    block = _NOTES.search(text.replace("\r\n", "\n"))
    items = [sentences_of(item, MOST_NOTE) for item in _NOTE.findall(block[1])] if block else []
    return list(dict.fromkeys(filter(None, items)))[:MOST_NOTES]
