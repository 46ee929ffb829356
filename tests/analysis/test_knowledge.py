"""The knowledge base: written, merged, masked, refused; what is chosen of it, in which order, with which conditions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from analysis.knowledge.choose import Candidate, RoleCondition, TaskValues, choose, task_values
from analysis.knowledge.store import COLUMNS, Effect, of_trials, query, read, write
from bench.simulated_tasks import random_law, simulated_task
from bench.sweep import Sweep, moves
from programs.common.errors import NotFound, UsageError
from programs.folder import load
from tests.meta.cli_study import metaloop
from trainer.data import DataStore
from trainer.edits import Value
from trainer.experiment import Trainer
from trainer.laws.law import Law
from trainer.streams import Streams
from trainer.task import Task

ROLES = [
    "learning_rate", "width", "optimizer", "depth", "dropout", "weight_average", "momentum", "heads", "activation",
    "batch_size", "init_scale", "conditioning", "weight_decay", "block_size", "normalisation", "context_length",
]  # fmt: skip


def effect(family: str, task: str) -> Effect:
    edits = {"context": {"width": 1}, "edit": {"width": 2}}
    figures = {"status": "ok", "gain": 0.5, "se": None, "level": 0.0, "n": 1}
    return Effect("sweep", "s", family, task, f"id of {task}", "nll", "cpu", **edits, **figures)  # type: ignore[arg-type]


def with_roles(folder: Path, law: Law) -> Task:
    """A simulated task whose knobs have roles."""
    made = simulated_task(law, folder)
    text, number = (made / "task.toml").read_text(), 0
    text = re.sub(r'(?m)^name = ".*"', f'name = "{folder.name}"', text, count=1)
    for role in ROLES:
        at = [match.end() for match in re.finditer(r"(?m)^\[edits\.\w+\]\n", text)][number]
        text, number = text[:at] + f'role = "{role}"\n' + text[at:], number + 1
    (made / "task.toml").write_text(text)
    return Task.load(made)


def test_the_same_effects_are_one_file_and_merging_is_copying(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first = write(one, [effect("a", "a1")])
    assert write(one, [effect("a", "a1")]) == first and len(list(one.iterdir())) == 1
    write(two, [effect("b", "b1"), effect("b", "b2")])
    write(two, [effect("a", "a1")])
    assert read([one, two]) == read([two]) and len(read([one, two])) == 3
    assert read([two])[0].context == {"width": 1}
    columns = query([two], "DESCRIBE effects")
    assert {row["column_name"]: row["column_type"] for row in columns} == COLUMNS
    page = (Path(__file__).parents[2] / "docs" / "knowledge.md").read_text()
    assert all(f"`{name}`" in page for name in COLUMNS)


def test_what_a_task_or_a_family_showed_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [effect("a", "a1"), effect("a", "a2"), effect("b", "b1")])
    assert [each.task for each in read([tmp_path], without=["a"])] == ["b1"]
    assert [each.task for each in read([tmp_path], without=["a1"])] == ["a2", "b1"]
    assert [each.task for each in read([tmp_path], without=["id of b1"])] == ["a1", "a2"]


def test_a_damaged_file_and_a_later_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no knowledge base"):
        read([tmp_path])
    file = write(tmp_path, [effect("a", "a1")])
    con = duckdb.connect()
    con.execute(f"COPY (SELECT * REPLACE (2 AS schema) FROM '{file}') TO '{tmp_path}/effects-later.parquet'")
    with pytest.raises(UsageError, match="schema 2, this version reads 1"):
        read([tmp_path])
    (tmp_path / "effects-later.parquet").write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"effects-later\.parquet"):
        read([tmp_path])
    (tmp_path / "effects-later.parquet").unlink()
    with pytest.raises(UsageError, match="SQL"):
        query([tmp_path], f"COPY effects TO '{tmp_path}/out.csv'")
    assert not (tmp_path / "out.csv").exists()


def test_a_sweep_tells_each_effect_by_role(tmp_path: Path) -> None:
    task = with_roles(tmp_path / "t", random_law(3))
    trials = Sweep(Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "d"))).trials()
    assert trials[0].edit == {} and set(trials[0].context) <= set(ROLES)
    starts = [trial for trial in trials if not trial.edit and trial.context == trials[0].context]
    assert trials[0].n == 4 and len(starts) >= 1
    contexts = {str(sorted(trial.context.items())) for trial in trials}
    assert len(contexts) == 2  # the second round starts from a better script
    assert task.sign * (trials[-1].before - trials[0].before) < 0
    effects = of_trials(trials, task, kind="sweep", source="test")
    shares = [each.level + each.gain for each in effects if each.gain is not None]
    assert max(shares) == pytest.approx(1.0) and effects[0].level == 0.0
    assert len(moves(task, task.baseline())) > len(task.edits.knobs)


def test_from_sweeps_to_a_program_for_another_task(tmp_path: Path) -> None:
    kb, written = str(tmp_path / "kb"), tmp_path / "program.md"
    names = [str(with_roles(tmp_path / name, random_law(5)).folder) for name in ("one", "two")]
    subprocess.run([sys.executable, "-m", "bench.sweep", kb, *names], check=True)
    metaloop("program", "new", written, "--learnt", kb)
    program = load(written)
    assert program.ideas and all(term.startswith("@") for idea in program.ideas for term in idea.terms)
    assert "estimated to help on" in program.ideas[0].text and next(iter(program.charter.proposers)) == "queue"
    metaloop("program", "lint", written, "-t", names[0])


def tried(
    task: str, context: Mapping[str, Value], edit: Mapping[str, Value], gain: float | None, level: float = 0.0
) -> Effect:
    return Effect("sweep", "test", "family", task, task, "nll", "cpu", context, edit, "ok", gain, None, level, 4)


Effects = dict[str, dict[Value, float]]


def values(task: str, start: Mapping[str, Value], worth: Effects, family: str = "family") -> TaskValues:
    return TaskValues(
        family, task, start, {(role,): {(v,): w for v, w in known.items()} for role, known in worth.items()}
    )


def gained(task: TaskValues, **edit: Value) -> float:
    gain = task.gain(task.start, edit)
    assert gain is not None
    return gain


def test_effects_of_several_scripts_are_one_model() -> None:
    start = {"width": 16, "dropout": 0.2}
    known = [
        tried("a", start, {}, 0.0),
        tried("a", start, {"width": 64}, 0.5),
        tried("a", start, {"dropout": 0.0}, 0.3),
        tried("a", {"width": 64, "dropout": 0.2}, {"dropout": 0.0}, 0.3, level=0.5),
        tried("a", start, {"width": 4}, None),
    ]
    (task,) = task_values(known)
    assert task.start == start
    wider = gained(task, width=64)
    assert 0.3 < wider < gained(task, width=64, dropout=0.0) < 0.9
    assert gained(task, width=4) < -0.2  # a failure counts as a loss
    assert abs(gained(task, width=32) - wider / 2) < 0.05  # half way, over the logarithm
    assert task.gain(start, {"width": 128}) is None and task.gain(start, {"depth": 2}) is None


def test_a_rate_belongs_to_its_optimizer() -> None:
    start: dict[str, Value] = {"optimizer": "sgd", "learning_rate": 0.1}
    edits: list[tuple[dict[str, Value], float]] = [({}, 0.0)]
    edits += [({"learning_rate": rate}, gain) for rate, gain in ((0.01, -0.3), (1.0, 0.2))]
    adam = ((0.01, 1.0), (0.1, -0.4), (1.0, -0.5))
    edits += [({"optimizer": "adam", "learning_rate": rate}, gain) for rate, gain in adam]
    (task,) = task_values([tried("a", start, edit, gain) for edit, gain in edits])
    assert gained(task, optimizer="adam", learning_rate=0.01) > 0.5 and gained(task, optimizer="adam") < 0
    first = choose([task], bundle=False)[0]
    assert first.candidate.edit == {"optimizer": "adam", "learning_rate": 0.01}


def test_an_idea_is_chosen_for_what_it_adds_to_those_before() -> None:
    """Two widths have the highest mean gain; the second adds nothing, so the smaller gain of the depth comes second."""
    worth: Effects = {"width": {16: 0.0, 64: 0.6, 128: 0.6}, "depth": {1: 0.0, 2: 0.2}}
    tasks = [values(f"t{n}", {"width": 16, "depth": 1}, worth) for n in range(4)]
    chosen = choose(tasks, bundle=False, conditions=False)
    assert [list(idea.candidate.edit) for idea in chosen] == [["width"], ["depth"]]
    assert chosen[0].helped == chosen[0].tried == 4 and abs(chosen[0].gain - 0.6) < 1e-9


def test_condition_saves_experiments_where_an_idea_would_lose() -> None:
    low: Effects = {"width": {16: 0.0, 64: 0.6, 256: -0.4}}
    high: Effects = {"width": {16: -0.5, 64: -0.2, 256: 0.0}}
    tasks = [values(f"low{n}", {"width": 16}, low) for n in range(3)]
    tasks += [values(f"high{n}", {"width": 256}, high) for n in range(3)]
    first = choose(tasks, bundle=False)[0]
    assert dict(first.candidate.edit) == {"width": 64}
    assert first.candidate.conditions == (RoleCondition("width", "<", 64),)
    assert (first.helped, first.tried) == (3, 3)
    flat = choose(tasks, bundle=False, conditions=False)[0]
    assert not flat.candidate.conditions and (flat.helped, flat.tried) == (3, 6)


def test_bundle_holds_what_helps_without_what_the_task_lacks() -> None:
    sure: dict[Value, float] = {1: 0.0, 2: 0.3}
    start = {"depth": 1, "width": 1, "heads": 1}
    tasks = [
        values(f"t{n}", start, {"depth": sure, "width": {1: 0.0, 2: doubtful}, "heads": sure})
        for n, doubtful in enumerate((0.4, -0.3, 0.3, -0.3))
    ]
    tasks.append(values("other", {"depth": 1}, {"depth": sure}, family="other"))
    bundle = choose(tasks)[0].candidate
    assert bundle.optional and set(bundle.edit) == {"depth", "heads"}
    asked = bundle.on(tasks[-1], tasks[-1].start)
    assert asked is not None and dict(asked[0]) == {"depth": 2}


def test_families_count_alike() -> None:
    many: Effects = {"width": {1: 0.0, 2: 0.3}, "depth": {1: 0.0, 2: 0.0}}
    few: Effects = {"width": {1: 0.0, 2: 0.0}, "depth": {1: 0.0, 2: 0.4}}
    tasks = [values(f"m{n}", {"width": 1, "depth": 1}, many, "many") for n in range(9)]
    tasks.append(values("f", {"width": 1, "depth": 1}, few, "few"))
    assert dict(choose(tasks, bundle=False, conditions=False)[0].candidate.edit) == {"depth": 2}


def test_a_candidate_asks_for_nothing_where_nothing_would_change() -> None:
    task = values("t", {"width": 2}, {"width": {1: 0.0, 2: 0.5}})
    assert Candidate({"width": 2}).on(task, task.start) is None
    assert Candidate({"depth": 2}).on(task, task.start) is None
    assert Candidate({"width": 1}, (RoleCondition("width", ">", 2),)).on(task, task.start) is None


def test_a_task_on_which_an_idea_loses_stays_as_it_was() -> None:
    gaining = values("a", {"width": 16}, {"width": {8: -0.5, 16: 0.0, 64: 0.6}})
    losing = values("b", {"width": 16}, {"width": {8: 0.2, 16: 0.0, 64: -0.4}})
    first, second = choose([gaining, losing], bundle=False, conditions=False)
    assert (first.candidate.edit, first.helped) == ({"width": 64}, 1)
    assert (second.candidate.edit, second.helped) == ({"width": 8}, 1)
    assert abs(second.gain - (0.2 - 1.1) / 2) < 1e-9  # from 16 on one task, from 64 on the other


def test_scripts_that_lost_a_setting_are_left_out() -> None:
    start: Mapping[str, Value] = {"width": 16, "shift": -2.0}
    known = [
        tried("a", {"width": 64, "shift": -2.0}, {"shift": -1.0}, 0.1, level=0.5),
        tried("a", start, {}, 0.0),
        tried("a", start, {"width": 64}, 0.5),
        tried("a", {"width": 64}, {"width": 16}, -5.0, level=0.5),  # an agent deleted the other constant
    ]
    (task,) = task_values(known)
    assert task.start == start
    assert gained(task, width=64) > 0.2 and gained(task, shift=-1.5) is not None


def test_role_with_thousands_values_tries_those_most_tasks_know() -> None:
    """Their pairs would be ten million ideas."""
    worth: Effects = {"activation": {f"made-up-{n}": 0.001 for n in range(3000)} | {"gelu": 0.5}}
    tasks = [
        values("a", {"activation": "relu"}, worth),
        values("b", {"activation": "relu"}, {"activation": {"gelu": 0.5}}),
    ]
    assert choose(tasks)[0].candidate.edit == {"activation": "gelu"}
