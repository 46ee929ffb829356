"""What train.py may rely on and may not change: data, seed, device, clock, compiler, checkpoint, summary.

Launched by Metaloop, everything comes from the environment: METALOOP_TRAIN_DATA, METALOOP_TRAIN_SEED, METALOOP_TRAIN_BUDGET,
METALOOP_TRAIN_STEPS, METALOOP_TRAIN_CHECKPOINT, METALOOP_TRAIN_DEVICE. By hand (`python train.py` in this folder) each has a
default, and the text is made once into the user's cache. Without a GPU everything shrinks to a toy, for tests.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

VOCAB = 1024  # symbols
LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ  # the process then belongs to the experiment
SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
STEPS = int(os.environ["METALOOP_TRAIN_STEPS"]) if os.environ.get("METALOOP_TRAIN_STEPS") else None
DEVICE = os.environ.get("METALOOP_TRAIN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
GPU = DEVICE != "cpu"
# soft budget, seconds, of the clock on the wall on a GPU; task.toml says the same
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET") or ("300.0" if GPU else "2.0"))
HALF = torch.bfloat16 if GPU else torch.float32  # what training computes in
AHEAD = 2  # steps that may be under way on a GPU while the next one is prepared

# dense bf16 TFLOP/s by the makers' data sheets, of devices whose name holds all these words
PEAKS = {
    "B200": 2250, "GH200": 989, "H200": 989, "H100": 989, "H800": 989, "H100 PCIe": 756, "H100 NVL": 835,
    "A100": 312, "A800": 312, "A40": 150, "A30": 165, "A10": 125, "L40S": 362, "L40": 181, "L4": 121,
    "5090": 209, "4090": 165, "3090": 71,
}  # fmt: skip
_OTHERS = {"MIG", "Laptop", "D"}  # a part or a variant of what the table names

Function = TypeVar("Function", bound=Callable[..., Any])


def shrunk(size: int, by: int) -> int:
    """``size`` on a GPU; on a CPU divided by ``by``, and one at least."""
    return size if GPU else max(1, size // by)


def _age() -> float:
    """Seconds since this process began; 0 where /proc does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


_BORN = time.perf_counter() - _age()


class Clock:
    """Tells how much of the budget is used. Call `done()` once per training step.

    The budget is METALOOP_TRAIN_BUDGET seconds, or exactly METALOOP_TRAIN_STEPS steps where that is set. On a GPU it is
    wall time from the first call on: what is compiled before is charged, and takes nothing of it. A step is not
    waited for: `done()` waits for the one before the last, so the host is never more than two steps ahead. On a CPU it
    is CPU time; a launched process counts from its own start.
    """

    def __init__(self) -> None:
        self.steps = 0  # granted so far
        self.startup = 0.0  # wall seconds from the start of the process to the first step
        self._start: float | None = 0.0 if LAUNCHED and not GPU else None
        self._first = self._end = 0.0  # when the first step was granted, and when the last one had ended
        self._marks: deque[torch.cuda.Event] = deque()

    def seconds(self) -> float:
        """Seconds of the budget used so far, also where steps decide; of all steps once `done()` has said so."""
        if self._end:
            return self._end
        now = time.perf_counter() if GPU else time.process_time()
        if self._start is None:
            self._start = now
        return now - self._start

    def progress(self) -> float:
        """Share of the budget that is used: 0 at the start, 1 at the end."""
        return min(1.0, self.seconds() / BUDGET if STEPS is None else self.steps / STEPS)

    def done(self) -> bool:
        """True when there is no room for a step as long as the mean one so far; else grants one more."""
        if self.steps == 0:
            if GPU:
                torch.cuda.synchronize()
            self.startup = time.perf_counter() - _BORN
            self._first = self.seconds()
        elif self._full(self._wait()):
            if GPU:
                torch.cuda.synchronize()
            self._end = self.seconds()
            return True
        self.steps += 1
        return False

    def _wait(self) -> int:
        """How many steps have ended, once no more than two are under way."""
        if not GPU:
            return self.steps
        mark = torch.cuda.Event(blocking=True)
        mark.record()
        self._marks.append(mark)
        if len(self._marks) > AHEAD:
            self._marks.popleft().synchronize()
        return self.steps - len(self._marks)

    def _full(self, ended: int) -> bool:
        if STEPS is not None:
            return self.steps >= STEPS
        now = self.seconds()
        mean = (now - self._first) / ended if ended else 0.0
        return now + (self.steps - ended + 1) * mean > BUDGET


clock = Clock()
if GPU:
    torch.cuda.manual_seed(SEED)
    # Steps that are told are the same bits each time. Not where they are a handful: such a run is there to fill the
    # compile cache for those by the clock, which have other kernels.
    if STEPS is not None and STEPS >= 8:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
else:
    torch.set_num_threads(1)  # the budget is CPU time: more threads would spend it faster, not better
torch.default_generator.manual_seed(SEED)


def compiled(function: Function) -> Function:
    """``function`` as kernels made for its shapes, which must not change; on a CPU as it is.

    The compiler is loaded at the first call: a process that only predicts has no use for it.
    """
    made: list[Any] = []

    def call(*arguments: Any) -> Any:
        if not made:
            made.append(torch.compile(function, dynamic=False))
        return made[0](*arguments)

    return call if GPU else function  # type: ignore[return-value]


_noted = 0


