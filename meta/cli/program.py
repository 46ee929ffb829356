"""``metaloop program``: new, lint, diff; alone it lists the starters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from analysis.knowledge.choose import choose, task_values
from analysis.knowledge.store import SHIPPED, Effect, of_study, read
from analysis.ledger.run_state import StudyState
from arena.study.settings import StudyConfig
from inner_loop.behaviour import misfit, resolved_ideas
from meta.cli import resolve
from meta.cli.commands import noun, verb
from meta.cli.flags import StudyFlag
from meta.cli.options import argument, flag
from meta.cli.output import Column, Output, Row, brief, columns
from meta.cli.views import View, show
from meta.learnt import sentence, with_list
from programs.charter import FIELDS
from programs.common.errors import NotFound, ProgramError, UsageError
from programs.diff import diff as compare
from programs.diff import moved
from programs.directives import ORDER
from programs.edit import replace_ideas
from programs.folder import entry_of, left_out
from programs.lint import LintMessage, check
from programs.lint import lint as examine
from programs.program import Program
from programs.shelf import starters
from trainer.edits import Edit, format_value
from trainer.task import Task
from trainer.values.conditional import unread
from trainer.values.constants import is_number


@noun(
    ("metaloop program", "the programs that come with Metaloop"),
    ("metaloop program lint my/program.md", "mistakes and ignored settings, by line"),
    ("metaloop program diff stock my/program.md", "the differences, by directive"),
)
def program(out: Output) -> None:
    """List the starters, the programs that come with Metaloop; write, check and compare
    programs. A folder is one program: its entry file program.md (else AGENTS.md or
    CLAUDE.md, else README.md) and the .md files that it links to or names."""
    out.rows(
        [{"name": p.name, "words": p.words, "ideas": len(p.ideas), "program_id": p.program_id} for p in starters()],
        columns("name words ideas program_id"),
    )
    out.next("metaloop show NAME", "metaloop show NAME --settings")


@verb(
    ("metaloop program new my/program.md", "a list of ideas to fill in"),
    ("metaloop program new careful.md --base careful", "from another starter"),
    ("metaloop program new learnt.md --learnt shipped", "with ideas learnt on many tasks"),
)
def new(
    out: Output,
    file: Annotated[str, argument(metavar="FILE")],
    base: Annotated[str, flag("The starter or program to copy.", metavar="PROGRAM", default="idea-queue")],
    learnt: Annotated[
        str | None,
        flag(
            "Add ideas learnt on many tasks: from the knowledge that comes with Metaloop (shipped), or from these "
            "knowledge bases and studies.",
            metavar="shipped|DIR,…",
        ),
    ],
) -> None:
    """Write a new program to edit, from the text of a starter. If FILE's folder has a
    task.toml, the idea list contains the starter's ideas that apply to this task. For each
    setting without such an idea, it contains a larger and a smaller value.

    With --learnt, the list is learnt instead. It begins with the idea that gains most over
    all tasks; each further idea is the one that adds most to those before it. "Estimated to
    help on 4 of 6 measured tasks" means: the idea can be tried on six tasks, and a
    statistical model of each task's effects predicts a gain on four of them."""
    path, starter = resolve.new_path(file), resolve.one_program(base)
    if path.suffix != ".md":
        raise UsageError(f"{file} is no .md file", hint="a program of one file: my/program.md")
    if starter.is_set:
        raise UsageError(f"--base {base} has several files", hint="a program of one file: my/program.md")
    program, source, option = starter, f"of {starter.name}", ""
    if learnt:
        program, source = with_learnt(out, program, resolve.listed(learnt)), "with those learnt"
    elif (path.parent / "task.toml").is_file():
        task = Task.load(path.parent)
        source, option = f"for the task {task.name}", f" -t {resolve.typed(path.parent)}"
        if starter.ideas and task.edits.knobs:
            program = program.with_text(replace_ideas(program.text, ideas_for(starter, task)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program.text, "utf-8")
    out.note(f"wrote {path}: {program.words} words, {len(program.ideas)} ideas {source}; change them to yours")
    name = resolve.typed(path)
    out.next(f"metaloop program lint {name}{option}", f"metaloop match {name}{option} --dry-run")


def with_learnt(out: Output, program: Program, folders: Sequence[str]) -> Program:
    """The program with the ideas that the effects in these knowledge bases and studies show; ``shipped``: in the
    knowledge base that comes with Metaloop."""
    chosen = choose(task_values(effects_in(out, folders)))
    if not chosen:
        raise UsageError("no idea helps on these tasks by more than noise", hint="name more studies or knowledge bases")
    return program.with_text(with_list(program, [*map(sentence, chosen)]))


def effects_in(out: Output, folders: Sequence[str]) -> list[Effect]:
    """The effects in knowledge bases, and those that studies measured."""
    paths = [SHIPPED if text == "shipped" else Path(text).expanduser() for text in folders]
    studies = [path for path in paths if (path / resolve.MARK).is_file()]
    bases = [path for path in paths if path not in studies]
    effects = read(bases) if bases else []
    for folder in studies:
        config = StudyConfig.read(folder / resolve.MARK)
        with resolve.connect(folder, []) as con:
            for name in (config.task, *(other.task for other in config.further)):
                task = Task.load(name)
                measured = of_study(con, task, folder.resolve().name)
                if any(effect.edit for effect in measured):
                    effects += measured
                else:
                    out.warn(f"{resolve.shown(folder)}: shows nothing about edits of {task.name} by role; left out")
    if not effects:
        hint = 'knobs need role = "learning_rate" and so on in task.toml, see docs/ideas.md'
        raise UsageError("there are no effects", hint=hint)
    return effects


def ideas_for(program: Program, task: Task) -> list[str]:
    """The ideas of a program that a task has and that change its script, then the values beside its own for each
    setting that they leave out."""
    config = task.edits.config(task.baseline())
    known = [
        (idea, edit)
        for idea, edit in resolved_ideas(program, task)
        if not edit.is_fixed or task.edits.between(config, edit.fixed.made_of(config))
    ]
    items, named = [idea.text for idea, _ in known], {name for _, edit in known for name in edit.knobs}
    for knob in task.edits.knobs:
        now, name = config.get(knob.name), knob.name.lower()
        if knob.name in named or now is None:
            continue
        if knob.kind == "patch":
            items.append(f"Apply the change {knob.name}: `{knob.name}`.")
            continue
        near = [value for step in (1, -1) if (value := knob.beside(now, step)) is not None]
        for value in near or [value for value in knob.values if value != now]:
            what = f"Use another {name} than"
            if is_number(value) and is_number(now):
                what = f"{'Raise' if float(value) > float(now) else 'Lower'} {name} from"
            items.append(f"{what} {format_value(now)}: `{Edit({knob.name: value}).label()}`.")
    return items


def setting_rows(program: Program) -> list[Row]:
    """Every field of the charter with its value: the default, or the one in the program's front matter."""
    stated = program.settings.set_fields
    return [
        {"setting": name, "value": brief(program.charter.get(name)), "set": name in stated, "meaning": info.description}
        for name, info in FIELDS.items()
    ]


@verb(
    ("metaloop program lint my/program.md", "messages with file and line"),
    ("metaloop program lint my/organization/", "an entry file and all that it links to"),
    ("metaloop program lint my/*.md -t tinylm", "also checks the ideas against that task"),
)
def lint(
    out: Output,
    programs: Annotated[tuple[str, ...], argument(metavar="PROGRAM...", nargs=-1, required=True)],
    task: Annotated[
        str | None,
        flag(
            "Also check whether each idea names an edit of this task, and whether its patches fit the script.",
            "-t",
            metavar="NAME|DIR",
        ),
    ],
) -> int:
    """Check programs for mistakes. Exits with 2 on an error, with 0 on warnings."""
    checks: tuple[Callable[..., str], ...] = ()  # why a task cannot read an idea's word, and why a patch does not fit
    if task:
        loaded = Task.load(task)
        checks = (partial(unread, loaded.edits), partial(misfit, task=loaded))
    rows = [row for text in programs for row in messages(text, checks)]
    out.rows(rows, (*columns("place level code"), Column("message", wrap=True)), empty="no problems")
    return 2 if any(row["level"] == "error" for row in rows) else 0


@verb(
    ("metaloop program diff stock local", "two starters"),
    ("metaloop program diff champion.md my/program.md", "two files"),
)
def diff(out: Output, old: Annotated[str, argument()], new: Annotated[str, argument()], study: StudyFlag) -> None:
    """Compare two programs directive by directive. Lists added, removed and changed directives
    (sentences, list items, settings). A program is a path, the name of a starter, or the id of a program of a
    study (or its beginning)."""
    rows = differences(find_program(out, old, study), find_program(out, new, study))
    show(out, rows, View("", hide=("kind",)), empty="no differences")


def find_program(out: Output, text: str, study: str | None) -> Program:
    """The program at a path, the starter of that name, or the program of a study with that id, as lineage shows it."""
    try:
        return resolve.one_program(text)
    except NotFound:
        if study is None and not re.fullmatch("p[0-9a-f]{4,12}", text):
            raise
    ledger = resolve.study_folder(study, out) / "ledger"
    return resolve.program_of_study(StudyState.read(ledger), text)  # its task may be elsewhere


for command in (new, lint, diff):
    program.add_command(command)


def described(program: Program) -> Row:
    """A program as a JSON object."""
    return {
        "program_id": program.program_id,
        "name": program.name,
        "words": program.words,
        "charter": program.charter.model_dump(mode="json"),
        "files": [path for path, _ in program.files],
        "living": [path for path, _ in program.living],
        "directives": [
            {**_values(d, "directive_id heading kind text position"), "address": program.addresses[d.directive_id]}
            for d in program.directives
        ],
        "ideas": [
            {**_values(idea, "text terms line"), "conditions": [*map(str, idea.conditions)]} for idea in program.ideas
        ],
        "text": program.document,
    }


def _values(thing: object, keys: str) -> dict[str, object]:
    return {key: getattr(thing, key) for key in keys.split()}


def differences(old: Program, new: Program) -> list[Row]:
    """One row for each directive that differs; for a changed one ``before`` is its old text. The order of the ideas has
    one row for each idea that moved."""
    compared = compare(old, new)
    changes = [("removed", directive, "", "") for directive in compared.removed]
    for before, after in compared.changed:
        if after.kind == ORDER:
            moves = moved(old, new)
            changes += [("moved", idea, f"place {one}", f"to place {other}: {idea.text}") for idea, one, other in moves]
        else:
            changes.append(("changed", after, before.text, ""))
    changes += [("added", directive, "", "") for directive in compared.added]
    return [
        {"change": change, "heading": directive.heading, "text": text or directive.text,
         "directive_id": directive.directive_id, "kind": directive.kind, "before": before}
        for change, directive, before, text in changes if directive.kind != ORDER
    ]  # fmt: skip


def messages(text: str, checks: Sequence[Callable[..., str]]) -> Iterator[dict[str, object]]:
    """The messages on a program, each with its file and line; of one whose settings cannot be read all that a contest's
    page would list; of a folder also the markdown files that are not part of the program."""
    path = resolve.program_path(text)
    root, entry = (path, entry_of(path)) if path.is_dir() else (path.parent, path)
    try:
        loaded = resolve.one_program(text)
        rows = examine(loaded, *checks)
    except ProgramError:
        rows = check(entry.read_bytes(), str(entry), *checks)
        if not any(row.level == "error" for row in rows):  # the error is in another file
            raise
    else:
        reason = "no file of the program links to it or names it, so it is left out"
        names = left_out(path, loaded) if path.is_dir() else ()
        rows += [LintMessage(1, "info", "left-out", reason, name) for name in names]
    for row in rows:
        place = root / row.file if row.file else entry
        yield {"place": f"{place}:{row.line}", **_values(row, "level code message")}
