"""Clients that say what they like to a project's host, and a small project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import select

from arena.home.host import ProjectHost
from arena.home.project import Project, ProposalRow, Volunteer
from arena.home.protocol import Introduction, Proposal, ProposalAnswer, parsed
from arena.home.verifying import Verifier
from arena.serving.clock import utc_now
from arena.study.study import Study
from arena.work.executors import executor_of
from tests.inner_loop.play import BLOBS
from tests.studies import silent
from trainer.task import Task


class Client:
    """A volunteer that says what it likes."""

    def __init__(self, host: ProjectHost, name: str) -> None:
        self.host = host
        welcome = host.join(None, parsed(Introduction, json.dumps({"name": name})))
        self.number, self.token = welcome.volunteer, welcome.token

    def propose(self, files: Mapping[str, str], gain: float = 0.5, **other: object) -> ProposalAnswer:
        """Hand in a patch of today's main, or of another ``base``."""
        sent = {"base": self.host.project.chain.head, "files": dict(files), "gain": gain, **other}
        return self.host.propose(self.number, parsed(Proposal, json.dumps(sent)))


def new_project(folder: Path) -> Project:
    """Blobs, whose trainings are fast and the same each time; one process trains."""
    return Project.create(folder, Task.load(BLOBS), 1.2, "Blobs", seed=1, workers=1, fixed_steps=True)


def work(project: Project, steps: int = 100) -> None:
    """Let the host's verifier work until it is idle."""
    with Study.open(project.folder) as study, executor_of(study, silent) as executor:
        verifier = Verifier(project, study, lambda _: None)
        for _ in range(steps):
            if not verifier.step(executor):
                return


def rows(project: Project) -> list[ProposalRow]:
    with project.database.read() as connection:
        return list(connection.scalars(select(ProposalRow).order_by(ProposalRow.proposal_id)))


def states(project: Project) -> dict[int, tuple[str, str]]:
    return {row.proposal_id: (row.state, row.reason) for row in rows(project)}


def confirm(project: Project, *volunteers: int) -> None:
    """Let volunteers count as known ones: a proposal of each was merged long ago."""
    with project.database.write() as connection:
        for number in volunteers:
            connection.add(
                ProposalRow(
                    proposal_id=1000 + number, volunteer_id=number, content="", base="", files={}, normal="",
                    claimed=0.0, state="merged", changed_at=utc_now(), main=project.chain.head,
                )
            )  # fmt: skip


def people(project: Project) -> list[Volunteer]:
    with project.database.read() as connection:
        return list(connection.scalars(select(Volunteer).order_by(Volunteer.volunteer_id)))


def better(project: Project, **settings: object) -> dict[str, str]:
    text = project.task.baseline().text()
    for name, value in settings.items():
        [line] = [each for each in text.splitlines() if each.startswith(f"{name} = ")]
        text = text.replace(line, f"{name} = {value}")
    return {"train.py": text}
