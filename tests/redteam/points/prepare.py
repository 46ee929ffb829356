"""The fixed part of the task: data, seed, clock, checkpoint."""

import os
import time
from pathlib import Path

import numpy as np
import torch

SEED = int(os.environ.get("METALOOP_TRAIN_SEED", "1"))
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET", "0.02"))
STEPS = int(os.environ.get("METALOOP_TRAIN_STEPS", "0"))


class Clock:
    steps = 0

    def done(self):
        used = self.steps / STEPS if STEPS else time.process_time() / BUDGET
        self.steps += used < 1
        return used >= 1


clock = Clock()


def load_train(name):
    return torch.from_numpy(np.load(Path(os.environ["METALOOP_TRAIN_DATA"]) / f"{name}.npy"))


def save(weights):
    torch.save(weights, os.environ["METALOOP_TRAIN_CHECKPOINT"])
