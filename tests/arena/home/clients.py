"""Clients that say what they like to a project's host, and a small project."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from arena.executors import executor_of
from arena.home.messages import MessageHost
from arena.home.project import KEY, Project
from arena.home.signing import Signer, read_message, sealed
from arena.home.tables import ProposalRow
from arena.home.verifying import Verifier
from arena.setup import StudySetup
from arena.study import Study
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import silent
from trainer.task import Task


class Client:
    """A volunteer that says what it likes."""

    def __init__(self, host: MessageHost, secret: int, name: str, number: int = 0) -> None:
        """``number``: of messages that it has sent before, to the project that this one is a copy of."""
        self.host, self.number = host, number
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes([secret]) * 32))
        if not number:
            self.say("hello", name=name, hardware="cpu", devices=2)

    def say(self, kind: Any, **body: Any) -> dict[str, Any]:
        self.number += 1
        project = self.host.project
        raw = self.signer.sign(project.project_id, self.number, kind, body).model_dump_json().encode()
        checked = self.host.check(raw)
        with project.database.write() as connection:
            reply = self.host.answer(connection, raw, checked=checked)
        message = read_message(reply, project.project_id)
        assert message.key == self.host.signer.key
        return message.content()

    def propose(self, files: Mapping[str, str], gain: float, lease: str = "", events: str = "") -> dict[str, Any]:
        lease = lease or self.say("work")["lease"]
        self.say("commit", lease=lease, seal=sealed(b"salt" + lease.encode(), files))
        return self.say(
            "propose", lease=lease, salt=(b"salt" + lease.encode()).hex(), files=dict(files), claimed_gain=gain,
            device_seconds=1.0, experiments=6, events=events,
        )  # fmt: skip


def new_project(folder: Path) -> Project:
    """Blobs, whose trainings are fast and the same each time; one process trains."""
    setup = StudySetup("home", Task.load(BLOBS), 1.2, seed=1, workers=1, fixed_steps=True, programs=[starter("stock")])
    return Project.create(folder, setup, "Blobs", [(starter("stock"), 1.0)])


def host_of(project: Project) -> MessageHost:
    return MessageHost(project, Signer.at(project.folder / KEY))


@contextmanager
def verifying(project: Project) -> Iterator[Callable[[int], None]]:
    """The host's verifier, which works as many steps as it is asked to."""
    with Study.open(project.folder) as study, executor_of(study, silent) as executor:
        verifier = Verifier(project, study, lambda _: None)
        verifier.put_right()

        def step(steps: int) -> None:
            for _ in range(steps):
                if not verifier.step(executor):
                    return

        yield step


def work(project: Project, steps: int = 100) -> None:
    with verifying(project) as step:
        step(steps)


def states(project: Project) -> dict[int, tuple[str, str]]:
    with project.database.read() as connection:
        return {each.proposal_id: (each.state, each.reason) for each in connection.scalars(select(ProposalRow))}


def better(project: Project, **settings: object) -> dict[str, str]:
    text = project.task.baseline().text()
    for name, value in settings.items():
        [line] = [each for each in text.splitlines() if each.startswith(f"{name} = ")]
        text = text.replace(line, f"{name} = {value}")
    return {"train.py": text}
