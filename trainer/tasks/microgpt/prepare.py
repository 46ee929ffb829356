"""What train.py may rely on and may not change: data, seed, clock, checkpoint, summary. Nothing but the standard library.

Launched by Metaloop, everything comes from the environment: METALOOP_TRAIN_DATA, METALOOP_TRAIN_SEED, METALOOP_TRAIN_BUDGET,
METALOOP_TRAIN_STEPS, METALOOP_TRAIN_CHECKPOINT. By hand (`python train.py` in this folder) each has a default, and the
text is generated once into the user's cache. What is imported at the top is what costs next to nothing.
"""

import os
import sys
import time

ALPHABET = "\n -ptkbdgmnslrveiyaou"
VOCAB = len(ALPHABET)
DEVICE = "cpu"
LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ  # the process then belongs to the experiment
SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET", "1.5"))  # soft budget, CPU-seconds; task.toml says the same
STEPS = int(os.environ["METALOOP_TRAIN_STEPS"]) if os.environ.get("METALOOP_TRAIN_STEPS") else None


class Clock:
    """Tells how much of the budget is used. Call `done()` once per training step.

    The budget is METALOOP_TRAIN_BUDGET CPU-seconds of this process from its start, set-up included, or exactly
    METALOOP_TRAIN_STEPS steps where that is set.
    """

    def __init__(self):
        self.steps = 0  # granted so far
        self._first = 0.0  # when the first step was granted

    def seconds(self) -> float:
        """Seconds of the budget used so far, also where steps decide."""
        return time.process_time()

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


def _folder(name: str, seed: int) -> str:
    """By hand: a split in the user's cache, generated at first use by data.py beside this file."""
    from zlib import crc32

    here = os.path.dirname(os.path.abspath(__file__))
    version = 0
    for source in ("data.py", "task.toml"):
        with open(os.path.join(here, source), "rb") as file:
            version = crc32(file.read(), version)
    base = os.environ.get("METALOOP_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "metaloop")
    target = os.path.join(base, f"microgpt-{version:08x}", f"{name}-{seed}")
    if not os.path.isdir(target):
        _generate(name, seed, target)
    return target


def _generate(name: str, seed: int, target: str) -> None:
    import tempfile

    import data

    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as draft:
        data.make(name, seed, os.path.join(draft, "split"))
        try:
            os.rename(os.path.join(draft, "split"), target)
        except OSError:  # another process was faster
            if not os.path.isdir(target):
                raise


def load_train() -> bytes:
    """The training text, a byte a symbol: its number in ALPHABET."""
    with open(os.path.join(os.environ.get("METALOOP_TRAIN_DATA") or _folder("train", 1), "train.bin"), "rb") as file:
        return file.read()


def save(state: dict) -> None:
    """Write the checkpoint, JSON, that `restore` reads: names with lists of numbers, however nested."""
    import json

    with open(os.environ.get("METALOOP_TRAIN_CHECKPOINT", "checkpoint.pt"), "w") as file:
        json.dump(state, file)


def restore(path: str) -> dict:
    """What `save` was given."""
    import json

    with open(path) as file:
        return json.load(file)


def validate(predict) -> float | None:
    """By hand: bits per byte on a public split. None when launched: the referee scores, on a hidden one.

    ``predict`` maps symbols [rows][64] to logits [rows][64][VOCAB].
    """
    if LAUNCHED:
        return None
    from array import array
    from math import exp, log

    folder, columns = _folder("validation", 2), []
    for name in ("inputs", "targets"):
        with open(os.path.join(folder, f"{name}.npy"), "rb") as file:
            raw = file.read()
        flat = array("q", raw[10 + int.from_bytes(raw[8:10], "little") :]).tolist()  # what follows the header
        columns.append([flat[start : start + 64] for start in range(0, len(flat), 64)])
    inputs, targets = columns
    losses = []
    for logits, wanted in zip(predict(inputs), targets):
        for row, target in zip(logits, wanted):
            if target >= 0:
                top = max(row)
                losses.append(top + log(sum(exp(one - top) for one in row)) - row[target])
    return sum(losses) / len(losses) / log(2)


def summary(**values) -> None:
    """Print `key: value` lines; values that are None are left out."""
    values = {"seed": SEED, "device": DEVICE, "steps": clock.steps, "seconds": clock.seconds(), **values}
    for key, value in values.items():
        if value is not None:
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    sys.stdout.flush()
