"""The knowledge base: written, merged, masked, refused; and the path from a sweep to a program that helps elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from analysis.knowledge.store import COLUMNS, Effect, of_trials, query, read, write
from analysis.study import query as ask_study
from bench.simulated_tasks import random_law, simulated_task
from bench.sweep import Sweep, moves
from programs.common.errors import NotFound, UsageError
from programs.folder import load
from tests.meta.cli_study import metaloop
from trainer.data import DataStore
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
    kb, names = str(tmp_path / "kb"), []
    for number in (1, 2, 3):
        names.append(str(with_roles(tmp_path / f"t{number}", random_law(5)).folder))
    subprocess.run([sys.executable, "-m", "bench.sweep", kb, *names], check=True)
    written = tmp_path / "program.md"
    metaloop("program", "new", written, "--learnt", kb)
    program = load(written)
    assert program.ideas and all(term.startswith("@") for idea in program.ideas for term in idea.terms)
    assert "estimated to help on" in program.ideas[0].text and next(iter(program.charter.proposers)) == "queue"
    metaloop("program", "lint", written, "-t", names[0])
    study = str(tmp_path / "study")
    command = ["match", str(written), "stock", "--no-controls", "-t", names[0], "-n", "3", "--seed", "1"]
    metaloop(*command, "-s", study, "-y")
    query_text = "SELECT name, avg(verified_gain) AS gain FROM runs GROUP BY name"
    gains = {row["name"]: row["gain"] for row in ask_study(study, query_text)}
    assert gains["program"] > gains["stock"]
    metaloop("program", "new", tmp_path / "own.md", "--learnt", f"{study},{kb}")
    assert load(tmp_path / "own.md").ideas
