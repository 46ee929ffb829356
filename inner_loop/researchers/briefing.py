"""The prompts of a chat researcher: a system message that providers can cache, then what changes with each turn."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.behaviour import in_focus
from inner_loop.bench import Bench
from inner_loop.comparison import mean_metric
from inner_loop.models.contract import Message
from inner_loop.prompts import render
from inner_loop.record import Record
from inner_loop.researchers.labels import Labelled
from inner_loop.researchers.notebook import Notebook, QueuedIdea
from inner_loop.researchers.quoting import clean, fenced, line, tail
from inner_loop.researchers.roles import Role
from programs.charter import Charter
from trainer.constraints import sentences, shown
from trainer.edits import Knob, Value, format_value
from trainer.experiment import SOURCE_BYTES
from trainer.task import Task

LOG_LINES, LOG_CHARACTERS = 40, 4000
QUEUE, NOTES = 12, 20  # most ideas and notes shown
STATE_CHARACTERS = 6000  # of research_state.md


class TurnBriefing:
    """Builds the messages of one run's turns from a program, a task, and the bench's history."""

    def __init__(self, charter: Charter, labels: Labelled, task: Task, seats: Sequence[Role]) -> None:
        self._charter = charter
        self._task = task
        self._seats = seats
        self._editable = list(task.editable)
        self._plain = _plain(task)
        self._rows: dict[int, str] = {}  # of decided experiments, which no longer change
        focuses = [in_focus(task.edits, one.focus) for _, one in charter.by_phase()]
        self._system = render(
            "researcher.system",
            task=self._plain,
            cost=f"{task.cost_seconds:.3g}",
            editable=self._editable,
            read_only=list(task.read_only),
            constraints=sentences(task.constraints),
            most_bytes=SOURCE_BYTES,
            knobs=[_knob(knob) for knob in task.edits.knobs if any(knob in focus for focus in focuses)],
            prose=labels.prose,
            charter=labels.charter,
        )

    def turn(
        self, bench: Bench, notebook: Notebook, parent: Record, role: Role, idea: QueuedIdea | None
    ) -> list[Message]:
        """The messages of one turn. Deterministic except for the log, which is marked as volatile."""
        count, shown = len(bench.history), self._charter.history
        rows = [self._row(bench, record) for record in bench.history[max(0, count - shown) :]] if shown else []
        text = render(
            "researcher.turn",
            task=self._plain,
            role=role,
            alone=len(self._seats) == 1,
            colleagues=[seat.name for seat in self._seats if seat is not role],
            idea=idea,
            remaining=f"{bench.remaining:.4g}",
            budget=f"{bench.budget_seconds:.4g}",
            experiments_left=int(bench.remaining / bench.cost() + 1e-9),
            queue=list(notebook.queue)[:QUEUE],
            notes=notebook.notes[-NOTES:],
            shown=rows,
            left_out=count - len(rows),
            count=count,
            best=_metric(mean_metric(bench, bench.head)),
            parent=parent,
            parent_metric=_metric(mean_metric(bench, parent)),
            files=[(name, content.removesuffix("\n")) for name, content in parent.source.files],
        )
        return [Message("system", self._system), Message("user", text, _log(bench))]

    def _row(self, bench: Bench, record: Record) -> str:
        if record.number in self._rows:
            return self._rows[record.number]
        row = self._row_text(bench, record)
        if record.decision:
            self._rows[record.number] = row
        return row

    def _row_text(self, bench: Bench, record: Record) -> str:
        """One experiment on one line: its change and its result."""
        what = line(record.description, 100) or "no title"
        part = "" if record.full else f", at {record.fraction:g} of the budget"
        if not record.ok:
            came = f"{record.outcome.status}: {line(record.outcome.reason, 160)}"
        else:
            gain = bench.gain(record, bench.baseline)
            came = f"{self._task.metric} {_metric(record.metric)} ({gain or 0.0:+.6g} against the baseline)"
            values = shown(self._task.constraints, record.outcome.constraints)
            came += f", {values}" if values else ""
        decided = f", {record.decision}" if record.decision else ""
        return f"{record.number}: {what}{part}: {came}{decided}"


def state(bench: Bench, notebook: Notebook) -> str:
    """research_state.md: best result, queue and notes, in at most STATE_CHARACTERS; the oldest notes are dropped
    first."""
    kept = sum(record.decision == "keep" for record in bench.history)
    best = mean_metric(bench, bench.head)
    notes, queue = list(notebook.notes), list(notebook.queue)
    while True:
        text = render(
            "research_state",
            count=len(bench.history),
            kept=kept,
            best=bench.head,
            metric=bench.task.metric,
            best_metric=_metric(best),
            queue=queue,
            notes=notes,
        )
        if len(text) <= STATE_CHARACTERS or not (notes or queue):
            return text[:STATE_CHARACTERS]
        if notes:
            notes = notes[1:]
        else:
            queue = queue[:-1]


def repair(error: str) -> Message:
    return Message("user", render("researcher.repair", error=error))


def _log(bench: Bench) -> str:
    """The end of the last experiment's log, fenced; empty if there is none."""
    last = bench.history[-1]
    text = tail(bench.log(last), lines=LOG_LINES, characters=LOG_CHARACTERS)
    return render("researcher.log", number=last.number, log=fenced(text)) if text.strip() else ""


def _plain(task: Task) -> dict[str, str]:
    return {
        "name": line(task.name, 80),
        "description": line(task.description, 1000),
        "metric": task.metric,
        "unit": task.unit,
        "direction": task.direction,
    }


def _knob(knob: Knob) -> dict[str, str]:
    about = ", ".join(filter(None, (knob.group, line(knob.note, 160))))
    shown = [
        f"in {one.file}, {fenced(clean(one.find).strip())} becomes {fenced(clean(one.replace).strip())}"
        for one in knob.replacements
    ]
    between = f"; or from {knob.low:g} to {knob.high:g}" if knob.low is not None and knob.high is not None else ""
    return {
        "name": knob.name,
        "kind": knob.kind,
        "about": f" ({about})" if about else "",
        "between": between,
        "choices": ", ".join(_value(value) for value in knob.values),
        "patch": "\n".join(shown),
    }


def _value(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else format_value(value)


def _metric(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
