"""Lineage of programs in git: one commit per program, whose parents are its parent programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from inner_loop.repository import unlock
from programs.program import Program

if TYPE_CHECKING:
    from git import Repo

    from arena.study import Study


class Lineage:
    """The bare repository ``programs.git``: a branch per program id, ``main`` for the champion.

    ``epoch`` (seconds since 1970) dates every commit, so that the same programs give the same commits.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        from git import Repo

        unlock(folder)
        whole = all((folder / name).exists() for name in ("HEAD", "config", "objects", "refs"))
        self.repo: Repo = Repo(folder) if whole else Repo.init(folder, bare=True, mkdir=True, initial_branch="main")
        self.epoch = epoch
        self.commits = {head.name: head.commit.hexsha for head in self.repo.heads}

    def __enter__(self) -> Lineage:
        return self

    def __exit__(self, *_: object) -> None:
        self.repo.close()

    def add(self, program: Program, *, operator: str, parent_ids: Iterable[str], reason: str) -> str:
        """Commit ``program`` once and return the commit's hash."""
        if program.program_id in self.commits:
            return self.commits[program.program_id]
        from git import Actor, Commit, IndexFile
        from git.index.typ import BaseIndexEntry
        from gitdb import IStream  # type: ignore[import-untyped]

        index = IndexFile(self.repo)
        for path, raw in (*program.files, *program.living):
            blob = self.repo.odb.store(IStream("blob", len(raw), BytesIO(raw)))
            index.add([BaseIndexEntry((0o100644, blob.binsha, 0, path))], write=False)
        message = f"{program.name}: {reason}\n\nProgram: {program.program_id}\nOperator: {operator}\n"
        parents = [self.repo.commit(self.commits[p]) for p in parent_ids if p in self.commits]
        who, date = Actor("metaloop", "metaloop@localhost"), f"{self.epoch} +0000"
        commit = Commit.create_from_tree(
            self.repo, index.write_tree(), message, parents,
            author=who, committer=who, author_date=date, commit_date=date,
        ).hexsha  # fmt: skip
        self._point(program.program_id, commit)
        self.commits[program.program_id] = commit
        return commit

    def crown(self, program_id: str) -> None:
        """Let ``main`` name the champion."""
        self._point("main", self.commits[program_id])

    def _point(self, branch: str, commit: str) -> None:
        self.repo.git.update_ref(f"refs/heads/{branch}", commit)


def admit(
    study: Study,
    lineage: Lineage,
    program: Program,
    generation: int,
    operator: str,
    parent_ids: Sequence[str],
    reason: str,
) -> None:
    """Commit a program and record it, each once."""
    lineage.add(program, operator=operator, parent_ids=parent_ids, reason=reason)
    study.admit(program, generation=generation, operator=operator, parent_ids=parent_ids)
