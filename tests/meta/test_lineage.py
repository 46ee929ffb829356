"""The repository of programs is written from the ledger, and the same ledger gives the same commits."""

from __future__ import annotations

from pathlib import Path

from git import Repo

from analysis.ledger.writing_events import MutationEvent
from arena.study.study import Study
from meta.lineage import write_programs_git
from programs.shelf import starter
from tests.studies import study_on
from trainer.task import Task

STOCK, CHILD = starter("stock"), starter("local")


def grown(folder: Path) -> Study:
    """A study with a starter and its child."""
    study = study_on(folder, Task.load("strokes"), programs=[STOCK])
    attempt = MutationEvent(
        generation=1, attempt=0, child_id=CHILD.program_id, parent_ids=(STOCK.program_id,), operator="write-ideas",
        accepted=True, reason="it follows",
    )  # fmt: skip
    with study:
        study.admit(STOCK, generation=0, operator="starter")
        study.admit(CHILD, generation=1, operator="write-ideas", parent_ids=[STOCK.program_id])
        study.record(attempt)
    return study


def heads(study: Study) -> dict[str, str]:
    with Repo(study.folder / "programs.git") as repo:
        return {head.name: head.commit.hexsha for head in repo.heads}


def test_a_child_is_a_commit_on_its_parent_and_main_the_champion(tmp_path: Path) -> None:
    study = grown(tmp_path / "s")
    write_programs_git(study, CHILD.program_id)
    with Repo(study.folder / "programs.git") as repo:
        main = repo.heads["main"].commit
        assert main == repo.heads[CHILD.program_id].commit
        assert [parent.hexsha for parent in main.parents] == [repo.heads[STOCK.program_id].commit.hexsha]
        assert main.message == f"local: it follows\n\nProgram: {CHILD.program_id}\nOperator: write-ideas\n"
        assert repo.git.show("main:program.md") == CHILD.text.rstrip("\n")
        assert repo.git.fsck("--strict") == ""
        assert f"stock: starter\n\nProgram: {STOCK.program_id}" in str(main.parents[0].message)


def test_what_a_kill_left_is_replaced_by_the_same_commits(tmp_path: Path) -> None:
    study = grown(tmp_path / "s")
    write_programs_git(study, STOCK.program_id)
    whole = heads(study)
    (study.folder / "programs.git" / "HEAD").unlink()
    (study.folder / "programs.git.partial").mkdir()
    write_programs_git(study, STOCK.program_id)
    assert heads(study) == whole and not (study.folder / "programs.git.partial").exists()
