"""What an agent reads: short texts with the figures it needs next, and the same as facts for `--json`."""

from __future__ import annotations

import re
from typing import Any

from inner_loop.agents.door import DoorAnswer
from inner_loop.bench import Bench
from inner_loop.comparison import gain_over, mean_metric
from inner_loop.record import Record
from trainer.launcher import plain

SPENT = 3  # exit code of a refusal for want of budget
_TAIL_LINES, _TAIL_BYTES = 20, 4000
_LOG_BYTES = 48 << 10
_LAST = 10


def facts_of(bench: Bench) -> dict[str, Any]:
    """Metric, head and budget as they stand: metrics in the task's unit, seconds of device time."""
    task, head = bench.task, bench.head
    full = [record for record in bench.history if record.full and record.ok]
    best = min(full, key=lambda record: task.sign * (record.metric or 0.0))
    return {
        "metric_name": task.metric,
        "direction": task.direction,
        "baseline": bench.baseline.metric,
        "head": mean_metric(bench, head),
        "head_experiment": head.number,
        "best": best.metric,
        "best_experiment": best.number,
        "budget_seconds": bench.budget_seconds,
        "charged_seconds": bench.meter.charged,
        "remaining_seconds": bench.remaining,
        "affordable": int((bench.remaining + 1e-9) / bench.cost()) if bench.is_open else 0,
        "open": bench.is_open,
    }


