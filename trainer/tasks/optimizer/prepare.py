"""What train.py may rely on and may not change: the loop that trains by hand, and a rehearsal where Metaloop launches it.

Launched, there are no data here: `train` calls the optimizer a few times on made-up gradients, so that a mistake is told
with its text, and the referee then trains the real network in a process of its own, one gradient at a time. By hand
(`python train.py` in this folder) the same loop runs here, on a public problem from the user's cache.
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

LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ
SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
FULL, BUDGET = 0.28, float(os.environ.get("METALOOP_TRAIN_BUDGET", "0.28"))  # soft budget, seconds; as in task.toml
STEPS = int(os.environ.get("METALOOP_TRAIN_STEPS") or max(1, round(400 * BUDGET / FULL)))  # 400 in a full experiment
REHEARSED = 2  # steps

Arrays = list[np.ndarray]
Update = Callable[[int, Arrays, Arrays], Arrays]


def _folder(seed: int) -> Path:
    """By hand: a problem in the user's cache, generated at first use by data.py beside this file."""
    import data

    version = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()[:12]
    base = Path(os.environ.get("METALOOP_CACHE") or Path.home() / ".cache" / "metaloop")
    target = base / f"optimizer-{version}" / str(seed)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent))
        data.make("validation", seed, draft)
        try:
            os.rename(draft, target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
    return target


def _rehearse(optimizer: Callable[[list[tuple[int, ...]], int], Update]) -> None:
    """A few steps on gradients that mean nothing."""
    shapes: list[tuple[int, ...]] = [(12, 8), (8,), (8, 8), (8,), (8, 10), (10,)]
    update, weights = optimizer(shapes, REHEARSED), [np.ones(shape, np.float32) for shape in shapes]
    for step in range(REHEARSED):
        made = update(step, weights, [np.full(shape, 0.01, np.float32) for shape in shapes])
        weights = [np.asarray(one, np.float32) for one in made]
        if [one.shape for one in weights] != shapes:
            raise ValueError(f"update returned the shapes {[one.shape for one in weights]}, expected {shapes}")


def train(optimizer: Callable[[list[tuple[int, ...]], int], Update]) -> None:
    """By hand: train on a public problem and print the summary. Launched: rehearse."""
    values: dict[str, Any] = {"seed": SEED, "steps": STEPS}
    started = time.process_time()
    if LAUNCHED:
        _rehearse(optimizer)
    else:
        import data

        problem = data.problem(_folder(1), SEED)
        update, weights = optimizer(problem.shapes, STEPS), problem.weights()
        for step in range(STEPS):
            weights = list(update(step, weights, problem.gradients(step, weights)))
        values |= {"parameters": sum(one.size for one in weights), "val_nll": problem.score(weights)}
        values["seconds"] = time.process_time() - started
    for key, value in values.items():
        print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    sys.stdout.flush()
