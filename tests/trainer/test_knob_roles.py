"""Roles of constants in foreign repositories, and the values that their code and prose offer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trainer.foreign.init import Wanted, draft, write
from trainer.foreign.knob_roles import compared_with, role_of, usual_values
from trainer.roles import ROLES
from trainer.task import Task


@pytest.mark.parametrize(
    ("name", "value", "role"),
    [
        ("LR", 0.1, "learning_rate"), ("learningRate", 0.1, "learning_rate"), ("BATCH_SIZE", 32, "batch_size"),
        ("ADAM_BETA1", 0.9, "first_moment"), ("N_LAYER", 4, "depth"), ("d_model", 64, "width"),
        ("WARMUP_RATIO", 0.1, "schedule_warmup"), ("WARMUP", 100, ""), ("WARMUP_STEPS", 0.1, ""),
        ("EMBEDDING_LR", 0.1, ""), ("TOTAL_BATCH_SIZE", 2**19, ""), ("STEPS", 100, ""), ("LRU_CACHE", 8, ""),
        ("OPTIMIZER", "sgd", "optimizer"), ("OPTIMIZER", 3, ""), ("ACTIVATION", "tanh", "activation"),
        ("STANDARDIZE", True, "input_standardisation"), ("DROPOUT", True, ""), ("MOMENTUM", 0.0, "momentum"),
    ],
)  # fmt: skip
def test_a_name_says_the_role_as_a_whole_or_not_at_all(name: str, value: object, role: str) -> None:
    assert role_of(name, value) == role and (not role or role in ROLES)


def test_values_of_a_role_hold_the_present_one() -> None:
    assert usual_values("learning_rate", 0.3) == (0.003, 0.009, 0.03, 0.09, 0.3, 0.9, 3.0)
    assert usual_values("momentum", 0.85) == (0.0, 0.5, 0.8, 0.85, 0.9, 0.95)
    assert usual_values("depth", 3) == () and usual_values("", 0.5) == ()


def test_strings_that_code_compares_are_the_choices() -> None:
    code = (
        "A = 'tanh'\nB = 'x'\nC = 'one'\nD = 'p'\nif A == 'relu' or A.lower() in ('gelu', 'silu'): pass\n"
        "table = {'x': 1, 'y': 2}\nprint(table[B], {'one': 1, 'two': 2}[C])\n"
        "match D:\n    case 'q': pass\n    case _: pass\n"
    )
    tree = ast.parse(code)
    assert [compared_with(tree, name) for name in "ABCDE"] == [
        ["relu", "gelu", "silu"], ["x", "y"], ["one", "two"], ["q"], []
    ]  # fmt: skip


def test_the_task_has_roles_choices_and_the_owners_values(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import os\nSEED = int(os.environ.get('SEED', '1'))\nLR = 0.3\nMOMENTUM = 0.0\nWIDTH = 8\nSCHEDULE = 'flat'\n"
        "scale = 0.5 if SCHEDULE == 'cosine' else 1.0\nprint(f'loss: {LR * scale + MOMENTUM + WIDTH + SEED:.4f}')\n"
    )
    (tmp_path / "program.md").write_text(
        "Run `python train.py`. It prints the loss, lower is better. Edit only train.py. One run takes a second.\n"
        "Try momentum 0.7 and a learning rate of 0.02. Avoid WIDTH = 100. A width of 12 is fine.\n"
    )
    task = Task.load(write(draft(tmp_path, Wanted()), None))
    knobs = {knob.name: knob for knob in task.edits.knobs}
    assert {name: knob.role for name, knob in knobs.items()} == {
        "LR": "learning_rate", "MOMENTUM": "momentum", "WIDTH": "width", "SCHEDULE": "schedule"
    }  # fmt: skip
    assert 0.7 in knobs["MOMENTUM"].values and 0.02 in knobs["LR"].values
    assert knobs["SCHEDULE"].values == ("cosine", "flat")
    assert 12 in knobs["WIDTH"].values and 100 not in knobs["WIDTH"].values
    text = (tmp_path / "task.toml").read_text()
    assert "the text names 0.7 (program.md:2)" in text and 'role = "momentum"  # by its name' in text


def test_words_zeros_and_none_that_the_prose_names_are_knobs_and_the_others_are_listed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "JOIN = 'loop'\nCACHE_SIZE = 0\nCLIP = None\nLIMIT = None\nORDER = 'rows'\nDEPTH = -1\n"
        "names = ['hash', 'loop', 'merge']\n"
        "total = len(JOIN) + CACHE_SIZE + (CLIP or 0) + (LIMIT or 0) + len(ORDER) + DEPTH\n"
        "print(f'loss: {total:.4f}')\n"
    )
    (tmp_path / "bench.sh").write_text('MODE="slow"\nWAYS=0\necho "$MODE $WAYS" > /dev/null\npython train.py\n')
    (tmp_path / "program.md").write_text(
        "Run `bash bench.sh`. It prints the loss, lower is better. Edit only train.py and bench.sh.\n"
        'JOIN may be "hash". Avoid JOIN="merge". Try CACHE_SIZE=64 and `MODE=fast`. '
        "The LIMIT is open. WAYS 4 is bold.\n"
    )
    wanted = Wanted(editable=("train.py", "bench.sh"))
    drafted = draft(tmp_path, wanted)
    left_out = {fact.value: fact.where for fact in drafted.facts if fact.field == "left out"}
    assert left_out == dict.fromkeys(
        ("LIMIT", "ORDER", "DEPTH"), "neither its value nor the text says what else to try"
    )
    task = Task.load(write(drafted, None))
    values = {knob.name: knob.values for knob in task.edits.knobs}
    assert values.pop("JOIN") == ("hash", "loop") and values.pop("CACHE_SIZE") == (0, 64)
    assert set(values) == {"CLIP_0_5", "CLIP_1", "CLIP_5", "MODE_fast", "WAYS_4"}
    assert 'with = "MODE=\\"fast\\"\\n"' in (tmp_path / "task.toml").read_text()


def test_values_given_for_none_replace_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("LIMIT = None\nprint(f'loss: {LIMIT or 0:.4f}')\n")
    given = {"LIMIT": "3,0.5"}
    wanted = Wanted("python train.py", "loss", direction="lower", editable=("train.py",), values=given)
    task = Task.load(write(draft(tmp_path, wanted), None))
    assert {knob.name for knob in task.edits.knobs} == {"LIMIT_3", "LIMIT_0_5"}