def note(loss: torch.Tensor) -> None:
    """Ten times a run a line with the loss; FloatingPointError where it is no number any more. Cheap at other times."""
    global _noted
    if (tenth := int(clock.progress() * 10)) <= _noted:
        return
    _noted, value = tenth, float(loss)
    print(f"{tenth}0%: step {clock.steps}, loss {value:.4f}, {clock.seconds():.1f} s", flush=True)
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value} after {clock.steps} steps")


def _folder(name: str, seed: int) -> Path:
    """By hand: a split in the user's cache, made at first use by data.py beside this file."""
    here = Path(__file__).resolve().parent
    sources = [here / "task.toml", here / "data.py", *sorted(here.glob("gpt_*.py"))]
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    base = Path(os.environ.get("METALOOP_CACHE") or Path.home() / ".cache" / "metaloop")
    target = base / f"gpt-{version}" / f"{name}-{seed}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as draft:
            code = "import sys; sys.path.insert(0, sys.argv[1]); import data; "
            code += "data.make(sys.argv[2], int(sys.argv[3]), sys.argv[4])"
            command = [sys.executable, "-B", "-c", code, str(here), name, str(seed), f"{draft}/split"]
            if subprocess.run(command, check=False).returncode:
                raise SystemExit(f"{here / 'data.py'}: no data")
            try:
                os.rename(f"{draft}/split", target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return target


def _train_folder() -> Path:
    given = os.environ.get("METALOOP_TRAIN_DATA")
    return Path(given) if given else _folder("train", 1)


def load_train() -> torch.Tensor:
    """The training text as symbol numbers below VOCAB, int16 [symbols], mapped from disk; documents end with symbol 0,
    or start with it where they are the user's own."""
    path = _train_folder() / "train.bin"
    return torch.from_file(str(path), shared=False, size=path.stat().st_size // 2, dtype=torch.int16)


def vocabulary() -> dict[str, Any]:
    """``symbols``: what each stands for, its bytes as characters; ``bytes_per_symbol`` of the training text."""
    found: dict[str, Any] = json.loads((_train_folder() / "vocabulary.json").read_text())
    return found


def to_device(rows: torch.Tensor) -> torch.Tensor:
    """Symbol numbers [any shape] as int64 on the device, without waiting for it."""
    return (rows.pin_memory() if GPU else rows).to(DEVICE, non_blocking=True).long()


def save(state: dict[str, Any]) -> None:
    """Write the checkpoint that `load` of train.py reads; from a GPU matrices in bfloat16, as training used them."""
    kept = {name: value.to(HALF) if value.ndim > 1 else value for name, value in state.items()}
    torch.save(kept, os.environ.get("METALOOP_TRAIN_CHECKPOINT", "checkpoint.pt"))


def validate(predict: Callable[[torch.Tensor], torch.Tensor]) -> float | None:
    """By hand: bits per byte on a public split. None when launched: the referee scores, on a hidden one."""
    if LAUNCHED:
        return None
    folder = _folder("validation", 2)
    inputs, targets, sizes = (torch.from_numpy(np.load(folder / f"{n}.npy")) for n in ("inputs", "targets", "bytes"))
    nats = 0.0
    for rows, wanted in zip(inputs.split(16), targets.split(16), strict=True):
        found = predict(rows).float()
        nats += float(F.cross_entropy(found.flatten(0, 1), wanted.flatten().to(DEVICE), ignore_index=-1, reduction="sum"))
    return nats / math.log(2) / float(sizes.sum())


def peak_tflops() -> float | None:
    """What this GPU can do in dense bf16, 10**12 operations per second; None where the table does not know it."""
    if not GPU:
        return None
    return peak_of(torch.cuda.get_device_name())


def peak_of(name: str) -> float | None:
    words = set(re.split(r"[\s-]+", name))
    known = [key for key in PEAKS if set(key.split()) <= words and not words & _OTHERS]
    return float(PEAKS[max(known, key=len)]) if known else None


def mfu_percent(symbols: int, flops_per_symbol: float) -> float | None:
    """Share of the device's peak that training took to good use, by the clock of training. None where unknown."""
    peak = peak_tflops()
    return 100 * symbols * flops_per_symbol / clock.seconds() / (peak * 1e12) if peak else None


def summary(
    *, train_bpb: float, val_bpb: float | None, symbols: int, flops_per_symbol: float, parameters: int, **more: Any
) -> None:
    """Print `key: value` lines; what is None, or has no meaning on this device, is left out."""
    total = time.perf_counter() - _BORN
    training = clock.seconds()
    values = {
        "val_bpb": val_bpb,
        "train_bpb": train_bpb,
        "training_seconds": training,
        "startup_seconds": clock.startup if GPU else None,
        "outside_seconds": total - training if GPU else None,
        "total_seconds": total,
        "peak_vram_mb": torch.cuda.max_memory_allocated() / 2**20 if GPU else None,
        "mfu_percent": mfu_percent(symbols, flops_per_symbol),
        "total_tokens_M": symbols / 1e6,
        "epochs": symbols / len(load_train()),
        "num_steps": clock.steps,
        "num_params_M": parameters / 1e6,
        **more,
        "device": torch.cuda.get_device_name() if GPU else "cpu (toy sizes)",
        "seed": SEED,
    }
    for key, value in values.items():
        if value is not None:
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    sys.stdout.flush()
