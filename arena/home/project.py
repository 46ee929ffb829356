"""A project on disk: one folder that is a study too, with its database and the repository of main.

Blocks are in main, pairs in the ledger. The database has the volunteers and their proposals.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import JSON

from arena.home.bundle import Bundle, pack, refuse_unfit
from arena.home.chain import Chain
from arena.serving.database import Database, Moment
from arena.study.settings import StudyConfig
from arena.study.setup import StudySetup, require_free
from arena.study.study import Study
from programs.common.errors import NotFound, OtherVersion
from trainer.task import Task

MAIN = "main.git"
SCHEMA = 5  # of home.sqlite
UNNAMED = "volunteer"  # with its number, the name of a volunteer without one
#: States of a proposal. `rejected`: its test ended without a merge. `outdated`: main has changed the same lines.
#: `void`: its block does not count any more.
STATES = ("waiting", "testing", "merged", "rejected", "outdated", "void")


class ProjectTable(DeclarativeBase):
    """The tables of home.sqlite."""

    type_annotation_map = {datetime: Moment, dict[str, str]: JSON}  # noqa: RUF012 - SQLAlchemy's own


class Volunteer(ProjectTable):
    __tablename__ = "volunteers"

    volunteer_id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]

    @property
    def label(self) -> str:
        """The name with the volunteer's number: names may be taken twice."""
        return f"{self.name} ({self.volunteer_id})" if self.name else f"{UNNAMED} {self.volunteer_id}"


class ProposalRow(ProjectTable):
    """What a volunteer has handed in, and what became of it; in the order of arrival.

    ``content``: hash of base and files, by which a request that is sent again is known. ``normal``: hash of the whole
    source without layout and comments. ``claimed``: gain over the base, by the volunteer. A test sets the others:
    ``main`` is the commit that ``source``, the change on top of it, is compared with, ``test`` its place among all
    tests, from 1, and ``first_pair`` its first pair, as pairs beside an earlier main do not count.
    """

    __tablename__ = "proposals"
    __table_args__ = (UniqueConstraint("volunteer_id", "content"), {"sqlite_autoincrement": True})

    proposal_id: Mapped[int] = mapped_column(primary_key=True)
    volunteer_id: Mapped[int] = mapped_column(ForeignKey("volunteers.volunteer_id"), index=True)
    content: Mapped[str]
    base: Mapped[str]
    files: Mapped[dict[str, str]]
    normal: Mapped[str] = mapped_column(index=True)
    claimed: Mapped[float]
    claimed_error: Mapped[float | None]
    state: Mapped[str] = mapped_column(index=True, default="waiting")
    reason: Mapped[str] = mapped_column(default="")
    changed_at: Mapped[datetime]
    main: Mapped[str] = mapped_column(default="")
    source: Mapped[dict[str, str]] = mapped_column(default=dict)
    test: Mapped[int] = mapped_column(default=0)
    level: Mapped[float] = mapped_column(default=0.0)
    first_pair: Mapped[int] = mapped_column(default=0)
    pairs: Mapped[int] = mapped_column(default=0)  # in all its tests
    device_seconds: Mapped[float] = mapped_column(default=0.0)
    volunteer: Mapped[Volunteer] = relationship(lazy="joined")


class ProjectFact(ProjectTable):
    """A value by name."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, JsonValue]] = mapped_column(JSON)
    changed_at: Mapped[datetime]


class ProjectDatabase(Database):
    name = "home.sqlite"
    tables = ProjectTable
    facts = ProjectFact


@dataclass(frozen=True)
class Project:
    """An open project's folder. Holds no lock; the process that verifies holds the study's."""

    folder: Path
    study: StudyConfig
    database: ProjectDatabase
    chain: Chain

    @classmethod
    def create(cls, folder: Path, task: Task, run_budget: float, title: str, **settings: Any) -> Project:
        """A new project. ``run_budget``: device-seconds of a volunteer's run, as a suggestion. ``settings``: others of
        `StudySetup`.

        Raises UsageError for a folder that is taken, or a task that strangers cannot search.
        """
        refuse_unfit(task)
        require_free(folder)
        study = Study.create(folder, StudySetup("home", task, run_budget, **settings).config())
        project = cls(folder, study.config, ProjectDatabase(folder), Chain(folder / MAIN))
        project.database.create()
        project.chain.create()
        project.chain.append(dict(task.baseline().files), f"Block 0: the baseline of {task.name}", "", "host", "")
        project.database.set_fact("project", title=title, schema=SCHEMA)
        return project

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
    def title(self) -> str:
        return str(self.database.fact("project")["title"])

    @cached_property
    def task(self) -> Task:
        return Task.load(self.study.task)

    @cached_property
    def bundle(self) -> Bundle:
        return pack(self.task)
