"""The git worktree of an agent: the task's files, the program, and a commit for each kept experiment; its prompt, and
the commands on its PATH.

It is a repository of its own without any data of this machine. Each session gets a new one, made from the bench's
records; only the notes of an earlier session are carried over, as text.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from inner_loop.agents.answer import facts_of
from inner_loop.bench import Bench
from inner_loop.events import Experiment
from inner_loop.prompts import render
from inner_loop.results_tsv import header, row
from programs.common.errors import EnvironmentProblem, UsageError
from programs.common.files import read_beneath
from programs.common.git_command import run_in
from programs.common.text import MAX_BYTES
from programs.edit import state_settings
from programs.program import Program
from trainer.constraints import sentences
from trainer.sandbox.login_keys import is_key
from trainer.task import Task

NOTES = "NOTES.md"
NAMES = ("experiment", "python", "python3", "uv")
_HERE = Path(__file__).parent
_PROGRAM = re.compile(r"[a-z][a-z0-9+._-]*")
_NOTES_BYTES = MAX_BYTES + (64 << 10)
_AUTHOR = "[user]\n\tname = researcher\n\temail = researcher@localhost\n"
_EXCLUDED = "/run.log\n/results.tsv\n/NOTES.md\n__pycache__/\n"


def lay(
    folder: Path, task: Task, program: Program, history: Sequence[Experiment], head: Experiment | None, readme: str,
    notes: Mapping[str, bytes] | None = None,
) -> None:  # fmt: skip
    """Make ``folder`` the worktree at ``head``, or at the untouched baseline. Previous content is removed.

    Its program.md states the settings in a section, because only the agent applies them. ``history``: the records;
    a new run has only its baseline. ``notes``: files of earlier sessions, which git leaves out. EnvironmentProblem if
    git does not work here.
    """
    clear(folder)
    folder.mkdir(parents=True)
    run_in(folder, "init", "--quiet", "--initial-branch=main")
    with (folder / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(_AUTHOR)
    (folder / ".git" / "info").mkdir(exist_ok=True)
    living = "".join("/" + re.sub(r"([\\#!*?\[\] ])", r"\\\1", path) + "\n" for path, _ in program.living)
    (folder / ".git" / "info" / "exclude").write_text(_EXCLUDED + living, encoding="utf-8")
    files = {"README.md": readme.encode(), **dict(shown_files(task)), **program_files(program), **(notes or {})}
    files["program.md"] = state_settings(program.text).encode()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    line = (
        {
            experiment.number: (experiment.source, experiment.description or "experiment")
            for experiment in _line(history, head)
        }
        if head
        else {}
    )
    line[0] = history[0].source if history else task.baseline(), f"{task.name}: the untouched baseline"
    commits: dict[int, str] = {}
    for number, (source, subject) in sorted(line.items()):
        source.write(folder)
        run_in(folder, "add", "--all")
        run_in(folder, "commit", "--quiet", "--allow-empty", "--message", subject)
        commits[number] = run_in(folder, "rev-parse", "HEAD")
    if len(history) > 1:
        rows = [row(record, commits.get(record.number, "")) for record in history]
        (folder / "results.tsv").write_text("".join([header(task.metric), *rows]), encoding="utf-8")


def program_files(program: Program) -> dict[str, bytes]:
    """The files of a program that has several, at their paths; the entry file is also program.md."""
    if not program.is_set:
        return {}
    entry = {program.files[0][0]: state_settings(program.text).encode()}
    entry.pop("README.md", None)  # which describes the bench
    return {**entry, **dict(program.files[1:]), **dict(program.living)}


def require_free(program: Program, task: Task) -> None:
    """Raise UsageError where a file of the program has the path of a file that researchers edit. Of a read-only file,
    the worktree has the program's version; the bench uses its own copy."""
    taken = program_files(program).keys() & {*task.editable}
    if taken:
        message = f"{min(taken)} is a file of the program {program.name}, and one that researchers of {task.name} edit"
        raise UsageError(message, hint="give the program's file another name")


def shown_files(task: Task) -> list[tuple[str, bytes]]:
    """The read-only files that training sees, except login keys of the repository."""
    return [(name, data) for name, data in task.shared_files if not is_key(name, data)]


def temporary(stack: ExitStack) -> Path:
    """A folder for an agent, until the end of ``stack``."""
    folder = Path(tempfile.mkdtemp(prefix="metaloop-agent-")).resolve()
    stack.callback(clear, folder)
    return folder


def clear(folder: Path) -> None:
    """Remove a worktree whatever the agent made of it, including unreadable and very deep folders."""
    if folder.is_symlink() or folder.exists():
        for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*words, "--", str(folder)], capture_output=True, check=False)
    if folder.exists():
        raise EnvironmentProblem(f"{folder} cannot be removed", hint="remove it by hand, then run the same command")


def notes(worktree: Path, name: str = NOTES) -> str:
    """The notes that an agent keeps, as far as they are text; empty if there are none."""
    with suppress(UsageError, OSError):
        return read_beneath(worktree, name, _NOTES_BYTES).decode("utf-8", "replace")
    return ""


def save_notes(worktree: Path, copies: Mapping[str, Path]) -> None:
    """Copy the agent's files with notes, by their names in the worktree."""
    for name, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(notes(worktree, name), encoding="utf-8")


def _line(history: Sequence[Experiment], head: Experiment) -> list[Experiment]:
    """The records from the baseline to the head, by their parents."""
    line = [head]
    while (parent := line[-1].parent_number) is not None:
        line.append(history[parent])
    return [record for at, record in enumerate(reversed(line)) if at == 0 or record.source != history[0].source]


def entry(task: Task) -> str:
    """The script that is trained, and that a stock program starts by hand."""
    return "train.py" if "train.py" in task.editable else task.editable[0]


def own_command(task: Task) -> str:
    """The command line of an experiment of the user's repository; empty for other tasks."""
    if task.run is None:
        return ""
    return task.run.command if isinstance(task.run.command, str) else shlex.join(task.run.command)


def commands(task: Task) -> dict[str, bytes]:
    """Name on PATH → script. Python runs isolated, so that no module in the worktree is imported. The program of the
    task's own command is one of them: it requests an experiment if it is called as the task writes it."""
    first = own_command(task).split(" ")[0]
    names = (*NAMES, first) if _PROGRAM.fullmatch(first) else NAMES
    shebang = f"#!{os.path.realpath(sys.executable)} -ISB\n".encode()
    return dict.fromkeys(names, shebang + (_HERE / "client.py").read_bytes())


def worktree_variables(task: Task, worktree: Path) -> dict[str, str]:
    """Variables for the commands."""
    return {
        "METALOOP_WORKTREE": str(worktree),
        "METALOOP_ENTRY": entry(task),
        "METALOOP_COMMAND": own_command(task),
        "METALOOP_PYTHON": sys.executable,  # an agent's own may be first on PATH, without the packages
        "METALOOP_EDITABLE": ":".join(task.editable),
    }


def prompt(bench: Bench, program: Program, *, metered: bool, sandboxed: bool = True, most: float = float("inf")) -> str:
    """The agent's situation and tools; how it works is described by the program in its worktree.

    ``metered``: it is charged outside experiments. ``most``: experiments of the session.
    """
    return render(
        "agent",
        bench=bench,
        task=bench.task,
        facts=facts_of(bench),
        program=program,
        entry=entry(bench.task),
        command=own_command(bench.task),
        constraints=sentences(bench.task.constraints),
        metered=metered,
        sandboxed=sandboxed,
        turn=None if most == float("inf") else most,
    )
