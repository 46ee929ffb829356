"""The candidate's side of a conversation with the evaluator: it receives symbols and sends logits as raw bytes.

It runs in the candidate's process and is therefore not trusted; the other side (`trainer.scoring.streaming.Channel`)
checks the answers. Payloads arrive through a pipe, replies are written to shared memory, and one byte through a second
pipe announces a reply.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import Any

_DONE = b"."


class Exchange:
    """Payloads arrive through ``receive_fd``, replies go into ``shared_fd`` and are announced by ``reply_fd``."""

    def __init__(self, receive_fd: int, reply_fd: int, shared_fd: int) -> None:
        self._receive_fd = receive_fd
        self._reply_fd = reply_fd
        self._shared = mmap.mmap(shared_fd, os.fstat(shared_fd).st_size)

    def receive(self, size: int) -> bytearray | None:
        """Exactly ``size`` bytes of payload; None at the end of the conversation."""
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size:
            got = os.readv(self._receive_fd, [view[filled:]])
            if not got:
                return None
            filled += got
        return data

    def reply(self, array: Any) -> None:
        """Write a NumPy array's bytes to the shared memory, then announce the reply."""
        import numpy as np

        if array.nbytes > len(self._shared):
            raise ValueError(f"a reply of {array.nbytes} bytes, there is room for {len(self._shared)}")
        np.frombuffer(self._shared, array.dtype, array.size)[:] = array.reshape(-1)
        os.write(self._reply_fd, _DONE)


def _prefix_step(module: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """The ``step`` for a source without one: the last position of ``logits`` for all symbols so far."""
    import torch

    def step(model: Any, state: Any, symbols: Any) -> tuple[Any, Any]:
        prefix = symbols[:, None] if state is None else torch.cat((state, symbols[:, None]), 1)
        return module.logits(model, prefix)[:, -1], prefix

    return step


def converse(module: Any, request: dict[str, Any]) -> None:
    """Receive one symbol of every row and send the logits of the next one, until the evaluator closes the pipe.

    ``module`` is the candidate's; ``settings``: ``rows``, ``classes``. Input: int64 [rows]; output: float32
    [rows, classes].
    """
    import numpy as np
    import torch

    if not callable(getattr(module, "load", None)):
        raise AttributeError("train.py defines no function load")
    exchange = Exchange(request["receive_fd"], request["reply_fd"], request["shared_fd"])
    model = module.load(request["checkpoint"])
    rows, classes = request["settings"]["rows"], request["settings"]["classes"]
    step = getattr(module, "step", None) or _prefix_step(module)
    state = None
    with torch.no_grad():
        while (data := exchange.receive(rows * 8)) is not None:
            logits, state = _both(step(model, state, torch.from_numpy(np.frombuffer(data, np.int64))))
            answer = logits.detach().to("cpu", torch.float32)
            if tuple(answer.shape) != (rows, classes):
                raise ValueError(f"step: logits have shape {list(answer.shape)}, expected {[rows, classes]}")
            exchange.reply(answer.numpy())


def _both(answer: Any) -> tuple[Any, Any]:
    """Logits and state; ValueError if ``step`` returned something else."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise ValueError("step must return (logits, state)")
    return answer
