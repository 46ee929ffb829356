"""The repository of programs goes on from whatever a kill -9 left of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from meta.lineage import Lineage
from programs.shelf import starter

EPOCH = 2_000_000_000
PLACES = ("HEAD", "config", "refs", "objects", "hooks", "info")


def grown(folder: Path) -> str:
    with Lineage(folder, EPOCH) as lineage:
        commit = lineage.add(starter("stock"), operator="starter", parent_ids=(), reason="starter")
        lineage.crown(starter("stock").program_id)
    return commit


@pytest.mark.parametrize("made", range(len(PLACES)))
def test_a_git_init_that_was_cut_off_is_made_whole(tmp_path: Path, made: int) -> None:
    whole = grown(tmp_path / "whole")
    Lineage(tmp_path / "cut", EPOCH).__exit__()
    for name in PLACES[made:]:
        place = tmp_path / "cut" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    (tmp_path / "cut" / "config.lock").touch()
    assert grown(tmp_path / "cut") == whole


def test_locks_of_a_git_that_was_cut_off_are_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "programs.git"
    Lineage(folder, EPOCH).__exit__()
    for name in ("HEAD", "packed-refs", "refs/heads/main", f"refs/heads/{starter('stock').program_id}"):
        (folder / f"{name}.lock").touch()
    assert grown(folder) == grown(tmp_path / "other")
