"""The fixed part of the task, which train.py imports: data, seed, device, clock, checkpoint, summary.

Metaloop sets everything by environment variables; each has a default, so that train.py also runs by hand.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

CLASSES = 3
LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ
SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET", "0.05"))  # soft budget, seconds
STEPS = int(os.environ["METALOOP_TRAIN_STEPS"]) if os.environ.get("METALOOP_TRAIN_STEPS") else None
DEVICE = os.environ.get("METALOOP_TRAIN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def _now():
    """CPU-seconds of this process, so that a busy machine does not change a result; on a GPU, wall seconds."""
    return time.process_time() if DEVICE == "cpu" else time.perf_counter()


_START = 0.0 if LAUNCHED and DEVICE == "cpu" else _now()  # by hand, importing torch does not count


class Clock:
    """Measures how much of the budget is used. Call `done()` once per step."""

    def __init__(self):
        self.steps = 0

    def progress(self):
        """From 0 at the start to 1 at the end."""
        return min(1.0, self.steps / STEPS if STEPS else (_now() - _START) / BUDGET)

    def done(self):
        """True when training must stop; otherwise counts a step."""
        if self.progress() >= 1.0:
            return True
        self.steps += 1
        return False


clock = Clock()


def load_train():
    """Inputs, float32 [rows, 2], and classes, int64 [rows]."""
    folder = os.environ.get("METALOOP_TRAIN_DATA")
    if not folder:
        import data

        folder = tempfile.mkdtemp()
        data.make("train", 1, Path(folder))
    inputs, targets = np.load(Path(folder) / "inputs.npy"), np.load(Path(folder) / "targets.npy")
    return torch.from_numpy(inputs).to(DEVICE), torch.from_numpy(targets).to(DEVICE)


def save(state):
    """Write the checkpoint that `load` of train.py reads."""
    torch.save(state, os.environ.get("METALOOP_TRAIN_CHECKPOINT", "checkpoint.pt"))


def summary(**values):
    """Print `key: value` lines."""
    for key, value in {"seed": SEED, "steps": clock.steps, "seconds": _now() - _START, **values}.items():
        print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
