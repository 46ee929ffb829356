"""A volunteer: asks for a run, makes it in the sandbox, hands in its end. All lies in one folder and survives a kill.

The host is not trusted: its task is unpacked as hostile (`bundle`), runs in the sandbox without network, and no file of
the volunteer is read but those of its own folder. A result lies there until the host has answered.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from analysis.ledger import read
from arena.arms import Entry
from arena.audit.verify_study import final_source
from arena.home import protocol
from arena.home.bundle import MOST_BODY, unpack
from arena.home.client import HostClient, JoinedProject, LeaseFile, Unreachable, VolunteerFolder
from arena.standalone import play_entries
from arena.study.setup import StudySetup
from arena.study.stop import drained
from arena.study.study import Study
from arena.work import sandbox
from inner_loop.run_context import ModelConfig
from programs.common.errors import EnvironmentProblem, NotFound, UsageError
from programs.program import Program
from trainer.gpu import hardware_class
from trainer.task import Task

CONFINED = True  # data.py of a stranger runs in a sandbox
PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)  # between attempts to reach the host
MOST_GB = 4.0  # of memory that a training may take, unless the volunteer grants more
SENT_KINDS = ("run_started", "experiment", "decision", "run_ended")
Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalResearcher:
    """Who follows the programs here, with the volunteer's own models or agent. Its keys stay in the environment."""

    kind: str = "scripted"
    config: ModelConfig | None = None


SCRIPTED = LocalResearcher()


def _use(device: str) -> None:
    """The process of a slot: it ends with its volunteer, and sees one GPU at most."""
    from trainer.inside.metering import die_with_parent

    die_with_parent()
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device


def _in_slot(
    url: str, folder: Path, max_gb: float, researcher: LocalResearcher, work: protocol.RunWork
) -> protocol.RunResult:
    """Makes the run of a slot in its process."""
    return VolunteerSession(HostClient(url), VolunteerFolder(folder), "", max_gb, lambda _: None, researcher).run(work)


