"""The gate in whole studies with a model: open where gains can be foretold, shut where there is nothing to foretell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from analysis.study import open_study, query
from analysis.surrogate import known_programs, skill
from arena.inprocess import InProcessExecutor
from arena.study import Study
from arena.task_study import TaskStudy
from bench.whole import Unwritten
from meta.begin import create, take_up
from meta.breed import judge
from meta.evolve import search
from meta.gate import SHARE, gate_of
from meta.novelty import Novelty
from meta.plan import quick
from programs.program import Program
from tests.llm import fixtures, writer
from tests.llm.kits import environment, staff
from tests.llm.server import LlmServer
from tests.studies import program, silent
from trainer.law import Law
from trainer.planted import null_law, random_law, simulated_task
from trainer.task import Task

litellm_loaded = fixtures.litellm_loaded
pytestmark = pytest.mark.slow
TURNED_AWAY = "SELECT child_id, reason FROM mutations WHERE starts_with(reason, 'a model of the programs so far')"


Play = Callable[[str, Law, Sequence[Program], int], Study]


@pytest.fixture(scope="module")
def played(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """A quick study of so many generations, from stock and ``others``, whose programs are written offline and by a
    model that knows nothing."""
    root = tmp_path_factory.mktemp("gates")

    def play(name: str, law: Law, others: Sequence[Program], generations: int) -> Study:
        task = Task.load(simulated_task(law, root / f"{name}-task"))
        plan = replace(quick(task), starters=1 + len(others), generations=generations, confirm_runs=2, ablation_runs=0,
                       control_runs=0)  # fmt: skip
        with pytest.MonkeyPatch.context() as patch, LlmServer(writer.answer) as server:
            environment(patch, server.url)
            crew = staff(reply_tokens=2000, call_timeout=60.0)
            create(root / name, task=task, plan=plan, workers=1, seed=0, model_config=crew)
            study, plan, starters = take_up(root / name)
            stock = [program for program in starters if program.name == "stock"]
            with study, InProcessExecutor(study, silent) as executor, Unwritten() as lineage:
                search(study, plan, [*stock, *others], executor, lineage, silent)
        study.look()
        return study

    return play


def lists(law: Law) -> list[Program]:
    """Programs that do nothing but work a list of four edits: every fourth one that lose, the others ones that win."""
    rng = np.random.default_rng(1)
    worth = {change: effect for change, effect in law.effects.items() if not isinstance(change[1], bool)}
    good = sorted(worth, key=lambda change: -worth[change])[:10]
    bad = sorted(worth, key=lambda change: worth[change])[:10]
    found = []
    for number in range(20):
        pool = good if number % 4 else bad
        edits = [pool[i] for i in rng.choice(len(pool), 4, replace=False)]
        ideas = tuple(f"Set `{name}={value}`." for name, value in edits)
        found.append(program(f"list-{number}", "  proposers: {queue: 1.0}\n", ideas))
    return found


def test_where_gains_can_be_foretold_the_gate_opens_and_turns_the_poorest_away(played: Play) -> None:
    plain = random_law(0, noise=0.002, trajectory=0.002, crash_rate=0.0, misleading=0.0)  # a tenth of the usual noise
    study = played("effects", plain, lists(plain), 3)
    with open_study(study.folder, views=()) as con:
        last = con.execute("SELECT match_id FROM matches WHERE purpose = 'confirmation'").fetchall()
        known = known_programs(con, study.task.name, [match_id for (match_id,) in last])
    gate = gate_of(TaskStudy(study))
    assert gate is not None and skill(study.task.name, known)[0].beats_chance
    said = [judge_again(study, k.program.program_id, gate) for k in known]
    poor = [k.gain for k, refusal in zip(known, said, strict=True) if refusal]
    rich = [k.gain for k, refusal in zip(known, said, strict=True) if not refusal]
    assert 0 < len(poor) <= int(SHARE * len(known)) and sum(poor) / len(poor) < sum(rich) / len(rich)
    refused = query(study.folder, TURNED_AWAY)
    assert refused  # while it ran
    for row in refused:
        assert not query(study.folder, f"SELECT * FROM runs WHERE program_id = '{row['child_id']}'"), "no device time"


def judge_again(study: Study, program_id: str, gate: Callable[..., str]) -> str:
    """What breeding would say of a program if it were proposed now."""
    from meta.mutators.base import ChildProposal

    program = study.program(program_id)
    proposal = ChildProposal(program.text, "bold", "again", (), ())
    return judge(proposal, program, program.name, Novelty([study.task], study.config.researcher), gate).refusal


def test_where_there_is_nothing_to_foretell_it_stays_shut(played: Play) -> None:
    study = played("null", null_law(0), lists(random_law(0)), 2)
    assert gate_of(TaskStudy(study)) is None and not query(study.folder, TURNED_AWAY)
    assert query(study.folder, "SELECT count(*) AS n FROM mutations WHERE model IS NOT NULL")[0]["n"] > 0
