"""The comparison that examples/github-action runs on a pull request, on a simulated task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.simulated_tasks import random_law, simulated_task
from programs.shelf import starter

SCRIPT = Path(__file__).parents[1] / "examples" / "github-action" / "compare.py"
LISTED = (
    "---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# Queue\n\n## Ideas\n\n- Use `ladder8=5`.\n- Use `ladder7=0.05`.\n"
)


def compare(folder: Path, new: bytes, task: Path) -> tuple[int, str]:
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "program.md").write_bytes(starter("stock").raw)
    (folder / "program.md").write_bytes(new)
    words = [str(SCRIPT), "old/program.md", "program.md", "--task", str(task), "--runs", "3", "--budget", "2s"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([sys.executable, *words], cwd=folder, env={**os.environ, "PATH": path}, check=False)
    return done.returncode, (folder / "verdict.md").read_text()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_task(random_law(2), tmp_path_factory.mktemp("action") / "law", experiments=6)


def test_it_tells_both_gains_and_fails_only_where_the_new_one_is_worse(task: Path, tmp_path: Path) -> None:
    code, text = compare(tmp_path / "one", LISTED.encode(), task)
    assert text.startswith("**The new program is ") and "| new | " in text and "| old | " in text
    assert code == ("worse than" in text)


def test_the_same_text_is_not_compared(task: Path, tmp_path: Path) -> None:
    assert compare(tmp_path / "one", starter("stock").raw, task) == (
        0,
        "Both texts are the same; nothing was compared.\n",
    )


def test_what_cannot_be_read_fails(task: Path, tmp_path: Path) -> None:
    code, text = compare(tmp_path / "one", b"\xff\xfe\x00 no text", task)
    assert code == 1 and text.startswith("**The new program cannot be read.**")
