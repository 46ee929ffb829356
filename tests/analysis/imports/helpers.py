"""Short ways from a text to what the importer makes of it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.imports.columns import Stated
from analysis.imports.study import import_logs
from analysis.study import query


def bring_in(folder: Path, texts: dict[str, str], stated: Stated | None = None) -> list[dict[str, Any]]:
    """Writes the texts as files below ``folder/logs``, imports that folder into ``folder/study``: rows of `imports`."""
    for name, text in texts.items():
        path = folder / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    import_logs([folder / "logs"], folder / "study", stated or Stated())
    return ask(folder, "FROM imports ORDER BY path, name")


def bring_in_one(folder: Path, text: str, stated: Stated | None = None, name: str = "results.tsv") -> dict[str, Any]:
    """The only run of a text."""
    [run] = bring_in(folder, {name: text}, stated)
    return run


def rows(folder: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of all imported rows, in the order of their numbers."""
    joined = "experiments AS e JOIN import_rows AS r USING (run_id, experiment_id)"
    found = ask(folder, f"SELECT {', '.join(columns)} FROM {joined} ORDER BY e.run_id, e.number")
    return [tuple(row.values()) for row in found]


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
