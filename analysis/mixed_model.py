"""A linear mixed model of experiments: the effect of each edit on the metric, from every experiment that ran.

    outcome = level + Σ effects of the source's edits + Σ interactions of pairs + Σ (seed × edit) + noise

Selection does not bias it: all outcomes that decided what was kept or dropped are in the likelihood (Rubin 1976). The
difference of a kept child and its lucky parent is biased, even if the edit was drawn at random. Effects are random
with mean 0, and so are pairs, seed × edit interactions, levels of seeds and code changes without a knob; their
variances maximise the restricted likelihood (Patterson and Thompson 1971), kept above zero by one factor SD for each
(Chung et al. 2013). Experiments trained under one seed are a block: blocks are independent and add up, so a large
study costs a sum over its seeds. Shortened trainings have their own level, error and deviation of each edit, and
each source that was shortened under several seeds has its own deviation.

Each sum of effects has two estimates. The posterior gives its size. The test uses fixed effects (generalised least
squares), with a variance moderated by the spread between blocks: the model's variance counts for `POOLED_DF` degrees
of freedom (Smyth 2004), so that a few runs that agree, or a few outliers, do not decide alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.statistics import POOLED_DF, interval, t_test

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TINY = 1e-200
TOGETHER = 256  # estimates whose products with a block stay in the processor's cache


@dataclass(frozen=True)
class PosteriorEstimate:
    """A sum of effects: posterior mean, sd and 95% interval, and the two-sided p of the test against 0.

    ``df``: degrees of freedom of interval and test.
    """

    mean: float
    sd: float
    low: float
    high: float
    df: float
    p: float | None
    estimate: float  # generalised least squares, not shrunk; for checks, not for display
    se: float


@dataclass(frozen=True)
class SeedBlock:
    """The rows of one seed. ``x`` [n, k + further]: the columns ``at`` of the model, of which the first are ``levels``
    levels and the next ``edits`` edits, then the changes without a column."""

    x: NDArray[np.int8]
    y: Floats
    at: Ints
    levels: int
    edits: int
    short: NDArray[np.bool_]
    rows: Ints

    def noise(self, ratios: Ratios) -> Floats:
        """The variance of each row's own error, relative to that of one full training."""
        import numpy as np

        return np.where(self.short, ratios.short, 1.0)


@dataclass(frozen=True)
class Ratios:
    """Variances as multiples of the noise of one full training: (seed × edit), level of a seed, noise of a
    short training; then prior variances of effects, pairs, deviations of edits in short trainings, and of sources
    there."""

    meeting: float = 0.3
    level: float = 0.3
    short: float = 2.0
    effect: float = 3.0
    pair: float = 0.3
    bend: float = 1.0
    own: float = 1.0


