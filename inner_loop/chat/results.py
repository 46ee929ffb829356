"""The results of a run as a chat researcher sees them: an experiment, or a turn without one, on each line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from inner_loop.bench import Bench
from inner_loop.chat.quoting import clean, fenced, line
from inner_loop.comparison import gain_text
from inner_loop.events import Experiment
from trainer.constraints import shown
from trainer.rows import Difference

CHAT = "chat: "  # before the role, in the proposer of an experiment
UNMARKED = ("", "baseline", "discard", "undecided")  # decisions that a row does not name
NOT_KEPT = ("discard", "undecided")
CHANGES, CHANGED_LINES = 3, 12  # experiments whose change is shown, lines of each
UNUSUAL = 1.25  # times the time that a training is given: from there on, or below its inverse, a row states its own
_LOSS = re.compile(r"^train_loss:\s*([-+.\w]+)\s*$", re.MULTILINE)


def result_rows(
    bench: Bench, idle: Sequence[tuple[int, str]], most: int, *, several: bool, own: str = ""
) -> tuple[list[str], int]:
    """The last experiments and the head, and between them the turns that led to none; how many experiments are left
    out. ``several``: whether the rows name the role that proposed each experiment. ``own``: in a night, the id of the
    program whose experiments are named, others are not."""
    count = len(bench.history)
    if not most:
        return [], count
    first = max(0, count - most)
    numbers = sorted({bench.head.number, *range(first, count)})
    rows = [(float(number), _row(bench, bench.history[number], several, own)) for number in numbers]
    rows += [(after - 0.5, text) for after, text in idle if after > first][-most:]
    return [text for _, text in sorted(rows, key=lambda row: row[0])], count - len(numbers)


def _row(bench: Bench, record: Experiment, several: bool, own: str) -> str:
    """One experiment: its change, its author among several, its result, and how it trained."""
    what = line(record.description, 100) or "no title"
    name = line(record.proposer.removeprefix(CHAT), 40) if several else own and "yours"
    author = f" ({name})" if name and own in ("", record.program_id) else ""
    part = "" if record.full else f", at {record.fraction:g} of the budget"
    if record.metric is None:
        came = f"{record.status}: {line(record.reason, 160)}"
    else:
        values = shown(bench.task.constraints, record.constraints or {})
        came = f"{record.metric:.5g}{_gain(bench, record)}{f', {values}' if values else ''}"
    decided = "" if record.decision in UNMARKED else f", {record.decision}"
    return f"{record.number}: {what}{author}{part}: {came}{decided}{_training(bench, record)}"


def not_kept(bench: Bench, rows: int) -> str:
    """The changed lines of the last experiments that were not kept, of the last ``rows``, without those whose title has
    the one new line already."""
    recent = [record for record in bench.history[-rows:] if record.decision in NOT_KEPT and record.diff] if rows else []
    untold = [record for record in recent if not _in_title(changed_lines(record.diff), record.description)]
    most = min(CHANGES, rows // 4)
    return changes((str(record.number), record.diff) for record in untold[-most:]) if most else ""


def changes(diffs: Iterable[tuple[str, str]], most: int = CHANGED_LINES) -> str:
    """The changed lines of (name, diff), fenced; of one line that replaces another the new one, unless the name has it.
    Empty if there are none. ``most``: lines of each."""
    texts: list[str] = []
    for name, diff in diffs:
        lines = changed_lines(diff)
        if _in_title(lines, name):
            lines = []
        elif _signs(lines) == "-+":
            lines = [lines[1].partition("  #")[0]]
        if len(lines) > most:
            lines[most:] = [f"({len(lines) - most} more lines)"]
        texts += [f"# {name}", *lines]
    return fenced(clean("\n".join(texts)), "diff") if texts else ""


def changed_lines(diff: str) -> list[str]:
    """The lines of a diff that are added or removed."""
    return [text for text in diff.splitlines() if text[:1] in ("+", "-") and text[:6] not in ("--- a/", "+++ b/")]


def _signs(lines: Sequence[str]) -> str:
    return "".join(text[0] for text in lines)


def _in_title(lines: Sequence[str], title: str) -> bool:
    return _signs(lines) == "-+" and lines[1][1:].partition("  #")[0].strip() in title


def _gain(bench: Bench, record: Experiment) -> str:
    """The gain over the experiment whose source was changed: as it was decided, with its error, or at the same training
    seed. That is the last one kept before it, unless another one is named."""
    compared = "" if record.gain is None else gain_text(Difference(record.gain, record.gain_se))
    if compared and record.decision == "undecided":
        return f", not resolved: {compared}"
    parent = bench.history[record.parent_number] if record.parent_number is not None else None
    if parent is None or parent.replicate != record.replicate or parent.full != record.full:
        return ""
    gain = bench.gain(record, parent)
    kept = (r.number for r in reversed(bench.history[: record.number]) if r.decision in ("keep", "baseline"))
    parent_note = "" if parent.number == next(kept, None) else f" on {parent.number}"
    if compared and record.gain_se and bench.kept_errors:
        return f" ({compared}{parent_note})"
    return "" if gain is None else f" ({gain:+.3g}{parent_note})"


def _training(bench: Bench, record: Experiment) -> str:
    """Steps, an unusual training time, the train loss that the script printed last, and the lines added and removed
    if it is not one each; what is unknown is left out. The loss is shown only where a resumed run has the logs: its
    requests must be the same."""
    known = [f"{record.steps} steps"] if record.steps else []
    seconds, usual = record.training_seconds, bench.task.budget_seconds * record.fraction
    if known and seconds and bench.counts_device_time and not 1 / UNUSUAL < seconds / usual < UNUSUAL:
        known[0] += f" in {seconds:.3g} s"
    losses = _LOSS.findall(bench.log(record)) if bench.stores_logs else []
    with suppress(ValueError):  # text in place of a number
        known += [f"loss {float(losses[-1]):.3g}"] if losses else []
    signs = _signs(changed_lines(record.diff))
    if signs not in ("", "-+", "+-"):
        known.append(f"lines +{signs.count('+')} -{signs.count('-')}")
    return f"; {', '.join(known)}" if known else ""
