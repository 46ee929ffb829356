"""Two-level designs: which directives of a program are left out in which runs, planned before the first run.

Columns of a Hadamard matrix are orthogonal, so with N runs each main effect has a standard error of 2 SD / sqrt(N),
whatever the number of directives; leaving out one at a time spends the same runs on one directive each (Plackett and
Burman 1946). Every second block is the mirror of the first, so no effect is confounded with an interaction of two
others (Box and Wilson 1951). The assignment of directives to columns, and the level that is called high, are drawn at
random.

Effects are by least squares with HC2 errors and the degrees of freedom of their Satterthwaite approximation (Bell and
McCaffrey 2002): unbiased under homoscedasticity, and right in small samples (Imbens and Kolesár 2016).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.statistics import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Signs = NDArray[np.int8]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOST = 500  # factors
TOGETHER = 4  # rows that take turns in one block, with their mirrors
FEWEST_UNITS = 8  # programs whose turns count as alike
TINY = 1e-8


@dataclass(frozen=True)
class FactorialDesign:
    """``plain`` and its ``mirror``: rows of programs, True if the factor is present. Block k plays the rows of
    ``plain`` where k is even and those of ``mirror`` where it is odd, one run each under one run seed. ``of_turns``:
    they are turns on one script instead of runs, in the blocks of ``turn_blocks``."""

    factors: tuple[str, ...]
    plain: tuple[tuple[bool, ...], ...]
    blocks: int
    of_turns: bool = False

    @property
    def mirror(self) -> tuple[tuple[bool, ...], ...]:
        return tuple(tuple(not held for held in row) for row in self.plain)

    @property
    def order(self) -> int:
        """Runs of one block."""
        return len(self.plain)

    @property
    def runs(self) -> int:
        return self.order * self.blocks

    @property
    def arms(self) -> list[tuple[tuple[bool, ...], int]]:
        """The arms as levels, with their number of runs: the rows of ``plain``, then those of ``mirror``.

        With one or two factors the mirror has the same programs in another order, so each program has two arms.
        """
        first, second = (self.blocks + 1) // 2, self.blocks // 2
        return [(row, first) for row in self.plain] + [(row, second) for row in self.mirror if second]

    @property
    def turn_blocks(self) -> list[list[tuple[bool, ...]]]:
        """The rows of two blocks as they take turns: a few with their mirrors, which find the script equally good."""
        starts = range(0, self.order, TOGETHER)
        return [[*self.plain[at : at + TOGETHER], *self.mirror[at : at + TOGETHER]] for at in starts]

    @property
    def programs(self) -> int:
        """The number of different programs."""
        return len({row for row, _ in self.arms})

    @property
    def se(self) -> float:
        """Standard error of every effect, in standard deviations between the runs of one program."""
        return 2.0 / math.sqrt(self.runs)

    @property
    def df(self) -> int:
        """Of an effect: every two blocks of runs share a run seed, and an intercept; turns have one for each of their
        blocks, and count by their programs where these are enough."""
        pairs = (self.blocks + 1) // 2
        if not self.of_turns:
            return self.runs - pairs - len(self.factors)
        programs = self.programs >= FEWEST_UNITS
        units, times = (self.programs, 1) if programs else (self.runs, pairs)
        return units - times * len(self.turn_blocks) - len(self.factors)

    @property
    def clear(self) -> bool:
        """Whether effects are free of interactions of two others."""
        return self.blocks % 2 == 0


def plan(factors: Sequence[str], runs: int, seed: int) -> FactorialDesign:
    """The largest design over ``factors`` of at most ``runs`` runs; an error estimate needs at least 2 blocks.

    The same factors and seed give the same rows, so a larger number of runs continues a smaller design.
    Raises ValueError if two blocks do not fit.
    """
    import numpy as np

    order = order_of(len(factors))
    if runs < 2 * order:
        raise ValueError(f"{len(factors)} factors need at least two blocks of {order} runs")
    rng = np.random.Generator(np.random.PCG64(seed))
    columns = hadamard(order)[:, 1 + rng.permutation(order - 1)[: len(factors)]]
    signed = columns * rng.choice(np.array([-1, 1]), size=len(factors))[None, :]
    return FactorialDesign(tuple(factors), tuple(tuple((row > 0).tolist()) for row in signed), runs // order)


def estimate(
    held: Sequence[Sequence[bool]],
    gains: Sequence[float],
    blocks: Sequence[Hashable],
    units: Sequence[Hashable] | None = None,
) -> list[Estimate | None]:
    """Effect of holding each factor: least squares with an intercept a block, robust errors; rows are runs, which are
    independent of each other unless they have one of the ``units`` in common.

    None for an aliased factor, as in an unfinished design or with factors that are always switched together.
    """
    import numpy as np

    x = np.array(held, dtype=np.float64)
    y = np.array(gains, dtype=np.float64)
    return least_squares(x, y, numbered(blocks), numbered(range(len(gains)) if units is None else units))


def numbered(names: Sequence[Hashable]) -> Ints:
    """The number of each name, in their order."""
    import numpy as np

    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def least_squares(x: Floats, y: Floats, block: Ints, unit: Ints) -> list[Estimate | None]:
    """Coefficients of the columns of x [n, p] on y [n], with an intercept for each ``block`` [n].

    None for a column that is aliased with the others and the blocks, so that its effect is not identified. Rows of
    different ``unit`` [n] are independent given their block; the intercepts count as fitted.
    """
    import numpy as np

    within = (block[:, None] == block[None, :]) / np.bincount(block)[block][:, None]
    x, y = x - within @ x, y - within @ y
    inverse = np.linalg.pinv(x.T @ x, rcond=TINY, hermitian=True)
    estimable = np.abs(np.diag(inverse @ (x.T @ x)) - 1.0) < 1e-6
    weights = inverse @ x.T  # each row makes one coefficient of y
    beta = weights @ y
    free = np.eye(len(y)) - x @ weights - within
    units = [np.flatnonzero(unit == number) for number in range(unit.max() + 1)]
    scales = [_inverse_root(free[np.ix_(rows, rows)]) for rows in units]
    residual = y - x @ beta
    effects: list[Estimate | None] = []
    for j, weight in enumerate(weights):
        parts = [scale @ weight[rows] for rows, scale in zip(units, scales, strict=True)]
        shares = [float(part @ residual[rows]) for rows, part in zip(units, parts, strict=True)]
        g = np.stack([free[:, rows] @ part for rows, part in zip(units, parts, strict=True)], axis=1)
        effects.append(_effect(float(beta[j]), sum(share**2 for share in shares), g) if estimable[j] else None)
    return effects


def _inverse_root(matrix: Floats) -> Floats:
    """The inverse of its symmetric root, 0 in directions that residuals cannot have."""
    import numpy as np

    values, vectors = np.linalg.eigh(matrix)
    roots = np.where(values > TINY, 1.0 / np.sqrt(np.maximum(values, TINY)), 0.0)
    inverse: Floats = (vectors * roots) @ vectors.T
    return inverse


def _effect(estimate: float, variance: float, g: Floats) -> Estimate:
    """The variance's degrees of freedom: 2 E² / Var of the quadratic form with factor ``g``, under equal noise. Column
    i of g: the contribution of unit i's residuals to the estimate, as a function of the noise of all rows."""
    import numpy as np

    inner = g.T @ g
    trace, squares = float(np.trace(inner)), float(np.sum(inner * inner))
    if trace <= TINY * float(np.sum(g * g) + TINY) or squares <= 0.0:
        return Estimate(estimate)
    df = trace**2 / squares
    return Estimate(estimate, variance**0.5 if df > 0.99 else None, df)


