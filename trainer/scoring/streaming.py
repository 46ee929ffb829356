"""The trusted side of a conversation with an untrusted process: deadlines, private copies, our own softmax.

Streaming makes a leak of later text impossible: symbol t+1 of a row is sent only after the logits that predict it were
copied out of the shared memory, and only the copy is used.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

from trainer.scoring import InvalidPredictions, negative_log_likelihood

_ENDED = "the process that predicts has ended"  # its own error message is more informative


class Channel:
    """Two pipes and shared memory to a process in `trainer.inside.serving`; it owns none of the descriptors."""

    def __init__(self, send_fd: int, answer_fd: int, shared_fd: int, reply_bytes: int) -> None:
        self._send_fd, self._answer_fd, self._shared_fd = send_fd, answer_fd, shared_fd
        self._reply_bytes = reply_bytes
        for descriptor in (send_fd, answer_fd):
            os.set_blocking(descriptor, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(send_fd, select.POLLOUT)
        self._readable.register(answer_fd, select.POLLIN)

    def send(self, payload: bytes, seconds: float) -> None:
        """Send ``payload`` without waiting for an answer."""
        line, rest = time.monotonic() + seconds, memoryview(payload)
        while rest:
            try:
                rest = rest[os.write(self._send_fd, rest) :]
            except BlockingIOError:
                _wait(self._writable, line)
            except BrokenPipeError:
                raise InvalidPredictions(_ENDED) from None

    def take(self, seconds: float) -> memoryview:
        """Wait for an answer and copy it once, so that later writes of the process have no effect.

        InvalidPredictions if the process is gone or has not answered after ``seconds``.
        """
        line = time.monotonic() + seconds
        while True:
            try:
                if os.read(self._answer_fd, 1):
                    break
                raise InvalidPredictions(_ENDED)
            except BlockingIOError:
                _wait(self._readable, line)
        reply = os.pread(self._shared_fd, self._reply_bytes, 0)
        if len(reply) != self._reply_bytes:
            raise InvalidPredictions(f"a reply of {len(reply)} bytes, expected {self._reply_bytes}")
        return memoryview(reply)


def _wait(poll: select.poll, line: float) -> None:
    """Wait for an event; InvalidPredictions at the deadline ``line`` of the monotonic clock."""
    if (left := line - time.monotonic()) <= 0 or not poll.poll(left * 1000):
        raise InvalidPredictions("the process that predicts did not answer in time")


def stream_losses(
    channel: Channel, inputs: Any, targets: Any, classes: int, seconds_per_step: float, seconds_total: float
) -> Any:
    """Negative log-likelihoods in nats, float64 [rows, positions], symbol by symbol; 0 for targets below 0.

    ``inputs`` and ``targets`` are int64 [rows, positions]; all rows advance together. While the process works on symbol
    t+1, we compute the softmax of its logits for t. InvalidPredictions if they are not finite.
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
