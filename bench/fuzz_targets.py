"""What `bench.fuzz` feeds: each reader of bytes that come from outside, its good inputs, and how it may refuse."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from analysis import ledger
from arena import jobs
from bench.fuzz_inputs import mutate, mutate_json
from programs.errors import EnvironmentProblem, MetaloopError
from programs.lint import lint
from programs.program import Program
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.inside import monitor, wire
from trainer.sandbox.blob import Blob
from trainer.sandbox.launcher import Ended, LauncherFault, read_reply
from trainer.scoring import InvalidPredictions
from trainer.scoring.referee import ExperimentTally, Failed, LocalReferee
from trainer.streams import Streams
from trainer.task import TASKS, Task

ROOT = Path(__file__).resolve().parent.parent
Reader = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """``prepare`` gets a folder of its own and returns the reader; all that it raises but ``refuses`` is a crash."""

    name: str
    corpus: Callable[[], list[bytes]]
    prepare: Callable[[Path], Reader]
    refuses: tuple[type[Exception], ...] = (MetaloopError,)
    make: Callable[[random.Random, list[bytes]], bytes] = mutate


def targets() -> list[Target]:
    python = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # caught at the worker's boundary
    return [
        Target("task.toml", _task_files, _task_reader),
        Target("program.md", _programs, lambda folder: _read_program),
        Target("ledger", _segments, _ledger_reader, make=_resealed),
        Target("job", _jobs, lambda folder: _read_job, (MetaloopError, *python), mutate_json),
        Target("reply", _replies, lambda folder: _reply_reader(), (LauncherFault, ValueError, OSError), mutate_json),
        Target("status", _statuses, lambda folder: _read_status, (), mutate_json),
        Target("checkpoint", _checkpoints, _checkpoint_reader, (InvalidPredictions, Failed)),
    ]


def _task_files() -> list[bytes]:
    return [path.read_bytes() for path in sorted(TASKS.glob("[a-z]*/task.toml"))]


def _task_reader(folder: Path) -> Reader:
    """Each input is tried beside the files of the task whose name stands in it, else of the first one."""
    copies = {path.parent.name: folder / path.parent.name for path in sorted(TASKS.glob("[a-z]*/task.toml"))}
    for name, copy in copies.items():
        shutil.copytree(TASKS / name, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def read(data: bytes) -> Task:
        name = next((name for name in copies if b'"%s"' % name.encode() in data), next(iter(copies)))
        (copies[name] / "task.toml").write_bytes(data)
        return Task.load(copies[name])

    return read


def _programs() -> list[bytes]:
    single = [path.read_bytes() for path in sorted((ROOT / "programs" / "library").glob("*.md"))]
    several = Program.parse(single[0], others={"roles/a.md": single[1]}, living={"found.md": "- Nothing yet.\n"})
    return [*single, several.document.encode()]


def _read_program(data: bytes) -> object:
    return lint(Program.parse(data, "program"))


def _sealed(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def _segments() -> list[bytes]:
    """A segment of each kind of record that matters, with fixed times, so that every search has the same inputs."""
    events: list[dict[str, Any]] = [
        {"kind": "segment", "writer": "worker-0", "heads": {"main-1.jsonl": {"seq": 3, "hash": "0" * 64}}},
        {"kind": "run_started", "run_id": "r1", "match_id": "m1", "program_text": "Try `lr=0.02`.\n", "run_seed": 7},
        {"kind": "experiment", "run_id": "r1", "number": 1, "status": "ok", "metric": 1.25, "edit": {"LR": 0.02}},
        {"kind": "decision", "run_id": "r1", "number": 1, "decision": "keep", "because": ["d123456789ab"]},
        {"kind": "run_ended", "run_id": "r1", "state": "finished", "spent": 10.5, "charged": 10.5},
    ]
    previous, out = "", b""
    for number, event in enumerate(events):
        head = {"seq": number, "at": f"2025-01-01T00:00:0{number}.000000Z", "prev": previous, "schema": ledger.SCHEMA}
        line = _sealed(head | event)
        previous = json.loads(line)["hash"]
        out += line
    return [out, b"".join(out.splitlines(keepends=True)[:1])]


def _resealed(rng: random.Random, corpus: list[bytes]) -> bytes:
    """A mutation; two thirds of them with right hashes again, so that more than the first check is tried."""
    data = mutate(rng, corpus)
    if rng.random() < 0.33:
        return data
    previous, out = b"", []
    for line in data.split(b"\n"):
        body = re.sub(rb',"hash":"[0-9a-f]{64}"\}\s*$', b"", line)
        if body == line:
            out.append(line)
            continue
        body = re.sub(rb'"prev":"[0-9a-f]*"', b'"prev":"%s"' % previous, body, count=1)
        previous = hashlib.sha256(body).hexdigest().encode()
        out.append(body + b',"hash":"' + previous + b'"}')
    return b"\n".join(out)


def _ledger_reader(folder: Path) -> Reader:
    (folder / "ledger").mkdir()
    path = folder / "ledger" / "worker-0-1.jsonl"

    def read(data: bytes) -> object:
        for opened in path.parent.glob("main-*.jsonl"):
            opened.unlink()
        path.write_bytes(data)
        refused: list[MetaloopError] = []
        problems = ledger.check(path.parent)
        for way in (lambda: list(ledger.read(path.parent)), lambda: ledger.verify(path.parent), lambda: _open(path)):
            try:
                way()
            except MetaloopError as error:  # each way is tried, whatever the others say
                refused.append(error)
        if refused:
            raise refused[0]
        return problems

    return read


def _open(path: Path) -> None:
    with ledger.Ledger(path.parent, "main") as writer:
        writer.append({"kind": "note"}, sync=False)


def _jobs() -> list[bytes]:
    run = jobs.RunJob("r1", "m1", "a1", "p1", "stock", "Try `lr=0.02`.\n", 7, "search", 120.0, "scripted", (1, 2), "r1")
    measured = jobs.Measurement(3, "ok", 1.25, "", "scored", 4.0, 5.0)
    result = jobs.JobResult("r1", "finished", (measured,))
    data = [jobs.to_json(run), jobs.to_json(jobs.BaselineJob("search", 3)), result.to_json()]
    return [json.dumps(item).encode() for item in data]


def _read_job(data: bytes) -> object:
    message = json.loads(data)
    return jobs.from_json(message) if "kind" in message else jobs.JobResult.from_json(message)


def _replies() -> list[bytes]:
    """Packets as a template sends them."""
    ended = Ended(0, "", 1.5, 2.5, 300.0, "", "", "loss 1.25\n")
    cut = Ended(-9, "cpu", 4.0, 5.0, 300.0, "ValueError: x", "ValueError", "é\n" * 30)
    packets = [asdict(ended), asdict(cut), {"broken": "RuntimeError: x"}]
    return [json.dumps({**packet, "descriptors": []}).encode() for packet in packets]


def _reply_reader() -> Reader:
    """What an escaped experiment might say in the template's place, through the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(1.0)

    def read(data: bytes) -> object:
        theirs.send(data or b"\0")
        answer = wire.receive(ours)
        return answer and read_reply(answer[0])

    return read


