"""What happens inside an experiment's process, a fork of the template: run train.py, or load and predict.

Nothing here is trusted once train.py has started; the referee believes only the files' sizes and contents.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import traceback
from types import ModuleType
from typing import Any, NoReturn

from trainer.inside import metering

_MB = 1 << 20


def confine(request: dict[str, Any], log: int, status: int, base_bytes: int) -> None:
    """Own session, limits, environment and folder; standard output into ``log``, all other descriptors closed."""
    os.setsid()
    metering.die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    for source, target in ((null, 0), (log, 1), (log, 2), (status, 3)):
        os.dup2(source, target, inheritable=target < 3)
    os.closerange(4, 1 << 20)
    # No RLIMIT_CPU: with it the kernel tells a process's CPU time in ticks of 4 ms, and train.py's clock needs better.
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: request["file_mb"] * _MB,
        # torch alone maps some 700 MB, little of it memory: the limit counts from there
        resource.RLIMIT_AS: base_bytes + request["memory_mb"] * _MB,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    random.seed(0)  # Python reseeds its own generator in a fork, from the clock
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def seed_everything(seed: int) -> None:
    """A source that forgets to seed is reproducible all the same.

    Not torch.manual_seed: it asks every kind of device, 2 CPU-ms in a fresh fork.
    """
    import numpy as np
    import torch

    random.seed(seed)
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
    execute(request["script"], "__main__")


def predict(request: dict[str, Any]) -> None:
    """Load the checkpoint with the source's own code and write its logits as raw float32, row after row."""
    import numpy as np
    import torch

    module: Any = execute(request["script"], "candidate")
    for needed in ("load", "logits"):
        if not callable(getattr(module, needed, None)):
            raise AttributeError(f"{request['script']} defines no function {needed}")
    model = module.load(request["checkpoint"])
    inputs = torch.from_numpy(np.load(request["inputs"]))
    shape = (*inputs.shape[1:], request["classes"]) if request["per_position"] else (request["classes"],)
    with open(request["output"], "wb", buffering=0) as file:
        for start in range(0, len(inputs), request["chunk"]):
            rows = inputs[start : start + request["chunk"]]
            found = module.logits(model, rows).detach().to("cpu", torch.float32).contiguous()
            if tuple(found.shape) != (len(rows), *shape):
                raise ValueError(f"logits have shape {list(found.shape)}, expected {[len(rows), *shape]}")
            file.write(found.numpy().data)


_KINDS = {"train": train, "predict": predict}


def report(error: BaseException) -> None:
    """The traceback to the log; kind and last line to the template, through descriptor 3."""
    last = "".join(traceback.format_exception_only(error)).strip().splitlines()
    message = {"kind": type(error).__name__, "line": last[-1][:500] if last else type(error).__name__}
    os.write(3, json.dumps(message).encode())
    traceback.print_exception(error)


def main(request: dict[str, Any], log: int, status: int, base_bytes: int) -> NoReturn:
    """Run the request and leave by _exit: no clean-up of a 200 MB interpreter that nobody needs."""
    code = 1
    try:
        confine(request, log, status, base_bytes)
        if request["kind"] in _KINDS:  # else the calibration, which does nothing
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
