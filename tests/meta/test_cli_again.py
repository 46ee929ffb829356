"""The command that founds such a study again: every flag that made it, told from the ledger alone."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger
from analysis.study import open_study
from meta import plan as plans
from meta.begin import create
from meta.cli.again import Again, again
from meta.learnt import learnt_for
from meta.reserve import unseen_variant
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

from .cli_study import cli

TASK = Task.load("strokes")
OWN = Program.parse("# Mine\n\nBe bold.\n\n## Ideas\n\n- First `momentum=0.9`.\n", "my own")


def founded(folder: Path, config: dict[str, Any], programs: list[Program], roles: list[str] | None = None) -> Path:
    """A ledger with what a command writes before its first run."""
    with Ledger(folder / "ledger", "main") as ledger:
        ledger.append({"kind": "study", "study_id": "y1", "config": config, "version": "0"}, sync=False)
        for program in programs:
            event = {"program_id": program.program_id, "name": program.name, "text": program.text, "generation": 0}
            ledger.append({"kind": "program", "operator": "starter", "parent_ids": [], "words": 1, **event}, sync=False)
        if roles:
            arms = [{"arm_id": f"a{i}", "program_id": p.program_id, "role": role}
                    for i, (p, role) in enumerate(zip(programs, roles, strict=True))]  # fmt: skip
            match = {"match_id": "m1", "task": "strokes", "purpose": "race", "arms": arms, "config": {}}
            ledger.append({"kind": "match", **match}, sync=False)
    return folder


def told(folder: Path) -> Again:
    with open_study(folder) as con:
        found = again(con, "studies/x")
    assert found is not None
    return found


def command(folder: Path) -> str:
    return told(folder).command


def config(command: str, plan: Any, **more: Any) -> dict[str, Any]:
    size = plan if isinstance(plan, dict) else asdict(plan)
    budget = size.get("run_budget", TASK.run_budget)
    made = {"command": command, "task": "strokes", "run_budget": budget, "sandbox": True, "plan": size, **more}
    return made if command == "match" else {"knowledge": {"program_id": "p0"}, **made}


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        ("--quick", plans.quick(TASK)),
        ("", plans.default(TASK)),
        ("--quick --run-budget 3", plans.quick(TASK, 3.0)),
        ("--generations 5", plans.override(plans.default(TASK), generations=5)),
        ("--quick --generations 0", plans.override(plans.quick(TASK), generations=0)),
        ("--budget", plans.within(3600.0, TASK)),
    ],
)  # fmt: skip
def test_the_size_of_a_study_is_told_by_the_flags_that_make_it(
    tmp_path: Path, flags: str, plan: plans.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METALOOP_CACHE", "/proc/nope")  # a page is read where nothing can be written
    said = command(founded(tmp_path, config("evolve", plan), [starter("stock")]))
    assert said.startswith("metaloop evolve --task strokes")
    if flags != "--budget":
        assert said == f"metaloop evolve --task strokes {flags}".rstrip()
        return
    seconds = float(said.split("--budget ")[1])
    assert plans.within(seconds, TASK) == plan and seconds <= 3600


def test_seed_sandbox_and_fixed_steps_are_told(tmp_path: Path) -> None:
    made = config("evolve", plans.quick(TASK), seed=4, fixed_steps=True) | {"sandbox": False}
    said = command(founded(tmp_path, made, [starter("stock")]))
    assert said == "metaloop evolve --task strokes --quick --seed 4 --fixed-steps --no-sandbox"


def test_a_study_that_started_without_what_other_tasks_taught_says_so(tmp_path: Path) -> None:
    plan = plans.quick(TASK)
    before = founded(tmp_path / "a", config("evolve", plan, knowledge=None), [starter("stock")])
    assert command(before) == "metaloop evolve --task strokes --quick --from-scratch"
    own = [starter("stock"), OWN, Program.parse(OWN.text + "\nMore.\n", "other")]
    several = founded(tmp_path / "b", config("evolve", plan, knowledge=None), own)
    assert "--from-scratch" not in command(several)  # with several programs nothing is added


def test_the_program_that_the_command_wrote_is_not_named(tmp_path: Path) -> None:
    made = config("improve", plans.quick(TASK), knowledge={"program_id": starter("careful").program_id})
    said = command(founded(tmp_path, made, [starter("stock"), OWN, starter("careful")]))
    assert said == "metaloop improve my-own.md --task strokes --quick"


def test_a_program_of_ones_own_is_written_out_first(tmp_path: Path) -> None:
    plan = asdict(plans.quick(TASK)) | {"origin": OWN.program_id}
    starters = [starter("stock"), OWN, starter("idea-queue"), starter("one-line")]
    found = told(founded(tmp_path, config("improve", plan), starters))
    assert found.command == "metaloop improve my-own.md --task strokes --quick"
    assert found.before == (
        f"metaloop show {OWN.program_id} -s studies/x --json | python3 -c "
        "\"import json, sys; sys.stdout.write(json.load(sys.stdin)['text'])\" > my-own.md",
    )


def test_a_match_tells_its_entries_and_that_it_was_a_race(tmp_path: Path) -> None:
    programs = [starter("local"), starter("stock"), starter("one-line"), starter("stock")]
    roles = ["program", "control", "control", "a/a"]
    made = config("match", {"seeds": 6, "roles": roles, "batch": 2})
    raced = founded(tmp_path / "a", made, programs, roles)
    assert command(raced) == "metaloop match local --task strokes --seeds 6 --race"
    made = config("match", {"seeds": 6, "roles": ["program"]}, run_budget=1.5)
    alone = founded(tmp_path / "b", made, programs[:1], ["program"])
    assert command(alone) == "metaloop match local --task strokes --seeds 6 --no-controls --run-budget 1.5"


def test_a_plan_of_another_version_is_told_with_what_differs(tmp_path: Path) -> None:
    plan = asdict(plans.default(TASK)) | {"control_runs": 0}
    found = told(founded(tmp_path, config("evolve", plan), [starter("stock")]))
    assert found.command == "metaloop evolve --task strokes"
    assert "control runs 4 instead of 0" in found.note


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"command": "import"},
        {"command": "evolve", "task": "strokes", "plan": {"starters": []}},
        {"command": "match", "task": 3, "plan": "none"},
    ],
)
def test_a_config_that_tells_nothing_is_no_error(tmp_path: Path, made: dict[str, Any]) -> None:
    with open_study(founded(tmp_path, made, [starter("stock")])) as con:
        assert again(con, "studies/x") is None


@pytest.mark.parametrize("seed", [None, 7])
def test_the_command_plans_what_the_study_has(tmp_path: Path, seed: int | None) -> None:
    plan, drawn = plans.quick(TASK), unseen_variant(TASK, seed)
    study, starters = create(
        tmp_path / "study", task=TASK, plan=plan, workers=2, seed=seed, variant=drawn,
        learnt=learnt_for(starter("idea-queue"), [TASK], without=["strokes"]),
    )  # fmt: skip
    recorded = json.loads(study.config.model_dump_json(exclude={"secret"}))
    found = told(founded(tmp_path / "record", recorded, starters))
    assert drawn is not None and str(drawn.folder) not in found.command
    assert (drawn.name in found.note) == (seed is None)
    size = ("--dry-run", "--json")
    repeated = json.loads(cli(*shlex.split(found.command)[1:], *size, "-j", "2", cwd=tmp_path).stdout)
    own = json.loads(cli("evolve", "--resume", "study", *size, cwd=tmp_path).stdout)
    drawn_alike = ["variant"] * (seed is not None)
    same = ("runs", "runs_in_all", "experiments_in_all", "compared_with_learnt", "runs_on_variant", *drawn_alike)
    assert "reserve" not in repeated and {n: repeated[n] for n in same} == {n: own[n] for n in same}


def test_what_was_left_out_and_who_researched_are_flags(tmp_path: Path) -> None:
    used = {"program_id": "p0", "without": ["letters", "tinylm"], "files": ["effects-0.parquet"]}
    reserve = [{"task": "tinylm", "task_id": "t0", "run_budget": 1.0}]
    who: dict[str, Any] = {"researcher": "chat", "staff": {"models": ["m"]}}
    made = config("evolve", plans.quick(TASK), knowledge=used, reserve=reserve, **who)
    found = told(founded(tmp_path, made, [starter("stock")]))
    expected = "metaloop evolve --task strokes --reserve tinylm --quick --without letters -r chat -m m"
    assert found.command == expected
    assert "1 measured task of another knowledge base" in found.note
