"""What train.py may rely on and may not change: data, seed, device, clock, checkpoint, summary.

Launched by Metaloop, everything comes from the environment: METALOOP_TRAIN_DATA, METALOOP_TRAIN_SEED, METALOOP_TRAIN_BUDGET,
METALOOP_TRAIN_STEPS, METALOOP_TRAIN_CHECKPOINT, METALOOP_TRAIN_DEVICE. By hand (`python train.py` in this folder) each has a
default, and the data are generated once into the user's cache.
"""

import hashlib
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

SPAN, LETTERS = 16, 27  # of a window; different ones, 0 is the space
LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ  # the process (a fork, as a rule) then belongs to the experiment
SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET", "0.12"))  # soft budget, seconds; task.toml says the same
STEPS = int(os.environ["METALOOP_TRAIN_STEPS"]) if os.environ.get("METALOOP_TRAIN_STEPS") else None
DEVICE = os.environ.get("METALOOP_TRAIN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def _now() -> float:
    """CPU seconds of this process, for a busy machine must not change a result; on a GPU wall seconds."""
    return time.process_time() if DEVICE == "cpu" else time.perf_counter()


class Clock:
    """Tells how much of the budget is used. Call `done()` once per training step.

    The budget is METALOOP_TRAIN_BUDGET seconds, or exactly METALOOP_TRAIN_STEPS steps where that is set. A launched
    CPU process counts from its own start, so that set-up is paid for; by hand and on a GPU the first call starts the
    clock, which lets the import of torch off.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._start: float | None = 0.0 if LAUNCHED and DEVICE == "cpu" else None

    def seconds(self) -> float:
        """Seconds of the budget used so far, also where steps decide."""
        if self._start is None:
            self._start = _now()
        return _now() - self._start

    def progress(self) -> float:
        """Share of the budget that is used: 0 at the start, 1 at the end."""
        used = self.seconds() / BUDGET
        return min(1.0, used if STEPS is None else self.steps / STEPS)

    def done(self) -> bool:
        """True when training has to stop; otherwise counts one more step. The first step is always granted."""
        if self.progress() >= 1.0 and self.steps > 0:
            return True
        self.steps += 1
        return False


clock = Clock()


def _folder(name: str, seed: int) -> Path:
    """By hand: a split in the user's cache, generated at first use by data.py beside this file."""
    import data

    text = Path(data.__file__).read_bytes() + (Path(data.__file__).parent / "task.toml").read_bytes()
    base = Path(os.environ.get("METALOOP_CACHE") or Path.home() / ".cache" / "metaloop")
    target = base / f"letters-{hashlib.sha256(text).hexdigest()[:12]}" / f"{name}-{seed}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as draft:
            (Path(draft) / "split").mkdir()
            data.make(name, seed, Path(draft) / "split")
            try:
                os.rename(Path(draft) / "split", target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return target


def _read(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = np.load(folder / "inputs.npy"), np.load(folder / "targets.npy")
    return torch.from_numpy(inputs).to(DEVICE), torch.from_numpy(targets).to(DEVICE)


def load_train() -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of letters, uint8 [rows, 16], and the letter after each, int64 [rows]."""
    given = os.environ.get("METALOOP_TRAIN_DATA")
    return _read(Path(given) if given else _folder("train", 1))


def save(state: dict[str, Any]) -> None:
    """Write the checkpoint that `load` of train.py reads."""
    torch.save(state, os.environ.get("METALOOP_TRAIN_CHECKPOINT", "checkpoint.pt"))


def validate(predict: Callable[[torch.Tensor], torch.Tensor]) -> float | None:
    """By hand: mean NLL in nats on a public split. None when launched: the referee scores, on a hidden one."""
    if LAUNCHED:
        return None
    inputs, targets = _read(_folder("validation", 2))
    with torch.no_grad():
        return float(F.cross_entropy(predict(inputs).float(), targets))


def summary(**values: Any) -> None:
    """Print `key: value` lines; values that are None are left out."""
    values = {"seed": SEED, "device": DEVICE, "steps": clock.steps, "seconds": clock.seconds(), **values}
    for key, value in values.items():
        if value is not None:
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    sys.stdout.flush()
