"""Do programs rank alike on two tasks? Spearman's rank correlation of their true gains, with an interval.

The measured gains are means of a few runs. Noise biases their rank correlation towards 0, and a bootstrap of the runs
adds the noise a second time. So this module draws the true gains from their posterior and takes the rank correlation of
each draw.

Model: the true gains (a, b) of a program on the two tasks are bivariate normal over the programs; each measured mean
has a normal error of known size. The SDs of the true gains, their correlation and the means have
flat priors, the first two on a grid, the means are integrated. The quantiles of the draws make a 95% interval.
``python -m bench.transfer`` compares it, and the bootstrap, with a planted truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST = 4  # programs needed for a correlation
DRAWS = 2000
SPREADS, RHOS, WIDEST = 16, 41, 3.0  # of the grid: SDs from 0 to WIDEST times the spread of the measured means


@dataclass(frozen=True)
class RankCorrelation:
    """The rank correlation of two tasks over the ``n`` programs that ran on both. ``why``: why it is unknown."""

    task: str
    other: str
    n: int
    observed: float | None = None  # of the measured means: noise biases it towards 0
    estimate: float | None = None  # posterior median for the true gains
    low: float | None = None  # 95% interval of the true gains' rank correlation
    high: float | None = None
    reliability: float | None = None  # share of the variance of the measured means that is not noise, on task
    reliability_other: float | None = None
    why: str = ""


@dataclass(frozen=True)
class MeasuredGain:
    """A program's mean gain on a task, its standard error, and the program that was run: programs with the same
    behaviour share figures."""

    mean: float
    se: float
    shared: str


def correlation(
    task: str, other: str, pairs: Sequence[tuple[MeasuredGain, MeasuredGain]], *, seed: int = 0
) -> RankCorrelation:
    """The rank correlation of the programs' gains on both tasks, a pair each."""
    n = len(pairs)
    if n < LEAST:
        return RankCorrelation(task, other, n, why=f"fewer than {LEAST} programs ran on both")
    for name, side in ((task, 0), (other, 1)):
        if len({pair[side].shared for pair in pairs}) < 2:
            return RankCorrelation(task, other, n, why=f"all programs behave alike on {name}")
    import numpy as np

    means = np.array([[side.mean for side in pair] for pair in pairs])
    ses = np.array([[side.se for side in pair] for pair in pairs])
    groups = np.array([_first_of([pair[side].shared for pair in pairs]) for side in (0, 1)])
    a, b = draws(means, ses, np.random.default_rng(seed))
    correlations = rank_correlations(a[:, groups[0]], b[:, groups[1]])
    low, middle, high = np.quantile(correlations, (0.025, 0.5, 0.975))
    observed = rank_correlations(means[None, :, 0], means[None, :, 1])
    return RankCorrelation(
        task,
        other,
        n,
        observed=float(observed[0]),
        estimate=float(middle),
        low=float(low),
        high=float(high),
        reliability=reliability(means[:, 0], ses[:, 0]),
        reliability_other=reliability(means[:, 1], ses[:, 1]),
    )


def _first_of(names: Sequence[str]) -> list[int]:
    """For each name the index of its first occurrence, so that programs with shared figures share every draw."""
    first: dict[str, int] = {}
    return [first.setdefault(name, index) for index, name in enumerate(names)]


def reliability(means: Floats, ses: Floats) -> float:
    """Share of the variance of the means that is between programs, by moments; 0 if noise explains all of it."""
    spread = float(means.var(ddof=1))
    return max(0.0, 1.0 - float((ses**2).mean()) / spread) if spread > 0 else 0.0


def rank_correlations(a: Floats, b: Floats) -> Floats:
    """Spearman's of each row of a [rows, n] with that of b, ties at their middle rank; 0 if a side is constant."""
    import numpy as np

    ra, rb = _ranks(a), _ranks(b)
    ra, rb = ra - ra.mean(axis=1, keepdims=True), rb - rb.mean(axis=1, keepdims=True)
    scale = np.sqrt((ra**2).sum(axis=1) * (rb**2).sum(axis=1))
    products: Floats = (ra * rb).sum(axis=1)
    out: Floats = np.divide(products, scale, out=np.zeros_like(scale), where=scale > 0)
    return out


def _ranks(values: Floats) -> Floats:
    from scipy.stats import rankdata

    ranks: Floats = rankdata(values, axis=1)
    return ranks