def order_of(factors: int) -> int:
    """The smallest order of a Hadamard matrix with a column for each factor beside the constant one."""
    if not 1 <= factors <= MOST:
        raise ValueError(f"{factors} factors: a design has 1 to {MOST}")
    order = 2 if factors == 1 else 4 * math.ceil((factors + 1) / 4)
    while _recipe(order) is None:
        order += 4
    return order


def hadamard(order: int) -> Signs:
    """A matrix of ±1 with orthogonal rows and columns, its first row and column all +1 (Paley 1933, Sylvester 1867).

    Supported orders: 1, p + 1 (p prime, 3 mod 4), 2p + 2 (p prime, 1 mod 4), and these doubled any number of times.
    Raises ValueError for others; of the multiples of 4 the first are 52, 92 and 100 (matrices of such orders exist).
    """
    import numpy as np

    recipe = _recipe(order)
    if recipe is None:
        raise ValueError(f"no construction of a Hadamard matrix of order {order}")
    kind, number = recipe
    if kind == "one":
        return np.ones((1, 1), dtype=np.int8)
    if kind == "double":
        half = hadamard(number)
        return np.block([[half, half], [half, -half]])
    matrix = _first_paley(number) if kind == "first" else _second_paley(number)
    matrix = matrix * matrix[0][None, :]
    flipped: Signs = matrix * matrix[:, 0][:, None]
    return flipped


def _recipe(order: int) -> tuple[str, int] | None:
    if order == 1:
        return "one", 1
    if order % 4 == 0 and _is_prime(order - 1):
        return "first", order - 1
    if order % 4 == 0 and order > 4 and _is_prime(order // 2 - 1) and (order // 2 - 1) % 4 == 1:
        return "second", order // 2 - 1
    if order % 2 == 0 and _recipe(order // 2) is not None:
        return "double", order // 2
    return None


def _jacobsthal(q: int) -> Signs:
    """Quadratic characters of all differences modulo a prime q."""
    import numpy as np

    squares = {i * i % q for i in range(1, q)}
    character = np.array([0] + [1 if i in squares else -1 for i in range(1, q)], dtype=np.int8)
    table: Signs = character[(np.arange(q)[:, None] - np.arange(q)[None, :]) % q]
    return table


def _first_paley(q: int) -> Signs:
    import numpy as np

    skew = np.zeros((q + 1, q + 1), dtype=np.int8)
    skew[0, 1:], skew[1:, 0], skew[1:, 1:] = 1, -1, _jacobsthal(q)
    matrix: Signs = skew + np.eye(q + 1, dtype=np.int8)
    return matrix


def _second_paley(q: int) -> Signs:
    import numpy as np

    even = np.zeros((q + 1, q + 1), dtype=np.int8)
    even[0, 1:], even[1:, 0], even[1:, 1:] = 1, 1, _jacobsthal(q)
    filled, empty = np.array([[1, 1], [1, -1]], dtype=np.int8), np.array([[1, -1], [-1, -1]], dtype=np.int8)
    matrix: Signs = np.kron(even, filled) + np.kron(np.eye(q + 1, dtype=np.int8), empty)
    return matrix


def _is_prime(number: int) -> bool:
    return all(number % i for i in range(2, math.isqrt(number) + 1))
