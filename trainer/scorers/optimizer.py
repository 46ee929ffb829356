"""Scores an optimizer: the loss of a fixed model after a fixed number of steps, computed by trusted code.

A trusted process (`trainer.optimizer_loop`) has the model, the data and the loop, from the task's data.py. The
candidate's process receives shapes, initial weights and one gradient per step, and returns new weights. It therefore
cannot train longer, see targets or repeat a step.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from programs.errors import TaskError
from trainer.inside import wire
from trainer.optimizer_loop import TraineeReply
from trainer.predictions import InvalidPredictions
from trainer.scoring import Referee, Score, ScoreSettings
from trainer.streaming import Channel

if TYPE_CHECKING:
    from pydantic import JsonValue

_HOME = str(Path(__file__).resolve().parent.parent)
_START = """
import sys; sys.path.insert(0, sys.argv[1])
from trainer.optimizer_loop import main
sys.path[0] = sys.argv[2]; main(sys.argv[3], int(sys.argv[4]))
"""
_SPARE = 60.0  # wall seconds for the trusted process beyond those of the conversation
_HINT = "problem(split, seed) must have shapes, guess, weights(), gradients(step, weights) and score(weights)"


class Optimizer:
    """Loss of the last weights on the hidden split. ``[score] seconds``: wall time of all steps together."""

    per_position = False
    needs_checkpoint = False

    def __init__(self, scoring: ScoreSettings) -> None:
        self.seconds: float = scoring.get("seconds", 600.0)

    def score(self, referee: Referee) -> Score:
        seed = int.from_bytes(referee.rng("problem").bytes(16), "big")  # too long to find by trial
        with _Trainee(referee.task_folder / "data.py", referee.split, seed, self.seconds) as trainee:
            settings: dict[str, JsonValue] = {
                "shapes": trainee.shapes,
                "steps": referee.steps,
                "seed": int(referee.rng("candidate").integers(1 << 31)),
            }
            try:
                metric = referee.converse(
                    "optimizer", settings, trainee.reply_bytes, partial(trainee.train, steps=referee.steps)
                )
            finally:
                referee.charge(trainee.cpu_seconds)
        return Score(metric, "verified" if referee.verifying else "scored")


class _Trainee:
    """The process with model, data and loop. Errors in it become TaskError with the last line of its output."""

    def __init__(self, data: Path, split: Path, seed: int, seconds: float) -> None:
        self.data = data
        self.seconds = seconds
        self.cpu_seconds = 0.0  # including its start
        self._command = [sys.executable, "-s", "-P", "-c", _START, _HOME, str(data.parent), str(split), str(seed)]

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment.pop("PYTHONPATH", None)  # the same packages as train.py
        self._errors = tempfile.TemporaryFile()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                self._command, stdin=theirs.fileno(), stdout=self._errors, stderr=self._errors, env=environment
            )
        try:
            message = self._receive()
        except BaseException:
            self._close()
            raise
        self.shapes = message["shapes"]
        self.reply_bytes = message["bytes"]
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def train(self, channel: Channel, steps: int) -> float:
        """Train the model through ``channel`` and return its score. InvalidPredictions for the candidate's errors."""
        settings = {"steps": steps, "seconds": self.seconds, "bytes": self.reply_bytes}
        wire.send(self._control, settings, channel.descriptors)
        reply = self._receive()
        if "invalid" in reply:
            raise InvalidPredictions(reply["invalid"])
        return float(reply["metric"])

    def _receive(self) -> TraineeReply:
        self._control.settimeout(self.seconds + _SPARE)
        try:
            answer = wire.receive(self._control)
        except TimeoutError:
            raise TaskError(f"{self.data}: no answer after {self.seconds + _SPARE:.0f} s", hint=_HINT) from None
        except OSError:  # it ended before reading our message
            answer = None
        if answer is None:
            self._process.wait(_SPARE)
            self._errors.seek(0)
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            hint = f"metaloop task check {shlex.quote(str(self.data.parent))} tests it; {_HINT}"
            raise TaskError(f"{self.data}: {lines[-1] if lines else 'it ended without a message'}", hint=hint)
        reply = cast(TraineeReply, answer[0])
        self.cpu_seconds = reply["cpu_seconds"]
        return reply

    def _close(self) -> None:
        self._control.close()  # upon which the process exits, unless it hangs
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


make = Optimizer
