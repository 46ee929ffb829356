"""The prompts of a chat researcher: a system message that providers can cache, then what changes with each turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache

from inner_loop.behaviour import in_focus
from inner_loop.bench import Bench
from inner_loop.comparison import mean_metric, seed_sd
from inner_loop.models.context_size import fits, prompt_tokens
from inner_loop.models.contract import Message
from inner_loop.prompts import render
from inner_loop.record import Record
from inner_loop.researchers.labels import Labelled
from inner_loop.researchers.notebook import LOST, PROGRAM, Note, Notebook, QueuedIdea
from inner_loop.researchers.provided import provided
from inner_loop.researchers.quoting import clean, fenced, line, sentences_of, tail
from inner_loop.researchers.result_rows import CHANGES, ResultRows, not_kept
from inner_loop.run_context import ModelConfig
from programs.charter import Charter
from programs.errors import UsageError
from programs.roles import Role
from trainer.constraints import sentences
from trainer.edits import Edit, EditError, Knob, Value, format_value
from trainer.task import Task

LOG_OK, LOG_FAILED, LOG_SHORT = (8, 800), (14, 1400), (3, 300)  # most lines and characters of the last log
OLD_NOTE = 300  # characters of a note, in whole sentences; the newest is shown whole
STATE_CHARACTERS = 6000  # of research_state.md
SHORT_LIST = 8  # ideas of a program that every prompt shows in full; of a longer list the next ones
NEXT, TITLES = 3, 6  # of a longer list: ideas in full, then titles
SHORT_PATCH = 2  # lines of a patch that every prompt shows; a longer one is shown with an idea that asks for it
REPAIR = 250  # tokens of a small context that are left for an error
_STATED = re.compile(
    r"(?m)^(?:seed|device|steps|seconds|train_loss):.*\n?"
)  # in the summary of a log, and in the prompt
_LIBRARY = re.compile(r'(?m)^ *File "[^"\n]*/(?:site|dist)-packages/.*\n(?: {4,}(?!File ").*\n)*')  # of a traceback
_CARETS = re.compile(r"(?m)^[ ~^]*\^[ ~^]*\n")  # below a line of a traceback


@dataclass(frozen=True)
class Detail:
    """How much of each part a prompt shows, at most. ``patches``: the text of the task's patches, or their names;
    ``knobs``: the task's known edits; ``ideas``: the program's Ideas, beside the one of the turn;
    ``changes``: the last experiments that were not kept, with their changed lines."""

    rows: int = 10_000
    queue: int = 8
    notes: int = 10
    changes: int = CHANGES
    patches: bool = True
    knobs: bool = True
    ideas: bool = True


#: From the first to the last, until a prompt fits into the model's context. The log of the last experiment gets the
#: tokens that are left.
DETAILS = (
    Detail(),
    Detail(rows=12, queue=6, notes=6, changes=1),
    Detail(rows=12, queue=6, notes=6, changes=1, patches=False),
    Detail(rows=6, queue=3, notes=3, changes=0, patches=False),
    Detail(rows=3, queue=0, notes=0, changes=0, patches=False),
    Detail(rows=3, queue=0, notes=0, changes=0, patches=False, knobs=False),
    Detail(rows=3, queue=0, notes=0, changes=0, patches=False, knobs=False, ideas=False),
)


@dataclass(frozen=True)
class InFlight:
    """What is not yet in the results: ``edits`` that were drawn for the next wave, each with role and title, and
    ``calls`` of colleagues, whose edits are not known before their turn comes."""

    edits: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


class TurnBriefing:
    """Builds the messages of one run's turns from a program, a task, and the bench's history. ``seen``: as ResultRows
    has it."""

    def __init__(
        self,
        charter: Charter,
        labels: Labelled,
        task: Task,
        seats: Sequence[Role],
        config: ModelConfig,
        seen: Mapping[tuple[int, str], int] | None = None,
    ) -> None:
        self._charter = charter
        self._task = task
        self._seats = seats
        self._plain = _plain(task)
        self._rows = ResultRows(task, several=len(seats) > 1, seen=seen)
        self._context, self.reply_tokens = config.context_tokens, config.reply_limit
        focuses = [in_focus(task.edits, one.focus) for _, one in charter.by_phase()]
        self._knobs = [knob for knob in task.edits.knobs if any(knob in focus for focus in focuses)]
        self._labels = labels
        self._is_long = labels.ideas > SHORT_LIST
        self._system = cache(self._head)

    def _head(self, patches: bool, knobs: bool, ideas: bool) -> str:
        """The system message, the same in all turns of the same detail."""
        task = self._task
        return render(
            "researcher.system",
            task=self._plain,
            cost=f"{task.cost_seconds:.3g}",
            where=_where(task),
            editable=list(task.editable),
            read_only=list(task.read_only),
            provided=provided(task) if knobs else [],
            keeps=_keeps(self._charter, task),
            repeats=_repeats(self._charter),
            constraints=sentences(task.constraints),
            knobs=[_knob(task, knob, patches) for knob in self._knobs] if knobs else [],
            prose=self._labels.prose if ideas and not self._is_long else self._labels.brief,
            charter=self._labels.charter,
            alone=len(self._seats) == 1,
            most_lost=LOST * len(self._seats),
        )

    def fits(self, messages: Sequence[Message], spare: int = 0) -> bool:
        """Whether messages and the longest reply fit into the model's context."""
        return fits(messages, self._context, self.reply_tokens, spare)

    def turn(
        self,
        bench: Bench,
        notebook: Notebook,
        parent: Record,
        role: Role,
        idea: QueuedIdea | None,
        in_flight: InFlight = InFlight(),
        lost: int = 0,
    ) -> list[Message]:
        """The messages of one turn, with as much detail as the model's context has room for. Deterministic except for
        the log, which is marked as volatile. ``lost``: turns in a row without an experiment."""
        for detail in DETAILS:
            text = self._text(bench, notebook, parent, role, idea, in_flight, lost, detail)
            head = self._system(detail.patches, detail.knobs, detail.ideas)
            messages = [Message("system", head), Message("user", text)]
            if self.fits(messages, REPAIR):
                last = bench.history[-1]
                for lines, characters in (LOG_OK if last.ok else LOG_FAILED, LOG_SHORT):
                    with_log = [messages[0], replace(messages[1], volatile=_log(bench, lines, characters))]
                    if self.fits(with_log, REPAIR):
                        return with_log
                return messages
        raise UsageError(
            f"the shortest prompt of {self._task.name} takes about {prompt_tokens(messages) + REPAIR} tokens, which do "
            f"not fit into a context of {self._context} with a reply of {self.reply_tokens}",
            hint="a smaller --set reply_tokens, a larger --set context_tokens, a shorter program",
        )

    def _text(
        self,
        bench: Bench,
        notebook: Notebook,
        parent: Record,
        role: Role,
        idea: QueuedIdea | None,
        in_flight: InFlight,
        lost: int,
        detail: Detail,
    ) -> str:
        count = len(bench.history)
        most = min(detail.rows, self._charter.history)
        rows, left_out = self._rows.last(bench, notebook.idle, most)
        waiting = notebook.open_ideas(role.name, parent.config, bench.history)
        program = [idea for idea in waiting if idea.label.startswith(PROGRAM)] if detail.ideas else []
        notes = notebook.notes_for(role.name, self._charter.standups, count)[-detail.notes :] if detail.notes else []
        return render(
            "researcher.turn",
            task=self._plain,
            role=role,
            alone=len(self._seats) == 1,
            colleagues=[seat.name for seat in self._seats if seat is not role],
            role_is_in_program=role.name in self._labels.prose,
            edits=[line(one, 160) for one in in_flight.edits],
            calls=[line(one, 160) for one in in_flight.calls],
            idea=idea,
            patches=[(name, fenced(_patch(self._task, name), "diff")) for name in self._long(idea)],
            remaining=f"{bench.remaining:.4g}",
            budget=f"{bench.budget_seconds:.4g}",
            spent=f"{100 * bench.meter.charged / bench.budget_seconds:.0f}",
            experiments_left=int(bench.remaining / bench.cost() + 1e-9),
            listed=[] if self._is_long else [idea.label for idea in program],
            following=program[:NEXT] if self._is_long else [],
            titles=program[NEXT : NEXT + TITLES] if self._is_long else [],
            untitled=max(0, len(program) - NEXT - TITLES),
            queue=[idea for idea in waiting if not idea.label.startswith(PROGRAM)][: detail.queue],
            notes=[
                *(sentences_of(self._note(note, role), OLD_NOTE) for note in notes[:-1]),
                *(self._note(note, role) for note in notes[-1:]),
            ],
            known=_known(bench, parent),
            changes=not_kept(bench, detail.changes, most),
            shown=rows,
            left_out=left_out,
            count=count,
            lost=lost,
            most_lost=LOST * len(self._seats),
            best=_metric(mean_metric(bench, bench.head)),
            parent=parent,
            parent_metric=_metric(mean_metric(bench, parent)),
            files=[(name, content.removesuffix("\n")) for name, content in parent.source.files],
        )

    def _long(self, idea: QueuedIdea | None) -> list[str]:
        """The patches of an idea that are too long for the list of known edits."""
        edits = idea.edit.fixed.apply if idea and idea.edit else ()
        return [name for name in edits if _patch(self._task, name).count("\n") >= SHORT_PATCH]

    @staticmethod
    def _note(note: Note, role: Role) -> str:
        return note.text if note.by == role.name else str(note)


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