def _statuses() -> list[bytes]:
    return [json.dumps({"kind": "ValueError", "line": "ValueError: bad"}).encode(), b"{}"]


def _read_status(data: bytes) -> object:
    """What an experiment says of its error, in the monitor."""
    read, write = os.pipe2(os.O_NONBLOCK)
    try:
        os.write(write, data)
        return monitor._read_status(read)
    finally:
        os.close(read)
        os.close(write)


def _strokes(folder: Path, *, fixed_steps: bool) -> Trainer:
    task = Task.load("strokes")
    return Trainer(task, DataStore(task, Streams.from_seed(1), folder), fixed_steps=fixed_steps)


def _checkpoints() -> list[bytes]:
    """A checkpoint of the strokes task as its train.py leaves it, and one that runs a command when it is unpickled."""
    with tempfile.TemporaryDirectory() as folder, _strokes(Path(folder), fixed_steps=True) as trainer, Blob() as blob:
        request = trainer._request(Spec(trainer.task.baseline(), seed=1, fraction=0.1))
        ended = trainer.launcher.run(replace(request, descriptors={"checkpoint_out": blob.fd}))
        if ended.exit_code != 0 or ended.artifact:
            raise EnvironmentProblem(f"the strokes task cannot be trained: {ended.error or ended.artifact}")
        return [blob.read(blob.size), b"cos\nsystem\n(S'echo carried out; exit 7'\ntR."]


def _checkpoint_reader(folder: Path) -> Reader:
    """Through a fresh predict process each: the referee takes raw logits of 50 inputs, or refuses."""
    import numpy as np

    trainer = _strokes(folder, fixed_steps=False)
    spec = Spec(trainer.task.baseline(), seed=1)
    outcome = trainer.run(spec)  # the template starts, and everything is there
    if outcome.status == "fault":
        raise EnvironmentProblem(outcome.reason)
    request = trainer._request(spec)
    inputs = np.load(trainer.data.split("search") / "inputs.npy")[:50]

    def read(data: bytes) -> object:
        with Blob(data) as checkpoint:
            referee = LocalReferee(
                trainer.launcher, trainer.data, request, checkpoint,
                stream="search", seed=1, scoring=trainer.task.scoring, tally=ExperimentTally(),
            )  # fmt: skip
            return referee.predict(inputs)

    return read
