"""examples/recompute: figures of small studies, recomputed from the tables by what the docs say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.simulated_tasks import random_law, simulated_task
from bench.whole import resized
from tests.analysis.imports.samples import tsv
from tests.meta.cli_study import metaloop
from tests.meta.evolved import evolved
from tests.studies import TINY
from trainer.task import Task

SCRIPT = Path(__file__).parents[1] / "examples" / "recompute" / "recompute.py"
#: part → its studies, and the column of the rows that it reads of which a digit is changed
PARTS = {
    "verdict": (("evolution",), "verified_gain"),
    "contrast": (("later", "earlier"), "verified_gain"),
    "ablation": (("ablation",), "verified_gain"),
    "night": (("night",), "gain"),
    "import": (("imported",), "metric"),
}
LOG = tsv(
    "commit|val_error|status|description",
    "a1|0.310|keep|baseline",
    "a1|0.318|discard|baseline again",
    "b1|0.290|keep|wider",
    "c1|0.305|discard|deeper",
    "d1|0.262|keep|cosine schedule",
    "d1|0.271|discard|rerun of d1",
    "d1|0.266|discard|rerun of d1, seed 2",
    "e1|0.270|discard|dropout",
    "f1|0.255|keep|warmup",
)
SMALL = (
    "---\nmetaloop: {proposers: {queue: 1.0}}\n---\n# Small\n\n## Ideas\n\n- Try `LADDER1=0.5`.\n- And `LADDER2=10`.\n"
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the studies."""
    folder = tmp_path_factory.mktemp("recompute")
    task = Task.load(simulated_task(random_law(3), folder / "law", name="law", experiments=6))
    runs = {"champion": 4, "control": 3, "a/a": 3, "without-ideas": 0}
    plan = resized(TINY, starters=2, opening_more=2, generation_more=2, harvest_percent=0, final=runs)
    evolved(folder / "evolution", task, plan, run_budget=6 * task.cost_seconds, seed=3)
    (folder / "listed.md").write_text("# Listed\n\n## Ideas\n\n- Try `LADDER1=0.5`.\n")
    match = ("match", "local", "listed.md", "-t", "./law", "--no-controls", "-b", "0.4s", "-y")
    metaloop(*match, "-n", "3", "--seed", "5", "-s", "earlier", cwd=folder)
    metaloop(*match, "-n", "2", "--seed", "9", "-s", "later", "--add", "earlier", cwd=folder)
    (folder / "small.md").write_text(SMALL)
    size = ("-b", "0.4s", "--budget", "20s", "--seed", "2")
    metaloop("ablate", "small.md", "-t", "./law", *size, "-y", "-s", "ablation", cwd=folder)
    metaloop("improve", "listed.md", "-t", "./law", "--budget", "4s", "--seed", "2", "-s", "night", "-y", cwd=folder)
    (folder / "results.tsv").write_text(LOG)
    metaloop("import", "results.tsv", "--rows", "2000", "--direction", "lower", "-s", "imported", cwd=folder)
    return folder


@pytest.fixture
def script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, whose commands run in this process."""
    monkeypatch.chdir(folder)
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.metaloop = lambda *words: metaloop(*words, "--json").json
    return module


def test_recompute_as_a_command_prints_equal_figures(folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, str(SCRIPT), "verdict", "evolution"]
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0 and "one-sided p" in ended.stdout, ended.stdout + ended.stderr


@pytest.mark.parametrize("part", PARTS)
def test_recomputed_figures_are_equal_to_the_last_digit(
    script: ModuleType, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(part, *PARTS[part][0]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("part", PARTS)
def test_recomputed_figures_differ_where_a_digit_of_the_record_is_changed(
    script: ModuleType, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    studies, column = PARTS[part]
    unchanged, changed = script.metaloop, list[float]()

    def with_a_changed_digit(*words: str) -> Any:
        found = unchanged(*words)
        for row in found if words[0] == "sql" and not changed else ():
            if isinstance(row.get(column), float) and row[column]:
                changed.append(row[column])
                row[column] *= 1.001
                break
        return found

    script.metaloop = with_a_changed_digit
    assert script.main(part, *studies) == 1 and changed
    assert "DIFFERS" in capsys.readouterr().out
