"""The candidate's side of a conversation with the evaluator: symbols or arrays come in, raw bytes go out.

It runs in a process that the candidate owns, so nothing here is trusted; what must hold is checked at the other end
(`trainer.streaming.Channel`). Payloads come through a pipe, a reply lies in shared memory, and one byte through a
second pipe says that it is there.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from collections.abc import Callable
from typing import Any

_DONE = b"."


class Exchange:
    """The three descriptors: payloads from ``receive_fd``, replies into ``shared_fd``, told through ``reply_fd``."""

    def __init__(self, receive_fd: int, reply_fd: int, shared_fd: int) -> None:
        self._receive_fd = receive_fd
        self._reply_fd = reply_fd
        self._shared = mmap.mmap(shared_fd, os.fstat(shared_fd).st_size)

    def receive(self, size: int) -> bytearray | None:
        """Exactly ``size`` bytes of payload; None at the end of the conversation."""
        data = bytearray(size)
        return data if self.fill(memoryview(data)) else None

    def fill(self, view: memoryview) -> bool:
        """Payload into memory that is there already; False at the end of the conversation."""
        filled = 0
        while filled < len(view):
            got = os.readv(self._receive_fd, [view[filled:]])
            if not got:
                return False
            filled += got
        return True

    def room(self) -> int:
        """Address of the shared memory, which starts a page."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._shared))

    def reply(self, array: Any = None) -> None:
        """Put a NumPy array's bytes into the shared memory (nothing: a bare acknowledgement), then say so."""
        if array is not None:
            import numpy as np

            if array.nbytes > len(self._shared):
                raise ValueError(f"a reply of {array.nbytes} bytes, there is room for {len(self._shared)}")
            room = np.frombuffer(self._shared, array.dtype, array.size)
            room[:] = array.reshape(-1)
        os.write(self._reply_fd, _DONE)


def _prefix_step(module: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """The step of a source that has none: ``logits`` of all symbols so far, of which the last ones count."""
    import torch

    def step(model: Any, state: Any, symbols: Any) -> tuple[Any, Any]:
        prefix = symbols[:, None] if state is None else torch.cat((state, symbols[:, None]), 1)
        return module.logits(model, prefix)[:, -1], prefix

    return step


def stream(module: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """One symbol of every row comes in, the logits of the next one go out, until the evaluator has no more.

    ``settings``: ``rows`` and ``classes``. In: int64 [rows]; out: float32 [rows, classes].
    """
    import numpy as np
    import torch

    rows, classes = request["settings"]["rows"], request["settings"]["classes"]
    if not callable(getattr(module, "load", None)):
        raise AttributeError("train.py defines no function load")
    model = module.load(request["checkpoint"])
    step = getattr(module, "step", None) or _prefix_step(module)
    state = None
    with torch.no_grad():
        while (data := exchange.receive(rows * 8)) is not None:
            answer = step(model, state, torch.from_numpy(np.frombuffer(data, np.int64)))
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise ValueError("step must return (logits, state)")
            logits, state = answer
            found = logits.detach().to("cpu", torch.float32)
            if tuple(found.shape) != (rows, classes):
                raise ValueError(f"step: logits have shape {list(found.shape)}, expected {[rows, classes]}")
            exchange.reply(found.numpy())


def kernel(module: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """Arrays come in, are acknowledged, and after a go byte ``function(inputs)`` is called and its result goes out.

    ``settings``: ``function``, its name; ``inputs``: [dtype, shape] of each array; ``output``: that of the result.
    """
    import numpy as np

    settings = request["settings"]
    function = getattr(module, settings["function"], None)
    if not callable(function):
        raise AttributeError(f"defines no function {settings['function']}")
    output, shape = np.dtype(settings["output"][0]), tuple(settings["output"][1])
    while True:
        arrays = []
        for kind, form in settings["inputs"]:
            data = exchange.receive(np.dtype(kind).itemsize * math.prod(form))
            if data is None:
                return
            arrays.append(np.frombuffer(data, kind).reshape(form))
        exchange.reply()
        if exchange.receive(1) is None:
            return
        result = np.asarray(function(arrays))
        if result.dtype != output or result.shape != shape:
            found = f"{result.dtype} {list(result.shape)}"
            raise ValueError(f"{settings['function']} returned {found}, expected {output} {list(shape)}")
        exchange.reply(result)


def compiled(_: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """As `kernel`, with a shared object: ``function(first, second, …, result)``, pointers to memory that starts a page.

    It writes its result into the memory that the evaluator reads.
    """
    settings = request["settings"]
    function = getattr(ctypes.CDLL(request["library"]), settings["function"], None)
    if function is None:
        raise AttributeError(f"defines no function {settings['function']}")
    function.restype = None
    sizes = [_item_bytes(kind) * math.prod(form) for kind, form in settings["inputs"]]
    places = [mmap.mmap(-1, max(1, size)) for size in sizes]
    views = [memoryview(place)[:size] for place, size in zip(places, sizes, strict=True)]
    pointers = [ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(place))) for place in places]
    pointers.append(ctypes.c_void_p(exchange.room()))
    while all(exchange.fill(view) for view in views):
        exchange.reply()
        if exchange.receive(1) is None:
            return
        function(*pointers)
        exchange.reply()


def _item_bytes(kind: str) -> int:
    """Of a NumPy type as text, e.g. 4 of ``<f4``."""
    return int(kind[2:])


LOOPS: dict[str, Callable[[Any, dict[str, Any], Exchange], None]] = {
    "stream": stream, "kernel": kernel, "compiled": compiled,
}  # fmt: skip


def converse(module: Any, request: dict[str, Any]) -> None:
    """Serve the loop that ``request["loop"]`` names with the candidate's ``module`` until the evaluator hangs up."""
    exchange = Exchange(request["receive_fd"], request["reply_fd"], request["shared_fd"])
    LOOPS[request["loop"]](module, request, exchange)
