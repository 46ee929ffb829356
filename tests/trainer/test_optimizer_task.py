"""The built-in task optimizer: its problems, its network, its edits, and what a source may try in its sandbox."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.shelf import patches
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec, Trainer
from trainer.local import LocalLauncher
from trainer.streams import Streams
from trainer.task import Task

TASK = Task.load("optimizer")
FEW = 10 / TASK.steps
PATCHES = patches(TASK)


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[Any, Any]]:
    """The task's own data.py and model.py, which know each other by these names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TASK.folder))
        for name in ("data", "model"):
            patch.delitem(sys.modules, name, raising=False)
        import data  # type: ignore[import-not-found]
        import model  # type: ignore[import-not-found]

        yield data, model
        for name in ("data", "model"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def store(session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> DataStore:
    return DataStore(TASK, Streams.from_seed(1), tmp_path_factory.mktemp("optimizer"))


@pytest.fixture
def trainer(store: DataStore, launcher: LocalLauncher) -> Trainer:
    return Trainer(TASK, store, launcher=launcher)


def changed(old: str, new: str) -> str:
    text = TASK.baseline().text()
    assert text.count(old) == 1
    return text.replace(old, new)


def run(trainer: Trainer, text: str, fraction: float = FEW) -> Outcome:
    return trainer.run(Spec(TASK.baseline().with_text("train.py", text), 5, fraction=fraction))


# ---- data and network --------------------------------------------------------------------------------------------
def test_a_seed_means_the_same_bytes_everywhere(modules: tuple[Any, Any]) -> None:
    inputs, targets = modules[0].draw(7, rows=100)
    assert inputs.shape == (100, 48) and inputs.dtype == np.float32
    assert hashlib.sha256(inputs.tobytes() + targets.astype("<i8").tobytes()).hexdigest()[:16] == "a3cc4785733dd9b8"


def test_sums_are_exact(modules: tuple[Any, Any]) -> None:
    """All sums of the generator are of integers below 2**53: BLAS may take them in any order."""
    data, _ = modules
    calls = [node for node in ast.walk(ast.parse((TASK.folder / "data.py").read_text())) if isinstance(node, ast.Call)]
    names = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert not names & {"sin", "cos", "exp", "log", "sqrt", "normal", "standard_normal", "default_rng"}
    largest = (2 * 63) * 64 * 14 * data.FEATURES, ((2 * 63) * 14 * data.FEATURES) * 14 * data.HIDDEN
    assert max(largest) < 2**53


def test_problems_of_different_seeds_differ(modules: tuple[Any, Any], tmp_path: Path) -> None:
    data, _ = modules
    first, second = data.draw(3, rows=2000), data.draw(4, rows=2000)
    assert not set(map(bytes, first[0])) & set(map(bytes, second[0]))
    often = [np.bincount(targets, minlength=data.CLASSES).argsort()[-5:].tolist() for _, targets in (first, second)]
    assert often[0] != often[1]
    data.make("train", 1, tmp_path)
    assert not list(tmp_path.iterdir())  # a candidate gets no rows


def test_gradients_are_those_of_the_loss(modules: tuple[Any, Any]) -> None:
    data, model = modules
    inputs, targets = data.draw(5, rows=300)
    network = model.Network(inputs.astype(np.float64), targets, 256, data.CLASSES, 1)
    weights = [one.astype(np.float64) for one in network.weights()]
    rows = network._rows(0)
    network._rows = lambda step: rows  # the same rows each time

    def loss() -> float:
        logits = network._forward(weights, network.inputs[rows])[-1]
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(rows)), targets[rows]]).mean())

    found = network.gradients(0, weights)
    for array, gradient in zip(weights, found, strict=True):
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        kept = array[place]
        around = []
        for moved in (kept + 1e-5, kept - 1e-5):
            array[place] = moved
            around.append(loss())
        array[place] = kept
        assert (around[0] - around[1]) / 2e-5 == pytest.approx(gradient[place], rel=1e-5)


def test_each_row_once_before_any_comes_again(modules: tuple[Any, Any]) -> None:
    data, model = modules
    network = model.Network(*data.draw(5, rows=1100), 1024, data.CLASSES, 1)
    seen = np.concatenate([network._rows(step) for step in range(8)])
    assert sorted(seen.tolist()) == list(range(1024))
    assert not np.array_equal(np.concatenate([network._rows(step) for step in range(8, 16)]), seen)


# ---- edits -------------------------------------------------------------------------------------------------------
# ---- experiments -------------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_bits(trainer: Trainer, store: DataStore, launcher: LocalLauncher) -> None:
    fixed = Trainer(TASK, store, launcher=launcher, fixed_steps=True)
    spec = Spec(TASK.baseline(), seed=5, fraction=0.25)
    first, second = trainer.run(spec), fixed.run(spec)
    assert first.status == "ok", first.reason
    assert first.steps == second.steps == TASK.steps / 4 and first.metric == second.metric
    assert first.metric is not None and 2.0 < first.metric < 3.0


