"""Six tables and a deterministic learner with ten settings, for `bench.validation_rows`.

A table is a law. A sample of it has TRAINING rows to fit on, VALIDATION rows that decide, and TEST rows that tell what
is true; every seed draws another sample. Metrics are errors, lower is better: shares of wrong answers (trees,
interactions, nearly solved), the same with both classes counted as equally frequent (rare class), and squared errors as
a share of the variance of the number to predict (linear, heteroscedastic).

A `Learner` fits when its settings change, so that some settings are truly better. A `TieBreaker` answers like the
untouched learner but for some rows, where each value of a setting has answers of its own that are drawn by lot: all
settings have the same true error, to the last digit, so that nothing is worth anything. A harmful one answers by lot
with all values but the first, so that the untouched settings are the best ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRAINING, VALIDATION, TEST = 400, 1000, 20_000
COLUMNS = 12
LAW_SEED = 70  # of the coefficients of all tables
RARE = 0.1  # share of the rare class
Part = Literal["validation", "test"]
Settings = tuple[int, ...]  # for each setting, which of its values

#: The values of each setting of the learner; the untouched script has the first ones.
VALUES: dict[str, tuple[float | str, ...]] = {
    "scale": ("standard", "none", "rank"),
    "columns": (6, 3, 9, 12),  # those that correlate most with the target in the training rows
    "squares": (0, 1),
    "products": (0, 5, 15, 30),  # of pairs of columns
    "steps": (0, 2, 4, 8),  # step functions of each column
    "waves": (0, 20, 60, 120),  # tanh of drawn directions
    "penalty": (30.0, 0.3, 3.0, 300.0),  # of the ridge regression
    "neighbours": (0, 5, 15, 45),
    "mix": (0.3, 0.6, 0.9),  # weight of the neighbours' mean
    "rows": (150, 250, 400),  # of the training rows
}
UNTOUCHED: Settings = (0,) * len(VALUES)


@dataclass(frozen=True)
class Table:
    """A law. ``answer`` gives the targets of latent columns, float [rows, COLUMNS], drawn by a generator; ``metric``:
    error, balanced or squared. ``restless``: share of its rows that the settings of a `TieBreaker` change."""

    name: str
    metric: Literal["error", "balanced", "squared"]
    answer: Callable[[Floats, np.random.Generator], Floats]
    restless: float = 0.4

    def losses(self, scores: Floats, targets: Floats) -> Floats:
        """The loss of each row, [rows]; their mean is the metric. ``scores``: predicted numbers, or shares of class
        1."""
        losses: Floats
        if self.metric == "squared":
            losses = (targets - scores) ** 2 / self.variance
        elif self.metric == "error":
            losses = ((scores > 0.5) != targets).astype(float)
        else:
            losses = np.where(targets == 1, 0.5 / RARE, 0.5 / (1 - RARE)) * ((scores > RARE) != targets)
        return losses

    @cached_property
    def variance(self) -> float:
        rng = np.random.default_rng([LAW_SEED, 1])
        return float(self.answer(rng.standard_normal((100_000, COLUMNS)), rng).var())


def coefficients(number: int) -> Floats:
    """Fixed coefficients of a law, falling from column to column."""
    rng = np.random.default_rng([LAW_SEED, 2, number])
    drawn: Floats = rng.standard_normal(COLUMNS) * 0.8 ** np.arange(COLUMNS)
    scaled: Floats = drawn / np.sqrt((drawn**2).sum())
    return scaled


def classes(probability: Floats, rng: np.random.Generator) -> Floats:
    return (rng.random(len(probability)) < probability).astype(float)


def sigmoid(values: Floats) -> Floats:
    shares: Floats = 1 / (1 + np.exp(-values))
    return shares


def linear(z: Floats, rng: np.random.Generator) -> Floats:
    """A sum of all columns, with as much noise as signal."""
    return z @ coefficients(0) + rng.standard_normal(len(z))


def trees(z: Floats, rng: np.random.Generator) -> Floats:
    """Class 1 in some of the boxes of three cuts; a tenth of the rows has the other class."""
    inside = np.where(z[:, 0] > 0.3, z[:, 1] > -0.2, (z[:, 2] > 0.5) | (z[:, 3] < -1.0))
    return classes(np.where(inside, 0.9, 0.1), rng)


def interactions(z: Floats, rng: np.random.Generator) -> Floats:
    """Products of columns, and little of each alone."""
    return classes(sigmoid(3 * (z[:, 0] * z[:, 1] + z[:, 2] * z[:, 3] + 0.4 * z[:, 4])), rng)


def rare_class(z: Floats, rng: np.random.Generator) -> Floats:
    """A tenth of the rows, where several columns are high or one is far from 0."""
    return classes(sigmoid(-4.9 + 1.5 * z[:, 0] + z[:, 1] + 1.2 * z[:, 2] ** 2), rng)


def heteroscedastic(z: Floats, rng: np.random.Generator) -> Floats:
    """A wave and a bend; the noise's SD grows by a column from a fifth to five."""
    return np.sin(2 * z[:, 0]) + 0.5 * z[:, 1] ** 2 + z[:, 2] + np.exp(0.8 * z[:, 3]) * rng.standard_normal(len(z))


