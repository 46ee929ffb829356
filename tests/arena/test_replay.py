"""A change carried over to a script without another one; runs of free edits, replayed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from analysis.study import query
from arena.after import replay
from arena.after.replay import Commit, built_of, needed
from arena.study.run_archive import pack
from inner_loop.repository import RunRepository
from programs.common.errors import Corrupt
from tests.arena.test_ablation import played, study_of
from trainer.edits import Edit, EditSpace, Knob
from trainer.source import Source

BASE = "LR = 1\nWD = 0\nfor step in steps:\n    train()\n"


def commits(*texts: str, beside: tuple[str, ...] = ()) -> list[Commit]:
    """The changes from each text of train.py to the next; ``beside``: the texts of a second file."""
    files = beside or ("",) * len(texts)
    sources = [Source((("train.py", text), ("model.py", other))) for text, other in zip(texts, files, strict=True)]
    return [Commit(f"e{i}", "", *ends, Edit(), EditSpace()) for i, ends in enumerate(pairwise(sources))]


FASTER, DECAY = BASE.replace("LR = 1", "LR = 2"), BASE.replace("WD = 0", "WD = 1")
CLIP, CLIP_LESS = (f"{BASE.replace('train()', 'clip()')}    more({level})\n" for level in (1, 2))


@pytest.mark.parametrize(
    ("first", "second", "without", "skipped"),
    [
        (FASTER, FASTER.replace("WD = 0", "WD = 1"), DECAY, []),
        (FASTER, FASTER.replace("LR = 2\n", "LR = 2\nNEW = 3\n"), BASE.replace("LR = 1\n", "LR = 1\nNEW = 3\n"), []),
        (BASE.replace("WD = 0\n", ""), FASTER.replace("WD = 0\n", ""), FASTER, []),
        (FASTER, FASTER.replace("WD = 0\n", ""), BASE.replace("WD = 0\n", ""), []),
        (FASTER, BASE.replace("LR = 1", "LR = 3"), BASE, ["e1"]),
        (FASTER, DECAY.replace("LR = 1", "LR = 3"), BASE, ["e1"]),
        (CLIP, CLIP_LESS, BASE, ["e1"]),
    ],
    ids=["neighbour", "insertion", "after a deletion", "deletion", "conflict", "never by half", "needs the other"],
)
def test_a_script_without_the_first_change(first: str, second: str, without: str, skipped: list[str]) -> None:
    made = commits(BASE, first, second)
    source, left_out = built_of(made, [1])
    assert (source.text(), left_out) == (without, skipped)
    assert built_of(made, [0, 1]) == (made[1].after, [])


def test_files_are_added_and_stay_as_they_are() -> None:
    made = commits(BASE, FASTER, FASTER.replace("WD = 0", "WD = 1"), beside=("", "def f(): ...\n", "def f(): ...\n"))
    assert built_of(made, [1]) == (Source((("train.py", DECAY), ("model.py", ""))), [])
    assert built_of(made, [0])[0].text("model.py") == "def f(): ...\n"


def test_value_that_a_later_one_replaces_is_no_change() -> None:
    """Else each hides the other: without the first the script is the same, without the second it has the first."""
    space = EditSpace((Knob("LR", "int", (1, 2, 3), 1, 3), Knob("WD", "int", (0, 1), 0, 1)))
    sources, made = [Source((("train.py", BASE),))], list[Commit]()
    for number, setting in enumerate([{"LR": 2}, {"WD": 1}, {"LR": 3}]):
        after = space.apply(sources[-1], Edit(setting))
        made.append(Commit(f"e{number}", "", sources[-1], after, Edit(setting), space))
        sources.append(after)
    left = needed(made)
    assert [commit.experiment_id for commit in left] == ["e1", "e2"]
    assert built_of(left, [0])[0].text() == DECAY and built_of(left, [0, 1])[0] == sources[-1]
    assert needed(left) == left and needed(made[:1]) == made[:1]


@pytest.mark.parametrize("free", [1, 2], ids=["and a declared one", "alone"])
def test_free_edits_are_replayed_from_repository_of_their_run(tmp_path: Path, free: int) -> None:
    """Edits of files that no knob made: the ledger has neither a value nor a patch of them."""
    study = study_of(tmp_path / "s")
    run_id = played(study)
    study.look()
    [run] = query(study.folder, f"SELECT * FROM runs WHERE run_id = '{run_id}'")
    declared = replay.commits_of(study, run_id, run["final_source_id"])
    experiments = study.state.run(run_id).experiments
    for commit in declared[:free]:
        old = experiments[commit.experiment_id]
        experiments[commit.experiment_id] = replace(old, edit=Edit(), description="a free\nedit", source=commit.after)
        RunRepository(study.folder / "runs" / run_id, "loss").write(experiments[commit.experiment_id])
    found = replay.commits_of(study, run_id, run["final_source_id"])
    assert [commit.label for commit in found[:free]] == ["a free edit"] * free
    for chosen in ([0], [1], [0, 1]):
        assert built_of(found, chosen) == built_of(declared, chosen)
    pack(study.folder, [run_id])
    assert replay.commits_of(study, run_id, run["final_source_id"]) == found
    (study.folder / "runs.zip").unlink()
    with pytest.raises(Corrupt):
        replay.commits_of(study, run_id, run["final_source_id"])
