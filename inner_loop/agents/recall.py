"""Restores an interrupted run of an agent, which cannot be replayed.

The sources come from the ledger: each experiment's diff, applied to its parent and checked by hash, or its full text if
the diff is not enough. Events also record the heads that a night went back to.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.events import AgentEvent, AgentHeadEvent, AgentSourceEvent, Event, ExperimentEvent
from inner_loop.record import Record
from programs.common.errors import Corrupt
from trainer.source import Source

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


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
    texts, lines = dict(source.files), deque(diff.split("\n")[:-1])
    while lines:
        heads = [lines.popleft() for _ in range(min(2, len(lines)))]
        if len(heads) < 2 or not (heads[0].startswith("--- a/") and heads[1].startswith("+++ b/")):
            raise Corrupt(f"a diff has the line {heads[0][:60]!r} where a file begins")
        name = heads[1].removeprefix("+++ b/")
        texts[name] = _file(texts.get(name, ""), lines)
    return Source(tuple(texts.items()))


def _file(text: str, lines: deque[str]) -> str:
    """One file with its hunks applied, which are taken from the lines."""
    old, new, copied = text.split("\n"), list[str](), 0
    while lines and (match := _HUNK.fullmatch(lines[0])):
        lines.popleft()
        removed, added = int(match[2] or 1), int(match[3] or 1)
        start = int(match[1]) - (removed > 0)
        new += old[copied:start]
        copied = start
        while removed > 0 or added > 0:
            mark, line = (lines[0][:1], lines.popleft()[1:]) if lines else ("", "")
            if mark not in (" ", "-", "+") or (mark != "+" and old[copied : copied + 1] != [line]):
                raise Corrupt(f"a diff does not fit its source at line {copied + 1}")
            if mark != "+":
                copied, removed = copied + 1, removed - 1
            if mark != "-":
                new.append(line)
                added -= 1
    return "\n".join([*new, *old[copied:]])
