"""The prompts of a chat researcher: a system message that providers can cache, then what changes with each turn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from inner_loop.behaviour import in_focus
from inner_loop.bench import Bench
from inner_loop.chat.notes import LOST, Notes, QueuedIdea
from inner_loop.chat.quoting import clean, fenced, line, sentences_of, tail, within
from inner_loop.chat.results import changed_lines, changes, not_kept, result_rows
from inner_loop.comparison import mean_metric, seed_sd
from inner_loop.contracts import NIGHT_RULES
from inner_loop.events import Experiment, Proposal
from inner_loop.models.contract import Message, fits, prompt_tokens
from inner_loop.prompts import render
from inner_loop.run_context import ModelConfig
from programs.common.errors import UsageError
from programs.common.text import BOM, split_lines
from programs.directives import CHARTER, ORDER
from programs.front_matter import locate
from programs.program import Program
from programs.roles import Role
from programs.structure import outline
from trainer.constraints import sentences
from trainer.edits import Edit, EditError, Knob, format_value
from trainer.task import Task
from trainer.values.constants import syntax_tree

#: (rows of results, whether with the end of the last log): from the first to the last, until a prompt fits into the
#: model's context. With the fewest rows, the task's known edits and all ideas but that of the turn are left out, too.
SIZES = ((10_000, True), (12, True), (6, True), (6, False), (3, True), (3, False))
FEWEST = 3
LOG_OK, LOG_FAILED = (8, 800), (14, 1400)  # most lines and characters of the last log
SHOWN = 6  # ideas and notes that a turn lists
OLD_NOTE = 300  # characters of a note, in whole sentences; the newest is shown whole
SHORT_PATCH = 2  # lines of a patch that every prompt shows; a longer one is shown with an idea that asks for it
REPAIR = 250  # tokens of a small context that are left for an error
ABOUT, ABOUT_ALL = 280, 450  # characters about one name of a read-only file, and about all
_STATED = re.compile(r"(?m)^(?:seed|device|steps|seconds|train_loss):.*\n?")  # in a log, and in the prompt anyway
_LIBRARY = re.compile(  # in a traceback: frames of packages, and lines of carets
    r'(?m)^ *File "[^"\n]*/(?:site|dist)-packages/.*\n(?: {4,}(?!File ").*\n)*|^[ ~^]*\^[ ~^]*\n'
)
_CONSTANT = re.compile(r"(?m)^([A-Z_]+(?:, [A-Z_]+)*) = \d[\d., ]*\b")
_BEFORE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,8}[.)])[ \t]+)?(?:\|[ \t]*)?")  # what precedes a statement in its line


def labelled(program: Program) -> tuple[str, list[tuple[str, str]], dict[str, str]]:
    """A program as a researcher reads it: its files, with a label at each statement and without the Ideas, which come
    one by one; its settings, as (label, `field: value`); the ids of directives by label."""
    lines = {"": split_lines(program.text)} | {path: split_lines(raw.decode()) for path, raw in program.files[1:]}
    ids: dict[str, str] = {}
    settings: list[tuple[str, str]] = []
    for directive in program.directives:
        label = f"d{directive.position + 1}"
        if directive.kind == ORDER:
            continue
        ids[label] = directive.directive_id
        if directive.kind == CHARTER:
            settings.append((label, directive.text))
        else:
            rows, at = lines[directive.file], directive.line - 1
            rows[at] = _BEFORE.sub(rf"\g<0>[{label}] ", rows[at], count=1)
    entry = lines.pop("")
    for block in outline(program.text).blocks:
        if block.kind == "idea":
            entry[block.start : block.end] = [""] * (block.end - block.start)
    living = {f"{path} as the run begins": split_lines(raw.decode()) for path, raw in program.living}
    files = [f"The file {line(name, 200)}:\n\n{fenced(_prose(text))}" for name, text in (lines | living).items()]
    return "\n\n".join([_prose(entry), *files]), settings, ids


def _prose(lines: list[str]) -> str:
    """The text without its front matter."""
    return within(clean("".join(lines[locate(lines).end :]).removeprefix(BOM)).strip(), "program")


def provided(task: Task) -> list[str]:
    """What the editable files use of the read-only Python files: `load_train`: its docstring. An object is described
    by the class of its name, a constant by its line. As many lines as ABOUT_ALL characters hold."""
    words = set(re.findall(r"\w+", "".join(text for _, text in task.baseline().files)))
    lines: list[str] = []
    for path, data in ((Path(name), data) for name, data in task.shared_files if name.endswith(".py")):
        code = data.decode("utf-8", "replace")
        constants = [match[0] for match in _CONSTANT.finditer(code) if words.intersection(match[1].split(", "))]
        lines += [f"`{path.stem}`: {'; '.join(constants)}"] if constants else []
        tree = syntax_tree(code)
        for node in tree.body if tree else ():
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (about := ast.get_docstring(node)):
                name = next((n for n in (node.name, node.name.lower()) if n in words), "")
                text = f"`{path.stem}.{name}`: {sentences_of(about, ABOUT)}"
                lines += [text] if name and sum(map(len, [*lines, text])) <= ABOUT_ALL else []
    return lines


class Prompts:
    """Builds the messages of one run's turns from a program, a task, and the bench's history. ``night``: programs take
    turns, and some of their settings have no effect."""

    def __init__(
        self, program: Program, task: Task, among: Sequence[Role], config: ModelConfig, night: bool = False
    ) -> None:
        self._prose, self._settings, self.ids = labelled(program)
        self._charter, self._task, self._among = program.charter, task, among
        self._own = program.program_id if night else ""
        self._context, self.reply_tokens = config.context_tokens, config.reply_limit
        self._fixed: dict[str, Any] = {
            "task": task, "line": line, "alone": len(among) == 1, "most_lost": LOST * len(among), "night": night,
        }  # fmt: skip
        self.system = cache(self._system)

    def _system(self, whole: bool = True, kept_errors: float = 0.0) -> str:
        """The system message, the same in all turns. ``whole``: with known edits. ``kept_errors``: see `Bench`."""
        task, charter, keep = self._task, self._charter, self._charter.keep
        knobs = in_focus(task.edits, charter.focus) if whole else ()
        return render(
            "researcher.system",
            **self._fixed,
            provided=provided(task) if whole else [],
            keep=keep if keep.rule in ("better", "margin", "paired") else None,
            kept_errors=kept_errors,
            repeats=charter.replicates > 1 or keep.rule == "paired" or charter.confirm > 0,
            constraints=sentences(task.constraints),
            knobs=knobs,
            allowed=_allowed,
            patches=self._patches([knob.name for knob in knobs if knob.kind == "patch"], short=True),
            prose=self._prose,
            settings=[
                setting
                for setting in self._settings
                if not (self._fixed["night"] and setting[1].startswith(NIGHT_RULES))
            ],
        )

    def fits(self, messages: Sequence[Message], spare: int = 0) -> bool:
        """Whether messages and the longest reply fit into the model's context."""
        return fits(messages, self._context, self.reply_tokens, spare)

    def turn(
        self, bench: Bench, book: Notes, role: Role, idea: QueuedIdea | None,
        training: Sequence[Proposal] = (), lost: int = 0, error: str = "",
    ) -> list[Message]:  # fmt: skip
        """The messages of one turn, as long as the model's context has room for. Deterministic except for the log,
        which is marked as volatile. ``training``: what is being trained, or will be beside this turn's edit; ``lost``:
        turns in a row without an experiment; ``error``: why an earlier reply does not apply to this source."""
        waiting = [item for item in book.open_ideas(role.name, bench.head.config, bench.history) if item is not idea]
        notes = book.notes_for(role.name, self._charter.standups, len(bench.history))[-SHOWN:]
        texts = [note.text if note.by == role.name else str(note) for note in notes]
        drawn = [(line(item.description, 100), bench.head.source.diff(item.source)) for item in training if item.source]
        values = self._fixed | {
            "bench": bench, "role": role, "idea": idea, "lost": lost, "error": error,
            "metric": partial(_metric, bench),
            "sd": seed_sd(bench),
            "has_unresolved": any(item.decision == "undecided" for item in bench.history),
            "described": role.name in self._prose,
            "colleagues": [other.name for other in self._among if other is not role],
            "notes": [*(sentences_of(text, OLD_NOTE) for text in texts[:-1]), *texts[-1:]],
            "patches": self._patches(idea.edit.fixed.apply if idea and idea.edit else (), short=False),
        }  # fmt: skip
        log = _log(bench)
        for rows, with_log in SIZES:
            most, whole = min(rows, self._charter.history), rows > FEWEST
            shown, left_out = result_rows(bench, book.untried, most, several=len(self._among) > 1, own=self._own)
            queue = waiting[:SHOWN] if whole else []
            text = render(
                "researcher.turn", **values, shown=shown, left_out=left_out, changes=not_kept(bench, most),
                training=changes(drawn, rows if whole else 0),
                queue=queue, unlisted=len(waiting) - len(queue),
            )  # fmt: skip
            messages = [
                Message("system", self.system(whole, bench.kept_errors)),
                Message("user", text, log if with_log else ""),
            ]
            if self.fits(messages, REPAIR):
                return messages
        raise UsageError(
            f"the shortest prompt of {self._task.name} takes about {prompt_tokens(messages) + REPAIR} tokens, which do "
            f"not fit into a context of {self._context} with a reply of {self.reply_tokens}",
            hint="a smaller --set reply_tokens, a larger --set context_tokens, a shorter program",
        )

    def _patches(self, names: Iterable[str], *, short: bool) -> dict[str, str]:
        """The texts of patches by name: of the short ones, which the system message shows, or of the others."""
        texts = {name: text for name in names if (text := patch_text(self._task, name))}
        return {n: fenced(text, "diff") for n, text in texts.items() if (text.count("\n") < SHORT_PATCH) == short}

    def repair(self, first: Sequence[Message], reply: str, error: str) -> list[Message]:
        """The messages that ask for another reply: the first ones and the last reply; in a small context the first ones
        with the error alone."""
        request = render("researcher.repair", error=error)
        messages = [*first, Message("assistant", reply or "(nothing)"), Message("user", request)]
        if self.fits(messages):
            return messages
        return [*first[:-1], replace(first[-1], text=f"{first[-1].text}\n{request}", volatile="")]


