"""Ablations and replays of simulated tasks, through the arena: what is switched, that planted truth comes out, and what
a change gives on a script without another one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from analysis.effects import designs
from analysis.study import query
from arena.after import replay
from arena.after.ablation import design_of, design_seed, play_design, program_of, switches, variant
from arena.after.replay import Commit, built_of, needed
from arena.arms import Entry, enter
from arena.match import play
from arena.race import Allocation
from arena.study.run_archive import pack
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.in_process import InProcessExecutor
from bench.simulated_tasks import simulated_task
from inner_loop.repository import RunRepository
from programs.common.errors import Corrupt, NotFound, UsageError
from tests.studies import program, silent, study_on
from trainer.edits import Edit, EditSpace, Knob
from trainer.laws.law import Law
from trainer.source import Source
from trainer.task import Task

IDLE = [f"C{number}" for number in range(12)]  # more than a run without ideas can try
LAW = Law(
    before={"A": 1.0, "B": 1.0, "flip": False} | dict.fromkeys(IDLE, 1.0),
    effects={("A", 2.0): 0.4, ("B", 2.0): 0.2, ("flip", True): -0.3} | {(name, 2.0): 0.0 for name in IDLE},
    interactions={(("A", 2.0), ("B", 2.0)): 0.1}, seed=1, noise=0.01,
)  # fmt: skip
CHARTER = "  proposers: {queue: 1.0}\n  avoid_failures: true\n"
PROGRAM = program("three", CHARTER, ("First `a=2.0`.", "Then `b=2.0`.", "A trap: `flip`."))


def study_of(folder: Path, budget: float = 0.8) -> Study:
    task = Task.load(simulated_task(LAW, folder.parent / "task", experiments=8))
    return study_on(folder, task, budget, kind="ablation", seed=4)


def credit(folder: Path, where: str) -> list[dict[str, Any]]:
    return query(folder, f"SELECT * FROM credit WHERE {where} ORDER BY credit_id")


def ablated(study: Study, runs: int) -> None:
    found = switches(PROGRAM, study.task, "scripted")
    seed = design_seed(study, PROGRAM, found.factors)
    design = designs.plan([d.directive_id for d in found.factors], runs, seed)
    with study, InProcessExecutor(study, silent) as executor:
        play_design(study, executor, PROGRAM, design, silent)


def test_ablation_switches_what_behaves_and_tells_the_rest(tmp_path: Path) -> None:
    task = study_of(tmp_path / "s").task
    found = switches(PROGRAM, task, "scripted")
    kinds = [(d.kind, d.text.partition(":")[0]) for d in found.factors]
    assert kinds[:2] == [("charter", "proposers"), ("charter", "avoid_failures")] and len(kinds) == 5
    told = [("Lower the loss.", "changes nothing here"), ("order", "switched together with its list")]
    assert [(d.kind if d.kind == "order" else d.text, why) for d, why in found.left_out] == told
    assert "Lower the loss." in [d.text for d in switches(PROGRAM, task, "chat:x").factors]
    narrowed = switches(PROGRAM, task, "scripted", [found.factors[2].directive_id[:8]])
    assert narrowed.factors == (found.factors[2],)
    with pytest.raises(NotFound, match="no directive d000"):
        switches(PROGRAM, task, "scripted", ["d000"])


def test_ablation_variant_is_the_program_without_lines(tmp_path: Path) -> None:
    found = switches(PROGRAM, study_of(tmp_path / "s").task, "scripted")
    ids = [d.directive_id for d in found.factors]
    design = designs.plan(ids, 32, 1)
    for row, _ in design.arms:
        held = {d.directive_id for d in program_of(PROGRAM, design, row).directives}
        assert [identity in held for identity in ids] == list(row)
    assert variant(PROGRAM, []).program_id == PROGRAM.program_id
    assert "without" in variant(PROGRAM, ids[:1]).name


def test_ablation_budget_buys_whole_blocks_or_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path / "s")
    factors, price = switches(PROGRAM, study.task, "scripted").factors, TaskStudy(study).cost
    assert price.runs_within(price.seconds(40)) == 40
    assert design_of(factors, price, price.seconds(40), 1).runs == 40
    assert design_of(factors, price, None, 1).runs == 32
    with pytest.raises(UsageError, match=r"pays for 15 runs; 5 directives need at least 16") as refused:
        design_of(factors, price, price.seconds(15), 1)
    assert "--budget" in refused.value.hint
    with pytest.raises(UsageError, match="0 directives"):
        design_of([], price, None, 1)


@pytest.mark.slow
def test_ablation_finds_planted_effects(tmp_path: Path) -> None:
    study = study_of(tmp_path / "s")
    ablated(study, 16)
    assert {row["n"] for row in credit(study.folder, "method = 'factorial'")} == {16}
    ablated(Study.open(study.folder), 32)  # a larger budget goes on from there
    assert query(study.folder, "SELECT count(*) AS n FROM ablations") == [{"n": 1}]
    rows = {row["label"]: row for row in credit(study.folder, "method = 'factorial'")}
    assert len(rows) == 5 and {row["n"] for row in rows.values()} == {32}
    # the list is read only where `proposers` names it; a search without it finds less in as many experiments
    effects = {label: row["estimate"] for label, row in rows.items()}
    assert min(effects[name] for name in ("First `a=2.0`.", "Then `b=2.0`.", 'proposers: {"queue": 1.0}')) > 0.1
    assert max(abs(effects[name]) for name in ("A trap: `flip`.", "avoid_failures: true")) < 0.1
    assert {row["design"] for row in rows.values()} == {"randomised"}
    [match] = query(study.folder, "SELECT purpose, state FROM matches")
    assert match == {"purpose": "ablation", "state": "finished"}
    arms = query(study.folder, "SELECT role, count(*) AS n FROM arms GROUP BY role")
    assert arms == [{"role": "ablation", "n": 16}]


def played(study: Study) -> str:
    """A run that follows the queue to its end; returns its id."""
    with study, InProcessExecutor(study, silent) as executor:
        study.admit(PROGRAM, generation=0, operator="entry")
        match = enter(TaskStudy(study), "race", [Entry(PROGRAM)], purpose="race", stream="selection")
        play(TaskStudy(study), executor, match, Allocation({match.arms[0].arm_id: 1}), silent)
    study.look()
    return str(query(study.folder, "SELECT run_id FROM runs")[0]["run_id"])


def commits_of(study: Study, run_id: str) -> list[replay.Commit]:
    [run] = query(study.folder, f"SELECT * FROM runs WHERE run_id = '{run_id}'")
    return replay.commits_of(study, run_id, run["final_source_id"])


def test_replayed_commits_have_their_planted_effects(tmp_path: Path) -> None:
    study = study_of(tmp_path / "s")
    run_id = played(study)
    for seeds in (2, 6):  # the second time the missing ones alone
        again = Study.open(study.folder)
        again.look()
        commits = commits_of(again, run_id)
        with again, InProcessExecutor(again, silent) as executor:
            replay.play_replay(again, executor, run_id, commits, seeds, silent)
    found = {r["label"]: r for r in credit(study.folder, f"run_id = '{run_id}'")}
    for label, effect in (("a=2", 0.5), ("b=2", 0.3)):  # each with the interaction
        assert found[label]["estimate"] == pytest.approx(effect, abs=0.03)
        assert (found[label]["method"], found[label]["design"], found[label]["n"]) == ("leave-one-out", "paired", 6)
    kept = query(study.folder, f"SELECT experiment_id FROM experiments WHERE run_id = '{run_id}' AND decision = 'keep'")
    assert {r["experiment_id"] for r in found.values()} <= {r["experiment_id"] for r in kept}
    rows = query(study.folder, "SELECT seed, commits FROM replays")
    assert len({(r["seed"], tuple(r["commits"])) for r in rows}) == len(rows)


def test_replay_of_a_run_that_kept_nothing_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path / "s", budget=0.1)
    run_id = played(study)
    with pytest.raises(UsageError, match="kept no change"):
        commits_of(study, run_id)


BASE = "LR = 1\nWD = 0\nfor step in steps:\n    train()\n"


def commits(*texts: str, beside: tuple[str, ...] = ()) -> list[Commit]:
    """The changes from each text of train.py to the next; ``beside``: the texts of a second file."""
    files = beside or ("",) * len(texts)
    sources = [Source((("train.py", text), ("model.py", other))) for text, other in zip(texts, files, strict=True)]
    return [Commit(f"e{i}", "", *ends, Edit(), EditSpace()) for i, ends in enumerate(pairwise(sources))]


FASTER, DECAY = BASE.replace("LR = 1", "LR = 2"), BASE.replace("WD = 0", "WD = 1")
CLIP, CLIP_LESS = (f"{BASE.replace('train()', 'clip()')}    more({level})\n" for level in (1, 2))


@pytest.mark.parametrize(
    ("first", "second", "without", "skipped"),
    [
        (FASTER, FASTER.replace("WD = 0", "WD = 1"), DECAY, []),
        (FASTER, FASTER.replace("LR = 2\n", "LR = 2\nNEW = 3\n"), BASE.replace("LR = 1\n", "LR = 1\nNEW = 3\n"), []),
        (BASE.replace("WD = 0\n", ""), FASTER.replace("WD = 0\n", ""), FASTER, []),
        (FASTER, FASTER.replace("WD = 0\n", ""), BASE.replace("WD = 0\n", ""), []),
        (FASTER, BASE.replace("LR = 1", "LR = 3"), BASE, ["e1"]),
        (FASTER, DECAY.replace("LR = 1", "LR = 3"), BASE, ["e1"]),
        (CLIP, CLIP_LESS, BASE, ["e1"]),
    ],
    ids=["neighbour", "insertion", "after a deletion", "deletion", "conflict", "never by half", "needs the other"],
)
def test_replay_without_first_change(first: str, second: str, without: str, skipped: list[str]) -> None:
    made = commits(BASE, first, second)
    source, left_out = built_of(made, [1])
    assert (source.text(), left_out) == (without, skipped)
    assert built_of(made, [0, 1]) == (made[1].after, [])


def test_replay_adds_files_and_leaves_them_as_they_are() -> None:
    made = commits(BASE, FASTER, FASTER.replace("WD = 0", "WD = 1"), beside=("", "def f(): ...\n", "def f(): ...\n"))
    assert built_of(made, [1]) == (Source((("train.py", DECAY), ("model.py", ""))), [])
    assert built_of(made, [0])[0].text("model.py") == "def f(): ...\n"


def test_replay_of_a_value_replaced_later_is_no_change() -> None:
    """Else each hides the other: without the first the script is the same, without the second it has the first."""
    space = EditSpace((Knob("LR", "int", (1, 2, 3), 1, 3), Knob("WD", "int", (0, 1), 0, 1)))
    sources, made = [Source((("train.py", BASE),))], list[Commit]()
    for number, setting in enumerate([{"LR": 2}, {"WD": 1}, {"LR": 3}]):
        after = space.apply(sources[-1], Edit(setting))
        made.append(Commit(f"e{number}", "", sources[-1], after, Edit(setting), space))
        sources.append(after)
    left = needed(made)
    assert [commit.experiment_id for commit in left] == ["e1", "e2"]
    assert built_of(left, [0])[0].text() == DECAY and built_of(left, [0, 1])[0] == sources[-1]
    assert needed(left) == left and needed(made[:1]) == made[:1]


@pytest.mark.parametrize("free", [1, 2], ids=["and a declared one", "alone"])
def test_replay_takes_free_edits_from_their_repository(tmp_path: Path, free: int) -> None:
    """Edits of files that no knob made: the ledger has neither a value nor a patch of them."""
    study = study_of(tmp_path / "s")
    run_id = played(study)
    declared = commits_of(study, run_id)
    experiments = study.state.run(run_id).experiments
    for commit in declared[:free]:
        old = experiments[commit.experiment_id]
        experiments[commit.experiment_id] = replace(old, edit=Edit(), description="a free\nedit", source=commit.after)
        RunRepository(study.folder / "runs" / run_id, "loss").write(experiments[commit.experiment_id])
    found = commits_of(study, run_id)
    assert [commit.label for commit in found[:free]] == ["a free edit"] * free
    for chosen in ([0], [1], [0, 1]):
        assert built_of(found, chosen) == built_of(declared, chosen)
    pack(study.folder, [run_id])
    assert commits_of(study, run_id) == found
    (study.folder / "runs.zip").unlink()
    with pytest.raises(Corrupt):
        commits_of(study, run_id)
