"""A volunteer: asks for a run, makes it in the sandbox, hands in its end. All lies in one folder and survives a kill.

The host is not trusted: its task is unpacked as hostile (`bundle`), runs in the sandbox without network, and no file of
the volunteer is read but those of its own folder. What is to be sent lies in an outbox until the host has answered.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

from pydantic import JsonValue

from analysis.ledger import read
from arena import sandbox
from arena.arms import Entry
from arena.drain import drained
from arena.home.bundle import RunWork, unpack
from arena.home.client import (
    HostClient,
    JoinedProject,
    LeaseFile,
    OutboxFile,
    ProjectAbout,
    RunReport,
    StateFile,
    Unreachable,
    VolunteerFolder,
)
from arena.home.signing import Body, Kind, read_message, sealed
from arena.setup import StudySetup
from arena.standalone import play_entries
from arena.study import Study
from arena.verify_study import final_source
from inner_loop.run_context import ModelConfig
from programs.errors import EnvironmentProblem, NotFound, UsageError
from programs.program import Program
from trainer.gpu import hardware_class
from trainer.task import Task

CONFINED = True  # data.py of a stranger runs in a sandbox
PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)  # between attempts to reach the host
SENT_KINDS = ("run_started", "experiment", "decision", "run_ended")
MOST_EVENTS = 480 << 10
Say = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """What a volunteer grants. ``hours``: of the local day in which runs are begun, from and to; None: always.
    ``max_gb``: memory that a training may take."""

    hours: tuple[int, int] | None = None
    max_gb: float = 4.0

    @classmethod
    def of(cls, hours: str, max_gb: float) -> Limits:
        """``hours`` as ``22-07``, or empty. Raises UsageError."""
        if not hours:
            return cls(None, max_gb)
        match = re.fullmatch(r"(\d{1,2})-(\d{1,2})", hours)
        first, last = (int(word) for word in match.groups()) if match else (24, 24)
        if max(first, last) > 24 or first == last:
            raise UsageError(f"--set hours={hours}: not two different hours of the day", hint="--set hours=22-07")
        return cls((first % 24, last % 24), max_gb)

    def allow(self, hour: int) -> bool:
        """Whether a run may begin in that hour of the day."""
        if self.hours is None:
            return True
        first, last = self.hours
        return first <= hour < last if first < last else hour >= first or hour < last


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


def _in_slot(url: str, folder: Path, limits: Limits, researcher: LocalResearcher, work: RunWork) -> RunReport:
    """Makes the run of a slot in its process."""
    return VolunteerSession(HostClient(url), VolunteerFolder(folder), "", limits, lambda _: None, researcher).run(work)


class Refused(UsageError):
    """The host refused a message."""


class VolunteerSession:
    """One joined project. ``step`` makes one run and hands it in; ``serve`` makes runs, several at a time if asked."""

    def __init__(
        self,
        client: HostClient,
        folder: VolunteerFolder,
        name: str,
        limits: Limits,
        say: Say,
        researcher: LocalResearcher = SCRIPTED,
    ) -> None:
        self.client, self.folder, self.name, self.limits, self.say = client, folder, name, limits, say
        self.researcher = researcher
        self.turn = threading.RLock()  # messages are numbered: one at a time
        self.stopping = threading.Event()
        self.begun = self.made = 0
        self.quota = 1  # runs at a time that the host grants

    def serve(self, runs: int | None, devices: Sequence[str]) -> None:
        """Make runs until there are ``runs``, one at a time on each device: GPUs by number, or "" for the processor."""
        if len(devices) == 1:
            while runs is None or self.made < runs:
                self.wait()
                self.step()
                self.made += 1
            return
        with ThreadPoolExecutor(len(devices)) as threads:
            slots = [threads.submit(self._slot, k, device, runs) for k, device in enumerate(devices)]
            try:
                for slot in as_completed(slots):
                    slot.result()
            except KeyboardInterrupt:
                self.stopping.set()  # the runs' own processes were interrupted too, and keep what they have
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
                self.wait()
                self.step(f"lease-{k}" if k else "lease", process)
                with self.turn:
                    self.made += 1

    def join(self, devices: int = 1) -> ProjectAbout:
        """Say hello. The first answer decides which host's key is believed from then on."""
        about: ProjectAbout = json.loads(self.reach("/api/v1/project"))
        known = self.folder.get("project", JoinedProject)
        if known and (known["project"], known["key"]) != (about["project"], about["key"]):
            raise UsageError(
                f"the host at {self.client.base} is not the one that was joined in {self.folder.folder}",
                hint="name another folder with --folder",
            )
        self.folder.put("project", about)
        self._grant(self.send("hello", name=self.name, hardware=hardware_class("cpu"), devices=devices))
        return about

    def preview(self) -> Task:
        """The task of the project, unpacked as a run would get it. Raises UsageError for one that is refused."""
        about = json.loads(self.reach("/api/v1/project"))
        digest = str(about["task"]["digest"])
        with tempfile.TemporaryDirectory(prefix="preview-", dir=self.folder.folder) as folder:
            task = unpack(self.reach(f"/api/v1/task/{digest}"), digest, Path(folder, "task"), {})
        self._refuse_large(task)
        sandbox.require(task, True)
        return task

    def _refuse_large(self, task: Task) -> None:
        if task.memory_mb > self.limits.max_gb * 1024:
            raise UsageError(
                f"a training of {task.name} may take {task.memory_mb / 1024:.1f} GB of memory, more than you grant",
                hint=f"--set max_gb={math.ceil(task.memory_mb / 1024)} grants it",
            )

    def wait(self) -> None:
        """Until the hours in which runs may begin."""
        if not self.limits.allow(datetime.now().astimezone().hour):
            self.say("outside the hours of --set hours; waiting")
        while not self.limits.allow(datetime.now().astimezone().hour):
            time.sleep(PAUSES[-1])

    def step(self, slot: str = "lease", process: ProcessPoolExecutor | None = None) -> None:
        """Go on with the lease of a slot that is under way, or ask for one; make its run; hand it in."""
        with self.turn:
            try:
                self.flush()
            except Refused as refusal:  # of an earlier session; the message is not sent again
                self.say(f"the host refused a message: {refusal.message}")
            lease = self.folder.get(slot, LeaseFile) or {"work": {}}
            if is_new := not lease["work"]:
                lease["work"] = self.send("work", have=self.folder.leases())
            work = RunWork.of(lease["work"])
            if is_new:
                self.folder.put(slot, lease)
        self._grant(lease["work"])
        if "result" not in lease:
            lease["result"] = self._carried_out(work, process)
            lease["salt"] = secrets.token_hex(16)
            self.folder.put(slot, lease)
        try:
            reply = self._hand_in(slot, work, lease)
        except Refused as refusal:
            self.folder.put(f"refused-{work.lease}", lease)
            self._finish(slot, work.lease)
            self.say(f"the host refused the result, which is kept as refused-{work.lease}.json: {refusal.message}")
            return
        self._finish(slot, work.lease)
        gain = lease["result"]["claimed_gain"]
        self.say(f"{work.program.name}: gain {gain:.4g}, {reply.get('state', 'nothing to propose')}")

    def _hand_in(self, slot: str, work: RunWork, lease: LeaseFile) -> dict[str, JsonValue]:
        """Seal what a run proposes, then show it. Raises Refused where the host does not take it."""
        result, salt = lease["result"], lease["salt"]
        if result["files"] and "seal" not in lease:
            lease["seal"] = sealed(bytes.fromhex(salt), result["files"])
            self.send("commit", lease=work.lease, seal=lease["seal"])
            self.folder.put(slot, lease)
        shown: Body = {"files": {**result["files"]}, "salt": salt} if result["files"] else {}
        return self.send(
            "propose",
            lease=work.lease,
            **shown,
            claimed_gain=result["claimed_gain"],
            device_seconds=result["device_seconds"],
            experiments=result["experiments"],
            events=result["events"],
        )

    def _grant(self, reply: Body) -> None:
        granted = reply.get("leases_at_once")
        self.quota = max(self.quota, granted if type(granted) is int else 1)

    def _carried_out(self, work: RunWork, process: ProcessPoolExecutor | None) -> RunReport:
        """The end of a run, made in the process of a slot if it has one."""
        if process is None:
            return self.run(work)
        where = (self.client.base, self.folder.folder, self.limits, self.researcher)
        return process.submit(_in_slot, *where, work).result()

    def _finish(self, slot: str, name: str) -> None:
        self.folder.put(slot, None)
        shutil.rmtree(self.folder.folder / "leases" / name, ignore_errors=True)

    def run(self, lease: RunWork) -> RunReport:
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
            study = Study.create(folder / "study", setup)
        play_entries(study, [Entry(program)], 1, lambda _: None)
        study.look()
        [(run_id, run)] = study.state.runs.items()
        if run.ended is None:  # a stop was requested
            raise drained(study)
        final = final_source(study, run_id, run.ended.final_source_id)
        main = dict(task.baseline().files)
        changed = {name: text for name, text in final.files if main.get(name) != text}
        events = [r for r in read(folder / "study" / "ledger") if r.get("kind") in SENT_KINDS]
        text = "\n".join(json.dumps(record, ensure_ascii=False) for record in events)
        return {
            "files": changed,
            "claimed_gain": run.gain or 0.0,
            "device_seconds": run.charged,
            "experiments": len(run.experiments),
            "events": text if len(text) <= MOST_EVENTS else "",
        }

    def task(self, digest: str, main: Mapping[str, str], folder: Path) -> Task:
        if folder.exists():
            return Task.load(str(folder))
        body = self.reach(f"/api/v1/task/{digest}")
        partial = folder.with_name("task.partial")
        shutil.rmtree(partial, ignore_errors=True)
        unpack(body, digest, partial, main)
        partial.rename(folder)
        return Task.load(str(folder))

    def send(self, kind: Kind, **body: JsonValue) -> dict[str, JsonValue]:
        """Send a message until it is answered; it stays in the outbox as long."""
        with self.turn:
            return self._send(kind, body)

    def _send(self, kind: Kind, body: Body) -> dict[str, JsonValue]:
        state = self.folder.get("state", StateFile)
        number = (state["number"] if state else 0) + 1
        message = self.folder.signer.sign(self.folder.joined()["project"], number, kind, body)
        self.folder.put("outbox", {"message": message.model_dump_json()})
        self.folder.put("state", {"number": number})
        reply = self.flush()
        assert reply is not None
        return reply

    def flush(self) -> dict[str, JsonValue] | None:
        """Send what lies in the outbox; returns its reply."""
        waiting = self.folder.get("outbox", OutboxFile)
        if not waiting:
            return None
        about = self.folder.joined()
        try:
            raw = self.reach("/api/v1/messages", waiting["message"].encode())
        except (UsageError, NotFound) as refusal:
            self.folder.put("outbox", None)  # it was refused, and would be again
            raise Refused(refusal.message, hint=refusal.hint) from None
        reply = read_message(raw, about["project"])
        if reply.key != about["key"]:
            raise UsageError(f"the reply was signed by another key than the host's, {about['key'][:16]}…")
        self.folder.put("outbox", None)
        return reply.content()

    def reach(self, path: str, body: bytes | None = None) -> bytes:
        """Ask until there is an answer: what was found is kept, however long the host is away."""
        for attempt in range(10**9):
            try:
                return self.client.ask(path, body)
            except Unreachable as problem:
                pause = PAUSES[min(attempt, len(PAUSES) - 1)]
                if attempt in (0, len(PAUSES)):
                    self.say(f"no answer from {self.client.base} ({problem.why}); trying again")
                if self.stopping.wait(pause):
                    raise KeyboardInterrupt from None
        raise EnvironmentProblem("unreachable")
