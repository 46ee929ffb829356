"""The built-in task gpt at the small sizes of a CPU: its text, and that every edit of it trains."""

from __future__ import annotations

import contextlib
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from programs.common.errors import EnvironmentProblem
from tests.trainer.shelf import executing, module_of, patches
from trainer import gpu
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task

TASK = Task.load("gpt")


def trained(edit: Edit, steps: int) -> dict[str, str]:
    """What the edited source prints after some steps, started in this process."""
    source = TASK.edits.apply(TASK.baseline(), edit)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("METALOOP_TRAIN_STEPS", str(steps))
        executing(TASK, patch)(source)["main"]()
    return dict(re.findall(r"^(\w+): (.+)$", printed.getvalue(), re.MULTILINE))


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("METALOOP_TRAIN_DEVICE", "cpu")
    return module_of(TASK, "prepare")


def test_it_is_a_command_that_prints_its_metric_and_needs_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TASK.run is not None and TASK.scales and TASK.device == "gpu" and len(patches(TASK)) == 12
    monkeypatch.setenv(gpu.VARIABLE, "cpu")
    with pytest.raises(EnvironmentProblem, match="needs a GPU"):
        Trainer(TASK, DataStore(TASK, Streams.from_seed(1), tmp_path))


def test_text_is_the_same_each_time_and_differs_between_splits(prepare: Any) -> None:
    torch, rows = prepare.torch, prepare.text.__wrapped__(1, 8, 400)
    assert torch.equal(rows, prepare.text.__wrapped__(1, 8, 400))
    assert torch.equal(rows[:3, :50], prepare.text.__wrapped__(1, 3, 50)), "a larger text begins with a smaller one"
    both = torch.cat((rows, prepare.text.__wrapped__(2, 8, 400)))
    assert len(both.unique(dim=0)) == 16 and both.unique().numel() > 150
    assert rows[0, :8].tolist() == [90, 154, 0, 0, 129, 0, 19, 223], "another text: results do not compare with earlier"


@pytest.mark.slow
def test_score_of_uniform_model_is_8_bits_and_training_beats_it(prepare: Any) -> None:
    uniform = prepare.validate(lambda inputs: prepare.torch.zeros(*inputs.shape, 256))
    assert uniform == pytest.approx(8.0, abs=1e-5)
    told = trained(Edit({"LR": 0.003}), 40)
    assert list(told) == [
        "val_bpb", "training_seconds", "startup_seconds", "total_seconds", "tokens_per_second", "num_steps",
        "num_params_M", "device",
    ]  # fmt: skip
    assert 1.5 < float(told["val_bpb"]) < 7.2 and told["num_steps"] == "40"


@pytest.mark.parametrize("names", [*((name,) for name in patches(TASK)), patches(TASK)], ids="+".join)
def test_each_patch_and_all_together_train(names: tuple[str, ...]) -> None:
    assert math.isfinite(float(trained(Edit({}, names), 3)["val_bpb"]))


def test_muon_s_directions_are_near_orthogonal(monkeypatch: pytest.MonkeyPatch) -> None:
    names = executing(TASK, monkeypatch)(TASK.edits.apply(TASK.baseline(), Edit({}, ("muon",))))
    torch = names["torch"]
    for shape in ((3, 64, 64), (2, 256, 64), (2, 64, 256)):
        found = torch.linalg.svdvals(names["orthogonal"](torch.randn(shape)))
        assert found.min() > 0.3 and found.max() < 1.3


def test_a_loss_that_is_no_number_ends_the_run(prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "STEPS", 2)
    assert not prepare.clock.done()
    with pytest.raises(FloatingPointError, match="nan after 1 steps"):
        prepare.note(prepare.torch.tensor(math.nan))


@pytest.mark.slow
def test_experiment_is_one_command_with_a_part_of_the_budget(tmp_path: Path) -> None:
    task = replace(TASK, device="cpu", budget_seconds=5.0)
    with Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path)) as trainer:
        outcome = trainer.run(Spec(task.baseline(), 1, fraction=0.1))
    assert outcome.status == "ok" and outcome.metric is not None and 1.5 < outcome.metric < 8.0, outcome.reason
    assert outcome.trust == "self-reported"
    seconds = re.search(r"training_seconds: ([\d.]+)", outcome.log)
    assert seconds is not None and 0.5 <= float(seconds[1]) < 8.0, outcome.log  # one step may take seconds more
