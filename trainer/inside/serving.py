"""The candidate's side of a conversation with the evaluator: it receives symbols or arrays and sends raw bytes.

It runs in the candidate's process and is therefore not trusted; the other side (`trainer.streaming.Channel`) checks the
answers. Payloads arrive through a pipe, replies are written to shared memory, and one byte through a second pipe
announces a reply.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from array import array
from collections.abc import Callable
from typing import Any

from trainer.inside import plain

TOKEN_BYTES = 8  # of a question whose answer must repeat it; a multiple of a float's size
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
        return data if self.fill(memoryview(data)) else None

    def fill(self, view: memoryview) -> bool:
        """Read payload into existing memory; False at the end of the conversation."""
        filled = 0
        while filled < len(view):
            got = os.readv(self._receive_fd, [view[filled:]])
            if not got:
                return False
            filled += got
        return True

    def room(self) -> int:
        """The address of the shared memory, which is page-aligned."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._shared))

    def reply(self, array: Any = None, token: bytes | bytearray = b"") -> None:
        """Write a NumPy array's bytes to the shared memory (None: only an acknowledgement), then announce the reply.

        The question's ``token`` is placed before the bytes and written last.
        """
        if array is not None:
            import numpy as np

            self._fits(len(token) + array.nbytes)
            room = np.frombuffer(self._shared, array.dtype, array.size, offset=len(token))
            room[:] = array.reshape(-1)
        self._shared[: len(token)] = token
        os.write(self._reply_fd, _DONE)

    def reply_bytes(self, data: bytes) -> None:
        """The same for bytes."""
        self._fits(len(data))
        self._shared[: len(data)] = data
        os.write(self._reply_fd, _DONE)

    def _fits(self, size: int) -> None:
        if size > len(self._shared):
            raise ValueError(f"a reply of {size} bytes, there is room for {len(self._shared)}")


