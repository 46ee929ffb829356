"""A volunteer's connection to a host, and the folder in which it keeps its token and its leases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from arena.home.protocol import Digest, ProjectId, RunResult, RunWork, S, Sent, parsed
from arena.serving.client import bad_certificate, fetch, http_address, is_private, no_answer, refusal
from programs.common.errors import UsageError
from trainer.user_files import private_folder

KEPT = 5  # results that the host refused
AGAIN = (408, 429)  # and 500 or more: the same request may be sent again


class JoinedProject(Sent):
    """Which project was joined, at which address, the task that the volunteer agreed to run, and its token, which goes
    there alone."""

    url: str
    project: ProjectId
    task: Digest
    token: str


class LeaseFile(Sent):
    """A lease under way, and once its run has ended, what is handed in."""

    most = RunWork.most + RunResult.most
    work: RunWork
    result: RunResult | None = None


@dataclass(frozen=True)
class Unreachable(Exception):
    """No answer: the network, or the host, is away for now."""

    why: str


class HostClient:
    """HTTP to one host, over https or within this machine. ``ask`` raises Unreachable where it may be tried again,
    UsageError, NotFound or CredentialMissing where the host refused it. Redirects are not followed."""

    def __init__(self, url: str) -> None:
        parts = http_address(url)
        if parts is None:
            raise UsageError(f"{url!r} is not the address of a project", hint="metaloop home join https://HOST")
        if not is_private(url):
            hint = f"use https, or a tunnel: ssh -L 8331:127.0.0.1:{parts.port or 80} {parts.hostname}, "
            hint += "then metaloop home join http://127.0.0.1:8331"
            raise UsageError(f"{url} has no TLS: others could read your token", hint=hint)
        self.base = f"{parts.scheme}://{parts.netloc.lower()}"
        self.token, self.answered = "", False

    def ask(self, path: str, body: Sent | None = None, most: int = Sent.most) -> bytes:
        """The answer, of at most so many bytes."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = fetch(self.base + path, body.model_dump_json().encode() if body else None, headers, most)
        except OSError as error:
            if bad_certificate(error) and not self.answered:  # later it may be the network of a hotel
                raise no_answer(self.base, error, "") from None
            raise Unreachable(str(error)) from None
        if answer.status != 200:
            refused = refusal(answer)
            if answer.status in AGAIN or answer.status >= 500 or refused is None:
                raise Unreachable(f"HTTP {answer.status}" + (f": {refused.message}" if refused else ""))
            raise refused
        self.answered = True
        return answer.body


class VolunteerFolder:
    """What a volunteer keeps: the project that it joined, a file and a folder for each lease. Each file is replaced as
    a whole, and is there until the host has answered, so that every request may be sent again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        private_folder(folder)
        private_folder(folder / "leases")

    def get(self, name: str, kind: type[S]) -> S | None:
        """Raises UsageError for a damaged file, or one of another version."""
        path = self.folder / f"{name}.json"
        return parsed(kind, path.read_bytes(), f"{path}: ") if path.exists() else None

    def leases(self) -> list[str]:
        """The runs that are under way, by id."""
        kept = [self.get(path.stem, LeaseFile) for path in sorted(self.folder.glob("lease*.json"))]
        return [each.work.lease for each in kept if each]

    def refuse(self, lease: LeaseFile) -> str:
        """Keep what the host did not take, and the last ones before it; returns the file's name."""
        name = f"refused-{lease.work.lease}"
        self.put(name, lease)
        kept = sorted(self.folder.glob("refused-*.json"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-KEPT]:
            path.unlink(missing_ok=True)
        return f"{name}.json"

    def put(self, name: str, value: Sent | None) -> None:
        path = self.folder / f"{name}.json"
        if value is None:
            path.unlink(missing_ok=True)
            return
        partial = path.with_suffix(".partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(value.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
