"""What train.py may rely on and may not change: data, seed, device, clock, checkpoint, summary.

Launched by Metaloop, everything comes from the environment: METALOOP_TRAIN_DATA, METALOOP_TRAIN_SEED, METALOOP_TRAIN_BUDGET,
METALOOP_TRAIN_STEPS, METALOOP_TRAIN_CHECKPOINT, METALOOP_TRAIN_DEVICE. By hand (`python train.py` in this folder) each has a
default, and the text is read once into the user's cache.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

VOCAB = 384  # symbols: bytes and fragments
BYTES_PER_SYMBOL = 1.987  # on the training text, some
LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ  # the process then belongs to the experiment
SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET", "2.0"))  # soft budget, seconds; task.toml says the same
STEPS = int(os.environ["METALOOP_TRAIN_STEPS"]) if os.environ.get("METALOOP_TRAIN_STEPS") else None
DEVICE = os.environ.get("METALOOP_TRAIN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def _now() -> float:
    """CPU seconds of this process, for a busy machine must not change a result; on a GPU wall seconds."""
    return time.process_time() if DEVICE == "cpu" else time.perf_counter()


class Clock:
    """Tells how much of the budget is used. Call `done()` once per training step.

    The budget is METALOOP_TRAIN_BUDGET seconds, or exactly METALOOP_TRAIN_STEPS steps where that is set. A launched
    CPU process counts from its own start, so that set-up is paid for; by hand and on a GPU the first call
    starts the clock, which lets the import of torch off.
    """

    def __init__(self) -> None:
        self.steps = 0  # granted so far
        self._start: float | None = 0.0 if LAUNCHED and DEVICE == "cpu" else None
        self._first = 0.0  # when the first step was granted

    def seconds(self) -> float:
        """Seconds of the budget used so far, also where steps decide."""
        if self._start is None:
            self._start = _now()
        return _now() - self._start

    def progress(self) -> float:
        """Share of the budget that is used: 0 at the start, 1 at the end."""
        return min(1.0, self.seconds() / BUDGET if STEPS is None else self.steps / STEPS)

    def done(self) -> bool:
        """True when there is no room for a step as long as the mean one so far; else grants one more."""
        now = self.seconds()
        if self.steps == 0:
            self._first = now
        elif self.steps >= STEPS if STEPS is not None else now + (now - self._first) / self.steps > BUDGET:
            return True
        self.steps += 1
        return False


clock = Clock()
torch.manual_seed(SEED)
if DEVICE == "cpu":
    torch.set_num_threads(1)  # the budget is CPU time: more threads would spend it faster, not better


def _folder(name: str, seed: int) -> Path:
    """By hand: a split in the user's cache, made at first use by data.py beside this file."""
    import data

    base = Path(os.environ.get("METALOOP_CACHE") or Path.home() / ".cache" / "metaloop")
    target = base / f"codelm-{data.version()}" / f"{name}-{seed}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as draft:
            data.make(name, seed, Path(draft) / "split")
            try:
                os.rename(Path(draft) / "split", target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return target


def load_train() -> torch.Tensor:
    """The training text as symbol numbers, int16 [symbols], on the CPU."""
    given = os.environ.get("METALOOP_TRAIN_DATA")
    return torch.from_numpy(np.load((Path(given) if given else _folder("train", 1)) / "train.npy"))


def save(state: dict[str, Any]) -> None:
    """Write the checkpoint that `load` of train.py reads."""
    torch.save(state, os.environ.get("METALOOP_TRAIN_CHECKPOINT", "checkpoint.pt"))


def validate(predict: Callable[[torch.Tensor], torch.Tensor]) -> float | None:
    """By hand: bits per byte on a public split. None when launched: the referee scores, on a hidden one."""
    if LAUNCHED:
        return None
    folder = _folder("validation", 2)
    inputs, targets, sizes = (np.load(folder / f"{name}.npy") for name in ("inputs", "targets", "bytes"))
    nats = 0.0
    for start in range(0, len(inputs), 8):
        logits = predict(torch.from_numpy(inputs[start : start + 8]).to(DEVICE)).float().cpu()
        rows = torch.from_numpy(targets[start : start + 8])
        nats += float(F.cross_entropy(logits.flatten(0, 1), rows.flatten(), ignore_index=-1, reduction="sum"))
    return nats / math.log(2) / float(sizes.sum())


def summary(**values: Any) -> None:
    """Print `key: value` lines; values that are None are left out."""
    values = {"seed": SEED, "device": DEVICE, "steps": clock.steps, "seconds": clock.seconds(), **values}
    for key, value in values.items():
        if value is not None:
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    sys.stdout.flush()
