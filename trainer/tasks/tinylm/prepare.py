"""What train.py is given and may not change: data, seed, device, clock, checkpoint, summary.

The trainer sets METALOOP_DATA, _SEED, _BUDGET, _STEPS, _CHECKPOINT and _DEVICE. By hand all have defaults: the
training split is made by data.py beside this file, once, into the user cache.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

VOCAB = 189  # symbols of the language
BYTES_PER_SYMBOL = 2.164  # on the training split
SEED = int(os.environ.get("METALOOP_SEED", "0"))
DEVICE = os.environ.get("METALOOP_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
CHECKPOINT = Path(os.environ.get("METALOOP_CHECKPOINT", "checkpoint.pt"))


class Clock:
    """How far the training is. Seconds are CPU-seconds of this process (wall seconds on a GPU), counted from the
    launch where the trainer set a budget; with METALOOP_STEPS set, exactly so many steps count instead."""

    def __init__(self) -> None:
        self._now = time.process_time if DEVICE == "cpu" else time.perf_counter
        launched = "METALOOP_BUDGET" in os.environ and DEVICE == "cpu"
        self._start = 0.0 if launched else self._now()
        self._seconds = float(os.environ.get("METALOOP_BUDGET", "2.0"))
        self._steps = int(os.environ.get("METALOOP_STEPS", "0"))
        self._first = 0.0  # when the first step began
        self.steps = 0  # steps begun; ``done`` counts them

    def seconds(self) -> float:
        return self._now() - self._start

    def progress(self) -> float:
        """0 at the start to 1 at the end of the budget."""
        if self._steps:
            return min(1.0, max(0, self.steps - 1) / self._steps)
        return min(1.0, self.seconds() / self._seconds)

    def done(self) -> bool:
        """To be asked once before each step: is there no time for another? Leaves room for one more step."""
        now = self.seconds()
        if self.steps == 0:
            self._first = now
        step = (now - self._first) / self.steps if self.steps else 0.0
        if self.steps >= self._steps if self._steps else now + step > self._seconds:
            return True
        self.steps += 1
        return False


clock = Clock()


def load_train() -> torch.Tensor:
    """The training text as symbol numbers [symbols], uint8, on the CPU."""
    folder = os.environ.get("METALOOP_DATA")
    return torch.from_numpy(np.load((Path(folder) if folder else _by_hand()) / "train.npy"))


def save(state: dict[str, torch.Tensor]) -> None:
    """Write the checkpoint that ``load`` of train.py reads back."""
    torch.save(state, CHECKPOINT)


def summary(**values: object) -> None:
    """Print one ``key: value`` line each."""
    for key, value in values.items():
        print(f"{key}: {value:.6g}" if isinstance(value, float) else f"{key}: {value}")


def _by_hand() -> Path:
    """The training split in the user cache, made now if this generator has not made it before."""
    here = Path(__file__).resolve().parent
    sources = sorted([here / "data.py", here / "task.toml", *here.glob("tinylm_*.py")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    cache = Path(os.environ.get("METALOOP_CACHE") or Path.home() / ".cache" / "metaloop")
    folder = cache / f"tinylm-{digest}"
    if not (folder / "train.npy").exists():
        sys.path.insert(0, str(here))
        import data

        print("making the training text, once ...", file=sys.stderr)
        data.make("train", 1, folder)
    return folder


torch.manual_seed(SEED)
