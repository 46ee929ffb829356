"""Edits are real edits of the source text; values inside files are found by their address, and rewritten alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.common.errors import TaskError
from tests.trainer.foreign_repos import changed, made, write_files
from trainer.commands.task_toml import Wanted
from trainer.edits import Edit, EditError, EditSpace, Knob, Replacement
from trainer.source import Source
from trainer.values import constants, nested_values

TEXT = '''"""Doc."""
LR = 1e-3  # learning rate, µ
NAME = "sgd"  # sgd or adamw
WIDE = (1,
        2)  # two lines
N: int = 4
FLAG = False
lr = LR * 2

def main():
    LR = 5
    x = act(1)
'''

SPACE = EditSpace(
    (
        Knob("LR", "float", (1e-3, 1e-2), 1e-4, 1.0, "optimizer"),
        Knob("NAME", "choice", ("sgd", "adamw")),
        Knob("N", "int", (2, 4, 8)),
        Knob("FLAG", "choice", (False, True)),
        Knob("relu", "patch", (False, True), replacements=(Replacement("train.py", "act(1)", "relu(1)"),)),
        Knob("gelu", "patch", (False, True), replacements=(Replacement("train.py", "act(1)", "gelu(1)"),)),
        Knob("more", "patch", (False, True), replacements=(Replacement("train.py", "x =", "y = 2; x ="),)),
    )
)
SOURCE = Source((("train.py", TEXT),))


def test_config_reads_the_source() -> None:
    assert SPACE.config(SOURCE) == {
        "LR": 1e-3, "NAME": "sgd", "N": 4, "FLAG": False, "relu": False, "gelu": False, "more": False,
    }  # fmt: skip


def test_constants_are_rewritten_in_place() -> None:
    edited = SPACE.apply(SOURCE, Edit({"lr": 0.002, "name": "AdamW", "n": 8, "FLAG": True}, ("relu",)))
    assert "LR = 0.002  # learning rate, µ\n" in edited.text()
    assert 'NAME = "adamw"  # sgd or adamw\n' in edited.text()
    assert "N: int = 8\nFLAG = True\n" in edited.text()
    assert "    LR = 5\n    x = relu(1)\n" in edited.text()
    changed = {"LR": 0.002, "NAME": "adamw", "N": 8, "FLAG": True, "relu": True}
    assert SPACE.config(edited) == SPACE.config(SOURCE) | changed


def test_same_value_is_the_same_source() -> None:
    assert SPACE.apply(SOURCE, Edit({"LR": 0.001, "N": 4})) == SOURCE
    assert "WIDE = (3, 4)  # two lines\nN" in (constants.write(TEXT, "WIDE", (3, 4)) or "")
    assert constants.write(TEXT, "lr", 3) is None  # an expression, not a literal
    assert Edit({"a": 1, "b": 2}) == Edit({"b": 2, "a": 1}) and Edit().label() == "-" and not Edit()
    assert Edit({"LR": 0.002}, ("muon",)).label() == "lr=0.002 +muon"


def test_between_and_apply_are_inverse() -> None:
    edit = Edit({"LR": 0.05, "N": 2}, ("more",))
    edited = SPACE.apply(SOURCE, edit)
    assert SPACE.between(SPACE.config(SOURCE), SPACE.config(edited)) == edit
    assert not SPACE.between(SPACE.config(edited), SPACE.config(edited))


def test_a_patch_whose_text_holds_its_anchor_is_applied_once() -> None:
    once = SPACE.apply(SOURCE, Edit(apply=("more",)))
    assert SPACE.config(once)["more"] is True
    assert SPACE.apply(once, Edit(apply=("more",))) == once


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (["lr=2e-3"], Edit({"LR": 0.002})),
        (["LR = 0.02"], Edit({"LR": 0.02})),
        (["name=adamw", "relu"], Edit({"NAME": "adamw"}, ("relu",))),
        (["Name='AdamW'"], Edit({"NAME": "adamw"})),
        (["RELU"], Edit(apply=("relu",))),
        (["flag=true"], Edit({"FLAG": True})),
        (["n=8", "train.py"], Edit({"N": 8})),
        (["n=3"], None),
        (["n=2.5"], None),
        (["n=inf"], None),
        (["n=nan"], None),
        (["lr=7"], None),
        (["lr=nan"], None),
        (["lr"], None),
        (["muon"], None),
        (["relu", "momentum=0.9"], None),
        ([], None),
    ],
)
def test_terms(terms: list[str], expected: Edit | None) -> None:
    assert SPACE.parse_terms(terms) == expected


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit({"LR": 7.0}), "not allowed"),
        (Edit({"depth": 7}), "no constant 'depth'"),
        (Edit(apply=("muon",)), "no patch 'muon'"),
        (Edit(apply=("relu", "gelu")), "found 0 times"),
    ],
)
def test_edits_that_do_not_apply(edit: Edit, message: str) -> None:
    with pytest.raises(EditError, match=message) as raised:
        SPACE.apply(SOURCE, edit)
    assert raised.value.hint


def test_a_knob_that_is_gone() -> None:
    gone = SOURCE.with_text("train.py", TEXT.replace("LR = 1e-3", "RATE = 1e-3"))
    assert "LR" not in SPACE.config(gone)
    with pytest.raises(EditError, match="no constant LR"):
        SPACE.apply(gone, Edit({"LR": 0.1}))


def test_a_source_that_does_not_parse() -> None:
    broken = SOURCE.with_text("train.py", "def (")
    assert SPACE.config(broken)["relu"] is False
    with pytest.raises(EditError):
        SPACE.apply(broken, Edit({"LR": 0.1}))


def test_source_identity_and_diff() -> None:
    other = SPACE.apply(SOURCE, Edit({"LR": 0.002}))
    assert SOURCE.source_id != other.source_id
    assert SOURCE.source_id.startswith("s")
    assert "-LR = 1e-3  # learning rate, µ\n+LR = 0.002" in SOURCE.diff(other)
    assert SOURCE.diff(SOURCE) == ""


PYTHON = """# é: bytes are not characters
TOKENS = 2**19
OPT = {"lr": 1e-3, "in": {"wd": 0.1}, "nesterov": False}  # keep
BETAS = (0.9, 0.95)
class Config:
    depth: int = 4
    clip: float = field(default=1.0)