@dataclass
class Fitted:
    """The model with its variances. Columns: levels, edits, pairs, deviations of edits and of sources in short
    trainings."""

    width: int
    levels: int
    pairs: dict[tuple[int, int], int]  # two edits → column
    ratios: Ratios
    scale: float  # of the outcome: what follows is in this unit
    noise: float  # variance of one full training
    mean: Floats  # posterior, all columns
    covariance: Floats
    prior: Floats  # prior variances; infinite for levels
    fixed: Floats  # generalised least squares, edits fixed
    spread: Floats  # its covariance / noise
    _blocks: list[SeedBlock] = field(repr=False)

    def weights(self, edits: Sequence[int], given: Sequence[int] = ()) -> tuple[Floats, int]:
        """(weights [columns] of the edits' effect on a source with the edits ``given``, pairs without a column)."""
        import numpy as np

        out, unseen = np.zeros(len(self.mean)), 0
        for index, edit in enumerate(edits):
            out[self.levels + edit] += 1.0
            for other in [*given, *edits[:index]]:
                column = self.pairs.get((min(edit, other), max(edit, other)))
                if column is None:
                    unseen += 1
                else:
                    out[column] += 1.0
        return out, unseen

    def answers(self, weights: Floats, unseen: Sequence[int] | None = None) -> list[PosteriorEstimate]:
        """The estimate of each row of ``weights`` [m, columns]; ``unseen`` [m]: number of unknown pairs in each."""
        import scipy.linalg  # noqa: F401 - before the limit, as in `mixed_fit.fit`
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):
            return self._answers(weights, unseen)

    def _answers(self, weights: Floats, unseen: Sequence[int] | None) -> list[PosteriorEstimate]:
        import numpy as np

        extra = self.ratios.pair * self.noise * np.asarray(unseen if unseen is not None else np.zeros(len(weights)))
        means = weights @ self.mean
        variances = np.maximum(np.einsum("ij,ij->i", weights @ self.covariance, weights) + extra, TINY)
        finite = np.where(np.isfinite(self.prior), self.prior, 0.0)
        priors = (weights**2) @ finite + extra
        ratio, freedom = self._observed(weights)
        estimates = weights @ self.fixed
        ses = np.sqrt(np.einsum("ij,ij->i", weights @ self.spread, weights) * self.noise * ratio)
        known = np.maximum(
            1.0 / variances - 1.0 / np.maximum(priors, TINY), 0.0
        )  # information of the data beyond the prior
        scaled = 1.0 / (1.0 / np.maximum(priors, TINY) + known / ratio)
        means = means * scaled / variances / ratio
        out = []
        figures = (means * self.scale, np.sqrt(scaled) * self.scale, freedom, estimates * self.scale, ses * self.scale)
        for mean, sd, df, estimate, se in zip(*(each.tolist() for each in figures), strict=True):
            low, high = interval(mean, sd, df)
            p = t_test(estimate, se, df) if se > 0 else None
            out.append(PosteriorEstimate(mean, sd, low or 0.0, high or 0.0, df, p, estimate, se))
        return out

    def _observed(self, weights: Floats) -> tuple[Floats, Floats]:
        """(variance relative to the model's, degrees of freedom) of each least squares estimate, both [m].

        Block b adds a_b to an estimate; the model expects variance h_b for its residual part.
        """
        import numpy as np

        towards = np.array_split((weights @ self.spread).T, max(1, len(weights) // TOGETHER), axis=1)
        towards = [np.ascontiguousarray(part) for part in towards]  # [columns, some of m]
        seen, expected, squares = (np.zeros(len(weights)) for _ in range(3))
        for block in self._blocks:
            weighed = Weighed.of(block, self.ratios)
            left = weighed.gram - weighed.gram @ self.spread[block.at[:, None], block.at] @ weighed.gram
            rest, some = weighed.moment - weighed.gram @ self.fixed[block.at], 0
            for part in towards:
                own, of = part.take(block.at, axis=0), slice(some, some := some + part.shape[1])
                h = np.maximum(np.einsum("ij,ij->j", left @ own, own), 0.0)
                seen[of] += (rest @ own) ** 2 / self.noise
                expected[of] += h
                squares[of] += h**2
        informed = expected > 1e-12
        own_df = np.where(informed, expected**2 / np.maximum(squares, TINY), 0.0)
        own_ratio = np.where(informed, seen / np.maximum(expected, TINY), 1.0)
        return (POOLED_DF + own_df * own_ratio) / (POOLED_DF + own_df), POOLED_DF + own_df


@dataclass(frozen=True)
class Weighed:
    """W'V⁻¹W of a block, where W holds x and y, and V = LL' is its covariance divided by the noise variance."""

    root: Floats  # L
    half: Floats  # L⁻¹W
    whole: Floats
    k: int  # columns of the model

    @classmethod
    def of(cls, block: SeedBlock, ratios: Ratios) -> Weighed:
        import numpy as np
        from scipy.linalg.lapack import dtrtrs

        both: Floats = np.column_stack((block.x, block.y))
        root = root_of(block, both, ratios)
        half = dtrtrs(root, both, lower=1)[0]
        return cls(root, half, half.T @ half, len(block.at))

    @property
    def gram(self) -> Floats:
        return self.whole[: self.k, : self.k]

    @property
    def moment(self) -> Floats:
        return self.whole[: self.k, -1]


def root_of(block: SeedBlock, both: Floats, ratios: Ratios) -> Floats:
    """Lower Cholesky factor of the covariance of a block with these x and y, divided by the noise variance."""
    from scipy.linalg.lapack import dpotrf

    edits, code = both[:, block.levels : block.levels + block.edits], both[:, len(block.at) : -1]
    v: Floats = ratios.meeting * (edits @ edits.T)
    v += ratios.level
    if code.size:
        v += ratios.effect * (code @ code.T)
    v.ravel()[:: len(v) + 1] += block.noise(ratios)
    root: Floats = dpotrf(v.T, lower=1, overwrite_a=1)[0]
    return root