def test_a_part_of_the_budget_is_a_part_of_the_steps(trainer: Trainer) -> None:
    """The number of steps is told to the optimizer, and the trusted side takes no other."""
    check = "        assert step < steps == (2 if len(shapes) == 6 else 40)\n"  # 6 arrays: the rehearsal
    told = changed("        rate =", check + "        rate =")
    outcome = run(trainer, told, fraction=0.1)
    assert outcome.status == "ok" and outcome.steps == 40, outcome.reason


def test_all_patches_together_train(trainer: Trainer) -> None:
    outcome = trainer.run(Spec(TASK.edits.apply(TASK.baseline(), Edit({}, PATCHES)), seed=5, fraction=FEW))
    assert outcome.status == "ok", outcome.reason


def test_a_mistake_is_told_with_its_text(trainer: Trainer) -> None:
    outcome = run(trainer, changed("        rate =", "        1 / 0\n        rate ="))
    assert outcome.status == "crash" and "ZeroDivisionError" in outcome.reason


# ---- cheats, in the real sandbox ---------------------------------------------------------------------------------
LATER = "        if step == 3 and len(shapes) == 8:\n"  # not in the rehearsal, whose text is heard


@pytest.mark.exploit(2)
def test_no_rows_are_to_be_found(trainer: Trainer) -> None:
    """All files, all of its memory's objects: no array with the rows of a problem, and none of the task's modules."""
    search = (
        LATER
        + """
            import gc, os, sys
            for folder, folders, names in os.walk("/"):
                if "os.py" in names or folder in ("/usr", "/lib", "/proc", "/sys"):
                    folders.clear()  # the system and the interpreter
                found = [name for name in names if name in ("inputs.npy", "targets.npy", "data.py", "model.py")]
                assert not [name for name in found if name.endswith(".npy") or "optimizer" in folder], "found"
            assert not os.path.exists("/proc/self/mem")
            assert "model" not in sys.modules and "data" not in sys.modules
            assert not [one for one in gc.get_objects() if isinstance(one, np.ndarray) and one.size > 20000], "rows"
"""
    )
    outcome = run(trainer, changed("        rate =", search + "        rate ="))
    assert outcome.status == "ok", outcome.reason
    harmless = run(trainer, TASK.baseline().text())
    assert outcome.metric == harmless.metric


@pytest.mark.exploit(2)
def test_gradients_cannot_be_told(trainer: Trainer) -> None:
    """They are of hidden rows, so what is printed or raised beside them is dropped: no weights travel to a source."""
    outcome = run(trainer, changed("        rate =", LATER + "            print('canary')\n        rate ="))
    assert outcome.status == "ok" and "canary" not in outcome.log
    raised = LATER + "            raise ValueError('canary')\n        rate ="
    outcome = run(trainer, changed("        rate =", raised))
    assert outcome.status == "invalid" and "canary" not in outcome.reason + outcome.log


@pytest.mark.exploit(14)
def test_an_optimizer_that_works_longer_pays(trainer: Trainer) -> None:
    """What it could do with remembered gradients, it does on its own bill, up to the hard line."""
    burn = LATER + "            import time\n            end = time.process_time() + {}\n"
    burn += "            while time.process_time() < end: pass\n        rate ="
    outcome = run(trainer, changed("        rate =", burn.format(0.3)))
    assert outcome.status == "ok" and outcome.device_seconds > 0.3
    outcome = run(trainer, changed("        rate =", burn.format(1e9)))
    assert outcome.status == "timeout" and outcome.device_seconds > TASK.hard_line()


@pytest.mark.exploit(22)
def test_weights_of_another_problem_are_worth_nothing(modules: tuple[Any, Any], tmp_path: Path) -> None:
    """A source may carry weights that were trained by hand, on the public problem: another seed is another problem."""
    data, _ = modules
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        inputs, targets = data.draw(seed)
        np.save(tmp_path / str(seed) / "inputs.npy", inputs)
        np.save(tmp_path / str(seed) / "targets.npy", targets)
    first, second = (data.problem(tmp_path / str(seed), 1) for seed in (1, 2))
    weights = first.weights()
    for step in range(125):
        weights = [w - np.float32(0.5) * g for w, g in zip(weights, first.gradients(step, weights), strict=True)]
    assert first.score(weights) < first.guess - 1.0
    assert second.score(weights) > second.guess - 0.2


def test_rows_cannot_be_read_off_a_gradient(modules: tuple[Any, Any]) -> None:
    """A gradient mixes its 128 rows: no direction of it is a row. What does leak are sums, as how often classes are."""
    data, model = modules
    network = model.Network(*data.draw(6, rows=2048), 1792, data.CLASSES, 1)
    weights = network.weights()
    gradients = network.gradients(0, weights)
    rows = network.inputs[network._order[: model.BATCH]]
    units = (gradients[0] / np.linalg.norm(gradients[0], axis=0)).T  # what each hidden unit was shown
    alike = np.abs(units @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)
    strangers = network.inputs[1792:]
    others = np.abs(units @ (strangers / np.linalg.norm(strangers, axis=1, keepdims=True)).T)
    assert np.median(alike.max(axis=1)) < np.median(others.max(axis=1)) + 0.1 and alike.max() < 0.995
    often = np.bincount(network.targets[network._order[: model.BATCH]], minlength=data.CLASSES)
    assert np.corrcoef(-gradients[-1], often)[0, 1] > 0.95
