"""What the rows of imported logs say about edits becomes effects by role; a log that says nothing is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.imports.changes import ImportedRow, RoleNames, readings
from analysis.imports.effects import LearntLog, of_import
from analysis.study import open_study
from tests.analysis.imports.helpers import bring_in, repository
from tests.analysis.imports.samples import tsv
from trainer.task import Task

WORDS = tsv(
    "commit|val_bpb|memory_gb|status|description",
    "a1b2c3d|0.9979|44.0|keep|baseline",
    "b2c3d4e|0.9932|44.2|keep|increase LR 0.02 -> 0.04",
    "c3d4e5f|1.0050|44.0|discard|switch to GeLU activation",
    "d4e5f6a|0.0|0.0|crash|depth 8 -> 16 (OOM)",
    "e4e5f6a|NaN|44.0|DIVERGED|lr=0.2",
    "f4e5f6a|0.9900|44|keep|weight_decay from 0.1 to 0.2",
    "f4e5f6b|0.9850|44|discard|lr=0.06 and rewrite the data loader with prefetching threads",
)
COLUMNS = (
    "run,model,lr,batch_size,dropout,val_loss,notes\n1,small,0.001,64,0,2.1,baseline\n2,small,0.003,64,0,2.0,more\n"
    "3,small,0.01,64,0,nan,diverged\n4,small,0.003,128,0,2.02,batch\n5,large,0.003,256,0,1.5,another model\n"
    "6,large,0.003,64,0.1,1.4,nearest in settings is a small one\n"
)


def learnt(folder: Path, text: str, task: Task | None = None, name: str = "night/results.tsv") -> LearntLog:
    bring_in(folder, {name: text})
    with open_study(folder / "study") as con:
        [log] = of_import(con, task, "test")
    return log


def edits(log: LearntLog) -> list[tuple[Any, ...]]:
    return [(dict(e.edit), e.status, None if e.gain is None else round(e.gain, 2)) for e in log.effects]


def test_descriptions(tmp_path: Path) -> None:
    log = learnt(tmp_path, WORDS)
    start = {"learning_rate": 0.02, "depth": 8, "weight_decay": 0.1}
    assert log.effects[0].context == start and log.effects[3].context == start | {"learning_rate": 0.04}
    assert edits(log) == [
        ({}, "ok", 0.0), ({"learning_rate": 0.04}, "ok", 0.59), ({"depth": 16}, "crash", None),
        ({"learning_rate": 0.2}, "invalid", None), ({"weight_decay": 0.2}, "ok", 0.41),
    ]  # fmt: skip
    assert log.left_out == {"they do not say what they changed": 2}
    assert {(e.kind, e.task, e.hardware_class) for e in log.effects} == {("import", "night", "unknown")}


def test_columns_of_settings(tmp_path: Path) -> None:
    """Each row is compared with the nearest measured one, never with one of another model."""
    log = learnt(tmp_path, COLUMNS, name="night/results.csv")
    assert edits(log) == [
        ({}, "ok", 0.0), ({"learning_rate": 0.003}, "ok", 0.14), ({"learning_rate": 0.01}, "invalid", None),
        ({"batch_size": 128}, "ok", -0.03),
        ({"batch_size": 64, "dropout": 0.1}, "ok", 0.14),
    ]  # fmt: skip
    assert log.left_out == {"they also differ in something that has no role": 1}


def test_records_with_settings(tmp_path: Path) -> None:
    lines = [
        '{"commit": "a1", "val_loss": 2.0, "status": "keep", "settings": {"lr": 0.01, "depth": 4, "seed_of_data": 1}}',
        '{"commit": "a2", "val_loss": 1.8, "status": "keep", "settings": {"lr": 0.03, "depth": 4, "seed_of_data": 1}}',
        '{"commit": "a3", "val_loss": 1.7, "status": "keep", "settings": {"lr": 0.03, "depth": 8, "seed_of_data": 1}}',
    ]
    log = learnt(tmp_path, "\n".join(lines) + "\n", name="night/results.jsonl")
    assert [edit for edit, *_ in edits(log)] == [{}, {"learning_rate": 0.03}, {"depth": 8}]


def test_diffs_of_constants(tmp_path: Path) -> None:
    states = ["LR = 0.01\nDEPTH = 4\n", "LR = 0.03\nDEPTH = 4\n", "LR = 0.03\nDEPTH = 8\n",
              "import os\nLR = 0.03\nDEPTH = 16\n"]  # fmt: skip
    a, b, c, d = repository(tmp_path / "logs", states)
    log = learnt(tmp_path, tsv("commit|val_loss|status|description", f"{a}|2.0|keep|baseline", f"{b}|1.9|keep|tune",
                               f"{c}|1.8|keep|deeper", f"{d}|1.7|discard|more"), name="results.tsv")  # fmt: skip
    assert edits(log) == [({}, "ok", 0.0), ({"learning_rate": 0.03}, "ok", 0.5), ({"depth": 8}, "ok", 0.5)]
    assert log.effects[0].context == {"learning_rate": 0.01, "depth": 4}


def test_a_task_gives_roles_starting_values_and_its_name(tmp_path: Path) -> None:
    task = Task.load("tabular")
    knob = next(knob for knob in task.edits.knobs if knob.role == "learning_rate")
    text = tsv(f"commit|{task.metric}|status|description", "a1|2.0|keep|baseline", f"a2|1.5|keep|{knob.name}=0.25",
               "a3|1.4|keep|unheard_of=3")  # fmt: skip
    log = learnt(tmp_path, text, task)
    assert [(e.task_id, e.family) for e in log.effects] == 2 * [(task.task_id, "tabular")]
    assert log.effects[1].edit == {"learning_rate": 0.25}
    assert len(log.effects[1].context) > 3  # the untouched script's value of every role
    other = learnt(tmp_path / "other", text.replace(task.metric, "val_acc"), task)
    assert "is better" in other.problem or "metric is val_acc" in other.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (tsv("commit|val_loss|status|description", "a|2.0|keep|start", "b|1.9|keep|better init"), "no row says what"),
        (tsv("commit|val_loss|status|description", "a|2.0|keep|start", "b|1.9|keep|lr=0.1"), "from which values"),
        (
            tsv("commit|val_loss|status|description|settings", "a|2|keep|b|foo=1", "b|1|keep|x|foo=2"),
            "no role is known",
        ),
        (
            tsv("commit|val_loss|status|description", "a|2.0|keep|start", "b|2.9|discard|lr 0.1 -> 0.2"),
            "no row was better",
        ),
    ],
)
def test_a_log_that_does_not_say_it_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    log = learnt(tmp_path, text)
    assert problem in log.problem and not log.effects


def test_a_value_before_a_change_is_the_untouched_one_only_if_no_kept_row_changed_it(tmp_path: Path) -> None:
    task = Task.load("tabular")
    text = tsv(f"commit|{task.metric}|status|description", "a|1.0|keep|baseline", "b|0.9|keep|ETA=0.25",
               "c|0.8|keep|ETA 0.25 -> 0.5", "d|0.7|discard|ETA 0.1 -> 0.7")  # fmt: skip
    log = learnt(tmp_path, text, task)
    untouched = task.edits.config(task.baseline())["ETA"]
    assert [effect.context["learning_rate"] for effect in log.effects] == [untouched, untouched, 0.25]
    assert [edit for edit, *_ in edits(log)] == [{}, {"learning_rate": 0.25}, {"learning_rate": 0.5}]
    assert log.left_out == {"they start from another value than the last kept row has": 1}
    rounded = text.replace("ETA=0.25", "ETA 0.1 -> 0.253").replace("ETA 0.1 -> 0.7", "optimizer: heavy -> adam")
    assert [edit for edit, *_ in edits(learnt(tmp_path / "rounded", rounded, task))][1:3] == [
        {"learning_rate": 0.253}, {"learning_rate": 0.5}]  # fmt: skip
    without = learnt(tmp_path / "no task", text.replace("ETA", "lr"))
    assert "no row says from which values" in without.problem and not without.effects


def test_cells_that_are_not_understood_say_nothing() -> None:
    for cell, new in (
        ("lr=0.1, betas=(0.9, 0.95)", {"learning_rate": 0.1}), ("lr = 0.1 -> 0.2", None), ("lr=0.1 depth 4", None),
        ("lr=0,3 depth=4", None),
    ):  # fmt: skip
        changed = readings(RoleNames(None), [])[0](ImportedRow(1, extra={"settings": cell}))
        assert (None if changed is None else changed.new) == new, cell


@pytest.mark.parametrize(
    ("words", "new"),
    [
        ("lr=0.1, loss=0.9", {"learning_rate": 0.1}), ("lr=0.1: loss = 0.9.", {"learning_rate": 0.1}),
        ("lr=0.1 loss=huber", {"learning_rate": 0.1, "loss": "huber"}), ("lr=0.1, optimizer=3", None),
        ("lr=0.1 clip=1.0", {"learning_rate": 0.1, "gradient_clip": 1.0}),
        ("LR 0.02 -> 0.04", {"learning_rate": 0.04}), ("raise lr to 0.06", {"learning_rate": 0.06}),
        ("`lr=3e-4` `depth=12`", {"learning_rate": 3e-4, "depth": 12}),
        ("optimizer adamw -> muon", {"optimizer": "muon"}),
        ("batch_size from 64 to 128", {"batch_size": 128}), ("increase LR to 0.04", {"learning_rate": 0.04}),
        ("move the norm to 2 places", None), ("went from 3 to 4", None), ("switch to GELU", None),
        ("lr = 0.04 -> 0.08", {"learning_rate": 0.08}), ("raise lr=0.3->0.9", {"learning_rate": 0.9}),
        ("lr: `0.3` → `0.9`", {"learning_rate": 0.9}), ("lr = 0.3 to 0.9", {"learning_rate": 0.9}),
        ("set lr to 0.5.", {"learning_rate": 0.5}), ("lr=0.5.", {"learning_rate": 0.5}),
        ("lr => 0.7", {"learning_rate": 0.7}), ("exp 12: lr=0.1 (seed 3)", {"learning_rate": 0.1}),
        ("lr == 0.3", None), ("lr = 0.1 -> 0.2 -> 0.3", None), ("lr=0,3", None), ("lr to 10,000", None),
        ("lr to 0.2x", None), ("lr=1/3", None), ("lr=0.1 -> better", None), ("lr=0.1, then lr=0.3", None),
        ("lr=0.1 depth >= 4", None), ("lr=nan", None), ("context 128 -> 256, lr=0.1", None),
        ("lr=0.1, loss 2.0 -> 1.9", {"learning_rate": 0.1}), ("loss l1 -> mse", {"loss": "squared"}),
        ("optimizer = adamw -> muon", {"optimizer": "muon"}),
        ("lr=0.1 plus a new attention kernel with sparse masks", None), ("loss 2.0 -> 1.9", None),
    ],
)  # fmt: skip
def test_words(words: str, new: dict[str, Any] | None) -> None:
    changed = readings(RoleNames(None), [])[3](ImportedRow(1, description=words))
    assert (None if changed is None or changed.unknown else changed.new) == new


def test_a_measured_loss_is_no_setting() -> None:
    names = RoleNames(Task.load("tabular"))
    for loss, new in (("0.9", {}), ("huber", {"loss": "huber"}), ("0.9x", None)):
        changed = names.changed([("ETA", "0.25"), ("loss", loss)])
        assert (None if changed.unknown else changed.new) == (None if new is None else {"learning_rate": 0.25, **new})
    assert "optimizer" in names.changed([("optimizer", "3")]).unknown
