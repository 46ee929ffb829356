"""The fixed part of the blobs task."""

import os
import time
from pathlib import Path

import numpy as np
import torch

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
    folder = Path(os.environ["METALOOP_TRAIN_DATA"])
    return torch.from_numpy(np.load(folder / "inputs.npy")), torch.from_numpy(np.load(folder / "targets.npy"))


def save(weights):
    torch.save(weights, os.environ["METALOOP_TRAIN_CHECKPOINT"])