@dataclass
class VolunteerSession:
    """One joined project. ``step`` makes one run and hands it in; ``serve`` makes runs, several at a time if asked.
    ``max_gb``: memory that a training may take."""

    client: HostClient
    folder: VolunteerFolder
    name: str
    max_gb: float
    say: Say
    researcher: LocalResearcher = SCRIPTED

    def __post_init__(self) -> None:
        self.turn = threading.Lock()  # one slot at a time asks for a lease, or changes its file
        self.stopping = threading.Event()
        self.begun = self.made = 0
        self.quota = 1  # runs at a time that the host grants
        self.shown = ""  # digest of the task that was shown

    def serve(self, runs: int | None, devices: Sequence[str]) -> None:
        """Make runs until there are ``runs``, one at a time on each device: GPUs by number, or "" for the processor."""
        if len(devices) == 1:
            while runs is None or self.made < runs:
                self.step()
                self.made += 1
            return
        with ThreadPoolExecutor(len(devices)) as threads:
            slots = [threads.submit(self._slot, k, device, runs) for k, device in enumerate(devices)]
            try:
                for slot in as_completed(slots):
                    slot.result()
            except BaseException:  # the other slots would go on, and be waited for; after Ctrl-C their runs have ended
                self.stopping.set()
                raise

    def _slot(self, k: int, device: str, runs: int | None) -> None:
        """Runs one after the other, in a process of its own."""
        with ProcessPoolExecutor(1, get_context("spawn"), _use, (device,)) as process:
            while not self.stopping.is_set():
                with self.turn:
                    granted = k < self.quota
                    if runs is not None and self.begun >= runs:
                        return
                    self.begun += granted
                if not granted:
                    self.stopping.wait(1.0)
                    continue
                self.step(f"lease-{k}" if k else "lease", process)
                with self.turn:
                    self.made += 1

    def join(self, devices: int = 1) -> protocol.ProjectAbout:
        """Join the project, or say what has changed. Raises UsageError for another project than the one joined here."""
        about, known = self.about(), self.folder.get("project", JoinedProject)
        token, digest = known.token if known else "", about.task.digest
        joined = JoinedProject(url=self.client.base, project=about.project, task=digest, token=token)
        if self.shown not in ("", digest):
            raise UsageError("the project's task is not the one that was shown", hint="join again to see it")
        if known and known != joined:
            raise UsageError(
                f"{joined.project} at {joined.url} is not the one that was joined in {self.folder.folder}",
                hint=f"that is {known.project} at {known.url}; name another folder with --set folder=DIR",
            )
        self.client.token = joined.token
        name, hardware = (text[: protocol.MOST_NAME] for text in (self.name, hardware_class("cpu")))
        who = protocol.Introduction(name=name, hardware=hardware, devices=min(devices, protocol.MOST_DEVICES))
        welcome = self.ask("/api/v1/volunteers", protocol.Welcome, who)
        if not known:
            self.client.token = welcome.token
            self.folder.put("project", joined.model_copy(update={"token": welcome.token}))
        self.quota = welcome.leases_at_once
        return about

    def about(self) -> protocol.ProjectAbout:
        return self.ask("/api/v1/project", protocol.ProjectAbout)

    def preview(self) -> Task:
        """The task of the project, unpacked as a run would get it. Raises UsageError for one that is refused."""
        self.shown = digest = self.about().task.digest
        with tempfile.TemporaryDirectory(prefix="preview-", dir=self.folder.folder) as folder:
            task = unpack(self.bundle(digest), digest, Path(folder, "task"), {})
        self._refuse_large(task)
        sandbox.require(task, True)
        return task

    def _refuse_large(self, task: Task) -> None:
        if task.memory_mb > self.max_gb * 1024:
            raise UsageError(
                f"a training of {task.name} may take {task.memory_mb / 1024:.1f} GB of memory, more than you grant",
                hint=f"--set max_gb={math.ceil(task.memory_mb / 1024)} grants it",
            )

    def step(self, slot: str = "lease", process: ProcessPoolExecutor | None = None) -> None:
        """Go on with the lease of a slot that is under way, or ask for one; make its run; hand it in."""
        with self.turn:
            lease = self.folder.get(slot, LeaseFile)
            if lease is None:
                asked = protocol.LeaseRequest(have=self.folder.leases())
                lease = LeaseFile(work=self.ask("/api/v1/leases", protocol.RunWork, asked))
                self._require_agreed(lease.work)
                self.folder.put(slot, lease)
                self.quota = lease.work.leases_at_once
        work, result = lease.work, lease.result
        if result is None:
            result = self._carried_out(work, process)
            lease = LeaseFile(work=work, result=result)
            self.folder.put(slot, lease)
        try:
            answer = self.ask(f"/api/v1/leases/{work.lease}/result", protocol.ResultAnswer, result)
            self.say(f"{work.program.name}: gain {result.claimed_gain:.4g}, {answer.state or 'nothing to propose'}")
        except (UsageError, NotFound) as refusal:
            kept = self.folder.refuse(lease)
            self.say(f"the host refused the result, which is kept as {kept}: {refusal.message}")
        with self.turn:
            self.folder.put(slot, None)
        shutil.rmtree(self.folder.folder / "leases" / work.lease, ignore_errors=True)

    def _require_agreed(self, work: protocol.RunWork) -> None:
        """Raises UsageError where the host wants another task to be run than the one that was shown and agreed to."""
        joined = self.folder.get("project", JoinedProject)
        if joined is None or joined.task != work.task:
            raise UsageError(
                "this lease is for another task than the one that you agreed to; it is not run",
                hint="to see the other one, join again with --set folder=DIR",
            )

    def _carried_out(self, work: protocol.RunWork, process: ProcessPoolExecutor | None) -> protocol.RunResult:
        """The end of a run, made in the process of a slot if it has one."""
        if process is None:
            return self.run(work)
        where = (self.client.base, self.folder.folder, self.max_gb, self.researcher)
        return process.submit(_in_slot, *where, work).result()

    def run(self, lease: protocol.RunWork) -> protocol.RunResult:
        """Make the run of a lease in the sandbox; the same lease again goes on where it stopped."""
        folder = self.folder.folder / "leases" / lease.lease
        task = self.task(lease.task, lease.base.files, folder / "task")
        self._refuse_large(task)
        program = Program.parse(lease.program.text, lease.program.name)
        if (folder / "study" / "study.toml").exists():
            study = Study.open(folder / "study")
        else:
            sandbox.require(task, True)
            setup = StudySetup(
                "match",
                task,
                lease.budget,
                seed=lease.run_seed,
                confined=CONFINED,
                researcher=self.researcher.kind,
                model_config=self.researcher.config,
            )
            study = Study.create(folder / "study", setup.config())
        play_entries(study, [Entry(program)], 1, lambda _: None)
        study.look()
        [(run_id, run)] = study.state.runs.items()
        if run.ended is None:  # a stop was requested
            raise drained(study)
        final = final_source(study, run_id, run.ended.final_source_id)
        main = dict(task.baseline().files)
        changed = {name: text for name, text in final.files if main.get(name) != text}
        events = [r for r in read(folder / "study" / "ledger") if r.get("kind") in SENT_KINDS]
        raw = "\n".join(json.dumps(record, ensure_ascii=False) for record in events).encode("utf-8", "replace")
        return protocol.RunResult(
            files=changed,
            claimed_gain=run.gain or 0.0,
            device_seconds=run.charged,
            experiments=len(run.experiments),
            events=raw.decode() if len(raw) <= protocol.MOST_EVENTS else "",
        )

    def task(self, digest: str, main: Mapping[str, str], folder: Path) -> Task:
        if folder.exists():
            return Task.load(str(folder))
        partial = folder.with_name("task.partial")
        shutil.rmtree(partial, ignore_errors=True)
        unpack(self.bundle(digest), digest, partial, main)
        partial.rename(folder)
        return Task.load(str(folder))

    def ask(self, path: str, kind: type[protocol.S], body: protocol.Sent | None = None) -> protocol.S:
        """The host's answer. Raises EnvironmentProblem for one that is malformed."""
        raw = self.reach(path, body, kind.most)
        return protocol.parsed(kind, raw, "the host's answer is malformed: ", EnvironmentProblem)

    def bundle(self, digest: str) -> bytes:
        return self.reach(f"/api/v1/task/{digest}", None, MOST_BODY)

    def reach(self, path: str, body: protocol.Sent | None, most: int) -> bytes:
        """Ask until there is an answer: what was found is kept, however long the host is away. Raises
        EnvironmentProblem for a host that was never joined and gives none."""
        for attempt in range(10**9):
            try:
                return self.client.ask(path, body, most)
            except Unreachable as problem:
                why = f"no answer from {self.client.base} ({problem.why})"
            if attempt == len(PAUSES) and self.folder.get("project", JoinedProject) is None:
                raise EnvironmentProblem(why, hint="is metaloop home serve running there?")
            if attempt in (0, len(PAUSES)):
                self.say(f"{why}; trying again")
            if self.stopping.wait(PAUSES[min(attempt, len(PAUSES) - 1)]):
                raise KeyboardInterrupt
        raise EnvironmentProblem("unreachable")
