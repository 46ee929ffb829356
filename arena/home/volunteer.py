"""A volunteer: searches on its own for a better main, as in any study, and hands in what it found.

All lies in one folder. `runs/N` has the task with the main of that moment, a study, the proposal and the host's last
answer; a run without an answer goes on after a kill. The host is not trusted: its task is unpacked as hostile
(`bundle`), runs in the sandbox without network, and no file of the volunteer is read but those of its own folder.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from arena.arms import Entry
from arena.audit.verify_study import final_source
from arena.home import protocol
from arena.home.bundle import MOST_BODY, unpack
from arena.home.protocol import ProjectAbout, Proposal, ProposalAnswer, S, Sent, parsed
from arena.measuring import gain_estimate
from arena.serving.client import bad_certificate, fetch, http_address, is_private, no_answer, refusal
from arena.standalone import play_entries
from arena.study.setup import StudySetup
from arena.study.stop import drained
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work import sandbox
from inner_loop.run_context import ModelConfig
from programs.common.errors import EnvironmentProblem, NotFound, UsageError
from programs.program import Program
from trainer.task import Task
from trainer.user_files import private_folder

CONFINED = True  # data.py of a stranger runs in a sandbox
PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)  # between attempts to reach the host
AGAIN = (408, 429)  # and 500 or more: the same request may be sent again
OPEN = ("waiting", "testing", "later")  # states of a proposal that is asked about again
NOTHING = "nothing"  # state of a run that found no gain
Say = Callable[[str], None]


class JoinedProject(Sent):
    """Which project was joined, at which address, the task that the volunteer agreed to run, and its token, which goes
    there alone."""

    url: str
    project: protocol.ProjectId
    task: protocol.Digest
    token: str


@dataclass(frozen=True)
class LocalSearch:
    """How a volunteer searches: its program, who follows it, and with what. ``budget``: device-seconds of a run, else
    what the host suggests when the task is shown. ``max_gb``: memory that a training may take. Keys of models stay in
    the environment."""

    program: Program
    researcher: str = "scripted"
    models: ModelConfig | None = None
    budget: float | None = None
    devices: int = 1
    max_gb: float = 4.0


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
        self.token, self.has_answered = "", False

    def ask(self, path: str, body: Sent | None = None, most: int = Sent.most) -> bytes:
        """The answer, of at most so many bytes."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = fetch(self.base + path, body.model_dump_json().encode() if body else None, headers, most)
        except OSError as error:
            if bad_certificate(error) and not self.has_answered:  # later it may be the network of a hotel
                raise no_answer(self.base, error, "") from None
            raise Unreachable(str(error)) from None
        if answer.status != 200:
            refused = refusal(answer)
            if answer.status in AGAIN or answer.status >= 500 or refused is None:
                raise Unreachable(f"HTTP {answer.status}" + (f": {refused.message}" if refused else ""))
            raise refused
        self.has_answered = True
        return answer.body


