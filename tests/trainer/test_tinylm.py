"""The built-in task tinylm: its baseline by hand and in a fork, every declared edit, causal logits."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

TASK = Task.load("tinylm")
PATCHES = tuple(knob.name for knob in TASK.edits.knobs if knob.kind == "patch")
MODEL_EDITS = [
    Edit(),
    Edit({"CTX": 64}),
    Edit({"CTX": 256, "HEADS": 1, "DROPOUT": 0.2}),
    *(Edit({}, (name,)) for name in PATCHES),
    Edit({"CTX": 32, "DEPTH": 1, "WIDTH": 96, "MLP_RATIO": 1, "ACTIVATION": "relu2"}, PATCHES),
]


def single_edits() -> list[Edit]:
    """Every declared value that is not the baseline's, and every patch, each as one edit."""
    config = TASK.edits.config(TASK.baseline())
    edits = []
    for knob in TASK.edits.knobs:
        for value in knob.values:
            if value != config[knob.name]:
                edits.append(Edit({}, (knob.name,)) if knob.kind == "patch" else Edit({knob.name: value}))
    return edits


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Executes a train.py beside the task's own prepare.py, without training; returns its globals."""
    monkeypatch.setenv("METALOOP_TRAIN_DEVICE", "cpu")
    spec = importlib.util.spec_from_file_location("prepare", TASK.folder / "prepare.py")
    assert spec and spec.loader
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    monkeypatch.setitem(sys.modules, "prepare", prepare)

    def execute(source: Source) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "candidate"}
        exec(compile(source.text(), "train.py", "exec"), names)
        return names

    return execute


def test_every_declared_edit_gives_source_that_compiles() -> None:
    sources = [TASK.edits.apply(TASK.baseline(), edit) for edit in single_edits()]
    for source in sources:
        compile(source.text(), "train.py", "exec")
    assert len({source.source_id for source in sources} - {TASK.baseline().source_id}) == len(sources)


def test_all_patches_go_together_in_any_order() -> None:
    one = TASK.edits.apply(TASK.baseline(), Edit({}, PATCHES))
    assert one == TASK.edits.apply(TASK.baseline(), Edit({}, PATCHES[::-1]))
    assert all(TASK.edits.config(one)[name] is True for name in PATCHES)


def test_knobs_hold_the_baseline_s_value_and_are_not_too_many() -> None:
    config = TASK.edits.config(TASK.baseline())
    assert all(config[knob.name] in knob.values for knob in TASK.edits.knobs)
    assert 16 <= len(TASK.edits.knobs) <= 20
    assert len({knob.group for knob in TASK.edits.knobs}) >= 4


@pytest.mark.parametrize("edit", MODEL_EDITS, ids=lambda edit: edit.label())
def test_logits_are_causal_at_any_length_and_agree_with_steps(executed: Any, tmp_path: Path, edit: Edit) -> None:
    import torch

    names = executed(TASK.edits.apply(TASK.baseline(), edit))
    trained = names["GPT"]()
    with torch.no_grad():  # no weight may be zero, or a path through it would go unseen
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    torch.save(trained.state_dict(), tmp_path / "checkpoint.pt")
    model = names["load"](str(tmp_path / "checkpoint.pt"))
    rows = torch.randint(189, (2, 256), generator=torch.Generator().manual_seed(1))
    changed = rows.clone()
    changed[:, 150] = (changed[:, 150] + 1) % 189
    before, after = names["logits"](model, rows), names["logits"](model, changed)
    assert before.shape == (2, 256, 189)
    assert torch.allclose(before[:, :150], after[:, :150], atol=1e-5)
    assert not torch.allclose(before[:, 150], after[:, 150], atol=1e-5)
    for length in (1, 33, 100, 150):
        shorter = names["logits"](model, rows[:, :length])
        assert torch.allclose(shorter, before[:, :length], atol=1e-4)
    past, stepwise = None, []
    for place in range(256):
        found, past = names["step"](model, past, rows[:, place])
        stepwise.append(found)
    assert torch.allclose(torch.stack(stepwise, 1), before, atol=1e-4)


def test_card_shows_headroom_and_resolution() -> None:
    card = TASK.card
    assert card is not None and card["task_id"] == TASK.task_id, "measure the task anew"
    assert card["baseline"]["n"] >= 4
    assert card["headroom"]["gain_sd"] >= 15
    assert card["resolved_share"] >= 1 / 3
    assert 0 < card["floor"] < card["headroom"]["metric"] < card["baseline"]["mean"]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    root = tmp_path_factory.mktemp("tinylm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_CACHE", str(root / "cache"))
        with Trainer(TASK, DataStore(TASK, Streams.from_seed(1), root), fixed_steps=True) as one:
            yield one


@pytest.mark.slow
def test_fixed_steps_give_the_same_metric_twice_above_the_floor(trainer: Trainer) -> None:
    spec = Spec(TASK.baseline(), seed=5, fraction=0.3)
    first, second = trainer.run(spec), trainer.run(spec)
    assert first.status == "ok", first.reason
    assert first.steps == round(0.3 * TASK.steps)
    assert first.metric == second.metric
    floor = json.loads((trainer.data.split("search") / "floor.json").read_text())["bits_per_byte"]
    assert first.metric is not None and floor < first.metric < 3.5


@pytest.mark.slow
def test_streams_confirm_what_chunks_score(trainer: Trainer) -> None:
    outcome = trainer.run(Spec(TASK.baseline(), seed=5, stream="confirmation", fraction=0.3))
    assert outcome.status == "ok", outcome.reason
    assert outcome.trust == ("verified" if trainer.launcher.sandboxed else "unverified")
    assert outcome.findings == ()
    assert outcome.metric == trainer.run(Spec(TASK.baseline(), seed=5, stream="confirmation", fraction=0.3)).metric


@pytest.mark.slow
def test_all_patches_together_train(trainer: Trainer) -> None:
    edit = Edit({"BATCH": 4, "CTX": 32, "DEPTH": 1, "LR": 0.003}, PATCHES)
    outcome = trainer.run(Spec(TASK.edits.apply(TASK.baseline(), edit), seed=5))
    assert outcome.status == "ok", outcome.reason


@pytest.mark.slow
def test_runs_by_hand(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("METALOOP_")}
    environment |= {"METALOOP_CACHE": str(tmp_path), "METALOOP_TRAIN_STEPS": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(TASK.folder / "train.py")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "steps: 3\n" in done.stdout and "val_bpb: " in done.stdout
    assert (tmp_path / "checkpoint.pt").stat().st_size > 0
