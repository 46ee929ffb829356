"""Clients that say what they like to a project's host, and a small project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from arena.executors import executor_of
from arena.home.messages import MessageHost
from arena.home.project import Project
from arena.home.signing import Signer, read_message, sealed
from arena.home.tables import Proposal
from arena.home.verifying import Verifier
from arena.study import Study
from tests.studies import silent


class Client:
    """A volunteer that says what it likes."""

    def __init__(self, host: MessageHost, secret: int, name: str) -> None:
        self.host, self.number = host, 0
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes([secret]) * 32))
        self.say("hello", name=name, hardware="cpu", devices=2)

    def say(self, kind: Any, **body: Any) -> dict[str, Any]:
        self.number += 1
        project = self.host.project
        raw = self.signer.sign(project.project_id, self.number, kind, body).model_dump_json().encode()
        with project.database.write() as connection:
            reply = self.host.answer(connection, raw)
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


def work(project: Project, steps: int = 100) -> None:
    with Study.open(project.folder) as study, executor_of(study, silent) as executor:
        verifier = Verifier(project, study, lambda _: None)
        verifier.put_right()
        for _ in range(steps):
            if not verifier.step(executor):
                return


def states(project: Project) -> dict[int, tuple[str, str]]:
    with project.database.read() as connection:
        return {each.proposal_id: (each.state, each.reason) for each in connection.scalars(select(Proposal))}


def better(project: Project, **settings: object) -> dict[str, str]:
    text = project.task.baseline().text()
    for name, value in settings.items():
        [line] = [each for each in text.splitlines() if each.startswith(f"{name} = ")]
        text = text.replace(line, f"{name} = {value}")
    return {"train.py": text}