def patch_text(task: Task, name: str) -> str:
    """The lines that a patch removes from the untouched source and adds to it; above added ones, the line before them.
    Empty where it does not apply there."""
    source = task.baseline()
    try:
        lines = source.diff(task.edits.apply(source, Edit({}, (name,)))).splitlines()
    except EditError:
        return ""
    changed = set(changed_lines("\n".join(lines)))
    shown = [
        line for line, after in pairwise([*lines, ""]) if line in changed or (line[:1] == " " and after[:1] == "+")
    ]
    return clean("\n".join(shown))


def _log(bench: Bench) -> str:
    """The end of the last experiment's log, fenced; empty if there is none."""
    last = bench.history[-1]
    text = (_STATED if last.ok else _LIBRARY).sub("", bench.log(last))
    if last.ok and last is not bench.baseline:  # lines that were so from the start show nothing
        always = set(bench.log(bench.baseline).splitlines())
        text = "\n".join(row for row in text.splitlines() if row not in always)
    lines, characters = LOG_OK if last.ok else LOG_FAILED
    text = tail(text, lines=lines, characters=characters)
    return render("researcher.log", number=last.number, log=fenced(text)) if text.strip() else ""


def _allowed(knob: Knob) -> str:
    if knob.low is not None and knob.high is not None:
        return f"{'whole, ' if knob.kind == 'int' else ''}{knob.low:g} to {knob.high:g}"
    return ", ".join(f'"{value}"' if isinstance(value, str) else format_value(value) for value in knob.values)


def _metric(bench: Bench, record: Experiment) -> str:
    value = mean_metric(bench, record)
    return "unknown" if value is None else f"{value:.6g}"