def _plain_prefix_step(module: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """`_prefix_step` for lists."""

    def step(model: Any, state: Any, symbols: Any) -> tuple[Any, Any]:
        prefix = [[*row, symbol] for row, symbol in zip(state or [[] for _ in symbols], symbols, strict=True)]
        return [row[-1] for row in module.logits(model, prefix)], prefix

    return step


def _prefix_step(module: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """The ``step`` for a source without one: the last position of ``logits`` for all symbols so far."""
    import torch

    def step(model: Any, state: Any, symbols: Any) -> tuple[Any, Any]:
        prefix = symbols[:, None] if state is None else torch.cat((state, symbols[:, None]), 1)
        return module.logits(model, prefix)[:, -1], prefix

    return step


def stream(module: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """Receive one symbol of every row and send the logits of the next one, until the evaluator has no more.

    ``settings``: ``rows``, ``classes``, and ``plain`` if the source uses lists instead of tensors. Input: int64 [rows];
    output: float32 [rows, classes].
    """
    if not callable(getattr(module, "load", None)):
        raise AttributeError("train.py defines no function load")
    model = module.load(request["checkpoint"])
    talk = _stream_lists if request["settings"].get("plain") else _stream_tensors
    talk(module, model, request["settings"], exchange)


def _both(answer: Any) -> tuple[Any, Any]:
    """Logits and state; ValueError if ``step`` returned something else."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise ValueError("step must return (logits, state)")
    return answer


def _stream_lists(module: Any, model: Any, settings: dict[str, Any], exchange: Exchange) -> None:
    step, state = getattr(module, "step", None) or _plain_prefix_step(module), None
    shape = settings["rows"], settings["classes"]
    while (data := exchange.receive(shape[0] * 8)) is not None:
        logits, state = _both(step(model, state, array("q", bytes(data)).tolist()))
        exchange.reply_bytes(plain.numbers(logits, shape, "step: logits").tobytes())


def _stream_tensors(module: Any, model: Any, settings: dict[str, Any], exchange: Exchange) -> None:
    import numpy as np
    import torch

    rows, classes = settings["rows"], settings["classes"]
    step = getattr(module, "step", None) or _prefix_step(module)
    state = None
    with torch.no_grad():
        while (data := exchange.receive(rows * 8)) is not None:
            logits, state = _both(step(model, state, torch.from_numpy(np.frombuffer(data, np.int64))))
            answer = logits.detach().to("cpu", torch.float32)
            if tuple(answer.shape) != (rows, classes):
                raise ValueError(f"step: logits have shape {list(answer.shape)}, expected {[rows, classes]}")
            exchange.reply(answer.numpy())


def kernel(module: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """Receive and acknowledge arrays, wait for a go byte, call ``function(inputs)`` and send its result.

    ``settings``: ``function``: its name; ``inputs``: [dtype, shape] of each array; ``output``: the result's.
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
            returned = f"{result.dtype} {list(result.shape)}"
            raise ValueError(f"{settings['function']} returned {returned}, expected {output} {list(shape)}")
        exchange.reply(result)


def compiled(_: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """Like `kernel`, with a shared object: ``function(first, second, …, result)`` with pointers to page-aligned memory.

    It writes its result directly to the memory that the evaluator reads.
    """
    settings = request["settings"]
    function = getattr(ctypes.CDLL(request["library"]), settings["function"], None)
    if function is None:
        raise AttributeError(f"defines no function {settings['function']}")
    function.restype = None
    sizes = [_item_bytes(kind) * math.prod(form) for kind, form in settings["inputs"]]
    buffers = [mmap.mmap(-1, max(1, size)) for size in sizes]
    views = [memoryview(buffer)[:size] for buffer, size in zip(buffers, sizes, strict=True)]
    pointers = [ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(buffer))) for buffer in buffers]
    pointers.append(ctypes.c_void_p(exchange.room()))
    while all(exchange.fill(view) for view in views):
        exchange.reply()
        if exchange.receive(1) is None:
            return
        function(*pointers)
        exchange.reply()


def _item_bytes(kind: str) -> int:
    """The size of a NumPy type given as text, e.g. 4 for ``<f4``."""
    return int(kind[2:])


def optimizer(module: Any, request: dict[str, Any], exchange: Exchange) -> None:
    """Receive the weights once, then each step's gradients, and send the new weights from ``update``.

    Each answer repeats the random token of its question, which shows that it was computed after the question.
    ``settings``: ``shapes`` of the float32 weights, ``steps``, and ``seed`` of NumPy's global generator.
    """
    import numpy as np

    settings = request["settings"]
    if not callable(getattr(module, "optimizer", None)):
        raise AttributeError("train.py defines no function optimizer")
    shapes = [tuple(shape) for shape in settings["shapes"]]
    ends = np.cumsum([math.prod(shape) for shape in shapes])

    def arrays() -> list[Any] | None:
        if (data := exchange.receive(4 * int(ends[-1]))) is None:
            return None
        parts = np.split(np.frombuffer(data, np.float32), ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    np.random.seed(settings["seed"])
    update, weights = module.optimizer(shapes, settings["steps"]), arrays()
    for step in range(settings["steps"]):
        if (token := exchange.receive(TOKEN_BYTES)) is None or (gradients := arrays()) is None:
            return
        weights = [np.asarray(one, np.float32) for one in update(step, weights, gradients)]
        _refuse_other_shapes([one.shape for one in weights], shapes)
        exchange.reply(np.concatenate([one.reshape(-1) for one in weights]), token)


def _refuse_other_shapes(returned: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    if len(returned) != len(expected):
        raise ValueError(f"update returned {len(returned)} arrays, expected {len(expected)}")
    for one, other in zip(returned, expected, strict=True):
        if one != other:
            raise ValueError(f"update returned an array of shape {list(one)}, expected {list(other)}")


LOOPS: dict[str, Callable[[Any, dict[str, Any], Exchange], None]] = {
    "stream": stream,
    "kernel": kernel,
    "compiled": compiled,
    "optimizer": optimizer,
}


def converse(module: Any, request: dict[str, Any]) -> None:
    """Run the loop ``request["loop"]`` with the candidate's ``module`` until the evaluator closes the pipe."""
    exchange = Exchange(request["receive_fd"], request["reply_fd"], request["shared_fd"])
    LOOPS[request["loop"]](module, request, exchange)
