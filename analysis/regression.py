"""Least squares with robust errors, for a few hundred rows and some dozens of effects.

Errors: HC2, with the degrees of freedom of its Satterthwaite approximation (Bell and McCaffrey 2002). It is unbiased
under homoscedasticity, and keeps its level in small samples, unlike HC1 (Imbens and Kolesár 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TINY = 1e-8


@dataclass(frozen=True)
class RegressionEffect:
    """A coefficient. ``df``: Satterthwaite's degrees of freedom of its SE; se is None without residuals."""

    estimate: float
    se: float | None
    df: float


def effects(x: Floats, y: Floats, block: Ints) -> list[RegressionEffect | None]:
    """Coefficients of the columns of x [n, p] on y [n], with an intercept for each ``block`` [n].

    None for a column that is aliased with the others and the blocks, so that its effect is not identified. Rows are
    independent given their block; the intercepts count as fitted.
    """
    import numpy as np

    x, y = _centred(x, block), _centred(y[:, None], block)[:, 0]
    inverse = np.linalg.pinv(x.T @ x, rcond=TINY, hermitian=True)
    estimable = np.abs(np.diag(inverse @ (x.T @ x)) - 1.0) < 1e-6
    beta = inverse @ (x.T @ y)
    rest = y - x @ beta
    # each row of `weights` makes one coefficient of y
    weights = inverse @ x.T
    hat = x @ weights + (block[:, None] == block[None, :]) / np.bincount(block)[block][:, None]
    free = np.eye(len(rest)) - hat
    left = np.clip(np.diag(free), 0.0, None)
    scale = np.where(left > TINY, 1.0 / np.sqrt(np.maximum(left, TINY)), 0.0)
    out: list[RegressionEffect | None] = []
    for j in range(len(beta)):
        # column i of g: the contribution of row i's residual to the estimate, as a function of the noise of all rows
        g = free * (weights[j] * scale)[None, :]
        out.append(_effect(beta[j], float(np.sum((weights[j] * scale * rest) ** 2)), g) if estimable[j] else None)
    return out


def _effect(estimate: float, variance: float, g: Floats) -> RegressionEffect:
    """The variance's degrees of freedom: 2 E² / Var of the quadratic form with factor ``g``, under equal noise."""
    import numpy as np

    inner = g.T @ g
    trace, squares = float(np.trace(inner)), float(np.sum(inner * inner))
    if trace <= TINY * float(np.sum(g * g) + TINY) or squares <= 0.0:
        return RegressionEffect(float(estimate), None, 0.0)
    df = trace**2 / squares
    return RegressionEffect(float(estimate), float(np.sqrt(variance)) if df > 0.99 else None, df)


def _centred(values: Floats, block: Ints) -> Floats:
    """Values [n, p] less the mean of their block."""
    import numpy as np

    sums = np.zeros((int(block.max()) + 1, values.shape[1]))
    np.add.at(sums, block, values)
    counted = np.maximum(np.bincount(block, minlength=len(sums)), 1)
    centred: Floats = values - (sums / counted[:, None])[block]
    return centred
