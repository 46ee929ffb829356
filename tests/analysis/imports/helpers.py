"""Short ways from a text to what the importer makes of it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.imports.figures import Figures, figures
from analysis.imports.judge import Judgement, judge
from analysis.imports.load import Options
from analysis.imports.runs import Run, runs_of
from analysis.imports.study import Imported, import_logs
from analysis.imports.table import Aside, LogTable, read_table
from analysis.imports.text import lines
from analysis.study import query


def read(text: str, metric: str | None = None, direction: str | None = None) -> tuple[LogTable, list[Run], list[Aside]]:
    table = read_table(lines(text), metric)
    runs, asides = runs_of(table, metric, direction)
    return table, runs, [*table.asides, *asides]


def judged(text: str, **given: str) -> Judgement:
    """The one run of a text."""
    _, [run], _ = read(text, **given)
    return judge(run)


def told(text: str, noise: float | None = None, **given: str) -> Figures:
    return figures(judged(text, **given), noise)


def rows(text: str, *names: str, **given: str) -> list[tuple[Any, ...]]:
    """Attributes of the judged rows of a text, of the row itself where the judgement has none of that name."""
    found = judged(text, **given).rows
    return [tuple(getattr(item, name, None) if hasattr(item, name) else getattr(item.row, name) for name in names)
            for item in found]  # fmt: skip


def bring_in(folder: Path, texts: dict[str, str], options: Options | None = None, **more: Any) -> Imported:
    """Writes the texts as files below ``folder/logs`` and imports that folder into ``folder/study``."""
    for name, text in texts.items():
        path = folder / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return import_logs([folder / "logs"], folder / "study", options or Options(), **more)


def ask(folder: Path, statement: str) -> list[dict[str, Any]]:
    return query(folder / "study", statement)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path, states: Sequence[str]) -> list[str]:
    """A repository in which train.py went through these states; the short hashes of their commits."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    hashes = []
    for number, state in enumerate(states):
        (folder / "train.py").write_text(state, encoding="utf-8")
        git(folder, "add", "train.py")
        git(folder, "commit", "-q", "-m", f"state {number}")
        hashes.append(git(folder, "rev-parse", "--short=7", "HEAD"))
    return hashes
