"""Clients that say what they like to a project's host, and a small project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import Introduction, LeaseRequest, ResultAnswer, RunResult, RunWork, parsed
from arena.home.tables import ProposalRow
from arena.home.verifying import Verifier
from arena.study.setup import StudySetup
from arena.study.study import Study
from arena.work.executors import executor_of
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import silent
from trainer.task import Task

RESULT = {"device_seconds": 1.0, "experiments": 6, "events": "", "claimed_gain": 1.0}


class Client:
    """A volunteer that says what it likes."""

    def __init__(self, host: ProjectHost, name: str) -> None:
        self.host = host
        raw = json.dumps({"name": name, "hardware": "cpu", "devices": 2})
        with host.project.database.write() as connection:
            self.token = host.join(connection, None, parsed(Introduction, raw)).token
        self.number = host.volunteer_of(self.token)

    def lease(self, *have: str) -> RunWork:
        with self.host.project.database.write() as connection:
            granted = self.host.lease(connection, self.number, parsed(LeaseRequest, json.dumps({"have": have})))
        return self.host.work(granted)

    def result(self, lease: str, changed: Mapping[str, str], **other: Any) -> ResultAnswer:
        """Hand in a run that claims a gain of 1, or what is in ``other``."""
        sent = parsed(RunResult, json.dumps({**RESULT, "files": dict(changed), **other}))
        checked = self.host.check(self.host.own_lease(self.token, lease), sent)
        with self.host.project.database.write() as connection:
            return self.host.take(connection, self.number, lease, sent, checked)

    def propose(self, files: Mapping[str, str], gain: float, lease: str = "", events: str = "") -> ResultAnswer:
        return self.result(lease or self.lease().lease, files, claimed_gain=gain, events=events)


def new_project(folder: Path) -> Project:
    """Blobs, whose trainings are fast and the same each time; one process trains."""
    setup = StudySetup("home", Task.load(BLOBS), 1.2, seed=1, workers=1, fixed_steps=True, programs=[starter("stock")])
    return Project.create(folder, setup, "Blobs", [(starter("stock"), 1.0)])


def work(project: Project, steps: int = 100) -> None:
    """Let the host's verifier work until it is idle."""
    with Study.open(project.folder) as study, executor_of(study, silent) as executor:
        verifier = Verifier(project, study, lambda _: None)
        verifier.put_right()
        for _ in range(steps):
            if not verifier.step(executor):
                return


def states(project: Project) -> dict[int, tuple[str, str]]:
    with project.database.read() as connection:
        return {each.proposal_id: (each.state, each.reason) for each in connection.scalars(select(ProposalRow))}


def better(project: Project, **settings: object) -> dict[str, str]:
    text = project.task.baseline().text()
    for name, value in settings.items():
        [line] = [each for each in text.splitlines() if each.startswith(f"{name} = ")]
        text = text.replace(line, f"{name} = {value}")
    return {"train.py": text}
