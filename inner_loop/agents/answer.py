"""Texts for the agent: short, with the figures that it needs next; and the same as facts for `--json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from inner_loop.agents.experiment_server import AgentReply
from inner_loop.bench import Bench
from inner_loop.comparison import decide_by, difference, gain_text, same_seed_pairs, value
from inner_loop.events import Experiment
from trainer.constraints import shown
from trainer.jobs.job import plain
from trainer.rows import Difference

SPENT = 3  # exit code of a refusal: the budget is spent
_TAIL_LINES, _TAIL_BYTES = 20, 4000
_LOG_BYTES = 48 << 10
_DECIDED = {"keep": ", kept", "undecided": ", undecided", "discard": ", not kept"}
_LAST = 10


Facts = dict[str, Any]


def facts_of(bench: Bench) -> Facts:
    """Metric, head and budget: metrics in the task's unit, of the first training seed, with which a new experiment is
    compared, too; seconds of device time. ``best``: by its mean over seeds."""
    task, head = bench.task, bench.head
    full = [record for record in bench.history if record.full and record.ok]
    best = max(full, key=lambda record: value(bench, record))
    return {
        "metric_name": task.metric,
        "direction": task.direction,
        "baseline": bench.baseline.metric,
        "head": head.metric,
        "head_experiment": head.number,
        "best": best.metric,
        "best_experiment": best.number,
        "budget_seconds": bench.budget_seconds,
        "charged_seconds": bench.meter.charged,
        "remaining_seconds": bench.remaining,
        "affordable": int((bench.remaining + 1e-9) / bench.cost()) if bench.is_open else 0,
        "open": bench.is_open,
    }


def _experiment_facts(bench: Bench, record: Experiment, head: Experiment, notes: Sequence[str] = ()) -> Facts:
    """One experiment, and its comparison with ``head``, the head before it: the means of both over the seeds that both
    were trained with, the gain and its standard error."""
    compared = None if record.source == head.source else difference(bench, record, head)
    pairs = same_seed_pairs(bench, record, head) if compared else []
    means = [sum(one.metric or 0.0 for one in side) / len(side) for side in zip(*pairs, strict=True)] or [None, None]
    return facts_of(bench) | {
        **_row(record),
        "reason": record.reason,
        "gain_over_head": compared.value if compared else None,
        "gain_se": compared.se if compared else None,
        "better": decide_by(bench, compared) == "keep",
        "resolved": decide_by(bench, compared) != "undecided",
        "compared_seeds": len(pairs),
        "compared_metric": means[1],
        "compared_head": means[0],
        "compared_experiment": head.number,
        "is_head": record.source == bench.head.source,
        "fraction": record.fraction,
        "charged": record.device_seconds_charged,
        "notes": list(notes),
    }


def _row(record: Experiment) -> Facts:
    return {
        "experiment": record.number,
        "status": record.status,
        "metric": record.metric,
        "decision": record.decision or "open",
        "gain": record.gain,
        "gain_se": record.gain_se,
        "description": record.description,
    }


def measured(bench: Bench, record: Experiment, head: Experiment, notes: Sequence[str] = ()) -> AgentReply:
    """The answer to `experiment`. ``head``: before it."""
    facts = _experiment_facts(bench, record, head, notes)
    lines = [_verdict(record, facts), f"charged {_seconds(record.device_seconds_charged)}; {_budget(facts)}"]
    if values := shown(bench.task.constraints, record.constraints or {}):
        lines.append(f"constraints: {values}")
    if not record.ok and record.log:
        end = plain(record.log)[-_TAIL_BYTES:].splitlines()[-_TAIL_LINES:]
        lines += ["the end of train.py's output:", *("| " + line for line in end)]
    if not bench.is_open:
        lines.append("The budget is spent: stop here.")
    lines += [f"note: {note}" for note in notes]
    return AgentReply("\n".join(lines), 0 if record.ok else 1, facts)


def log(bench: Bench, record: Experiment, head: Experiment, said: str, aliases: tuple[str, ...]) -> AgentReply:
    """The output of a training, then the summary. A line of the output cannot pass for one of the summary.

    ``head``: before it. ``aliases``: further names under which a program looks for the metric.
    """
    facts, task = _experiment_facts(bench, record, head), bench.task
    if not record.ok:
        return AgentReply(f"{_marked(said, ())}\n{record.status}: {record.reason}\n{_budget(facts)}", 1, facts)
    values: dict[str, str | int] = dict.fromkeys((task.metric, *aliases), f"{record.metric:.6f}")
    values |= {
        "training_seconds": f"{record.device_seconds_charged:.3f}",
        "total_seconds": f"{record.wall_seconds:.3f}",
        "peak_vram_mb": f"{record.peak_memory_mb:.1f}",
        **({"num_steps": record.steps} if record.steps is not None else {}),
        "experiment": record.number,
    }
    width = max(map(len, values)) + 2
    summary = [f"{key + ':':<{width}}{value}" for key, value in values.items()]
    lines = [_marked(said, tuple(values)), "---", *summary, f"# {_verdict(record, facts)}", f"# {_budget(facts)}"]
    return AgentReply("\n".join(lines), 0, facts)


def status(bench: Bench) -> AgentReply:
    facts = facts_of(bench)
    rows = [_row(record) for record in bench.history]
    lines = [
        f"{facts['metric_name']}, {facts['direction']} is better: baseline {_number(facts['baseline'])}, head "
        f"{_number(facts['head'])} (experiment {facts['head_experiment']}), best {_number(facts['best'])}",
        _budget(facts),
    ]
    for r in rows[-_LAST:]:
        value = r["status"] if r["metric"] is None else _number(r["metric"])
        known = r["decision"] == "undecided" and r["gain"] is not None
        gain = f"(not resolved: {gain_text(Difference(r['gain'], r['gain_se']))}) " if known else ""
        lines.append(f"{r['experiment']:>4}  {value:<12}{r['decision']:<10}{gain}{r['description'][:80]}")
    return AgentReply("\n".join(lines), 0, {**facts, "experiments": rows})


def spent(bench: Bench, session: bool = False) -> AgentReply:
    """``session``: only the experiments of this session are used."""
    facts = facts_of(bench)
    what = "the experiments of this session are used" if session else "the budget of this run is spent"
    text = f"refused: {what} ({_budget(facts)}). No further experiment can run; stop here."
    return AgentReply(text, SPENT, {**facts, "error": "budget spent"})


def refused(bench: Bench, why: str) -> AgentReply:
    return AgentReply(f"not run: {why}; nothing was charged", 2, {**facts_of(bench), "error": why})


def _budget(facts: Facts) -> str:
    left, whole = _seconds(facts["remaining_seconds"]), _seconds(facts["budget_seconds"])
    count = facts["affordable"]
    few = {0: "no experiment", 1: "about 1 experiment"}
    return f"{left} of {whole} left, {few.get(count, f'about {count} experiments')}"


def sandbox(seconds: float) -> str:
    """CPU time used outside experiments; written as a comment, because some programs parse the last lines of a log."""
    return f"# your CPU time outside experiments: {_seconds(seconds)}, charged to the budget"


def _verdict(record: Experiment, facts: Facts) -> str:
    start = f"experiment {record.number} "
    if not record.ok:
        return f"{start}{record.status}: {record.reason}"
    start += f"ok: {facts['metric_name']} {_number(record.metric)}"
    if not record.full:
        return f"{start} at {record.fraction:g} of the full budget; compare it with others at that fraction only"
    start += _DECIDED.get(record.decision, "")
    gain = facts["gain_over_head"]
    if gain is None:
        return f"{start}, which is the head" if facts["is_head"] else start
    seeds = facts["compared_seeds"]
    over = "the same seed" if seeds == 1 else f"the same {seeds} seeds"
    if facts["compared_metric"] != record.metric:
        start += f"; {_number(facts['compared_metric'])} on {over}"
    head = f"the head {_number(facts['compared_head'])} (experiment {facts['compared_experiment']}, {over})"
    error = f" ± {facts['gain_se']:.2g}" if facts["gain_se"] else ""
    if not facts["resolved"]:
        return f"{start}, not resolved against {head}: {gain:+.6f}{error}"
    how = "better than" if gain > 0 else "worse than" if gain < 0 else "equal to"
    by = f" by {abs(gain):.6f}{error}" if gain else ""
    return f"{start}, {how} {head}{by}"


def _marked(said: str, keys: tuple[str, ...]) -> str:
    """The output of train.py, limited in size; lines that look like the summary are marked with `#`."""
    text = plain(said)[-_LOG_BYTES:].rstrip("\n")
    ours = re.compile("|".join(rf"{re.escape(key)}\s*:" for key in keys) or r"(?!)")
    return "\n".join(f"# {line}" if ours.match(line) else line for line in text.splitlines())


def _seconds(value: float) -> str:
    value = round(value, 6)  # sums of charges end next to zero
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"