ap.add_argument("-m", "--momentum", type=float,
                default=0.9, help="é")
"""
YAML = "# top\noptim:\n  lr: 1e-3  # small\n  name: 'sgd'\n  betas: [0.9, 0.99]\nflag: true\nname: adam\n"
JSON = '{\n\t"lr": 0.1,\n\t"model": {"width": 8, "names": ["a"]}\n}\n'
TOML = '[optim]\nlr = 0.1  # é\nname = "sgd"\n\n[model.inner]\nwidth = 8\ntext = """\nlr = 9\n"""\n'


@pytest.mark.parametrize(
    ("file", "text", "address", "value", "new", "line"),
    [
        ("a.py", PYTHON, "TOKENS", 2**19, 2**20, "TOKENS = 2**20"),
        ("a.py", PYTHON, "TOKENS", 2**19, 1000, "TOKENS = 1000"),
        ("a.py", PYTHON, "OPT[lr]", 1e-3, 0.01, 'OPT = {"lr": 0.01, "in": {"wd": 0.1}, "nesterov": False}  # keep'),
        ("a.py", PYTHON, "OPT[in][wd]", 0.1, 0.0, 'OPT = {"lr": 1e-3, "in": {"wd": 0.0}, "nesterov": False}  # keep'),
        ("a.py", PYTHON, "BETAS[1]", 0.95, 0.99, "BETAS = (0.9, 0.99)"),
        ("a.py", PYTHON, "Config.depth", 4, 6, "    depth: int = 6"),
        ("a.py", PYTHON, "Config.clip", 1.0, 0.5, "    clip: float = field(default=0.5)"),
        ("a.py", PYTHON, "--momentum", 0.9, 0.5, '                default=0.5, help="é")'),
        ("a.yaml", YAML, "optim.lr", 1e-3, 1e-05, "  lr: 1.0e-05  # small"),
        ("a.yaml", YAML, "optim.betas[1]", 0.99, 0.9, "  betas: [0.9, 0.9]"),
        ("a.yaml", YAML, "optim.name", "sgd", "no", '  name: "no"'),
        ("a.yaml", YAML, "flag", True, False, "flag: false"),
        ("a.yaml", YAML, "name", "adam", "lion", "name: lion"),
        ("a.json", JSON, "model.width", 8, 16, '\t"model": {"width": 16, "names": ["a"]}'),
        ("a.toml", TOML, "optim.lr", 0.1, 0.5, "lr = 0.5  # é"),
        ("a.toml", TOML, "model.inner.width", 8, 4, "width = 4"),
    ],
)  # fmt: skip
def test_only_the_bytes_of_a_value_change(
    file: str, text: str, address: str, value: object, new: float | str, line: str
) -> None:
    assert nested_values.read(file, text)[address].value == value
    changed = nested_values.write(file, text, address, new)
    assert changed is not None and nested_values.read(file, changed)[address].value == new
    different = [two for one, two in zip(text.splitlines(), changed.splitlines(), strict=True) if one != two]
    assert different == [line]
    assert nested_values.write(file, text, address, nested_values.read(file, text)[address].value) == text


@pytest.mark.parametrize(
    ("file", "text", "address"),
    [
        ("a.py", "class A:\n    lr = 0.1\n    lr = 0.2\n", "A.lr"),  # two values
        ("a.yaml", "a: &x 1\nb: *x\n", "a"),  # an anchor: two keys share it
        ("a.yaml", "a: 1\na: 2\n", "a"), ("a.yaml", "a: [1\n", "a"), ("a.json", '{"a": 1,}', "a"),
        ("a.toml", TOML, "model.inner.lr"),  # a line of a text
        ("a.py", "x = f(1", "x"),
    ],
)  # fmt: skip
def test_what_is_not_certain_has_no_address(file: str, text: str, address: str) -> None:
    assert address not in nested_values.read(file, text) and nested_values.write(file, text, address, 3) is None


def test_an_address_that_is_not_there_is_refused_with_a_near_one(tmp_path: Path) -> None:
    code = "class Config:\n    lr = 0.5\n\n\nprint(f'loss: {Config.lr}')\n"
    folder = made(write_files(tmp_path, {"train.py": code}), Wanted(noise="unknown")).folder
    with pytest.raises(TaskError, match=r"train.py has no value Config.lt") as caught:
        changed(folder, 'at = "Config.lr"', 'at = "Config.lt"')
    assert caught.value.hint == "near: Config.lr"
