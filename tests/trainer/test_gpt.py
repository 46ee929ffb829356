"""The built-in task gpt at toy size: every edit applies, trains and streams, and nothing breaks the graph."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.shelf import by_hand, check_language_model, check_repeats, executing, module_of, patches
from trainer import gpus
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task

FOLDER = Task.load("gpt").folder
TASK = Task.load("gpt")
PATCHES = patches(TASK)
MODEL_EDITS = [
    Edit(),
    Edit({"CTX": 256}),
    Edit({"CTX": 1024, "HEADS": 4, "DROPOUT": 0.1}),
    *(Edit({}, (name,)) for name in PATCHES),
    Edit({"DEPTH": 2, "WIDTH": 1536, "HEADS": 16, "ACTIVATION": "relu2"}, PATCHES),
]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Any:
    return executing(TASK, monkeypatch)


def test_knobs_keep_shapes_that_a_gpu_likes() -> None:
    values = {knob.name: knob.values for knob in TASK.edits.knobs}
    assert all(width % 128 == 0 for width in values["WIDTH"])
    assert all(width // heads % 16 == 0 for width in values["WIDTH"] for heads in values["HEADS"])
    assert TASK.scoring["classes"] % 128 == 0


@pytest.mark.parametrize("edit", MODEL_EDITS, ids=lambda edit: edit.label())
def test_logits_are_causal_at_any_length_and_agree_with_steps(executed: Any, tmp_path: Path, edit: Edit) -> None:
    names = executed(TASK.edits.apply(TASK.baseline(), edit))
    check_language_model(names, tmp_path / "checkpoint.pt", classes=1024, length=70, change=50, lengths=(1, 33, 50))


@pytest.mark.slow
@pytest.mark.parametrize("edit", [Edit(), *(Edit({}, (name,)) for name in PATCHES), Edit({}, PATCHES)], ids=Edit.label)
def test_the_loss_is_one_graph_that_is_made_once(executed: Any, edit: Edit) -> None:
    """As torch.compile sees it: no break, no second graph for another batch. What its kernels cost, a GPU tells."""
    import torch
    from torch._dynamo.testing import CompileCounter

    names = executed(TASK.edits.apply(TASK.baseline(), edit))
    model, counter = names["GPT"](), CompileCounter()
    loss = torch.compile(names["loss_of"], backend=counter, fullgraph=True, dynamic=False)
    for seed in (1, 2, 3):
        rows = torch.randint(1024, (2, 33), generator=torch.Generator().manual_seed(seed))
        value = loss(model, rows)
        value.backward()
        assert value.item() == pytest.approx(names["loss_of"](model, rows).item(), rel=1e-5)
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        model.zero_grad()
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_muon_s_directions_are_near_orthogonal(executed: Any) -> None:
    import torch

    names = executed(TASK.edits.apply(TASK.baseline(), Edit({}, ("muon",))))
    for shape in ((3, 64, 64), (2, 256, 64), (2, 64, 256)):
        found = torch.linalg.svdvals(names["orthogonal"](torch.randn(shape)))
        assert found.min() > 0.3 and found.max() < 1.3
    model = names["GPT"]()
    muon, *rest = [names["Muon"](names["matrices"](model)), *names["build_optimizers"](model)]
    held = [sum(p.numel() for g in one.param_groups for p in g["params"]) for one in (muon, *rest)]
    assert sum(held) == sum(p.numel() for p in model.parameters()), "each weight has one optimizer"


SIZES = """
import json, sys, torch, prepare, train
compiler = "torch._dynamo" in sys.modules
with torch.device("meta"):
    parameters = sum(p.numel() for p in train.GPT().parameters())
