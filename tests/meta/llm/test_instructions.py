"""Instructions compared by the programs that they lead to, on simulated tasks with a server that follows them.

The server writes a better program where the instruction contains a planted sentence: this shows the mechanism, not what
a model gains by it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.study import query
from analysis.writing_events import MutationEvent
from arena.drain import Drained
from arena.setup import StudySetup, beside
from arena.study import Study
from meta.cli.main import run
from meta.instructions.claim import InstructionResult, compare
from meta.instructions.evolution import evolve_instructions
from meta.instructions.plan import InstructionPlan, read
from meta.instructions.trials import Trial
from meta.population import starters
from programs.errors import EnvironmentProblem
from programs.shelf import meta_program
from tests.llm import fixtures, writer
from tests.llm.kits import MODEL, environment, staff
from tests.llm.researcher import luck_of, prompt_of
from tests.llm.server import Faulty, LlmServer, never
from tests.studies import silent
from trainer.planted import random_law, simulated_task, term
from trainer.task import Task

litellm_loaded = fixtures.litellm_loaded
SKILL = "Begin the list with what the crystal ball shows."
PLAN = InstructionPlan(
    starters=2, opening_runs=2, child_runs=2, first_jobs=1, keep=2, more_jobs=2, generations=1, children=1,
    confirm_jobs=2, family_tasks=0, family_confirm=0, run_budget=0.6,
)  # fmt: skip
CHARTER = "metaloop:\n  proposers: {queue: 1.0}\n"


class Oracle:
    """Writes programs as the tests' writer does; where the instruction has the planted sentence, with the best edits of
    the task, in a ``share`` of the jobs. A new instruction has that sentence. ``first``: number of the first law."""

    def __init__(self, root: Path, count: int, *, share: float = 1.0, first: int = 20) -> None:
        self.share = share
        self.tasks: list[Task] = []
        self.best: dict[str, str] = {}
        for number in range(count):
            name, law = f"planted{number}", random_law(number + first, noise=0.01)
            self.tasks.append(Task.load(simulated_task(law, root / name, name=name, experiments=6)))
            ranked = sorted((c for c in law.effects if law.effects[c] > 0), key=lambda c: law.effects[c])
            of_knob = {name: (name, value) for name, value in ranked}
            best = sorted(of_knob.values(), key=lambda c: -law.effects[c])[:4]
            self.best[name] = "- The best: " + " ".join(f"`{term(change)}`" for change in best) + ".\n"

    def __call__(self, body: dict[str, Any]) -> str:
        prompt = prompt_of(body)
        if "You write instructions" in prompt:
            return writer.form("program", "", f"# Better\n\n- {SKILL}\n- Keep it short.\n", ["i1", "j1"], "i1 gained")
        if SKILL not in prompt.partition("# Task")[0] or luck_of(body).random() >= self.share:
            return writer.answer(body)
        ideas = self.best[re.findall(r"^(planted\d+): a run starts", prompt, re.MULTILINE)[0]]
        asked = prompt.rpartition("# What to do")[2]
        names = re.findall('<section name="(.+?)">', asked)
        if "<program" in asked:
            return writer.form("program", "", f"---\n{CHARTER}---\n# Seen\n\n## Ideas\n\n{ideas}", [])
        if "Rewrite two" in asked:
            return writer.form("section", "charter", f'{CHARTER}</section>\n<section name="{names[1]}">\n{ideas}', [])
        if "Rewrite one" in asked and names != ["charter"]:
            return writer.form("section", names[0], ideas, [])
        return writer.answer(body)


def create(
    folder: Path, tasks: list[Task], confirm: int, plan: InstructionPlan = PLAN, seed: int = 3, **how: Any
) -> Study:
    """The last ``confirm`` tasks are those of the confirmation."""
    first, *others = tasks
    pool = len(others) - confirm
    setup = StudySetup(
        "evolve", first, plan.run_budget, seed=seed, plan=asdict(plan), programs=starters(plan.starters),
        further=beside(first, plan.run_budget, others[:pool]), reserve=beside(first, plan.run_budget, others[pool:]),
        model_config=staff(reply_tokens=2000, traces="none", **how),
    )  # fmt: skip
    return Study.create(folder, setup)


def carry_on(folder: Path) -> InstructionResult:
    study = Study.open(folder)
    return evolve_instructions(study, read(study.config.plan, folder), silent)


def play(folder: Path, answer: Oracle, fault: Faulty = never) -> tuple[InstructionResult, int]:
    """The result, and how many requests the server answered."""
    with pytest.MonkeyPatch.context() as patch, LlmServer(answer, fault=fault) as server:
        environment(patch, server.url)
        return carry_on(folder), len(server.seen)


def calls(folder: Path) -> list[dict[str, Any]]:
    return [row["record"] for row in query(folder, "SELECT record FROM events WHERE kind = 'call' ORDER BY place")]


@pytest.fixture(scope="module")
def oracle(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return Oracle(tmp_path_factory.mktemp("tasks"), 8)


@pytest.fixture(scope="module")
def ended(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InstructionResult, list[int]]:
    """A study on one task, tested on another, that was stopped among the children of the race and again later; how many
    requests were answered each time."""
    folder, answered = tmp_path_factory.mktemp("instructions") / "study", []
    create(folder, oracle.tasks[:2], 1, backoff=5.0)

    def stop_at(last: int) -> Faulty:
        def fault(number: int, _body: Any) -> str | None:
            if number < last:
                return None
            (folder / "stop").touch()
            return "503"

        return fault

    for last in (1, 4):
        with pytest.raises(Drained):
            play(folder, oracle, stop_at(last))
        answered.append(last)
    result, seen = play(folder, oracle)
    return folder, result, [*answered, seen]


def test_a_study_that_is_stopped_pays_for_no_call_twice(ended: Any) -> None:
    folder, _, answered = ended
    numbers = Counter(call["number"] for call in calls(folder) if call["status"] == "ok")
    assert set(numbers.values()) == {1} and len(numbers) == sum(answered) and answered[-1] > 0


def test_a_study_that_ended_needs_neither_key_nor_server(ended: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, result, _ = ended
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert carry_on(folder) == result


def test_all_instructions_get_the_same_jobs(ended: Any) -> None:
    """Operator and parents are the same, and a job without a child counts as 0."""
    folder, result, _ = ended
    rows = query(folder, "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'repairs' IS NULL")
    jobs: dict[Any, set[Any]] = {}
    followed: dict[Any, set[str]] = {}
    for row in (row["record"] for row in rows):
        key = (row["task"], row["job"])
        jobs.setdefault(key, set()).add((row["operator"], *row["parent_ids"]))
        followed.setdefault(key, set()).add(row["meta_program_id"])
    assert len(jobs) == 2 + 2 and all(len(given) == 1 for given in jobs.values())
    assert all(len(ids) == 2 for ids in followed.values())
    assert SKILL in (folder / "best-meta.md").read_text() and result.today_id == meta_program().program_id
    page = (folder / "best-meta.evidence.md").read_text()
    assert "| meta (today's) |" in page and "over 2 jobs of one task" in page


@pytest.mark.slow
@pytest.mark.parametrize("skilled", [True, False])
def test_the_better_instruction_wins_on_tasks_that_were_not_used(oracle: Oracle, tmp_path: Path, skilled: bool) -> None:
    """Where it makes no difference, it is not claimed to be better."""
    oracle = oracle if skilled else Oracle(tmp_path / "tasks", 8, share=0.0)
    create(tmp_path / "study", oracle.tasks, 6)
    result, _ = play(tmp_path / "study", oracle)
    assert result.holds is skilled, result.verdict()
    if skilled:
        assert result.compared is not None and result.compared.tasks == 6 and not result.compared.same_tasks
        assert result.compared.low is not None and result.compared.low > 0
        page = (tmp_path / "study" / "best-meta.evidence.md").read_text()
        assert "Meta-v2 leads to better programs than today's" in page and "refused" in page


def trial(task: str, value: float) -> Trial:
    event = MutationEvent(
        generation=1, attempt=0, child_id="p", parent_ids=(), operator="bold", accepted=True, reason=""
    )
    return Trial("p", task, 0, [event], value, value)


def test_where_instructions_make_no_difference_one_is_seldom_claimed_to_be_better() -> None:
    """At a level of 2.5%; the difference is taken task by task, so a hard task does not hide it."""
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(1000):
        hard = rng.normal(0.0, 3.0, 8)
        best, today = ([trial(str(t), hard[t] + rng.normal()) for t in range(8)] for _ in range(2))
        claims += compare(best, today, same_tasks=False).holds
    assert 8 <= claims <= 42
    lifted = [trial(one.task, one.value + 3.0) for one in best]
    found = compare(lifted, best, same_tasks=False)
    assert (found.difference, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))


def test_without_an_answer_nothing_is_known_about_an_instruction(oracle: Oracle, tmp_path: Path) -> None:
    """The study ends with the problem instead of counting the job as 0, and continues later."""
    create(tmp_path / "study", oracle.tasks[:1], 0, replace(PLAN, generations=0), patience=0.2)
    with pytest.raises(EnvironmentProblem, match="no model answered"):
        play(tmp_path / "study", oracle, lambda _number, _body: "500")
    assert not query(tmp_path / "study", "FROM mutations")
    result, _ = play(tmp_path / "study", oracle)
    assert result.compared is None and "nothing was tested" in result.verdict()
    assert (tmp_path / "study" / "best-meta.md").read_text() == meta_program().text


def test_the_command(oracle: Oracle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan has calls and device time; flags without a meaning here are refused; --resume needs no --meta."""
    pool, last = ([str(task.folder) for task in some] for some in (oracle.tasks[:1], oracle.tasks[7:]))
    words = ["evolve", "--meta", "--quick", "-t", ",".join(pool), "--reserve", ",".join(last), "--generations", "0"]
    assert run(words) == 2 and "-m NAME" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch, LlmServer(oracle) as server:
        environment(patch, server.url)
        assert run([*words, "-m", MODEL, "--apply"]) == 2 and "--apply cannot be" in capsys.readouterr().err
        assert run(["improve", *words[1:], "-m", MODEL]) == 2
        capsys.readouterr()
        own = tmp_path / "mine.md"
        own.write_text(f"# Mine\n\n- {SKILL}\n")
        words += ["-m", MODEL, "--meta-program", str(own), "--study", str(tmp_path / "study"), "-n", "2"]
        words += ["-b", "0.6s", "--seed", "5"]
        assert run([*words, "--dry-run", "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)
        assert plan["mutation_calls"] == 2 * (2 * 2 + 2 * 2) and plan["device_seconds"] > 10
        assert run([*words, "--json"]) == 0, capsys.readouterr().err
        done = json.loads(capsys.readouterr().out)
        assert 4 < len(server.seen) <= plan["mutation_calls"]
        assert done["name"] == "given" and Path(done["files"]["instruction"]).read_text() == own.read_text()
        assert run(["evolve", "--resume", str(tmp_path / "study"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == done
        played = query(tmp_path / "study", "SELECT count(*) AS n FROM runs")[0]["n"]
        assert played <= plan["runs"]