def experiment_facts(bench: Bench, record: Record, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """One experiment, and how it stands beside the head."""
    gain = None if record is bench.head else gain_over(bench, record, bench.head)
    return facts_of(bench) | {
        "experiment": record.number,
        "status": record.outcome.status,
        "reason": record.outcome.reason,
        "metric": record.metric,
        "gain_over_head": gain,
        "better": gain is not None and gain > 0,
        "decision": record.decision,
        "fraction": record.fraction,
        "charged": record.charged,
        "description": record.description,
        "notes": list(notes),
    }


def measured(bench: Bench, record: Record, notes: tuple[str, ...] = ()) -> DoorAnswer:
    """The answer to `experiment`."""
    facts = experiment_facts(bench, record, notes)
    lines = [_verdict(bench, record, facts), f"charged {_seconds(record.charged)}; {budget(facts)}"]
    if not record.ok and record.outcome.log:
        lines += ["the end of what train.py printed:", *("| " + line for line in tail(record.outcome.log))]
    if not bench.is_open:
        lines.append("The budget is spent: commit or reset what you tried last, then stop.")
    elif record.ok and not record.decision:
        lines.append("keep it: git commit (or: experiment keep); drop it: git reset (or: experiment discard)")
    lines += [f"note: {note}" for note in notes]
    return DoorAnswer("\n".join(lines), 0 if record.ok else 1, facts)


def log(bench: Bench, record: Record, said: str, aliases: tuple[str, ...]) -> DoorAnswer:
    """What a training prints: its own output, then the summary, of which no line is the training's word.

    ``aliases``: further names under which a program looks for the metric.
    """
    facts, outcome, task = experiment_facts(bench, record), record.outcome, bench.task
    if not record.ok:
        return DoorAnswer(f"{_marked(said, ())}\n{outcome.status}: {outcome.reason}\n{budget(facts)}", 1, facts)
    values: dict[str, Any] = dict.fromkeys((task.metric, *aliases), f"{record.metric:.6f}")
    values |= {
        "training_seconds": f"{record.charged:.3f}",
        "total_seconds": f"{outcome.wall_seconds:.3f}",
        "peak_vram_mb": f"{outcome.peak_memory_mb:.1f}",
        **({"num_steps": outcome.steps} if outcome.steps is not None else {}),
        "experiment": record.number,
    }
    width = max(map(len, values)) + 2
    summary = [f"{key + ':':<{width}}{value}" for key, value in values.items()]
    lines = [_marked(said, tuple(values)), "---", *summary, f"# {_verdict(bench, record, facts)}", f"# {budget(facts)}"]
    return DoorAnswer("\n".join(lines), 0, facts)


def status(bench: Bench) -> DoorAnswer:
    facts = facts_of(bench)
    rows: list[dict[str, Any]] = [
        {"experiment": r.number, "status": r.outcome.status, "metric": r.metric, "decision": r.decision or "open",
         "description": r.description}
        for r in bench.history
    ]  # fmt: skip
    facts["experiments"] = rows
    lines = [
        f"{facts['metric_name']}, {facts['direction']} is better: baseline {_number(facts['baseline'])}, head "
        f"{_number(facts['head'])} (experiment {facts['head_experiment']}), best {_number(facts['best'])}",
        budget(facts),
    ]
    for row in rows[-_LAST:]:
        value = _number(row["metric"]) if row["metric"] is not None else row["status"]
        lines.append(f"{row['experiment']:>4}  {value:<12}{row['decision']:<10}{row['description'][:80]}")
    return DoorAnswer("\n".join(lines), 0, facts)


def spent(bench: Bench) -> DoorAnswer:
    facts = facts_of(bench)
    text = f"refused: the budget of this run is spent ({budget(facts)}). Nothing more can be run; stop here."
    return DoorAnswer(text, SPENT, facts | {"error": "budget spent"})


def refused(bench: Bench, why: str) -> DoorAnswer:
    return DoorAnswer(f"not run: {why}; nothing was charged", 2, facts_of(bench) | {"error": why})


def budget(facts: dict[str, Any]) -> str:
    left, whole = _seconds(facts["remaining_seconds"]), _seconds(facts["budget_seconds"])
    count = facts["affordable"]
    return f"{left} of {whole} left, " + (f"about {count} experiment{'s'[: count != 1]}" if count else "no experiment")


def sandbox(facts: dict[str, Any]) -> str:
    """What was used beside experiments; a comment, for some programs read the last lines of a log."""
    used, free = _seconds(facts["sandbox_seconds"]), _seconds(facts["sandbox_free_seconds"])
    charged = _seconds(facts["sandbox_charged_seconds"])
    return f"# in your sandbox, beside experiments: {used} of CPU used, {free} of them free, {charged} charged"


def tail(text: str) -> list[str]:
    """The end of what a training printed, bounded."""
    return plain(text)[-_TAIL_BYTES:].splitlines()[-_TAIL_LINES:]


def _verdict(bench: Bench, record: Record, facts: dict[str, Any]) -> str:
    start = f"experiment {record.number} "
    if not record.ok:
        return f"{start}{record.outcome.status}: {record.outcome.reason}"
    start += f"ok: {facts['metric_name']} {_number(record.metric)}"
    if not record.full:
        return f"{start} at {record.fraction:g} of the full budget; compare it with others at that fraction only"
    if record is bench.head:
        return f"{start}, which is the head"
    gain = facts["gain_over_head"]
    if gain is None:
        return start
    how = "better than" if gain > 0 else "worse than" if gain < 0 else "equal to"
    best = "; the best so far" if record.number == facts["best_experiment"] else f"; best {_number(facts['best'])}"
    by = f" by {abs(gain):.6f}" if gain else ""
    return f"{start}, {how} the head {_number(facts['head'])} (experiment {facts['head_experiment']}){by}{best}"


def _marked(said: str, keys: tuple[str, ...]) -> str:
    """What train.py printed, bounded; a line that looks like one of ours is marked as not ours."""
    text = plain(said)[-_LOG_BYTES:].rstrip("\n")
    ours = re.compile("|".join(rf"{re.escape(key)}\s*:" for key in keys) or r"(?!)")
    return "\n".join(f"# {line}" if ours.match(line) else line for line in text.splitlines())


def _seconds(value: float) -> str:
    value = round(value, 6)  # sums of charges end next to zero
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"
