"""Chat studies of simulated tasks: experiments take microseconds, models and everything else are real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arena.arms import Entry, enter
from arena.match import play
from arena.race import Allocation
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.in_process import InProcessExecutor
from bench.simulated_tasks import random_law, simulated_task
from programs.program import Program
from tests.llm.kits import staff
from tests.studies import silent, study_on
from trainer.task import Task

THREE = """# Organization

Lower the loss.

## Process

- Change one constant at a time.
- Go further in a direction that helped.

## Roles

### Optimist
Try large steps.

### Pessimist
Try small steps.

### Accountant
Look at what was tried, and do what is left.

## Ideas

- Raise the first ladder.
- Look at the choices.
"""
ONE = "# Alone\n\nLower the loss, one change at a time.\n"
FIGURES = """
SELECT 'experiment', experiment_id AS id, number, source_id, status, metric, decision, description,
    to_json(directive_ids) AS cited, device_seconds_charged AS spent
FROM experiments
UNION ALL
SELECT 'verification', run_id, seed, trust, status, metric, stream, '', NULL, device_seconds_spent FROM verifications
UNION ALL
SELECT 'call', run_id, number, purpose, status, tokens, model, text, NULL, usd FROM calls WHERE status <> 'failed'
ORDER BY ALL
"""
STANDINGS = "SELECT * EXCLUDE (utilization) FROM standings ORDER BY arm_id"


def planted(folder: Path, experiments: int = 8, law_seed: int = 1, **how: Any) -> Task:
    return Task.load(simulated_task(random_law(law_seed, **how), folder, experiments=experiments))


def found(folder: Path, *, task: Task | None = None, fixed_steps: bool = True, **how: Any) -> Study:
    """A study that is staffed by the test server's model."""
    more: dict[str, Any] = {"researcher": "chat", "model_config": staff(**how), "fixed_steps": fixed_steps}
    return study_on(folder, task or planted(folder.parent / "task"), seed=4, **more)


def race(study: Study, texts: Sequence[str] = (THREE, ONE), runs: int = 1) -> None:
    """Play the programs against each other, in this process."""
    entries = [Entry(Program.parse(text, f"p{number}")) for number, text in enumerate(texts)]
    with study, InProcessExecutor(study, silent) as executor:
        for entry in entries:
            study.admit(entry.program, generation=0, operator="entry")
        match = enter(TaskStudy(study), "race", entries, purpose="race", stream="selection")
        play(TaskStudy(study), executor, match, Allocation({arm.arm_id: runs for arm in match.arms}), silent)
