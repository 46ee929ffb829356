"""The tasks of `bench.nulls real`: their edits change the text of train.py, and nothing that matters."""

from __future__ import annotations

import ast
import os
from itertools import pairwise
from pathlib import Path

import pytest

from analysis.verdict.decision import LEVEL
from bench import nulls
from bench.noop_task import LUCK, noop_task
from trainer.edits import Edit


@pytest.mark.parametrize("name", ["tabular", "letters", "strokes"])
def test_noop_task_each_edit_applies_and_compiles(name: str, tmp_path: Path) -> None:
    task = noop_task(name, tmp_path / "task")
    baseline, everything = task.baseline(), task.baseline()
    assert {knob.name for knob in task.edits.knobs} == {*LUCK, "order", "first", "renamed", "comment"}
    for knob in task.edits.knobs:
        edit = Edit({}, (knob.name,)) if knob.kind == "patch" else Edit({knob.name: 2})
        assert task.edits.apply(baseline, edit).source_id != baseline.source_id
        everything = task.edits.apply(everything, edit)
    trees = [ast.parse(dict(source.files)["train.py"]) for source in (baseline, everything)]
    assert task.family is None and names(trees[1]) - names(trees[0]) == {"value"}


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_noop_task_seed_is_another_one_for_each_choice_of_luck(tmp_path: Path) -> None:
    text = dict(noop_task("tabular", tmp_path / "task").baseline().files)["train.py"]
    [line] = [line for line in text.splitlines() if "manual_seed" in line]
    factors = [int(word) for word in line.split() if word.isdigit()]
    assert len(factors) == len(LUCK) and all(b == 4 * a for a, b in pairwise(factors))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*([nulls.EVOLVE] if "METALOOP_MONTHLY" in os.environ else []), nulls.NIGHT])
def test_real_null_study_ends_and_says_what_it_announced(kind: str) -> None:
    seed = nulls.REAL_FIRST + (kind == nulls.NIGHT)
    made = nulls.real((kind, "tabular", seed, "a commit"))
    assert (made.kind, made.task, made.seed, made.commit) == (kind, "tabular", seed, "a commit")
    assert (made.p is None) == (kind == nulls.NIGHT) and made.cpu_seconds > 0
    assert not made.announced or made.p is None or made.p < LEVEL
