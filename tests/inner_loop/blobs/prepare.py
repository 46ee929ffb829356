"""The fixed part of the blobs task: the standard library alone, so that its processes start at once."""

import json
import os
import time
from array import array

SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET", "0.01"))
STEPS = int(os.environ.get("METALOOP_TRAIN_STEPS", "0"))


class Clock:
    steps = 0

    def done(self):
        used = self.steps / STEPS if STEPS else time.process_time() / BUDGET
        self.steps += used < 1
        return used >= 1


clock = Clock()


def load_train():
    """The points, two coordinates each, and the class of each."""
    inputs, targets = _numbers("inputs.npy", "f"), _numbers("targets.npy", "q")
    return list(map(list, zip(inputs[::2], inputs[1::2], strict=True))), targets


def _numbers(name, kind):
    with open(os.path.join(os.environ["METALOOP_TRAIN_DATA"], name), "rb") as file:
        return array(kind, file.read()[128:]).tolist()  # after the header, which data.py makes so long


def save(weights):
    with open(os.environ["METALOOP_TRAIN_CHECKPOINT"], "w") as file:
        json.dump(weights, file)