def nearly_solved(z: Floats, rng: np.random.Generator) -> Floats:
    """Two groups that lie apart, by columns that are moved here; a slight bend and one row in a hundred of the other
    class remain."""
    side = z[:, 0] + 0.3 * (z[:, 2] ** 2 - 1) > 0.0
    z[:, :2] += np.where(side, 0.5, -0.5)[:, None]
    return classes(np.where(side, 0.99, 0.01), rng)


TABLES = {
    table.name: table
    for table in (
        Table("linear", "squared", linear),
        Table("trees", "error", trees),
        Table("interactions", "error", interactions),
        Table("rare class", "balanced", rare_class),
        Table("heteroscedastic", "squared", heteroscedastic),
        Table("nearly solved", "error", nearly_solved, restless=0.1),
    )
}


class Sample:
    """The rows of one seed: latent columns seen in different units, some of them skewed."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.rng = np.random.default_rng([LAW_SEED, 3, [*TABLES].index(table.name), seed])
        self.inputs: dict[str, Floats] = {}
        self.targets: dict[str, Floats] = {}
        units = 10.0 ** np.linspace(-2, 2, COLUMNS)
        for part, rows in (("training", TRAINING), ("validation", VALIDATION), ("test", TEST)):
            latent = self.rng.standard_normal((rows, COLUMNS))
            self.targets[part] = table.answer(latent, self.rng)
            self.inputs[part] = np.where(np.arange(COLUMNS) % 4 == 1, np.exp(latent), latent) * units


class Learner:
    """Ridge regression on features and a mean over neighbours, as ten settings say; the same settings on the same
    sample give the same answers."""

    values = tuple(len(values) for values in VALUES.values())

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.known: dict[tuple[Settings, Part], Floats] = {}

    def losses(self, settings: Settings, part: Part) -> Floats:
        """The loss of each row of a part, [rows]."""
        key = settings, part
        if key not in self.known:
            targets = self.sample.targets[part]
            self.known[key] = self.sample.table.losses(self.scores(settings, part), targets)
        return self.known[key]

    def scores(self, settings: Settings, part: Part) -> Floats:
        chosen = {name: values[at] for (name, values), at in zip(VALUES.items(), settings, strict=True)}
        count = int(chosen["rows"])
        inputs, targets = self.sample.inputs["training"][:count], self.sample.targets["training"][:count]
        columns = best_columns(inputs, targets, int(chosen["columns"]))
        scaled = scaling(str(chosen["scale"]), inputs[:, columns])
        features = feature_map(chosen, scaled(inputs[:, columns]))
        known, asked = scaled(inputs[:, columns]), scaled(self.sample.inputs[part][:, columns])
        scores = ridge(features(known), targets, float(chosen["penalty"]), features(asked))
        if chosen["neighbours"]:
            near = neighbours_mean(known, targets, int(chosen["neighbours"]), asked)
            scores += float(chosen["mix"]) * (near - scores)
        return scores


def best_columns(inputs: Floats, targets: Floats, count: int) -> NDArray[np.intp]:
    """The columns whose ranks correlate most with the targets."""
    ranks = inputs.argsort(axis=0).argsort(axis=0) - (len(inputs) - 1) / 2
    strength = np.abs(ranks.T @ (targets - targets.mean()))
    return np.argsort(-strength, kind="stable")[:count]


def scaling(kind: str, inputs: Floats) -> Callable[[Floats], Floats]:
    """A map of columns, made from the training rows."""
    if kind == "rank":
        ordered = np.sort(inputs, axis=0)
        width = len(inputs) / np.sqrt(12)
        return lambda rows: np.column_stack(
            [(np.searchsorted(ordered[:, i], rows[:, i]) - len(inputs) / 2) / width for i in range(rows.shape[1])]
        )
    if kind == "none":
        return lambda rows: rows
    middle, spread = inputs.mean(0), inputs.std(0)
    return lambda rows: (rows - middle) / spread


def feature_map(chosen: dict[str, float | str], known: Floats) -> Callable[[Floats], Floats]:
    """The features of scaled columns, [rows, features]; step heights and waves follow the training rows ``known``."""
    count = known.shape[1]
    pairs = [(i, j) for j in range(count) for i in range(j)][: int(chosen["products"])]
    cuts = np.quantile(known, np.linspace(0, 1, int(chosen["steps"]) + 2)[1:-1], axis=0)
    rng = np.random.default_rng([LAW_SEED, 4, count])
    waves = int(chosen["waves"])
    directions, phases = rng.standard_normal((count, waves)) / known.std(), rng.standard_normal(waves)

    def features(rows: Floats) -> Floats:
        parts = [rows, np.tanh(rows @ directions + phases)]
        parts += [rows**2] if chosen["squares"] else []
        parts += [rows[:, [i]] * rows[:, [j]] for i, j in pairs]
        parts += [(rows > cut).astype(float) for cut in cuts]
        return np.hstack(parts)

    return features


def ridge(known: Floats, targets: Floats, penalty: float, asked: Floats) -> Floats:
    """The predictions of a ridge regression with a free constant."""
    middle = known.mean(0)
    centred = known - middle
    weights = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(known.shape[1]), centred.T @ (targets - targets.mean())
    )
    predicted: Floats = (asked - middle) @ weights + targets.mean()
    return predicted


def neighbours_mean(known: Floats, targets: Floats, count: int, asked: Floats) -> Floats:
    """The mean target of the ``count`` nearest training rows."""
    distances = (known**2).sum(1) - 2 * asked @ known.T
    means: Floats = targets[np.argpartition(distances, count, axis=1)[:, :count]].mean(1)
    return means


class TieBreaker:
    """The untouched learner with other answers on some rows, equally good for every setting in truth.

    Each row belongs to one of the settings, some to none. There the setting's value decides by lot, row by row: half of
    the rows of a class get the other class, and a number moves up or down by its typical error.
    """

    values = (5,) * len(VALUES)

    def __init__(self, sample: Sample, harmful: bool = False) -> None:
        self.sample, self.harmful = sample, harmful
        learner = Learner(sample)
        self.untouched = {part: learner.scores(UNTOUCHED, part) for part in ("validation", "test")}
        size = np.arange(1, len(VALUES) + 1) ** 1.5  # settings change few rows or many
        shares = sample.table.restless * size / size.sum()
        self.owner = {
            part: sample.rng.choice(len(VALUES) + 1, len(scores), p=[*shares, 1 - shares.sum()])
            for part, scores in self.untouched.items()
        }
        self.lot_seed = int(sample.rng.integers(2**31))

    def losses(self, settings: Settings, part: Part) -> Floats:
        """The loss of each row of a part, [rows]."""
        scores, owner = self.untouched[part].copy(), self.owner[part]
        for setting, value in enumerate(settings):
            if self.harmful and value == 0:
                continue
            rows = owner == setting
            lot = np.random.default_rng([self.lot_seed, part == "test", setting, value]).random(int(rows.sum())) < 0.5
            scores[rows] = self.moved(scores[rows], lot)
        return self.sample.table.losses(scores, self.sample.targets[part])

    def moved(self, scores: Floats, lot: NDArray[np.bool_]) -> Floats:
        if self.sample.table.metric == "squared":
            step: float = 0.5 * self.sample.table.variance**0.5
            return np.where(lot, scores + step, scores - step)
        threshold = RARE if self.sample.table.metric == "balanced" else 0.5
        return np.where(lot, (scores <= threshold).astype(float), scores)
