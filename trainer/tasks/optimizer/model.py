"""The network that an optimizer trains: three hidden layers of tanh, with gradients by hand, in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, DEPTH = 64, 3  # units of a hidden layer, hidden layers
BATCH = 128  # rows per step

Weights = list[NDArray[np.float32]]


def whole(bits: np.random.PCG64, *shape: int, top: int) -> NDArray[np.float64]:
    """Integers from 0 to ``top`` - 1, cut out of raw words, so that they are the same with every NumPy."""
    words = np.asarray(bits.random_raw(math.prod(shape)), dtype=np.uint64) >> np.uint64(40)
    return (words * np.uint64(top) >> np.uint64(24)).astype(np.float64).reshape(shape)


class Network:
    """Matrices [features in, features out] and biases [features out] by turns, from the inputs to the logits.

    The first ``train`` rows are learned from, in an order that ``seed`` draws; the others are for the score.
    """

    def __init__(
        self, inputs: NDArray[np.float32], targets: NDArray[np.int64], train: int, classes: int, seed: int
    ) -> None:
        self.inputs, self.targets, self.train = inputs, targets, train
        self.guess = math.log(classes)  # nats that a blind guess costs
        sizes = (inputs.shape[1], *[WIDTH] * DEPTH, classes)
        self.shapes: list[tuple[int, ...]] = []
        for into, out in zip(sizes, sizes[1:]):
            self.shapes += [(into, out), (out,)]
        self._bits = np.random.PCG64(seed)
        self._initial = [self._drawn(shape) for shape in self.shapes]
        self._order = np.empty(0, np.int64)

    def _drawn(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Biases are 0; a matrix has sums of four uniform draws, of variance 1 / features in."""
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        drawn = whole(self._bits, 4, *shape, top=1 << 16).sum(axis=0) - 2.0 * ((1 << 16) - 1)
        return (drawn * math.sqrt(3.0 / shape[0]) / (1 << 16)).astype(np.float32)

    def weights(self) -> Weights:
        """The weights to start from."""
        return [one.copy() for one in self._initial]

    def gradients(self, step: int, weights: Weights) -> Weights:
        """Gradients of the mean loss in nats over the rows of a step; steps count from 0 and come in order."""
        rows = self._rows(step)
        values = self._forward(weights, self.inputs[rows])
        shares = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(rows)), self.targets[rows]] -= 1.0
        slope, found = shares / np.float32(len(rows)), []
        for layer in reversed(range(DEPTH + 1)):
            found += [slope.sum(axis=0), values[layer].T @ slope]
            if layer:
                slope = slope @ weights[2 * layer].T * (1.0 - values[layer] ** 2)
        return found[::-1]

    def score(self, weights: Weights) -> float:
        """Mean loss in nats on the rows that nothing was learned from, softmax in float64."""
        logits = self._forward(weights, self.inputs[self.train :])[-1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        picked = logits[np.arange(len(logits)), self.targets[self.train :]]
        return float((np.log(np.exp(logits).sum(axis=1)) - picked).mean())

    def _rows(self, step: int) -> NDArray[np.int64]:
        """Each row once before any comes again."""
        each = self.train // BATCH
        if step % each == 0:
            self._order = np.argsort(self._bits.random_raw(self.train), kind="stable")
        return self._order[step % each * BATCH :][:BATCH]

    def _forward(self, weights: Weights, inputs: Any) -> Weights:
        """Values of each layer [rows, features], the inputs first, the logits last."""
        values = [inputs]
        for layer in range(DEPTH + 1):
            out = values[-1] @ weights[2 * layer] + weights[2 * layer + 1]
            values.append(np.tanh(out) if layer < DEPTH else out)
        return values
