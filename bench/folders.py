"""Programs that are folders: 25 layouts (bench/folders.toml) through every command that takes a program.

python -m bench.folders      a simulated task; two minutes

For each: it parses and no linked file is lost, lint finds no error, a run follows it, `improve` ends with a champion,
and a contest takes the folder and a zip archive of it as one and the same entry.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import tomllib
from collections import Counter
from datetime import timedelta
from pathlib import Path

from arena.contest import accounts
from arena.contest.contest import Contest
from arena.contest.create import ContestOptions, create_contest
from arena.contest.entries import accept
from arena.contest.settings import utc_now
from bench.common import figure
from meta.cli.main import run
from programs.errors import MetaloopError
from programs.folder import load
from trainer.scaffold import init_simulated
from trainer.task import Task

LAYOUTS = Path(__file__).with_name("folders.toml")
STEPS = ("parse", "lint", "run", "improve", "contest")
_BUDGET = "8s"  # of the simulated task: a trial of a few runs


def quiet(*words: str) -> bool:
    """Whether a command ends well; what it says is shown where it does not."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run([*words])
    if code:
        print(f"  metaloop {' '.join(words)}: exit code {code}\n{said.getvalue()[-1000:]}")
    return code == 0


def hosted(folder: Path, task: Task) -> Contest:
    options = ContestOptions(
        title="Folders", task=task, opens=utc_now() - timedelta(minutes=1), closes=utc_now() + timedelta(hours=1),
        run_budget=task.run_budget, runs=2, confirm_runs=2, entries_per_person=1, sealed=False, join_open=True,
        workers=1, fixed_steps=False, sandbox=True,
    )  # fmt: skip
    return create_contest(folder, options).contest


def taken(contest: Contest, name: str, path: Path, folder: Path) -> bool:
    """Whether a contest takes a program, and knows its archive as the same text."""
    program = load(path)
    person, _ = accounts.join(contest.database, contest.config, name, "")
    try:
        first = accept(contest, person, program.labelled.document.encode())
        if path.is_file():
            return first.entry.program_id == program.program_id
        archive = Path(shutil.make_archive(str(folder / f"{name}-archive"), "zip", path))
        again = accept(contest, person, archive.read_bytes())
    except MetaloopError as error:
        print(f"  {name}: {error.message}")
        return False
    return first.entry.program_id == program.program_id and not again.new


def main() -> None:
    layouts, done = tomllib.loads(LAYOUTS.read_text("utf-8"))["program"], Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        law = init_simulated(folder / "law", 7)
        contest = hosted(folder / "contest", Task.load(law))
        for one in layouts:
            name, root = one["name"], folder / one["name"]
            for file, text in one["files"].items():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_bytes(text.encode())
            path = root / one.get("entry", "")
            program = load(path)
            linked = {file for file in one["files"] if file.endswith(".md") and file not in one.get("unlinked", ())}
            inside = {str(Path(one.get("entry", "")).parent / file) if path.is_file() else file for file in
                      (*dict(program.files), *dict(program.living))}  # fmt: skip
            inside = {str(Path(one["entry"]) / file) for file in inside} if path.is_dir() and path != root else inside
            results = {
                "parse": inside == linked,
                "lint": quiet("program", "lint", str(path)),
                "run": quiet("run", str(path), "-t", str(law), "-s", str(folder / f"run-{name}"), "-y", "-q"),
                "improve": quiet("improve", str(path), "-t", str(law), "--budget", _BUDGET, "--seed", "1", "-y", "-q",
                                 "-s", str(folder / f"improve-{name}")),
                "contest": taken(contest, name, path, folder),
            }  # fmt: skip
            done.update(step for step, ended in results.items() if ended)
            if failed := [step for step, ended in results.items() if not ended]:
                print(f"{name}: {', '.join(failed)}; files {sorted(inside)}")
    for step in STEPS:
        figure(f"folders, {step}", f"{done[step]} of {len(layouts)}", str(len(layouts)))


if __name__ == "__main__":
    main()
