"""The strongest cheat that we know against the task optimizer: to train on made-up rows that fit remembered gradients.

The source rebuilds the network, fits rows by gradient matching (Zhu et al., 2019), and goes on alone where the
gradients end. It is given far more CPU than the hard line allows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.local import LocalLauncher
from trainer.streams import Streams
from trainer.task import Task

TASK = replace(Task.load("optimizer"), hard_extra=10.0)
ROWS, FURTHER = 128, 100  # made-up rows, and steps that are taken on them at the end
REMEMBER = f"""
import torch
from torch.nn import functional as F


def made_up_loss(weights, rows, classes):
    for layer in range(0, len(weights), 2):
        rows = rows @ weights[layer] + weights[layer + 1]
        rows = torch.tanh(rows) if layer < len(weights) - 2 else rows
    return -(classes.softmax(1) * rows.log_softmax(1)).sum(1).mean()


class Memory:
    def __init__(self, shapes):
        torch.manual_seed(0)
        self.rows = (torch.randn({ROWS}, shapes[0][0]) * 0.7).requires_grad_()
        self.classes = torch.zeros({ROWS}, shapes[-1][0], requires_grad=True)
        self.adam = torch.optim.Adam([self.rows, self.classes], lr=0.05)

    def slopes(self, weights, **how):
        weights = [torch.tensor(w).requires_grad_() for w in weights]
        return torch.autograd.grad(made_up_loss(weights, self.rows, self.classes), weights, **how)

    def fit(self, weights, gradients):
        pairs = list(zip(self.slopes(weights, create_graph=True), map(torch.tensor, gradients)))
        apart = sum((a - b).square().sum() for a, b in pairs) / sum(b.square().sum() for _, b in pairs)
        self.adam.zero_grad()
        apart.backward()
        self.adam.step()


"""


def remembering() -> str:
    text = TASK.baseline().text()
    for old, new in (
        ("def optimizer(", REMEMBER + "def optimizer("),
        ("    def update(", "    memory = Memory(shapes)\n\n    def update("),
        ("        rate = ", "        memory.fit(weights, gradients)\n        rate = "),
        (
            "        return weights\n",
            f"        for _ in range({FURTHER} if step == steps - 1 else 0):\n"
            "            for w, slope in zip(weights, memory.slopes(weights)):\n"
            "                w -= np.float32(LR / (1 - MOMENTUM)) * slope.numpy()\n"
            "        return weights\n",
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.slow
def test_made_up_rows_are_no_rows(session_cache: Path, launcher: LocalLauncher, tmp_path: Path) -> None:
    """No gain, at several times the price: what 400 gradients tell is less than what it takes to go on without."""
    trainer = Trainer(TASK, DataStore(TASK, Streams.from_seed(1), tmp_path), launcher=launcher)
    honest = trainer.run(Spec(TASK.baseline(), 5))
    cheat = trainer.run(Spec(TASK.baseline().with_text("train.py", remembering()), 5))
    assert honest.status == "ok" and honest.metric is not None
    assert cheat.status == "ok" and cheat.metric is not None, cheat.reason
    assert TASK.card is not None
    assert cheat.metric > honest.metric - 2 * TASK.card["baseline"]["sd"]
    assert cheat.device_seconds > 2 * honest.device_seconds