def draws(means: Floats, ses: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """DRAWS draws of the programs' true gains on each task [DRAWS, n], from means and ses [n, 2]."""
    import numpy as np

    scale = np.sqrt(np.maximum(means.var(axis=0, ddof=1), 1e-24))
    z, s = (means - means.mean(axis=0)) / scale, np.maximum(ses / scale, 1e-6)
    grid = _grid()
    log, centre, cover = _likelihood(z, s, grid)
    weights = np.exp(log - log.max())
    chosen = rng.choice(len(log), size=DRAWS, p=weights / weights.sum())
    prior = tuple(part[chosen] for part in grid)
    mu = centre[chosen] + _correlated(rng, *(part[chosen] for part in cover))
    a, b = np.empty((DRAWS, len(z))), np.empty((DRAWS, len(z)))
    for i, (own, error) in enumerate(zip(z, s, strict=True)):
        a[:, i], b[:, i] = _true_gains(own, error, mu, prior, rng)
    return a, b


def _grid() -> tuple[Floats, Floats, Floats]:
    """Variances of the true gains on each task and their covariance, at every point of the grid."""
    import numpy as np

    sds = (np.arange(SPREADS) + 0.5) / SPREADS * WIDEST
    rho = np.linspace(-1, 1, RHOS + 2)[1:-1]
    one, two, with_ = (part.ravel() for part in np.meshgrid(sds, sds, rho, indexing="ij"))
    return one**2, two**2, with_ * one * two


def _likelihood(
    z: Floats, s: Floats, grid: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, tuple[Floats, Floats, Floats]]:
    """(log likelihood of each point with the means integrated out, centre [points, 2] and covariance of the means)."""
    import numpy as np

    aa, bb, ab = grid
    p11, p22, p12, q1, q2, log = (np.zeros(len(aa)) for _ in range(6))
    for (x, y), (sx, sy) in zip(z, s, strict=True):
        v11, v22 = aa + sx**2, bb + sy**2
        det = v11 * v22 - ab**2
        w11, w22, w12 = v22 / det, v11 / det, -ab / det
        p11, p22, p12 = p11 + w11, p22 + w22, p12 + w12
        q1, q2 = q1 + w11 * x + w12 * y, q2 + w12 * x + w22 * y
        log -= 0.5 * (np.log(det) + w11 * x * x + 2 * w12 * x * y + w22 * y * y)
    det = p11 * p22 - p12**2
    cover = p22 / det, p11 / det, -p12 / det
    centre = np.stack([cover[0] * q1 + cover[2] * q2, cover[2] * q1 + cover[1] * q2], axis=1)
    log += 0.5 * (q1 * centre[:, 0] + q2 * centre[:, 1]) - 0.5 * np.log(det)
    return log, centre, cover


def _correlated(rng: np.random.Generator, v11: Floats, v22: Floats, v12: Floats) -> Floats:
    """Normal pairs [points, 2] of those variances and covariances."""
    import numpy as np

    one, two = rng.standard_normal((2, len(v11)))
    first = np.sqrt(np.maximum(v11, 0.0))
    slope = np.divide(v12, first, out=np.zeros_like(v12), where=first > 0)
    return np.stack([first * one, slope * one + np.sqrt(np.maximum(v22 - slope**2, 0.0)) * two], axis=1)


def _true_gains(
    z: Floats, s: Floats, mu: Floats, prior: tuple[Floats, ...], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draws of one program's true gains, given its means, the programs' means and their spread."""
    aa, bb, ab = prior
    v11, v22 = aa + s[0] ** 2, bb + s[1] ** 2
    det = v11 * v22 - ab**2
    # gain matrix: prior covariance times the inverse of the measured one
    k11, k12 = (aa * v22 - ab * ab) / det, (ab * v11 - aa * ab) / det
    k21, k22 = (ab * v22 - bb * ab) / det, (bb * v11 - ab * ab) / det
    dx, dy = z[0] - mu[:, 0], z[1] - mu[:, 1]
    rest = aa - (k11 * aa + k12 * ab), bb - (k21 * ab + k22 * bb), ab - (k11 * ab + k12 * bb)
    stray = _correlated(rng, *rest)
    return mu[:, 0] + k11 * dx + k12 * dy + stray[:, 0], mu[:, 1] + k21 * dx + k22 * dy + stray[:, 1]
