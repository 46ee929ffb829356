"""The built-in task microgpt: right gradients, causal logits, every declared edit, no torch anywhere."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trainer.shelf import by_hand, executing, fixed_trainer, patches
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.inside import serving
from trainer.local import LocalLauncher
from trainer.outcome import Outcome
from trainer.source import Source
from trainer.task import Task

TASK = Task.load("microgpt")
PATCHES = patches(TASK)
SMALL = {"CTX": 8, "BATCH": 2, "WIDTH": 8, "HEADS": 2}
MODEL_EDITS = [
    Edit(SMALL),
    *(Edit(SMALL, (name,)) for name in PATCHES),
    *(Edit({**SMALL, "ACTIVATION": name}) for name in ("relu", "relu2", "silu")),
    Edit({**SMALL, "DEPTH": 2, "HEADS": 1, "MLP_RATIO": 1}, PATCHES),
]
BEFORE = "import sys\nassert not {'torch', 'numpy'} & set(sys.modules), sorted(sys.modules)\n"


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Edit], dict[str, Any]]:
    run = executing(TASK, monkeypatch)

    def execute(edit: Edit) -> dict[str, Any]:
        names = run(TASK.edits.apply(TASK.baseline(), edit))
        random.seed(1)
        names["INIT_SD"] = 0.3  # no path through a weight may go unseen
        return names

    return execute


def symbols(count: int) -> list[int]:
    chosen = random.Random(2)
    return [chosen.randrange(21) for _ in range(count)]


@pytest.mark.parametrize("edit", MODEL_EDITS, ids=lambda edit: edit.label())
def test_gradients_are_what_small_differences_say(executed: Callable[[Edit], Any], edit: Edit) -> None:
    names = executed(edit)
    model, (inputs, targets) = names["build"](), names["batch"](bytes([0, *symbols(200), 0] * 2))
    names["Tape"].on = True
    names["cross_entropy"](names["forward"](model, inputs), targets)
    names["backward"]()
    names["Tape"].on = False

    def loss() -> float:
        scores = names["forward"](model, inputs)
        value: float = names["cross_entropy"](scores, targets)
        if "smooth" not in edit.apply:
            return value
        spread = [sum(row) / 21 - row[target] for row, target in zip(scores.rows, targets, strict=True)]
        return value - 0.1 * sum(spread) / len(targets)

    for name, weight in model.items():
        for _ in range(4):
            row, column = random.randrange(len(weight.rows)), random.randrange(len(weight.rows[0]))
            kept, found = weight.rows[row][column], []
            for change in (1e-5, -1e-5):
                weight.rows[row][column] = kept + change
                found.append(loss())
            weight.rows[row][column] = kept
            assert weight.grad[row][column] == pytest.approx((found[0] - found[1]) / 2e-5, abs=1e-8), name


@pytest.mark.parametrize("edit", MODEL_EDITS, ids=lambda edit: edit.label())
def test_logits_are_causal_at_any_length_and_agree_with_steps(
    executed: Callable[[Edit], Any], edit: Edit, tmp_path: Path
) -> None:
    names = executed(edit)
    (tmp_path / "checkpoint").write_text(json.dumps({name: one.rows for name, one in names["build"]().items()}))
    model = names["load"](str(tmp_path / "checkpoint"))
    rows = [symbols(21), symbols(42)[21:]]
    changed = [[*row[:11], (row[11] + 1) % 21, *row[12:]] for row in rows]
    before, after = names["logits"](model, rows), names["logits"](model, changed)
    assert [len(row) for row in before] == [21, 21] and len(before[0][0]) == 21
    assert [row[:11] for row in before] == [row[:11] for row in after]
    assert all(row[11] != other[11] for row, other in zip(before, after, strict=True))
    assert names["logits"](model, [row[:13] for row in rows]) == [row[:13] for row in before]
    past, stepwise = None, []
    for place in range(21):
        found, past = names["step"](model, past, [row[place] for row in rows])
        stepwise.append(found)
    for at, row in enumerate(before):
        for place, expected in enumerate(row):
            assert stepwise[place][at] == pytest.approx(expected, abs=1e-12)
    assert names["Tape"].made == []


def test_files_import_the_standard_library_alone() -> None:
    for name in ("train.py", "prepare.py"):
        lines = [line.split() for line in (TASK.folder / name).read_text().splitlines()]
        imported = {words[1].partition(".")[0] for words in lines if words[:1] in (["import"], ["from"])}
        assert imported - {"prepare", "data"} <= sys.stdlib_module_names, name


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    with fixed_trainer(TASK, tmp_path_factory.mktemp("microgpt")) as one:
        yield one


def few(trainer: Trainer, source: Source, stream: Any = "search") -> Outcome:
    return trainer.run(Spec(source, seed=5, stream=stream, fraction=0.1))


def changed(start: str = "", main: str = "", old: str = "", new: str = "") -> Source:
    """The baseline with code before it, code at the start of main, or one text for another."""
    source = TASK.baseline()
    text = source.text().replace("def main():\n", f"def main():\n    {main}\n" if main else "def main():\n", 1)
    assert not old or text.count(old) == 1
    return source.with_text("train.py", start + (text.replace(old, new) if old else text))


def test_neither_training_nor_scoring_starts_with_torch_or_numpy(trainer: Trainer) -> None:
    for stream in ("search", "confirmation"):
        outcome = few(trainer, changed(start=BEFORE), stream)
        assert (outcome.status, outcome.findings) == ("ok", ()), outcome.reason
        assert outcome.trust == ("verified" if stream == "confirmation" else "scored")


def test_fixed_steps_give_the_same_metric_twice_above_the_floor(trainer: Trainer) -> None:
    first, second = few(trainer, TASK.baseline()), few(trainer, TASK.baseline())
    assert first.status == "ok" and first.steps == 4, first.reason
    assert first.metric == second.metric
    floor = json.loads((trainer.data.split("search") / "floor.json").read_text())["bits_per_byte"]
    assert first.metric is not None and floor < first.metric < 5.0


def test_a_launcher_with_torch_gives_the_same_metric(
    trainer: Trainer, launcher: LocalLauncher, session_cache: Path
) -> None:
    """One worker holds both kinds of templates; which one it was does not show in the score."""
    warm = Trainer(TASK, trainer.data, launcher=launcher, fixed_steps=True)
    assert few(warm, TASK.baseline()).metric == few(trainer, TASK.baseline()).metric
    assert launcher.libraries == "torch" and isinstance(trainer.launcher, LocalLauncher)
    assert trainer.launcher.libraries == "standard"
    with_more = trainer.another(1)
    assert isinstance(with_more.launcher, LocalLauncher) and with_more.launcher.libraries == "standard"
    with_more.close()


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_the_sandbox_has_no_packages(trainer: Trainer, name: str) -> None:
    """Else the best edit would be to import NumPy, which teaches nothing about research."""
    search = "import glob, sys; sys.path += glob.glob('/*/*/*-packages') + glob.glob('/*/*/*/*/*/*/*-packages')"
    outcome = few(trainer, changed(main=f"{search}; import {name}"))
    assert outcome.status == "crash"
    assert outcome.reason.startswith(f"ModuleNotFoundError: No module named '{name}'")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    return found\n\n\ndef step(", "    return found[:-1]\n\n\ndef step(", "logits have shape [7], expected"),
        ("    return found\n\n\ndef step(", "    return 'x' * len(found)\n\n\ndef step(", "logits have shape"),
        ("    return found\n\n\ndef step(", "    return None\n\n\ndef step(", "TypeError"),
        ("def load(path):\n", "def load(path):\n    return 1\n", "TypeError"),
        ("def load(", "def unload(", "defines no function load"),
    ],
)
def test_answers_that_are_none_are_invalid(trainer: Trainer, old: str, new: str, reason: str) -> None:
    outcome = few(trainer, changed(old=old, new=new))
    assert outcome.status == "invalid"
    assert reason in outcome.reason


def test_a_nan_is_refused_and_a_list_of_rows_in_other_company_too(trainer: Trainer) -> None:
    spoilt = "    found[0][0][0] = math.nan\n    return found\n\n\ndef step("
    outcome = few(trainer, changed(old="    return found\n\n\ndef step(", new=spoilt))
    assert (outcome.status, outcome.reason) == ("invalid", "predictions are not finite")
    end = "    return found\n\n\ndef step("
    peeks = "    found[0][0], found[1][0] = found[1][0], [1.0 * one for one in inputs[0][-21:]]\n"
    outcome = few(trainer, changed(old=end, new=peeks + end))
    assert outcome.status == "invalid" and "later text" in outcome.reason


def test_a_source_without_a_step_is_asked_for_the_whole_prefix(executed: Callable[[Edit], Any]) -> None:
    names = executed(Edit(SMALL))
    model, rows = names["build"](), [symbols(10), symbols(20)[10:]]
    whole, state = names["logits"](model, rows), None
    step = serving._plain_prefix_step(SimpleNamespace(logits=names["logits"]))
    for place in range(10):
        found, state = step(model, state, [row[place] for row in rows])
        assert found == [row[place] for row in whole]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("    return found\n", "step must return"),
        ("    return found[1:], past\n", "step: logits have shape"),
        ("    return [row[1:] for row in found], past\n", "step: logits have shape"),
    ],
)
def test_steps_that_answer_something_else_are_invalid(trainer: Trainer, new: str, reason: str) -> None:
    outcome = few(trainer, changed(old="    return found, past\n", new=new), "confirmation")
    assert outcome.status == "invalid" and reason in outcome.reason


@pytest.mark.slow
def test_all_patches_together_train(trainer: Trainer) -> None:
    edit = Edit({"BATCH": 1, "CTX": 8, "LR": 0.01}, PATCHES)
    outcome = few(trainer, TASK.edits.apply(TASK.baseline(), edit), "confirmation")
    assert (outcome.status, outcome.findings) == ("ok", ()), outcome.reason


def test_runs_by_hand_without_any_package_but_the_generator_s(tmp_path: Path) -> None:
    for flags in ((), ("-I", "-S")):  # once its data is there, the standard library is enough
        code = f"import sys, runpy; sys.path.insert(0, {str(TASK.folder)!r}); "
        code += f"runpy.run_path({str(TASK.folder / 'train.py')!r}, run_name='__main__')"
        told = by_hand(TASK.folder / "train.py", tmp_path, [*flags, "-c", code], METALOOP_TRAIN_STEPS="2")
        assert "steps: 2\n" in told and "val_bpb: " in told
    assert (tmp_path / "checkpoint.pt").stat().st_size > 0
