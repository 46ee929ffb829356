"""Real processes that are forked from one that has imported what takes long: a module as `python -m` runs it, and a
referee without a sandbox, real pipes between it and what judges its answers."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import reduction
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from trainer.inside import serving
from trainer.scoring import InvalidPredictions
from trainer.scoring.streaming import Channel

T = TypeVar("T")

_server = multiprocessing.get_context("forkserver")
# One import for all processes.
_server.set_forkserver_preload(
    ["torch", "scipy.stats", "scipy.optimize", "pandas", "duckdb", "optuna", "meta.evolve", "tests.forked"]
)


def run_module(name: str, *words: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -m NAME WORDS`, its output caught."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, stream) for stream in ("stdout", "stderr")]
        process = _server.Process(target=_run_module, args=(name, words, cwd, dict(env), outputs))
        process.start()
        process.join()
        texts = [path.read_text() for path in outputs]
    return subprocess.CompletedProcess([name, *words], process.exitcode or 0, *texts)


def _run_module(name: str, words: Sequence[str], cwd: Path, env: Mapping[str, str], outputs: Sequence[Path]) -> None:
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [name, *words]
    runpy._run_module_as_main(name, alter_argv=False)  # type: ignore[attr-defined]  # into the one module __main__


class Descriptor:
    """A descriptor that goes over to the new process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _open, (reduction.DupFd(self.number),)


def _open(sent: Any) -> int:
    return int(sent.detach())


def _module(source: str) -> ModuleType:
    import torch

    torch.set_num_threads(1)
    os.environ["METALOOP_TRAIN_DEVICE"] = "cpu"
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, 2)  # their tracebacks
    module = ModuleType("candidate")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def _converse(source: str, request: dict[str, Any]) -> None:
    serving.converse(_module(source), request)


def _predict(source: str, checkpoint: str, inputs: Any, chunk: int, output: str) -> None:
    import torch

    module: Any = _module(source)
    model, rows = module.load(checkpoint), torch.from_numpy(inputs)
    with open(output, "wb") as file:
        for start in range(0, len(rows), chunk):
            found = module.logits(model, rows[start : start + chunk])
            file.write(found.detach().to(torch.float32).contiguous().numpy().data)


class ForkedReferee:
    """Trains nothing: ``source`` loads ``checkpoint`` and predicts, in a fresh process each time."""

    def __init__(
        self, source: str, split: Path, public_split: Path, classes: int, *, verifying: bool = False,
        checkpoint: str = "", chunk: int = 8, seed: int = 1, log: str = "", task_folder: Path = Path(),
    ) -> None:  # fmt: skip
        self.source, self.split, self.public_split, self.classes = source, split, public_split, classes
        self.verifying, self.checkpoint, self.chunk, self.seed = verifying, checkpoint, chunk, seed
        self.log, self.task_folder, self.checked = log, task_folder, False

    def rng(self, label: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *label.encode()])

    def predict(self, inputs: Any) -> Any:
        shape = inputs.shape if inputs.dtype == np.int64 else inputs.shape[:1]
        with tempfile.TemporaryDirectory() as folder:
            output = f"{folder}/predictions.f32"
            process = _server.Process(target=_predict, args=(self.source, self.checkpoint, inputs, self.chunk, output))
            process.start()
            process.join()
            logits = np.fromfile(output, np.float32) if os.path.exists(output) else np.empty(0, np.float32)
        if logits.size != np.prod(shape) * self.classes:
            raise InvalidPredictions(f"predictions have {logits.nbytes} bytes")
        return logits.reshape(*shape, self.classes)

    def converse(self, settings: dict[str, Any], reply_bytes: int, talk: Callable[[Channel], T]) -> T:
        shared = os.memfd_create("reply")
        os.truncate(shared, reply_bytes)
        (receive, send), (answer, reply) = os.pipe(), os.pipe()
        request = {"settings": settings, "checkpoint": self.checkpoint}
        ours = {"receive_fd": Descriptor(receive), "reply_fd": Descriptor(reply), "shared_fd": Descriptor(shared)}
        process = _server.Process(target=_converse, args=(self.source, request | ours))
        process.start()
        for number in (receive, reply):
            os.close(number)
        try:
            return talk(Channel(send, answer, shared, reply_bytes))
        finally:
            for number in (send, answer, shared):
                os.close(number)
            process.join(1)
            process.kill()
            process.join()
