"""An agent that is told to read program.md reads its settings there, and follows it: here and without Metaloop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop.agents.worktree import lay, prompt
from inner_loop.events import Proposal
from programs.edit import state_settings
from programs.program import Program
from programs.shelf import starter
from tests.inner_loop.play import open_bench
from tests.inner_loop.test_command import agent, said, work
from tests.meta.foreign_study import plain_loop
from tests.trainer import foreign_repos
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.sandbox import bwrap

__all__ = ["agent"]
SHUT_IN = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
WAVES = """---
metaloop:
  wave: 3
  no_repeat: true
---
# Waves

Lower `val_bpb`: `uv run train.py > run.log 2>&1`.

## Ideas

- Set `lr=0.1`.
"""
FOLLOWS = "follows: 1 ideas, waves of 3, no repeats"


@pytest.mark.slow
@SHUT_IN
def test_agent_follows_a_charter_with_and_without_metaloop(
    trainer: Trainer, agent: Callable[[str], str], folder: Path, tmp_path: Path
) -> None:
    played = work(trainer, agent("reader.py"), 6, folder=folder, text=Program.parse(WAVES, "waves"))
    here = said(folder).splitlines()
    assert here[0] == FOLLOWS and here[2].startswith("LR 0.1 ")
    assert len({e["source_id"] for e in played.experiments[1:4]}) == 3
    alone, commits = plain_loop(tmp_path / "alone", state_settings(WAVES).encode())
    assert alone[0] == FOLLOWS and commits[-1] == "start"


def test_program_without_a_charter_is_laid_out_byte_for_byte(trainer: Trainer, tmp_path: Path) -> None:
    bench, _ = open_bench(trainer)
    for name, prose in (("stock", False), ("screen-waves", True)):
        raw = starter(name).raw
        lay(tmp_path / name, trainer.task, starter(name), bench.history, bench.head, "read me")
        text = (tmp_path / name / "program.md").read_bytes()
        assert (text != raw) == prose and text.startswith(raw.rstrip())


def test_agent_reads_short_runs_and_hidden_data_where_they_are(cached: Trainer, tmp_path: Path) -> None:
    printed = foreign_repos.made(foreign_repos.shell(tmp_path / "task"), replace(foreign_repos.SHELL, budget=1.0))
    for trainer, there in ((foreign_repos.trainer_of(printed, fixed_steps=True), False), (cached, True)):
        bench, _ = open_bench(trainer)
        said = prompt(bench, starter("stock"), metered=False)
        bench.experiment(Proposal(Edit(), replicate=1))
        assert ["--fraction" in said, "on data that are not here" in said] == [there, there]
        said = prompt(bench, starter("stock"), metered=False)
        assert said.count(f"{bench.baseline.metric:.6f}") == 2  # the baseline, and the head, which is compared with
