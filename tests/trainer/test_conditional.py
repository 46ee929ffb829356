"""Ideas with conditions and relative values, as a task reads and carries them out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from programs.common.errors import TaskError
from programs.ideas import Comparison, split
from programs.program import Program
from tests.trainer.foreign_repos import changed
from trainer.edits import Edit, EditSpace, Knob, Value
from trainer.task import Task
from trainer.values.conditional import known, read, unread
from trainer.values.roles import ROLES

ROOT = Path(__file__).resolve().parents[2]

SPACE = EditSpace(
    (
        Knob("ETA", "float", (0.01, 0.1, 1.0), 0.001, 1.0, role="learning_rate"),
        Knob("RULE", "choice", ("sgd", "adamw"), role="optimizer"),
        Knob("LAYERS", "int", (1, 2, 4, 8), 1, 16, role="depth"),
        Knob("conv", "patch", (False, True)),
    )
)
CONFIG: dict[str, Value] = {"ETA": 0.02, "RULE": "sgd", "LAYERS": 2, "conv": False}


def edit(text: str, config: dict[str, Value] = CONFIG) -> Edit | str | None:
    """What an idea does on a source: its edit, None if it waits, "unknown" if the task cannot read it."""
    (idea,) = Program.parse(f"## Ideas\n\n- {text}\n").ideas
    asked = read(SPACE, idea.terms, idea.conditions)
    return asked.on(config) if asked else "unknown"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Use `eta=0.1`.", Edit({"ETA": 0.1})),
        ("Raise the rate threefold: `eta=*3`.", Edit({"ETA": 0.06})),
        ("Lower it: `eta=/2`.", Edit({"ETA": 0.01})),
        ("Any task: `@learning_rate=*3` `@optimizer=adamw`.", Edit({"RULE": "adamw", "ETA": 0.06})),
        ("The next rung: `eta=up`.", Edit({"ETA": 0.1})),
        ("The rung below: `eta=down`.", Edit({"ETA": 0.01})),
        ("Twice as deep: `layers=*2`.", Edit({"LAYERS": 4})),
        ("When `rule==sgd` and `eta<0.03`, raise it: `eta=*10`.", Edit({"ETA": 0.2})),
        ("`rule=sgd` `eta<0.03` → `eta=*10`", Edit({"ETA": 0.2})),
        ("`rule=sgd` -> `conv`", Edit({}, ("conv",))),
        ("`conv==off` → `layers=up`", Edit({"LAYERS": 4})),
        ("`@depth>=2` → `@depth=down`", Edit({"LAYERS": 1})),
        ("Only with the patch: `conv` → `eta=0.1`", None),
        ("`rule==adamw` → `eta=0.1`", None),
        ("`rule!=adamw` → `eta=0.1`", Edit({"ETA": 0.1})),
        ("`eta>0.02` → `eta=0.01`", None),
        ("`eta>=0.02` → `eta=0.01`", Edit({"ETA": 0.01})),
        ("Out of its range: `eta=*100`.", None),
        ("`layers==8.0` → `eta=0.1`", None),
        ("A knob of other tasks: `warmup=*2`.", "unknown"),
        ("A role of other tasks: `@dropout=0.1`.", "unknown"),
        ("`warmup<0.1` → `eta=0.1`", "unknown"),
        ("A choice has no order: `rule=up`.", "unknown"),
        ("`rule<adamw` → `eta=0.1`", "unknown"),
        ("`rule==lion` → `eta=0.1`", "unknown"),
        ("`eta=*-2`", "unknown"),
        ("A condition alone: `eta<0.1`.", "unknown"),
        ("`a + b` and `train.py` are no edits; `eta=up` is.", Edit({"ETA": 0.1})),
    ],
)
def test_what_an_idea_does(text: str, expected: Edit | str | None) -> None:
    found = edit(text)
    if isinstance(found, Edit) and isinstance(expected, Edit):
        assert found.apply == expected.apply and found.set == pytest.approx(expected.set)
    else:
        assert found == expected


def test_the_ends_of_a_ladder_and_missing_knobs() -> None:
    assert edit("`eta=up`", CONFIG | {"ETA": 1.0}) is None
    assert edit("`eta=up`", CONFIG | {"ETA": 0.5}) == Edit({"ETA": 1.0})
    assert edit("`eta=*3`", {"RULE": "sgd"}) is None and edit("`eta<1` → `rule=adamw`", {"RULE": "sgd"}) is None
    assert edit("`layers=/4`", CONFIG | {"LAYERS": 1}) is None  # rounds to 0, which is not allowed


def test_a_key_is_equal_for_ideas_that_ask_for_the_same() -> None:
    def key(*words: str) -> str:
        asked = read(SPACE, *split(words))
        assert asked is not None
        return asked.key

    assert key("eta=0.1") == Edit({"ETA": 0.1}).key()
    by_role = key("@optimizer==SGD", "@learning_rate<0.03", "@learning_rate=*10")
    assert key("eta<0.03", "rule==sgd", "eta=*10") == by_role
    keys = {key("eta=*10"), key("eta=10e-2"), key("eta<0.03", "eta=*10"), key("eta<0.3", "eta=*10"), key("eta=up")}
    assert len(keys) == 5


def test_known_words_for_the_linter() -> None:
    words = ("eta=*2", "@depth=up", "eta<0.1", "conv", "conv==on", "eta=0.1")
    assert all(known(SPACE, word) for word in words)
    assert not any(known(SPACE, word) for word in ("warmup=*2", "@noise=1", "warmup<1", "train.py", "eta=7"))


def test_role_is_named_in_docs_and_every_knob_of_ours_has_one() -> None:
    section = (ROOT / "docs" / "ideas.md").read_text().split("\n## Roles\n")[1].split("\n## ")[0]
    lists = "".join(line for line in section.splitlines() if line.startswith(("- ", "  ")))
    assert sorted(re.findall(r"`(\w+)`", lists)) == sorted(ROLES)
    for path in sorted((ROOT / "trainer" / "tasks").glob("[!_]*/task.toml")):
        task = Task.load(path.parent)
        assert all(knob.role for knob in task.edits.knobs), path


def test_a_role_changes_no_id_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    shutil.copytree(ROOT / "tests" / "inner_loop" / "blobs", folder)
    before = Task.load(folder).task_id
    task = changed(folder, "[edits.LR]\n", '[edits.LR]\nrole = "learning_rate"\n')
    assert task.task_id == before and task.edits.knob("@learning_rate") is task.edits.knob("lr")
    with pytest.raises(TaskError, match="no role 'learning_speed'; near: learning_rate"):
        changed(folder, "learning_rate", "learning_speed")


def test_term_with_a_question_mark_is_left_out_where_unknown() -> None:
    space = EditSpace(
        (
            Knob("RULE", "choice", ("plain", "heavy"), role="optimizer"),
            Knob("ETA", "float", (0.01, 0.1), 0.001, 1.0, role="learning_rate"),
            Knob("UNITS", "int", (8, 64), 4, 512, role="width"),
        )
    )
    asked = read(space, ["@width=64?", "@heads=8?", "@optimizer=momentum?", "@learning_rate=0.1?"])
    assert asked is not None and asked.fixed == Edit({"RULE": "heavy", "ETA": 0.1, "UNITS": 64})
    without = read(space, ["@width=64?", "@optimizer=adam?", "@learning_rate=0.003?"])
    assert without is not None and without.fixed == Edit({"UNITS": 64})  # a rate goes with its optimizer
    assert read(space, ["@width=64?", "@heads=8"]) is None and read(space, ["@heads=8?"]) is None
    assert known(space, "@heads=8?") and not known(space, "@heads=8")
    condition = read(space, ["@width=64"], [Comparison("@optimizer", "==", "sgd")])
    assert condition is not None and condition.on({"RULE": "plain", "ETA": 0.1, "UNITS": 8}) == Edit({"UNITS": 64})
    assert condition.on({"RULE": "heavy", "ETA": 0.1, "UNITS": 8}) is None


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("lr=0.01", ""),
        ("LR=50", "`LR=50`: LR can be 0.0001 to 10"),
        ("norm=instance", "`norm=instance`: NORM can be none, layer or batch"),
        ("LR=0.1 MOMENTUM=0.5", "each edit needs backticks of its own, `LR=0.1` `MOMENTUM=0.5`"),
        ("momentun=0.5", "this task has no edit `momentun=0.5` (did you mean MOMENTUM?)"),
        ("centre=2", "centre is a change of the code, so it has no value"),
        ("learning_rate=3", "this task has no edit `learning_rate=3` (did you mean LR or @learning_rate?)"),
        ("xyz=3", "this task has no edit `xyz=3`"),
        ("@context_length=4", "this task has no edit `@context_length=4`"),
    ],
)
def test_why_a_word_is_no_edit(word: str, why: str) -> None:
    said = unread(Task.load("strokes").edits, word)
    assert (why in said) if why else not said
    between = EditSpace((Knob("RATE", "float", (0.1, 0.5)),))
    assert not unread(between, "rate=0.3") and unread(between, "rate=2") == "`rate=2`: RATE can be 0.1 to 0.5"