def repair(
    first: Sequence[Message],
    before: Sequence[Message],
    reply: str,
    error: str,
    fits: Callable[[Sequence[Message]], bool],
) -> list[Message]:
    """The messages that ask for another reply: all before it; in a small context the first ones and the last reply, or
    the first ones with the error alone."""
    request = render("researcher.repair", error=error)
    last = [Message("assistant", reply or "(nothing)"), Message("user", request)]
    for start in (before, first):
        if fits([*start, *last]):
            return [*start, *last]
    return [*first[:-1], replace(first[-1], text=f"{first[-1].text}\n{request}", volatile="")]


def _where(task: Task) -> str:
    """The device, where it is known: the launcher of built-in formats gives a CPU process one thread."""
    if task.device == "gpu":
        return " on a GPU"
    return " on a CPU with one thread" if task.run is None and task.has_data else ""


def _keeps(charter: Charter, task: Task) -> str:
    """When an edit is kept."""
    rules = {(keep.rule, keep.margin, keep.pairs, keep.least) for keep in (p.keep for _, p in charter.by_phase())}
    [(rule, margin, pairs, least), *others] = rules
    if others or rule not in ("better", "margin", "paired"):
        return "The program's settings decide when an edit is kept."
    by = {
        "better": f"by more than {least:g}" if least else "also by less than the noise",
        "margin": f"by more than {margin:g} standard deviations of that between training seeds",
        "paired": f"on average over {pairs} fresh training seeds",
    }[rule]
    return f"An edit is kept if its {task.metric} beats that of the source it changed, {by}."


