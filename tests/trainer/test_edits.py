"""Edits are real edits of the source text."""

from __future__ import annotations

import pytest

from trainer.edits import Edit, EditError, EditSpace, Knob, Replacement
from trainer.source import Source
from trainer.values import constants

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


def test_constants_over_several_lines() -> None:
    assert "WIDE = (3, 4)  # two lines\nN" in (constants.write(TEXT, "WIDE", (3, 4)) or "")
    assert constants.write(TEXT, "lr", 3) is None  # an expression, not a literal


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


def test_json_label_and_equality() -> None:
    edit = Edit({"LR": 0.002}, ("muon",))
    assert edit.label() == "lr=0.002 +muon"
    assert Edit().label() == "-" and not Edit()
    assert len({edit, Edit({"LR": 0.002}, ("muon",))}) == 1
    assert Edit({"a": 1, "b": 2}) == Edit({"b": 2, "a": 1})


def test_source_identity_and_diff() -> None:
    other = SPACE.apply(SOURCE, Edit({"LR": 0.002}))
    assert SOURCE.source_id != other.source_id
    assert SOURCE.source_id.startswith("s")
    assert "-LR = 1e-3  # learning rate, µ\n+LR = 0.002" in SOURCE.diff(other)
    assert SOURCE.diff(SOURCE) == ""
