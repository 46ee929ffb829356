"""The results of a run as a chat researcher sees them: an experiment, or a turn without one, on each line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from inner_loop.bench import Bench
from inner_loop.record import Record
from inner_loop.researchers.notebook import IdleTurn
from inner_loop.researchers.quoting import clean, fenced, line
from trainer.constraints import shown
from trainer.task import Task

CHAT = "chat: "  # before the role, in the proposer of an experiment
UNMARKED = ("", "baseline", "discard")  # decisions that a row does not name
CHANGES, CHANGED_LINES, LINE = 3, 12, 120  # experiments whose change is shown, lines of each, characters of a line
UNUSUAL = 1.25  # times the time that a training is given: from there on, or below its inverse, a row states its own
_SETTING = re.compile(r"[-+](\w+) *= ")
_LOSS = re.compile(r"^train_loss:\s*([-+.\w]+)\s*$", re.MULTILINE)


class ResultRows:
    """``several``: whether the rows name the role that proposed each experiment. ``seen``: the number of the experiment
    whose source an author saw, by parent and source, where the edit was applied to another one."""

    def __init__(self, task: Task, *, several: bool, seen: Mapping[tuple[int, str], int] | None = None) -> None:
        self._task = task
        self._several = several
        self._seen = {} if seen is None else seen
        self._rows: dict[int, str] = {}  # of decided experiments, which no longer change

    def last(self, bench: Bench, idle: Sequence[IdleTurn], most: int) -> tuple[list[str], int]:
        """The last experiments and the head, and between them the turns that led to none; how many experiments are
        left out."""
        count = len(bench.history)
        if not most:
            return [], count
        first = max(0, count - most)
        numbers = [*([bench.head.number] if bench.head.number < first else []), *range(first, count)]
        rows = [(float(number), self._row(bench, bench.history[number])) for number in numbers]
        rows += [(turn.after - 0.5, turn.text) for turn in idle if turn.after > first][-most:]
        return [text for _, text in sorted(rows, key=lambda row: row[0])], count - len(numbers)

    def _row(self, bench: Bench, record: Record) -> str:
        if record.number in self._rows:
            return self._rows[record.number]
        row = self._text(bench, record)
        if record.decision:
            self._rows[record.number] = row
        return row

    def _text(self, bench: Bench, record: Record) -> str:
        """One experiment: its change, its author among several, its result, and how it trained."""
        what = line(record.description, 100) or "no title"
        by = f" ({line(record.proposer.removeprefix(CHAT), 40)})" if record.proposer and self._several else ""
        on = (record.parent if record.parent is not None else -1, record.source.source_id)
        if on in self._seen:
            by += f", applied on top of experiment {on[0]} (its author saw the source of {self._seen[on]})"
        part = "" if record.full else f", at {record.fraction:g} of the budget"
        if record.metric is None:
            came = f"{record.outcome.status}: {line(record.outcome.reason, 160)}"
        else:
            came = f"{record.metric:.5g}{_gain(bench, record)}"
            values = shown(self._task.constraints, record.outcome.constraints)
            came += f", {values}" if values else ""
        decided = "" if record.decision in UNMARKED else f", {record.decision}"
        return f"{record.number}: {what}{by}{part}: {came}{decided}{_training(bench, record)}"


def not_kept(bench: Bench, most: int, rows: int) -> str:
    """The changed lines of the last experiments that were not kept, fenced; at most ``most`` of the last ``rows``,
    without those whose title has the new line already."""
    recent = bench.history[len(bench.history) - min(rows, len(bench.history)) :]
    texts: list[str] = []
    for record in [one for one in recent if one.decision == "discard" and not _in_title(one)][-most:] if most else []:
        lines = _changed(record)
        names = [match[1] if (match := _SETTING.match(text)) else text for text in lines]
        if len(lines) == 2 and names[0] == names[1]:  # one setting: its new value, without the comment
            lines = [text.partition("  #")[0] for text in lines if text[0] == "+"]
        changed = [text if len(text) <= LINE else f"{text[: LINE - 1]}…" for text in lines]
        more = [f"({len(changed) - CHANGED_LINES} more lines)"] if len(changed) > CHANGED_LINES else []
        texts.append("\n".join([f"# {record.number}", *changed[:CHANGED_LINES], *more]))
    return fenced(clean("\n".join(texts)), "diff") if texts else ""


def _in_title(record: Record) -> bool:
    """Whether the title contains all that it added, without comments: nothing, or the new text of one line."""
    added = [text[1:].partition("  #")[0].strip() for text in _changed(record) if text[0] == "+"]
    return not record.diff or (len(added) == 1 and len(_changed(record)) == 2 and added[0] in record.description)


def _changed(record: Record) -> list[str]:
    """The lines of its change that are added or removed."""
    files = ("--- a/", "+++ b/")
    return [text for text in record.diff.splitlines() if text[:1] in ("+", "-") and not text.startswith(files)]


def _gain(bench: Bench, record: Record) -> str:
    """The gain over the experiment whose source was changed, at the same training seed. That is the last one kept
    before it, unless another one is named."""
    parent = bench.history[record.parent] if record.parent is not None else None
    if parent is None or parent.replicate != record.replicate or parent.full != record.full:
        return ""
    gain = bench.gain(record, parent)
    kept = (r.number for r in reversed(bench.history[: record.number]) if r.decision in ("keep", "baseline"))
    on = "" if parent.number == next(kept, None) else f" on {parent.number}"
    return "" if gain is None else f" ({gain:+.3g}{on})"


def _training(bench: Bench, record: Record) -> str:
    """Steps, an unusual training time, the train loss that the script printed last, and the lines added and removed
    if it is not one each; what is unknown is left out. The loss is shown only where a resumed run has the logs: its
    requests must be the same."""
    known = [f"{record.outcome.steps} steps"] if record.outcome.steps else []
    seconds, usual = record.outcome.training_seconds, bench.task.budget_seconds * record.fraction
    if known and seconds and bench.counts_device_time and not 1 / UNUSUAL < seconds / usual < UNUSUAL:
        known[0] += f" in {seconds:.3g} s"
    losses = _LOSS.findall(bench.log(record)) if bench.stores_logs else []
    with suppress(ValueError):  # text in place of a number
        known += [f"loss {float(losses[-1]):.3g}"] if losses else []
    changed = [text[0] for text in _changed(record)]
    if changed and sorted(changed) != ["+", "-"]:
        known.append(f"lines +{changed.count('+')} -{changed.count('-')}")
    return f"; {', '.join(known)}" if known else ""
