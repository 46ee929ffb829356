"""The built-in task tinylm: its baseline by hand and in a fork, every declared edit, causal logits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.shelf import executing, fixed_trainer, patches
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.task import Task

TASK = Task.load("tinylm")
PATCHES = patches(TASK)
MODEL_EDITS = [
    Edit(),
    Edit({"CTX": 64}),
    Edit({"CTX": 256, "HEADS": 1, "DROPOUT": 0.2}),
    *(Edit({}, (name,)) for name in PATCHES),
    Edit({"CTX": 32, "DEPTH": 1, "WIDTH": 96, "MLP_RATIO": 1, "ACTIVATION": "relu2"}, PATCHES),
]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Any:
    return executing(TASK, monkeypatch)


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


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    with fixed_trainer(TASK, tmp_path_factory.mktemp("tinylm")) as one:
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
