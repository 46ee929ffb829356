"""The trusted process of the scorer `optimizer`: it has model and data; the optimizer runs in the candidate's process.

It is a process and not a thread of the worker, for three reasons: its BLAS has one thread, so that the metric does not
depend on the number of cores; all CPU is counted; and imports of the task's data.py stay out of the worker.
"""

from __future__ import annotations

import importlib
import math
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from trainer.inside import serving, wire
from trainer.predictions import InvalidPredictions, refuse_diverged
from trainer.streaming import Channel

if TYPE_CHECKING:
    from pydantic import JsonValue


class TraineeReply(TypedDict, total=False):
    """A message of this process: first ``shapes`` of the weights and ``bytes`` of a reply, last the result."""

    shapes: list[JsonValue]
    bytes: int
    metric: float
    invalid: str
    cpu_seconds: float


class OptimizerProblem(Protocol):
    """The return value of data.py's ``problem(split, seed)``: a model with its data."""

    shapes: Sequence[tuple[int, ...]]  # of the weights, float32 each
    guess: float  # loss of a blind guess; over twice that is `invalid`

    def weights(self) -> Any:
        """The arrays to start from."""

    def gradients(self, step: int, weights: Any) -> Any:
        """Arrays like the weights; called once per step, in order, from 0."""

    def score(self, weights: Any) -> float:
        """The metric of the weights on the hidden rows, which no gradient has seen."""


def train(problem: OptimizerProblem, channel: Channel, steps: int, seconds: float) -> float:
    """Request new weights ``steps`` times, within ``seconds`` in total, and score the last ones.

    InvalidPredictions if weights or gradients are not finite, answers are missing, or the loss is far above a guess.
    """
    import numpy as np

    line = time.monotonic() + seconds
    weights, size = problem.weights(), sum(math.prod(shape) for shape in problem.shapes)
    channel.send(_flat(weights).tobytes(), seconds)
    with np.errstate(all="ignore"):
        for step in range(steps):
            gradients = _flat(problem.gradients(step, weights))
            if gradients.size != size:
                raise ValueError(f"gradients of {gradients.size} numbers, the weights have {size}")
            if not np.isfinite(gradients).all():
                raise InvalidPredictions(f"diverged: the gradients of step {step} are not finite")
            answer = np.frombuffer(_ask(channel, gradients.tobytes(), line - time.monotonic()), np.float32)
            if not np.isfinite(answer).all():
                raise InvalidPredictions(f"the weights of step {step} are not finite")
            weights = unflat(answer, problem.shapes)
        loss = problem.score(weights)
    if not math.isfinite(loss):
        raise InvalidPredictions("diverged: the loss is not finite")
    return refuse_diverged(loss, problem.guess, "of loss")


def _ask(channel: Channel, question: bytes, seconds: float) -> memoryview:
    """The answer to this question. It must repeat the question's random token, so it cannot be sent in advance."""
    token = os.urandom(serving.TOKEN_BYTES)
    channel.refuse_early()
    answer = channel.ask(token + question, seconds)
    if answer[: len(token)] != token:
        raise InvalidPredictions("an answer before its question")
    return answer[len(token) :]


def _flat(arrays: Any) -> Any:
    """All arrays as one, float32."""
    import numpy as np

    return np.concatenate([np.asarray(one, np.float32).reshape(-1) for one in arrays])


def unflat(flat: Any, shapes: Sequence[Sequence[int]]) -> list[Any]:
    """Splits one array into copies of those shapes."""
    arrays, at = [], 0
    for shape in shapes:
        size = math.prod(shape)
        arrays.append(flat[at : at + size].reshape(shape).copy())
        at += size
    return arrays


def main(split: str, seed: int) -> None:
    """Send the shapes, receive the descriptors of a conversation, train, send the metric; all through descriptor 0."""
    data = importlib.import_module("data")  # the task's, because its folder comes first
    control = socket.socket(fileno=0)
    problem: OptimizerProblem = data.problem(Path(split), seed)
    shapes = [list(shape) for shape in problem.shapes]
    size = serving.TOKEN_BYTES + 4 * sum(math.prod(shape) for shape in shapes)  # of a reply
    wire.send(control, {"shapes": shapes, "bytes": size, "cpu_seconds": time.process_time()})
    if (request := wire.receive(control)) is None:
        return
    settings, descriptors = request
    channel = Channel(descriptors["send"], descriptors["answer"], descriptors["shared"], size)
    try:
        result: TraineeReply = {"metric": train(problem, channel, settings["steps"], settings["seconds"])}
    except InvalidPredictions as error:
        result = {"invalid": str(error)}
    wire.send(control, {**result, "cpu_seconds": time.process_time()})