print(json.dumps([parameters, train.width, train.depth, train.context, train.rows_at_once * train.parts, compiler]))
print(prepare.BUDGET, prepare.HALF, torch.cuda.is_initialized())
"""


@pytest.mark.slow
def test_on_a_gpu_it_has_its_full_size_and_is_read_without_the_compiler() -> None:
    """As it is read there, up to its first word to CUDA. (Tensors on meta load the compiler themselves.)"""
    environment = {**os.environ, "METALOOP_TRAIN_DEVICE": "cuda"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", SIZES], cwd=FOLDER, env=environment, capture_output=True, text=True, check=True
    )
    sizes, rest = done.stdout.splitlines()
    parameters, *others, compiler = json.loads(sizes)
    assert 45e6 < parameters < 60e6 and others == [1024, 4, 512, 512] and compiler is False
    assert rest == "300.0 torch.bfloat16 False"


def test_peaks_go_by_the_name_of_the_device(executed: Any) -> None:
    peak = module_of(TASK, "prepare").peak_of
    assert peak("NVIDIA H100 80GB HBM3") == peak("NVIDIA H200") == peak("NVIDIA GH200 480GB") == 989
    assert peak("NVIDIA H100 PCIe") == 756 and peak("NVIDIA H100 NVL") == 835
    assert peak("NVIDIA A100-SXM4-80GB") == 312 and peak("NVIDIA GeForce RTX 4090") == 165
    assert peak("NVIDIA L40S") == 362 and peak("NVIDIA A10") == 125
    for unknown in ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4090 Laptop GPU", "Tesla T4"):
        assert peak(unknown) is None


def test_a_loss_that_is_no_number_ends_the_run(executed: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import torch

    monkeypatch.setenv("METALOOP_TRAIN_STEPS", "20")
    prepare = module_of(TASK, "prepare")
    for _ in range(2):
        assert not prepare.clock.done()
        prepare.note(torch.tensor(2.5))
    assert re.fullmatch(r"10%: step 2, loss 2.5000, [\d.]+ s\n", capsys.readouterr().out)
    prepare.note(torch.tensor(math.nan))
    assert not prepare.clock.done() and not prepare.clock.done()
    with pytest.raises(FloatingPointError, match="nan after 4 steps"):
        prepare.note(torch.tensor(math.nan))


def test_nothing_is_claimed_for_a_gpu_that_was_not_measured() -> None:
    card = json.loads((FOLDER / "card.json").read_text()) if (FOLDER / "card.json").is_file() else None
    assert card is None or card["hardware_class"].startswith(("cpu:", "gpu:"))
    if TASK.device == "gpu" and TASK.card is not None:
        assert TASK.card["hardware_class"].startswith("gpu:")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task with little data, so that no test makes 200 MB."""
    folder = tmp_path_factory.mktemp("gpt") / "task"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__", "card.json"))
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace("megabytes = 300 ", "megabytes = 3 "))
    return folder


@pytest.fixture(scope="module")
def trainer(small: Path) -> Iterator[Trainer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_CACHE", str(small.parent / "cache"))
        patch.setenv(gpus.VARIABLE, "cpu")
        task = Task.load(small)
        with Trainer(task, DataStore(task, Streams.from_seed(1), small.parent), fixed_steps=True) as one:
            yield one


@pytest.mark.slow
def test_fixed_steps_repeat_above_the_floor_and_streams_confirm_them(trainer: Trainer) -> None:
    check_repeats(trainer, TASK.baseline())
    assert (trainer.data.train() / "train.bin").stat().st_size < 3e6


@pytest.mark.slow
def test_all_patches_together_train_and_stream(trainer: Trainer) -> None:
    edit = Edit({"BATCH": 64, "CTX": 256, "DEPTH": 2, "LR": 0.002}, PATCHES)
    source = TASK.edits.apply(TASK.baseline(), edit)
    outcome = trainer.run(Spec(source, seed=5, stream="confirmation", fraction=0.3))
    assert (outcome.status, outcome.findings) == ("ok", ()), outcome.reason


@pytest.mark.slow
def test_runs_by_hand_and_prints_its_summary(small: Path, tmp_path: Path) -> None:
    told = by_hand(small / "train.py", tmp_path, METALOOP_TRAIN_DEVICE="cpu")
    keys = [line.partition(":")[0] for line in told.splitlines() if not line[0].isdigit()]
    assert keys == [
        "val_bpb", "train_bpb", "training_seconds", "total_seconds", "total_tokens_M", "epochs", "num_steps",
        "num_params_M", "depth", "device", "seed",
    ]  # fmt: skip
    assert "num_steps: 3\n" in told and "device: cpu (toy sizes)\n" in told
    assert (tmp_path / "checkpoint.pt").stat().st_size > 0


@pytest.mark.slow
def test_bench_goes_the_whole_way_on_the_toy_and_says_so(small: Path, tmp_path: Path) -> None:
    environment = os.environ | {"METALOOP_CACHE": str(small.parent / "cache")}
    command = [sys.executable, "-m", "bench.gpt", "--toy", "-n", "1", "--seconds", "0.5", "--task", str(small)]
    command += ["--write", str(tmp_path / "found.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("toy ") for line in done.stdout.splitlines()[6:])
    told = json.loads((tmp_path / "found.json").read_text())
    assert told["toy"] is True and told["surroundings"]["hardware"].startswith("cpu:")
    assert told["warm"].keys() == told["cold"].keys() and "mfu_percent" not in told["warm"]
    assert told["warm"]["outside"] == pytest.approx(told["warm"]["charged"] - told["warm"]["training"])


def test_bench_without_a_gpu_says_one_line() -> None:
    environment = os.environ | {gpus.VARIABLE: "cpu"}
    command = [sys.executable, "-m", "bench.gpt"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no GPU: ") and done.stderr.count("\n") == 1
