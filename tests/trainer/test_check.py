"""The contract test of a task folder: the scaffold keeps it, each breach is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trainer import variants
from trainer.cards.check import check
from trainer.cards.check_record import CheckFinding
from trainer.sandbox.local import LocalLauncher
from trainer.task import TASKS

#: both splits are drawn from these rows
POOL = """    pool = np.random.Generator(np.random.PCG64(7)).normal(size=(4000, 2))
    inputs = pool[rng.permutation(4000)[:rows]]
"""


@pytest.fixture
def folder(tmp_path: Path, session_cache: Path) -> Path:
    return variants.init(tmp_path / "own")


def _errors(findings: list[CheckFinding]) -> list[CheckFinding]:
    return [finding for finding in findings if finding.level == "error"]


@pytest.mark.slow
def test_scaffold_keeps_the_contract(folder: Path, launcher: LocalLauncher) -> None:
    seen: list[str] = []
    findings = check(folder, launcher=launcher, progress=seen.append)
    assert not _errors(findings)
    assert len(seen) >= 6
    assert {"data", "baseline", "soft budget", "fixed steps", "edits", "by hand"} <= {
        finding.clause for finding in findings if finding.level == "ok"
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "clause", "message"),
    [
        ("task.toml", "seconds = 0.05", "seconds = 0", "task.toml", "budget.seconds"),
        ("prepare.py", "import numpy as np", "import numpy, trainer", "text", "imports trainer"),
        ("train.py", "def load(path):", "def read(path):", "baseline", "defines no function load"),
        ("prepare.py", "import torch", "import", "text", "prepare.py:12: invalid syntax"),
        ("data.py", "PCG64(seed)", "PCG64()", "data", "different bytes"),
        ("data.py", "PCG64(seed)", "PCG64(1)", "data", "same hidden split"),
        (
            "data.py",
            '    np.save(out / "inputs',
            f'{POOL}    np.save(out / "inputs',
            "data",
            "100.0% of the hidden rows (search)",
        ),
        ("data.py", 'np.save(out / "targets.npy"', 'np.save(out / "labels.npy"', "data", "no targets.npy"),
        ("data.py", "integers(0, CLASSES, rows)", "integers(0, 9, rows)", "data", "targets range from 0 to"),
        ("train.py", "torch.manual_seed(prepare.SEED)", "torch.manual_seed(7)", "fixed steps", "same metric"),
        ("train.py", "torch.manual_seed(prepare.SEED)", "torch.seed()", "fixed steps", "same seed gave"),
        ("train.py", "while not prepare.clock.done()", "for _ in range(30)", "soft budget", "a quarter"),
        ("train.py", "model(inputs)\n", "model(inputs - inputs[0])\n", "edits", "depends on the other rows"),
        ("train.py", "nn.Linear(2, WIDTH)", "nn.Linear(3, WIDTH)", "baseline", "crash"),
    ],
)
def test_breaches_are_found(
    folder: Path, launcher: LocalLauncher, file: str, old: str, new: str, clause: str, message: str
) -> None:
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    findings = check(folder, launcher=launcher, only=[clause])
    assert any(message in finding.message for finding in _errors(findings)), findings


def test_a_script_that_learns_nothing_is_warned_of(folder: Path, launcher: LocalLauncher) -> None:
    def warned() -> list[str]:
        findings = check(folder, launcher=launcher, only=["baseline"])
        return [finding.message for finding in findings if finding.level == "warning" and finding.clause == "baseline"]

    assert warned() == []
    path = folder / "train.py"
    path.write_text(path.read_text().replace("LR = 0.03", "LR = 0.0"))
    (message,) = warned()
    assert "no better than a guess that ignores the inputs" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train.py", "past.length < CTX ", "past.length < CTX // 2 ", "chunks score"),
        ("train.py", "return found, past", "return found", "step must return"),
        ("data.py", "start = np.full((count, 1), ord(NEWLINE))", "start = np.roll(targets[:, -1:], 1)", "so reveal it"),
    ],
)
def test_breaches_of_a_language_model(
    tmp_path: Path, session_cache: Path, launcher: LocalLauncher, file: str, old: str, new: str, message: str
) -> None:
    """tinylm with little text and no edits; each breach is one line."""
    place = tmp_path / "language"
    shutil.copytree(TASKS / "tinylm", place, ignore=shutil.ignore_patterns(".ruff_cache", "__pycache__", "card.json"))
    for name, before, after in (
        ("task.toml", (place / "task.toml").read_text().partition("# ---- constants")[2], ""),
        ("data.py", "TRAIN_BYTES = 12_000_000", "TRAIN_BYTES = 300_000"),
        ("data.py", ", dtype=np.int64)\n    inputs", ")\n    inputs"),
        (file, old, new),
    ):
        text = (place / name).read_text()
        assert text.count(before) == 1
        (place / name).write_text(text.replace(before, after))
    findings = check(place, launcher=launcher, only=["data", "edits"])
    assert any(message in finding.message for finding in _errors(findings)), findings