def _repeats(charter: Charter) -> str:
    phases = [phase for _, phase in charter.by_phase()]
    if any(phase.replicates > 1 or phase.keep.rule == "paired" or phase.confirm for phase in phases):
        return "The program's settings alone decide which sources are measured again."
    return "Each source is measured once, also where the program asks for repeats."


def _known(bench: Bench, parent: Record) -> str:
    """What is known about differences between results: the noise, and that slow steps cost steps."""
    sd, task = seed_sd(bench), bench.task
    noise = f" Between training seeds, {task.metric} has a standard deviation of about {sd:.2g}." if sd else ""
    given = f"A full training is given {task.budget_seconds:.3g} s"
    timed = bench.counts_device_time and task.scales and parent.outcome.steps
    return noise + (f" {given}: a slower step means fewer steps." if timed else "")


def _log(bench: Bench, lines: int, characters: int) -> str:
    """The end of the last experiment's log, fenced; empty if there is none."""
    last = bench.history[-1]
    text = _CARETS.sub("", bench.log(last))
    if last.ok and last is not bench.baseline:  # lines that were so from the start show nothing
        always = set(bench.log(bench.baseline).splitlines())
        text = "\n".join(row for row in text.splitlines() if row not in always)
    text = tail((_STATED if last.ok else _LIBRARY).sub("", text), lines=lines, characters=characters)
    return render("researcher.log", number=last.number, log=fenced(text)) if text.strip() else ""


def _plain(task: Task) -> dict[str, str]:
    return {
        "name": line(task.name, 80),
        "description": line(task.description, 1000),
        "metric": task.metric,
        "unit": task.unit,
        "direction": task.direction,
    }


def _knob(task: Task, knob: Knob, patches: bool) -> dict[str, str]:
    about = ", ".join(filter(None, (knob.group if knob.kind == "patch" else "", line(knob.note, 160))))
    between = f"{knob.low:g} to {knob.high:g}" if knob.low is not None and knob.high is not None else ""
    listed = ", ".join(_value(value) for value in knob.values)
    patch = _patch(task, knob.name) if patches and knob.kind == "patch" else ""
    return {
        "name": knob.name,
        "kind": knob.kind,
        "group": knob.group,
        "about": f" ({about})" if about else "",
        "allowed": f"{'whole, ' if knob.kind == 'int' else ''}{between}" if between else listed,
        "patch": fenced(patch, "diff") if patch and patch.count("\n") < SHORT_PATCH else "",
    }


def _patch(task: Task, name: str) -> str:
    """A patch as the lines that it removes from the untouched source and adds to it, with their indent, each below the
    line before it; where it does not apply there, its texts."""
    source = task.baseline()
    try:
        edited = task.edits.apply(source, Edit({}, (name,)))
    except EditError:
        knob = next(knob for knob in task.edits.knobs if knob.name == name)
        texts = [(*_signed("-", one.find), *_signed("+", one.replace)) for one in knob.replacements]
        return clean("\n@@\n".join("\n".join(text) for text in texts))
    hunks: list[str] = []
    for file, text in source.files:
        old, new = text.splitlines(), edited.text(file).splitlines()
        for tag, start, end, low, high in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                above = [f" {old[start - 1]}"] if start == end and start else []
                changed = [*(f"-{text}" for text in old[start:end]), *(f"+{text}" for text in new[low:high])]
                hunks.append("\n".join([*above, *changed]))
    return clean("\n@@\n".join(hunks))


def _signed(sign: str, text: str) -> list[str]:
    return [f"{sign}{one}" for one in text.splitlines()]


def _value(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else format_value(value)


def _metric(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
