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
from tests.analysis.imports.samples import tsv
from tests.gallery import Gallery
from tests.meta.cli_study import metaloop

SCRIPT = Path(__file__).parents[1] / "examples" / "recompute" / "recompute.py"
#: part → the column of the rows that it reads of which a digit is changed
PARTS = {
    "verdict": "verified_gain", "contrast": "verified_gain", "ablation": "verified_gain", "night": "gain",
    "import": "metric",
}  # fmt: skip
LOG = tsv(
    "commit|val_error|status|description", "a1|0.310|keep|baseline", "a1|0.318|discard|baseline again",
    "b1|0.290|keep|wider", "c1|0.305|discard|deeper", "d1|0.262|keep|cosine schedule", "d1|0.271|discard|rerun of d1",
    "d1|0.266|discard|rerun of d1, seed 2", "e1|0.270|discard|dropout", "f1|0.255|keep|warmup",
)  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studies(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The studies of each part."""
    folder = tmp_path_factory.mktemp("recompute")
    simulated_task(random_law(3), folder / "law", name="law", experiments=6)
    (folder / "listed.md").write_text("# Listed\n\n## Ideas\n\n- Try `LADDER1=0.5`.\n")
    match = ("match", "local", "listed.md", "-t", "./law", "--no-controls", "-b", "0.4s", "-y")
    metaloop(*match, "-n", "3", "--seed", "5", "-s", "earlier", cwd=folder)
    metaloop(*match, "-n", "2", "--seed", "9", "-s", "later", "--add", "earlier", cwd=folder)
    (folder / "results.tsv").write_text(LOG)
    metaloop("import", "results.tsv", "--rows", "2000", "--direction", "lower", "-s", "imported", cwd=folder)
    return {
        "verdict": [str(gallery("window") / "one")], "contrast": [str(folder / "later"), str(folder / "earlier")],
        "ablation": [str(gallery("ablation"))], "night": [str(gallery("night"))],
        "import": [str(folder / "imported")],
    }  # fmt: skip


@pytest.fixture
def script() -> ModuleType:
    """The script, whose commands run in this process."""
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.metaloop = lambda *words: metaloop(*words, "--json").json
    return module


def test_recompute_as_a_command_prints_equal_figures(studies: dict[str, list[str]]) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, str(SCRIPT), "verdict", *studies["verdict"]]
    ended = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "one-sided p" in ended.stdout, ended.stdout + ended.stderr


@pytest.mark.parametrize("part", PARTS)
def test_recomputed_figures_are_equal_but_for_a_changed_digit(
    script: ModuleType, studies: dict[str, list[str]], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(part, *studies[part]) == 0, capsys.readouterr().out
    unchanged, changed = script.metaloop, list[float]()

    def with_a_changed_digit(*words: str) -> Any:
        found = unchanged(*words)
        for row in found if words[0] == "sql" and not changed else ():
            if isinstance(row.get(PARTS[part]), float) and row[PARTS[part]]:
                changed.append(row[PARTS[part]])
                row[PARTS[part]] *= 1.001
                break
        return found

    script.metaloop = with_a_changed_digit
    assert script.main(part, *studies[part]) == 1 and changed
    assert "DIFFERS" in capsys.readouterr().out
