"""A volunteer's connection to a host, and the folder in which it keeps its key, its messages and its leases."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypeVar
from urllib.parse import urlsplit

from pydantic import JsonValue
from typing_extensions import TypedDict  # pydantic refuses that of typing before Python 3.12

from analysis.ledger.json_values import read_as
from arena.home.signing import Signer
from arena.serving.client import bad_certificate, no_answer
from programs.errors import MetaloopError, NotFound, UsageError
from trainer.user_files import private_folder

SECONDS = 30.0
MOST_ANSWER = 32 << 20


class JoinedProject(TypedDict):
    """Which project, and whose key its replies have to be signed with."""

    project: str
    key: str


class TaskAbout(TypedDict):
    name: str
    digest: str
    unit: str


class ProjectAbout(JoinedProject):
    """A host's description of its project."""

    title: str
    task: TaskAbout
    block: int
    commit: str
    budget: float
    hardware: str


class RunReport(TypedDict):
    """The end of a run: the changed files, and what the volunteer says of it."""

    files: dict[str, str]
    claimed_gain: float
    device_seconds: float
    experiments: int
    events: str


class LeaseFile(TypedDict):
    """A lease under way: the host's reply, then the run's end and its seal."""

    work: dict[str, JsonValue]
    result: NotRequired[RunReport]
    salt: NotRequired[str]
    seal: NotRequired[str]


class OutboxFile(TypedDict):
    message: str


class StateFile(TypedDict):
    number: int  # of the last message


Kept = JoinedProject | LeaseFile | OutboxFile | StateFile
File = TypeVar("File", JoinedProject, LeaseFile, OutboxFile, StateFile)


@dataclass(frozen=True)
class Unreachable(Exception):
    """No answer: the network, or the host, is away for now."""

    why: str


class HostClient:
    """HTTP to one host. ``ask`` raises Unreachable where it may be tried again, UsageError where it was refused."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"{url!r} is not the address of a project", hint="metaloop home join http://HOST:PORT")
        self.base = f"{parts.scheme}://{parts.netloc}"
        self.answered = False

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.base + path, data=body, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                self.answered = True
                return bytes(answer.read(MOST_ANSWER))
        except urllib.error.HTTPError as error:
            if error.code in (408, 429) or error.code >= 500:
                raise Unreachable(f"HTTP {error.code}") from None
            raise _refusal(error) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            if bad_certificate(error) and not self.answered:  # later it may be the network of a hotel
                raise no_answer(self.base, error, "") from None
            raise Unreachable(str(getattr(error, "reason", error))) from None


def _refusal(error: urllib.error.HTTPError) -> MetaloopError:
    try:
        reply = json.loads(error.read(1 << 16))["error"]
        message, hint = str(reply["message"])[:500], str(reply["hint"])[:500]
    except (ValueError, KeyError, TypeError):
        message, hint = f"HTTP {error.code}", ""
    return (NotFound if error.code == 404 else UsageError)(message, hint=hint)


class VolunteerFolder:
    """What a volunteer keeps: its key, the project that it joined, its outbox, one folder for each lease.

    The number of the next message is written down before the message is sent; a message stays in the outbox until the
    host has answered it, and is then sent again bit by bit.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        private_folder(folder)
        private_folder(folder / "leases")
        self.signer = Signer.at(folder / "volunteer.key")

    def get(self, name: str, kind: type[File]) -> File | None:
        path = self.folder / f"{name}.json"
        return read_as(kind, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def joined(self) -> JoinedProject:
        about = self.get("project", JoinedProject)
        assert about is not None  # `VolunteerSession.join` comes first
        return about

    def leases(self) -> list[JsonValue]:
        """The runs that are under way, by id."""
        return [json.loads(path.read_text("utf-8"))["work"]["lease"] for path in self.folder.glob("lease*.json")]

    def put(self, name: str, value: Kept | None) -> None:
        path = self.folder / f"{name}.json"
        if value is None:
            path.unlink(missing_ok=True)
            return
        partial = path.with_suffix(".partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
