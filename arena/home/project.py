"""A project on disk: one folder that is a study too, with its database and the repository of main."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from arena.home.bundle import Bundle, pack, refuse_unfit
from arena.home.chain import Chain
from arena.home.tables import BlockRow, ProjectDatabase
from arena.study.settings import StudyConfig
from arena.study.setup import StudySetup, require_free
from arena.study.study import Study
from programs.common.errors import NotFound, OtherVersion
from programs.program import Program
from trainer.task import Task

MAIN = "main.git"
SCHEMA = 4  # of home.sqlite


@dataclass(frozen=True)
class Project:
    """An open project's folder. Holds no lock; the process that verifies holds the study's."""

    folder: Path
    study: StudyConfig
    database: ProjectDatabase
    chain: Chain

    @classmethod
    def create(cls, folder: Path, setup: StudySetup, title: str, programs: Sequence[tuple[Program, float]]) -> Project:
        """A new project. ``programs``: what volunteers follow, each with its share of the leases.

        Raises UsageError for a folder that is taken, or a task that strangers cannot search.
        """
        refuse_unfit(setup.task)
        require_free(folder)
        study = Study.create(folder, setup.config())
        made = cls(folder, study.config, ProjectDatabase(folder), Chain(folder / MAIN))
        made.database.create()
        made.chain.create()
        source = study.task.baseline()
        commit = made.chain.append(dict(source.files), f"Block 0: the baseline of {study.task.name}", "", "host", "")
        with made.database.write() as connection:
            connection.add(BlockRow(number=0, commit=commit, source_id=source.source_id))
            shares = {program.program_id: share for program, share in programs}
            made.database.put(connection, "project", title=title, shares=shares, schema=SCHEMA)
        return made

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Raises NotFound where there is no project, OtherVersion for one of another format."""
        database = ProjectDatabase(folder)
        if not database.path.is_file() or not (about := database.fact("project")):
            raise NotFound(f"{folder} holds no project", hint="metaloop home init DIR creates one")
        if about.get("schema") != SCHEMA:
            raise OtherVersion(
                f"{folder}: another version of metaloop made this project", hint="serve it with that version"
            )
        return cls(folder, StudyConfig.read(folder / "study.toml"), database, Chain(folder / MAIN))

    @property
    def project_id(self) -> str:
        return self.study.study_id

    @cached_property
    def task(self) -> Task:
        return Task.load(self.study.task)

    @cached_property
    def bundle(self) -> Bundle:
        return pack(self.task)

    @cached_property
    def programs(self) -> Mapping[str, tuple[str, str]]:
        """Name and text of each program that volunteers may follow, by its id."""
        parsed = (Program.parse(text, name) for name, text in self.study.programs)
        return {program.program_id: (program.name, program.document) for program in parsed}

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """The programs' shares of the leases."""
        return cast("Mapping[str, float]", self.database.fact("project")["shares"])
