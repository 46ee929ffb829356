"""Patches that a program defines: read, checked, carried out, and told apart."""

from __future__ import annotations

import pytest

from inner_loop.behaviour import behaviour_id, misfit, resolved_ideas, with_patches
from programs.edit import state_settings, with_missing_patches, without_patch
from programs.lint import lint
from programs.program import Program
from trainer.edits import Edit, EditError
from trainer.task import Task

OLD = "    return images.float() / 255"
NEW = "    images = images.float() / 255\n    return images - images.mean(dim=1, keepdim=True)"
HEAD = "---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# P\n\nDo it.\n\n## Ideas\n\n"


def patch(name: str = "zoom", old: str = OLD, new: str = NEW, file: str = "") -> str:
    return f"```patch:{name} {file}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```\n"


def program(idea: str = "`patch:zoom`", *blocks: str) -> Program:
    return Program.parse(f"{HEAD}- Try {idea}.\n\n## Patches\n\n" + "\n".join(blocks or (patch(),)))


@pytest.fixture(scope="module")
def task() -> Task:
    return Task.load("strokes")


def codes(one: Program, task: Task) -> list[str]:
    return [m.code for m in lint(one, misfit=lambda own: misfit(own, task))]


def test_idea_applies_the_patch_of_its_program(task: Task) -> None:
    one = program("`patch:zoom` `lr=0.2`")
    ((_, edit),) = resolved_ideas(one, task)
    own, (name,) = with_patches(task, one), edit.fixed.apply
    edited = own.edits.apply(task.baseline(), edit.fixed)
    assert name.startswith("patch_zoom_") and NEW in edited.text() and "\nLR = 0.2" in edited.text()
    assert [own.edits.config(source)[name] for source in (edited, task.baseline())] == [True, False]
    assert own.edits.apply(edited, Edit({}, (name,))) == edited


def test_text_of_a_patch_is_part_of_its_name_and_of_behaviour(task: Task) -> None:
    one, other = program(), program("`patch:zoom`", patch(new=NEW.replace("mean", "amax")))
    assert one.patches[0].edit_name != other.patches[0].edit_name
    assert behaviour_id(one, task) != behaviour_id(other, task)
    assert behaviour_id(one, task) == behaviour_id(Program.parse(one.text.replace("Try", "Use")), task)


def test_patch_that_no_idea_names_changes_nothing(task: Task) -> None:
    one, plain = program("`lr=0.2`"), Program.parse(f"{HEAD}- Try `lr=0.2`.\n")
    assert behaviour_id(one, task) == behaviour_id(plain, task) and codes(one, task) == ["unused-patch"]
    assert (
        with_patches(task, one) is with_patches(task, Program.parse(program().text.replace("queue", "local"))) is task
    )


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (patch(old="no such line"), "misfit"),
        (patch(old=OLD.strip()), "misfit"),  # a part of a line
        (patch(new="    return (images"), "misfit"),  # no Python
        (patch(file="prepare.py"), "misfit"),  # not editable
        (patch(new=""), "bad-patch"),
        (patch(new=OLD), "bad-patch"),
        (patch(new="\n".join(["    images = images"] * 80)), "bad-patch"),
        (patch(name="a-b"), "bad-patch"),
        ("```patch:zoom\nhello\n```\n", "bad-patch"),
    ],
)
def test_what_does_not_fit_is_reported_by_line(task: Task, block: str, code: str) -> None:
    found = codes(program("`patch:zoom`", block), task)
    assert code in found
    assert ("no-patch" in found) == (code == "bad-patch")
    if "no such line" in block or "prepare.py" in block:
        one = program("`patch:zoom`", block)
        with pytest.raises(EditError):
            with_patches(task, one).edits.apply(task.baseline(), Edit({}, (one.patches[0].edit_name,)))


def test_children_get_the_code_of_what_their_ideas_name(task: Task) -> None:
    donor, plain = program(), f"{HEAD}- Try `lr=1`.\n"
    for word in ("patch:zoom", donor.patches[0].edit_name):
        child = Program.parse(with_missing_patches(f"{HEAD}- Try `{word}`.\n", donor.patches))
        assert child.patches[0].edit_name == donor.patches[0].edit_name
        assert behaviour_id(child, task) == behaviour_id(donor, task)
    assert with_missing_patches(plain, donor.patches) == plain


def test_patch_that_is_taken_out_takes_its_ideas_along() -> None:
    text = program().text.replace("## Patches", "- Else `lr=0.2`.\n\n## Patches")
    assert Program.parse(state_settings(text)).patches == Program.parse(text).patches
    rest = Program.parse(without_patch(text, Program.parse(text).patches[0]))
    assert not rest.patches and [idea.terms for idea in rest.ideas] == [("lr=0.2",)]
