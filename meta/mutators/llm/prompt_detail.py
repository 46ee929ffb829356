"""How much of each part the prompts of writers show, so that they fit into a model's context.

What is left out, in this order: traces, earlier and sibling proposals, rows of evidence, what the fields of the charter
mean. The instruction, the task, its edits, the parent that is rewritten, the job and the form of the reply are never
shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from analysis.report.evidence_text import RowIds
from inner_loop.models.context_size import SAFE_BYTES, bytes_of
from inner_loop.models.contract import Message
from meta.mutators.llm.generation_calls import PROMPT_BYTES, GenerationCalls
from meta.mutators.llm.trace_access import TraceAccess

TRIED = 7  # mutations that are shown, newest first; equal ones count once
SHOWN_NOTES = 12
SIBLINGS = 20  # proposals of this generation that are shown


@dataclass(frozen=True)
class PromptDetail:
    """``rows``: share of the rows of evidence. ``charter``: its fields with their descriptions, with the first sentence
    of each, or their names. ``parents``: most bytes of each parent that the reply does not repeat (None: all)."""

    traces: bool = True
    tried: int = TRIED
    siblings: int = SIBLINGS
    notes: int = SHOWN_NOTES
    rows: float = 1.0
    charter: Literal["all", "short", "names"] = "all"
    parents: int | None = None


FULL = PromptDetail()
#: From the first to the last, until a prompt fits into the model's context.
DETAILS = (
    FULL,
    PromptDetail(False),
    PromptDetail(False, tried=4, siblings=6, notes=4),
    PromptDetail(False, tried=4, siblings=6, notes=4, rows=0.5),
    PromptDetail(False, tried=2, siblings=4, notes=2, rows=0.25, charter="short"),
    PromptDetail(False, tried=0, siblings=3, notes=0, rows=0.25, charter="names"),
    PromptDetail(False, tried=0, siblings=2, notes=0, rows=0.0, charter="names", parents=2000),
    PromptDetail(False, tried=0, siblings=0, notes=0, rows=0.0, charter="names", parents=0),
)
TOOL_ROUND = 16_000  # bytes of the tools' descriptions and of one answer, for which there must be room
CURE = "a server with a larger context, a smaller --set reply_tokens, or shorter programs"


def fitted(
    calls: GenerationCalls,
    build: Callable[[PromptDetail], tuple[list[Message], RowIds]],
    access: TraceAccess,
    purpose: str,
) -> tuple[list[Message], RowIds, PromptDetail] | None:
    """The messages with as much detail as fits, the rows that they show, and the detail. None where nothing fits, which
    is noted."""
    messages: list[Message] = []
    for detail in DETAILS:
        messages, ids = build(detail)
        spare = TOOL_ROUND // SAFE_BYTES if access.how == "tools" and detail.traces else 0
        if bytes_of(messages) <= PROMPT_BYTES + access.bytes and calls.fits(messages, spare):
            return messages, ids, detail
    calls.too_long(purpose, messages, CURE)
    return None
