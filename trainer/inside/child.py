"""The experiment's process, a fork of the monitor: it runs train.py, or loads the checkpoint and predicts.

Nothing here is trusted once train.py has started; the referee uses only the sizes and contents of files.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NoReturn

from trainer.inside import metering, namespaces, seccomp, selftest, serving

PASSED = ("inputs", "output", "receive", "reply", "shared")  # descriptors for the experiment
_SCRIPT = "train.py"
_STATUS = 3  # the descriptor for error reports
_MB = 1 << 20
_BOILERPLATE = ("Set TORCHDYNAMO_VERBOSE", "For even more developer context", "This error was raised")  # of compilers


def confine(request: dict[str, Any], descriptors: dict[str, int], base_bytes: int) -> None:
    """Set session, limits, environment, folder and descriptors, and in a sandbox drop all rights.

    Adds the numbers of the descriptors to ``request`` as ``inputs_fd`` and so on.
    """
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    _arrange(request, descriptors)
    # No RLIMIT_CPU: it reduces the resolution of the process's CPU clock to 4 ms, and train.py needs a better one.
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: request["file_mb"] * _MB,
        # torch alone maps some 700 MB of addresses, which are excluded from the limit
        resource.RLIMIT_AS: base_bytes + request["memory_mb"] * _MB,
    }
    if request["sandboxed"]:
        limits |= {resource.RLIMIT_NOFILE: 256, resource.RLIMIT_NPROC: 64, resource.RLIMIT_MEMLOCK: 0}
        limits |= {resource.RLIMIT_MSGQUEUE: 0, resource.RLIMIT_STACK: 64 * _MB}
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    random.seed(0)  # because Python reseeds its generator from the clock in a fork
    os.environ.clear()
    os.environ.update(request["kept_environment"])
    os.environ.update(request["environment"])
    folder = request["folder"]
    os.environ.update({"METALOOP_TRAIN_CHECKPOINT": request["checkpoint"], "TMPDIR": folder, "HOME": folder})
    if request["data"]:
        os.environ["METALOOP_TRAIN_DATA"] = request["data"]
    tempfile.tempdir = None  # before the fork it may have been set to the template's folder
    os.chdir(folder)
    sys.path.insert(0, folder)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if request["sandboxed"]:
        namespaces.renounce()
    metering.die_with_parent()
    if request["sandboxed"]:
        seccomp.load(bytes.fromhex(request["filter"]))


def _arrange(request: dict[str, Any], descriptors: dict[str, int]) -> None:
    """Redirect output to the log, put the status pipe at 3 and passed descriptors from 4 on, and close the rest."""
    passed = [name for name in PASSED if name in descriptors]
    sources = {"null": os.open("/dev/null", os.O_RDWR), **descriptors}
    # first move all to high numbers, so that no target overwrites a source that is still needed
    high = {name: fcntl.fcntl(number, fcntl.F_DUPFD, 4 + len(PASSED)) for name, number in sources.items()}
    targets = [(high["null"], 0), (high["log"], 1), (high["log"], 2), (high["status"], _STATUS)]
    targets += [(high[name], 4 + number) for number, name in enumerate(passed)]
    for source, target in targets:
        os.dup2(source, target, inheritable=target < 3)
    os.closerange(4 + len(passed), 1 << 20)
    request.update({f"{name}_fd": 4 + number for number, name in enumerate(passed)})


def seed_everything(seed: int) -> None:
    """Seed all generators, so that a source without its own seeding is reproducible too.

    torch.manual_seed is avoided because it queries all kinds of devices, 2 CPU-ms in a fresh fork.
    """
    random.seed(seed)
    if "torch" not in sys.modules:
        return  # torch was not imported
    import numpy as np
    import torch

    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def execute(path: str, name: str) -> ModuleType:
    """Run a Python file as the module ``name``."""
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    sys.argv = [path]
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    exec(code, module.__dict__)
    return module


def train(request: dict[str, Any]) -> None:
    """Execute train.py as the main program."""
    seed_everything(int(request["environment"].get("METALOOP_TRAIN_SEED", 0)))
    execute(_SCRIPT, "__main__")


def predict(request: dict[str, Any]) -> None:
    """Load the checkpoint with the source's own code and write its logits as raw float32, row after row."""
    module: Any = execute(_SCRIPT, "candidate")
    for needed in ("load", "logits"):
        if not callable(getattr(module, needed, None)):
            raise AttributeError(f"{_SCRIPT} defines no function {needed}")
    model = module.load(request["checkpoint"])
    with open(request["output_fd"], "wb", buffering=0) as file:
        for view in _logits(module, model, request):
            while len(view):
                view = view[file.write(view) :]


def _logits(module: Any, model: Any, request: dict[str, Any]) -> Iterator[memoryview]:
    """The float32 logits of each chunk of rows, from tensors or from NumPy arrays."""
    import numpy as np

    settings = request["settings"]
    with open(request["inputs_fd"], "rb") as file:
        inputs = np.load(file, allow_pickle=False)
    if settings["torch"]:
        import torch

        inputs = torch.from_numpy(inputs)
    shape = (*inputs.shape[1:], settings["classes"]) if settings["per_position"] else (settings["classes"],)
    for start in range(0, len(inputs), settings["chunk"]):
        rows = inputs[start : start + settings["chunk"]]
        logits = module.logits(model, rows)
        if settings["torch"]:
            logits = logits.detach().to("cpu", torch.float32).contiguous().numpy()
        else:
            logits = np.ascontiguousarray(logits, np.float32)
        if tuple(logits.shape) != (len(rows), *shape):
            raise ValueError(f"logits have shape {list(logits.shape)}, expected {[len(rows), *shape]}")
        yield memoryview(logits).cast("B")


def converse(request: dict[str, Any]) -> None:
    """Import the source and answer the evaluator's questions one by one."""
    serving.converse(execute(_SCRIPT, "candidate"), request)


_KINDS = {"train": train, "predict": predict, "converse": converse, "selftest": selftest.run}


def report(error: BaseException) -> None:
    """Write the traceback to the log; send its type and last line to the monitor through the status pipe."""
    texts = [line for line in "".join(traceback.format_exception_only(error)).splitlines() if line.strip()]
    texts = [line for line in texts if not line.startswith(_BOILERPLATE)] or texts
    text = next((line for line in texts if "out of memory" in line or "MemoryError" in line), texts[-1])
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == sys.argv[0]]
    suffix = f" (line {lines[-1]})" if lines else ""
    message = {"kind": type(error).__name__, "line": text[:480] + suffix}
    os.write(_STATUS, json.dumps(message).encode())
    traceback.print_exception(error)


def main(request: dict[str, Any], descriptors: dict[str, int], base_bytes: int) -> NoReturn:
    """Run the request and end with _exit, to skip the clean-up of a 200 MB interpreter."""
    code = 1
    try:
        confine(request, descriptors, base_bytes)
        if request["kind"] in _KINDS:  # otherwise this is the calibration, which does nothing
            _KINDS[request["kind"]](request)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
    except BaseException as error:  # the boundary between a candidate's code and ours
        report(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                code = code or 1
        os._exit(code & 0xFF)