class VolunteerSession:
    """One joined project, in ``folder``. ``step`` makes one run and hands it in."""

    def __init__(self, client: HostClient, folder: Path, name: str, search: LocalSearch, say: Say) -> None:
        self.client, self.folder, self.name, self.search, self.say = client, folder, name, search, say
        self.runs = private_folder(folder / "runs")
        self.shown, self.budget = "", search.budget  # digest of the task that was shown; device-seconds of a run

    @property
    def joined(self) -> JoinedProject | None:
        return stored(self.folder / "project.json", JoinedProject)

    def preview(self) -> Task:
        """The task of the project, unpacked as a run would get it. Raises UsageError for one that is refused."""
        about = self.about()
        self.shown, self.budget = about.task.digest, self.budget or about.budget
        with tempfile.TemporaryDirectory(prefix="preview-", dir=self.folder) as folder:
            task = self.unpacked(self.shown, Path(folder, "task"), {})
        sandbox.require(task, True)
        return task

    def join(self) -> ProjectAbout:
        """Join the project, or say another name. Raises UsageError for another project than the one joined here."""
        about, known = self.about(), self.joined
        token, digest = known.token if known else "", about.task.digest
        joining = JoinedProject(url=self.client.base, project=about.project, task=digest, token=token)
        if self.shown not in ("", digest):
            raise UsageError("the project's task is not the one that was shown", hint="join again to see it")
        if known and known != joining:
            raise UsageError(
                f"{joining.project} at {joining.url} is not the one that was joined in {self.folder}",
                hint=f"that is {known.project} at {known.url}; name another folder with --set folder=DIR",
            )
        self.client.token = token
        if self.name or not known:
            welcome = self.ask("/api/v1/volunteers", protocol.Welcome, protocol.Introduction(name=self.name))
            if not known:
                self.client.token = welcome.token
                store(self.folder / "project.json", joining.model_copy(update={"token": welcome.token}))
        return about

    def step(self) -> None:
        """Ask what became of earlier proposals; go on with the run that has no answer, or begin one on today's main;
        hand in what it found."""
        for folder in self.run_folders():
            answer = stored(folder / "answer.json", ProposalAnswer)
            if answer and answer.state in OPEN:
                self.hand_in(folder, answer)
        unfinished = [folder for folder in self.run_folders() if not (folder / "answer.json").exists()]
        folder = unfinished[0] if unfinished else self.begin()
        if not (folder / "proposal.json").exists():
            if (proposal := self.run(folder)) is None:
                self.say(f"run {folder.name}: no gain, nothing to propose")
                store(folder / "answer.json", ProposalAnswer(state=NOTHING))
                return
            store(folder / "proposal.json", proposal)
        self.hand_in(folder)

    def run_folders(self) -> list[Path]:
        return sorted(path for path in self.runs.iterdir() if path.name.isdigit())

    def begin(self) -> Path:
        """The folder of a new run, with the task as of today's main. Raises UsageError where the host has another task
        than the one that was agreed to."""
        about, joined = self.about(), self.joined
        if joined is None or (joined.project, joined.task) != (about.project, about.task.digest):
            raise UsageError(
                "the host now has another task than the one that you agreed to; it is not run",
                hint="to see the other one, join again with --set folder=DIR",
            )
        partial = self.runs / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        private_folder(partial)
        self.unpacked(joined.task, partial / "task", about.files)
        store(partial / "main.json", about)
        number = 1 + max((int(folder.name) for folder in self.run_folders()), default=0)
        return partial.rename(self.runs / f"{number:04}")

    def run(self, folder: Path) -> Proposal | None:
        """A run from the main of its folder, as a study of one program, and what it found; None without a gain beyond
        its error. It goes on where it stopped. Raises Drained after Ctrl-C."""
        about, search = stored(folder / "main.json", ProjectAbout), self.search
        if about is None:
            raise UsageError(f"{folder} has no main.json", hint=f"remove {folder}")
        if not (folder / "study" / "study.toml").exists():
            task = Task.load(str(folder / "task"))
            sandbox.require(task, True)
            setup = StudySetup(
                "match", task, self.budget or about.budget, devices=search.devices, confined=CONFINED,
                researcher=search.researcher, model_config=search.models, programs=[search.program],
                plan={"runs": 1, "roles": ["program"]},
            )  # fmt: skip
            Study.create(folder / "study", setup.config())
        study = Study.open(folder / "study")
        [(name, text)] = study.config.programs
        self.say(f"run {folder.name} on block {about.block}: metaloop status {study.folder} shows it")
        play_entries(study, [Entry(Program.parse(text, name))], 1, lambda _: None)
        study.look()
        [(run_id, run)] = study.state.runs.items()
        if run.ended is None:  # a stop was requested
            raise drained(study)
        final = final_source(study, run_id, run.ended.final_source_id)
        changed = {name: text for name, text in final.files if about.files.get(name) != text}
        estimate = gain_estimate(TaskStudy(study), "selection", list(run.verifications.values()))
        if not changed or estimate.gain <= (estimate.se or 0.0):
            return None
        return Proposal(base=about.commit, files=changed, gain=estimate.gain, error=estimate.se)

    def hand_in(self, folder: Path, before: ProposalAnswer | None = None) -> None:
        """Send the proposal of a run, keep the host's answer, and print it unless it is as ``before``."""
        proposal = stored(folder / "proposal.json", Proposal)
        try:
            answer = self.ask("/api/v1/proposals", ProposalAnswer, proposal)
        except (UsageError, NotFound) as refused:  # the search goes on
            answer = ProposalAnswer(state="refused", reason=refused.message)
        store(folder / "answer.json", answer)
        if proposal and answer != before:
            self.say(f"run {folder.name}, claimed gain {proposal.gain:.4g}: {in_words(answer)}")

    def unpacked(self, digest: str, folder: Path, main: dict[str, str]) -> Task:
        """The task, which may take no more memory than was granted. Its bundle is kept."""
        kept = self.folder / f"task-{digest}.json"
        if not kept.exists():
            body = self.reach(f"/api/v1/task/{digest}", None, MOST_BODY)
            task = unpack(body, digest, folder, main)
            kept.write_bytes(body)
        else:
            task = unpack(kept.read_bytes(), digest, folder, main)
        if task.memory_mb > self.search.max_gb * 1024:
            raise UsageError(
                f"a training of {task.name} may take {task.memory_mb / 1024:.1f} GB of memory, more than you grant",
                hint=f"--set max_gb={math.ceil(task.memory_mb / 1024)} grants it",
            )
        return task

    def about(self) -> ProjectAbout:
        return self.ask("/api/v1/project", ProjectAbout)

    def ask(self, path: str, kind: type[S], body: Sent | None = None) -> S:
        """The host's answer. Raises EnvironmentProblem for one that is malformed."""
        raw = self.reach(path, body, kind.most)
        return parsed(kind, raw, "the host's answer is malformed: ", EnvironmentProblem)

    def reach(self, path: str, body: Sent | None, most: int) -> bytes:
        """Ask until there is an answer: what was found is kept, however long the host is away. Raises
        EnvironmentProblem for a host that was never joined and gives none."""
        attempt = 0
        while True:
            try:
                return self.client.ask(path, body, most)
            except Unreachable as problem:
                why = f"no answer from {self.client.base} ({problem.why})"
            if attempt == len(PAUSES) and self.joined is None:
                raise EnvironmentProblem(why, hint="is metaloop home serve running there?")
            if attempt in (0, len(PAUSES)):
                self.say(f"{why}; trying again")
            time.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1


def in_words(answer: ProposalAnswer) -> str:
    """``merged as block 3``, or the state and its reason."""
    if answer.state == "merged":
        return f"merged as block {answer.block}"
    states = {"waiting": "waits for its test", "later": "waits here", "testing": "is being tested", "void": "void"}
    text = states.get(answer.state, f"not merged ({answer.state})")
    return f"{text}: {answer.reason}" if answer.reason else text


def stored(path: Path, kind: type[S]) -> S | None:
    """Raises UsageError for a damaged file, or one of another version."""
    return parsed(kind, path.read_bytes(), f"{path}: ") if path.exists() else None


def store(path: Path, value: Sent) -> None:
    """Replace a file as a whole; only its owner may read it."""
    partial = path.with_suffix(".partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(value.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
