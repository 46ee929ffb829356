"""Restores an interrupted run of an agent, which cannot be replayed.

The sources come from the ledger: each experiment's diff, applied to its parent and checked by hash, or its full text if
the diff is not enough. Events also record heads that the agent went back to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.events import AgentEvent, AgentHeadEvent, AgentSourceEvent, Event, ExperimentEvent
from inner_loop.record import Record
from programs.errors import Corrupt
from trainer.source import Source

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")


def recall(bench: Bench, recorded: Sequence[Event]) -> None:
    """Restore history, charges, decisions and head of an earlier attempt. Raises Corrupt if that is impossible."""
    mine = [event for event in recorded if isinstance(event, AgentEvent) and event.run_id == bench.run_id]
    texts = {event.source_id: event.files for event in mine if isinstance(event, AgentSourceEvent)}

    def rebuild(event: ExperimentEvent, parent: Record) -> Source:
        given = texts.get(event.source_id)
        return patched(parent.source, event.diff) if given is None else Source(given)

    bench.recall(rebuild)
    heads = [event for event in mine if isinstance(event, AgentHeadEvent) and event.after <= len(bench.history)]
    if heads and not any(r.decision == "keep" for r in bench.history[heads[-1].after :]):
        bench.move_head(bench.history[heads[-1].number])


def source_event(run_id: str, parent: Source, source: Source) -> AgentSourceEvent | None:
    """The event with a source's text; None if the diff in the experiment's row is enough."""
    try:
        if patched(parent, parent.diff(source)) == source:
            return None
    except Corrupt:
        pass  # line ends that a diff of lines does not show
    return AgentSourceEvent(run_id=run_id, source_id=source.source_id, files=source.files)


def patched(source: Source, diff: str) -> Source:
    """A source with one of our unified diffs applied. Corrupt if it does not fit exactly."""
    texts = dict(source.files)
    lines = diff.split("\n")
    at = 0
    while at < len(lines) - 1:
        if not (lines[at].startswith("--- a/") and lines[at + 1].startswith("+++ b/")):
            raise Corrupt(f"a diff has the line {lines[at][:60]!r} where a file begins")
        name = lines[at + 1].removeprefix("+++ b/")
        texts[name], at = _file(texts.get(name, ""), lines, at + 2)
    return Source(tuple(texts.items()))


def _file(text: str, lines: list[str], at: int) -> tuple[str, int]:
    """One file with its hunks applied, and the index of the line after them."""
    old, new, copied = text.split("\n"), [], 0
    while at < len(lines) and (match := _HUNK.fullmatch(lines[at])):
        count = int(match[2] or 1)
        start = int(match[1]) - (1 if count else 0)
        new += old[copied:start]
        copied, at = start, at + 1
        while at < len(lines) and lines[at][:1] in (" ", "-", "+") and not _begins_file(lines, at):
            mark, line = lines[at][0], lines[at][1:]
            if mark != "+":
                if copied >= len(old) or old[copied] != line:
                    raise Corrupt(f"a diff does not fit its source at line {copied + 1}")
                copied += 1
            if mark != "-":
                new.append(line)
            at += 1
    return "\n".join([*new, *old[copied:]]), at


def _begins_file(lines: list[str], at: int) -> bool:
    """A removed line may look like a file header; it is one only if the other header and a hunk follow."""
    after = lines[at + 1 : at + 3]
    return (
        lines[at].startswith("--- a/")
        and len(after) == 2
        and after[0].startswith("+++ b/")
        and _HUNK.fullmatch(after[1]) is not None
    )
