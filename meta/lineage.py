"""Lineage of programs in git: one commit per program, whose parents are its parent programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inner_loop.repository import unlock
from programs.program import Program
from programs.safe_git import GitFolder

if TYPE_CHECKING:
    from arena.study import Study

AUTHOR = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER")
          for key, value in (("NAME", "metaloop"), ("EMAIL", "metaloop@localhost"))}  # fmt: skip


class Lineage(GitFolder):
    """The bare repository ``programs.git``: a branch per program id, ``main`` for the champion.

    ``epoch`` (seconds since 1970) dates every commit, so that the same programs give the same commits.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        super().__init__(folder)
        unlock(folder)
        self.create()
        self.epoch = epoch
        branches = self.git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
        self.commits = dict(branch.split() for branch in branches)

    def add(self, program: Program, *, operator: str, parent_ids: Iterable[str], reason: str) -> str:
        """Commit ``program`` once and return the commit's hash."""
        if program.program_id in self.commits:
            return self.commits[program.program_id]
        message = f"{program.name}: {reason}\n\nProgram: {program.program_id}\nOperator: {operator}\n"
        parents = [self.commits[p] for p in parent_ids if p in self.commits]
        dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{self.epoch} +0000")
        tree = self.write_tree(dict((*program.files, *program.living)))
        commit = self.write_commit(tree, parents, message, {**AUTHOR, **dates})
        self._point(program.program_id, commit)
        self.commits[program.program_id] = commit
        return commit

    def crown(self, program_id: str) -> None:
        """Let ``main`` name the champion."""
        self._point("main", self.commits[program_id])

    def _point(self, branch: str, commit: str) -> None:
        self.git("update-ref", f"refs/heads/{branch}", commit)


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
