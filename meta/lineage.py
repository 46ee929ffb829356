"""Lineage of programs in git: one commit per program, whose parents are its parent programs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
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
        tree = self._tree(dict((*program.files, *program.living)))
        parents = [word for p in parent_ids if p in self.commits for word in ("-p", self.commits[p])]
        message = f"{program.name}: {reason}\n\nProgram: {program.program_id}\nOperator: {operator}\n"
        values = {"NAME": "metaloop", "EMAIL": "metaloop@localhost", "DATE": f"{self.epoch} +0000"}
        identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in values.items()}
        commit = self._git("commit-tree", tree, *parents, data=message.encode(), env=identity)
        self._point(program.program_id, commit)
        self.commits[program.program_id] = commit
        return commit

    def _tree(self, files: Mapping[str, bytes]) -> str:
        """The hash of a git tree with these files by path."""
        rows, folders = [], dict[str, dict[str, bytes]]()
        for path, raw in files.items():
            name, _, below = path.partition("/")
            if below:
                folders.setdefault(name, {})[below] = raw
            else:
                rows.append(f"100644 blob {self._git('hash-object', '-w', '--stdin', data=raw)}\t{name}")
        rows += [f"040000 tree {self._tree(inside)}\t{name}" for name, inside in folders.items()]
        return self._git("mktree", "-z", data="".join(f"{row}\0" for row in rows).encode())

    def crown(self, program_id: str) -> None:
        """Let ``main`` name the champion."""
        self._point("main", self.commits[program_id])

    def _git(self, command: str, *arguments: str, data: bytes, env: dict[str, str] | None = None) -> str:
        """Output of a git command that reads ``data``; git wants a real file to read from."""
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            return str(self.repo.git.execute(["git", command, *arguments], istream=file, env=env))

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
