"""Instructions compared by the programs that they lead to, on simulated tasks with a server that follows them.

The server writes a better program where the instruction contains a planted sentence, so these tests show the mechanism.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arena.setup import StudySetup, beside
from arena.study import Study
from meta.instructions.claim import InstructionResult
from meta.instructions.evolution import evolve_instructions
from meta.instructions.plan import InstructionPlan, read
from meta.population import starters
from tests.llm import writer
from tests.llm.kits import environment, staff
from tests.llm.researcher import prompt_of
from tests.llm.server import Faulty, LlmServer, never
from tests.studies import silent
from trainer.planted import random_law, simulated_task, term
from trainer.task import Task

SKILL = "Begin the list with what the crystal ball shows."
PLAN = InstructionPlan(
    starters=3, opening_runs=3, child_runs=3, first_jobs=1, keep=2, more_jobs=2, generations=1, children=1,
    confirm_jobs=2, family_tasks=0, family_confirm=0, run_budget=0.8,
)  # fmt: skip
CHARTER = "metaloop:\n  proposers: {queue: 1.0}\n"


class Oracle:
    """Writes programs as the test's writer does; where the instruction has the skill, with the best edits of the task.
    ``skilled``: whether the skill helps; new instructions have it in any case."""

    def __init__(self, root: Path, count: int, *, skilled: bool = True) -> None:
        self.skilled = skilled
        self.tasks, self.best = [], dict[str, list[str]]()
        for number in range(count):
            law = random_law(number + 20, noise=0.01)
            folder = simulated_task(law, root / f"t{number}", name=f"planted{number}", experiments=8)
            self.tasks.append(Task.load(folder))
            ranked = sorted((c for c in law.effects if law.effects[c] > 0), key=lambda c: -law.effects[c])
            knobs = {name: (name, value) for name, value in reversed(ranked)}
            self.best[f"planted{number}"] = [term(c) for c in sorted(knobs.values(), key=lambda c: -law.effects[c])[:4]]

    def __call__(self, body: dict[str, Any]) -> str:
        prompt = prompt_of(body)
        if "You write instructions" in prompt:
            text = f"# Better\n\n- {SKILL}\n- Keep it short. Version {len(prompt) % 97}.\n"
            return writer.form("program", "", text, ["i1", "j1"], "the children of i1 say so")
        if not (self.skilled and SKILL in prompt.partition("# Task")[0]):
            return writer.answer(body)
        task = re.findall(r"^(planted\d+): a run starts", prompt, re.MULTILINE)[0]
        asked = prompt.rpartition("# What to do")[2]
        ideas = "- The best: " + " ".join(f"`{one}`" for one in self.best[task]) + ".\n"
        name = re.findall("section `?name=\"(.+?)\"", asked)
        if "<program" in asked:
            return writer.form("program", "", f"---\n{CHARTER}---\n# Seen\n\n## Ideas\n\n{ideas}", [])
        if "Rewrite" in asked and "`charter`" in asked and len(name) > 1:
            return writer.form("section", "charter", f'{CHARTER}</section>\n<section name="{name[1]}">\n{ideas}', [])
        if "Rewrite" in asked and name and name[0] != "charter":
            return writer.form("section", name[0], ideas, [])
        return writer.answer(body)


def create(folder: Path, tasks: Sequence[Task], confirm: int, plan: InstructionPlan = PLAN, **how: Any) -> Study:
    """The last ``confirm`` tasks are those of the confirmation."""
    from dataclasses import asdict

    first, *others = tasks
    further, reserve = others[: len(others) - confirm], others[len(others) - confirm :]
    return Study.create(
        folder,
        StudySetup(
            "evolve", first, plan.run_budget, seed=3, plan=asdict(plan), programs=starters(plan.starters),
            further=beside(first, plan.run_budget, further), reserve=beside(first, plan.run_budget, reserve),
            staff=staff(reply_tokens=2000, traces="none", **how),
        ),
    )  # fmt: skip


def carry_on(folder: Path) -> InstructionResult:
    study = Study.open(folder)
    return evolve_instructions(study, read(study.config.plan, folder), silent)


def play(
    folder: Path, answer: Oracle, confirm: int = 5, fault: Faulty = never, **how: Any
) -> tuple[InstructionResult, int]:
    """The result, and the requests that the server got."""
    with pytest.MonkeyPatch.context() as patch, LlmServer(answer, fault=fault) as server:
        environment(patch, server.url)
        if not folder.exists():
            create(folder, answer.tasks, confirm, **how)
        return carry_on(folder), len(server.seen)


@pytest.fixture(scope="module")
def oracle(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return Oracle(tmp_path_factory.mktemp("tasks"), 8)


@pytest.fixture(scope="module")
def ended(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InstructionResult, int]:
    folder = tmp_path_factory.mktemp("instructions") / "study"
    return folder, *play(folder, oracle)


def test_the_better_instruction_wins(ended: Any) -> None:
    folder, result, _ = ended
    print(result.verdict())
    assert result.compared.holds
