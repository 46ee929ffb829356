"""The evaluator's side of a conversation with a process that may cheat: deadlines, private copies, our own softmax.

Streaming makes a leak of later text impossible by construction: symbol t+1 of a row is not sent before the logits that
predict it have been copied out of the shared memory, and only the copy is looked at.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Any

from trainer.predictions import InvalidPredictions, negative_log_likelihood


class HangUp(InvalidPredictions):
    """The process has closed its end; its own last words say more."""

    def __init__(self) -> None:
        super().__init__("the process that predicts has ended")


class Channel:
    """Two pipes and a shared memory to a process in `trainer.inside.serving`; it owns none of the descriptors.

    ``process`` tells its id, None where that cannot be known: for whoever wants to look at its clock from outside.
    """

    def __init__(
        self, send_fd: int, answer_fd: int, shared_fd: int, reply_bytes: int,
        process: Callable[[], int | None] = lambda: None,
    ) -> None:  # fmt: skip
        self.process = process
        self._send_fd, self._answer_fd, self._shared_fd = send_fd, answer_fd, shared_fd
        self._reply_bytes = reply_bytes
        for descriptor in (send_fd, answer_fd):
            os.set_blocking(descriptor, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(send_fd, select.POLLOUT)
        self._readable.register(answer_fd, select.POLLIN)

    @property
    def descriptors(self) -> dict[str, int]:
        """What another process of ours needs to go on with the conversation: arguments of a Channel there."""
        return {"send": self._send_fd, "answer": self._answer_fd, "shared": self._shared_fd}

    def ask(self, payload: bytes, seconds: float) -> memoryview:
        """Send ``payload`` and wait for the answer: a private copy of the ``reply_bytes`` of shared memory.

        InvalidPredictions if the process is gone, or has not answered after ``seconds``.
        """
        line = time.monotonic() + seconds
        self.send(payload, seconds)
        return self.take(line - time.monotonic())

    def send(self, payload: bytes, seconds: float) -> None:
        """Hand ``payload`` over, without waiting for an answer."""
        line, rest = time.monotonic() + seconds, memoryview(payload)
        while rest:
            try:
                rest = rest[os.write(self._send_fd, rest) :]
            except BlockingIOError:
                _wait(self._writable, line)
            except BrokenPipeError:
                raise HangUp from None

    def refuse_early(self) -> None:
        """InvalidPredictions if an answer is there though nothing is asked: one to each question, and after it."""
        try:
            early = os.read(self._answer_fd, 1)
        except BlockingIOError:
            return
        raise InvalidPredictions("an answer before its question") if early else HangUp

    def take(self, seconds: float) -> memoryview:
        """Wait for an answer and copy it, once: what the process writes later changes nothing."""
        self.answered(seconds)
        reply = os.pread(self._shared_fd, self._reply_bytes, 0)
        if len(reply) != self._reply_bytes:
            raise InvalidPredictions(f"a reply of {len(reply)} bytes, expected {self._reply_bytes}")
        return memoryview(reply)

    def answered(self, seconds: float) -> None:
        """Wait for the byte that tells of an answer, and leave the shared memory alone."""
        line = time.monotonic() + seconds
        while True:
            try:
                if os.read(self._answer_fd, 1):
                    return
                raise HangUp
            except BlockingIOError:
                _wait(self._readable, line)


def _wait(poll: select.poll, line: float) -> None:
    """Until something happens; InvalidPredictions once ``line`` has passed on the monotonic clock."""
    if (left := line - time.monotonic()) <= 0 or not poll.poll(left * 1000):
        raise InvalidPredictions("the process that predicts does not answer in time")


def stream_losses(
    channel: Channel, inputs: Any, targets: Any, classes: int, seconds_per_step: float, seconds_total: float
) -> Any:
    """Negative log-likelihoods in nats, float64 [rows, positions], symbol by symbol; 0 where a target is below 0.

    ``inputs`` and ``targets`` are int64 [rows, positions]; all rows go in step. While the process works on symbol t+1
    we take the softmax of the logits that it has given for t. InvalidPredictions if these are not finite.
    """
    import numpy as np

    rows, positions = inputs.shape
    columns = np.ascontiguousarray(inputs.T, dtype=np.int64)
    losses, line, previous = np.zeros((rows, positions)), time.monotonic() + seconds_total, None
    for position in range(positions):
        left = min(seconds_per_step, line - time.monotonic())
        channel.send(columns[position].tobytes(), left)
        if previous is not None:
            losses[:, position - 1] = negative_log_likelihood(previous, targets[:, position - 1])
        previous = np.frombuffer(channel.take(left), np.float32).reshape(rows, classes)
    if previous is not None:
        losses[:, -1] = negative_log_likelihood(previous, targets[:, -1])
    return losses
