"""A linear mixed model of experiments: the effect of each edit on the metric, from every experiment that ran.

    outcome = level + Σ effects of the source's edits + Σ interactions of pairs + seed + Σ (seed × edit) + noise

Selection does not bias it: all outcomes that decided what was kept or dropped are in the likelihood (Rubin 1976). The
difference of a kept child and its lucky parent is biased, even if the edit was drawn at random. All effects but the
level are random with mean 0. Their variances maximise the restricted likelihood (Patterson and Thompson 1971) by
Schall's (1991) fixed point, kept above zero by one factor SD for each (Chung et al. 2013). Experiments trained under
one seed are a block; blocks are independent, so a large study costs a sum over its seeds. Shortened trainings have
their own level and noise, and each source that was shortened under several seeds its own deviation.

Estimate, interval and p of a sum of effects are all from the posterior, so estimates add up. Its variance is moderated
by the spread between blocks: the model's variance counts for `POOLED_DF` degrees of freedom (Smyth 2004), so that a
few runs that agree, or a few outliers, do not decide alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from analysis.statistics import POOLED_DF, Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array
    from threadpoolctl import ThreadpoolController

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ROWS = 10_000  # used to estimate variances; effects use all rows
PAIRS, SEEN = 300, 3  # pairs of edits with a column, the most frequent ones; blocks in which each must have been seen
REPEATED = 200  # sources with a deviation of their own in short trainings, the most frequent ones
LEAST, MOST = 1e-4, 1e4  # variances
ROUNDS, CLOSE, FARTHEST = 40, 0.01, 20.0  # of the fixed point: at most, the relative change at its end, longest step
TOGETHER = 50  # blocks whose sums a thread makes
TINY = 1e-12


@dataclass(frozen=True)
class ExperimentTable:
    """Experiments [n]. ``outcome``: higher is better; ``seed``: number of the training seed; ``short``: 0 for a full
    training, else the number of its fraction; ``source``: number of the source. ``held`` [n, changes]: the changes of
    each source; only the first ``width`` have an effect of their own."""

    outcome: Floats
    seed: Ints
    short: Ints
    source: Ints
    held: csr_array
    width: int


@dataclass(frozen=True)
class Variances:
    """Variances as multiples of the noise of one full training; ``short_noise`` is that of a short training,
    ``short_source`` of the deviation that a source has in all of them."""

    seed: float = 0.3
    seed_edit: float = 0.3
    short_noise: float = 2.0
    effect: float = 3.0
    pair: float = 0.3
    short_source: float = 1.0


@dataclass(frozen=True)
class SeedBlock:
    """The rows of one seed. ``table`` [n, any]: the columns ``at`` of the model, then others that the covariance of the
    rows needs; ``shared``: where it has a column of ones, then the changes that several rows have; ``alone`` [n]: how
    many changes of each that no other row has."""

    rows: Ints
    at: Ints
    table: NDArray[np.int8]
    shared: Ints
    alone: Ints
    y: Floats
    short: NDArray[np.bool_]

    @property
    def x(self) -> NDArray[np.int8]:
        return self.table[:, : len(self.at)]

    def inverse(self, variances: Variances) -> tuple[Floats, Floats]:
        """Of the covariance of the rows, divided by the noise: diag(d) - hᵀ h for the (d [n], h [shared, n]) returned.

        By Woodbury's identity, so that a seed with thousands of rows costs no more than its columns.
        """
        precision = self._precision(variances)
        factor = (self.table[:, self.shared] * self._spread(variances)).T
        return precision, _half((factor * precision) @ factor.T, factor * precision)

    def products(self, variances: Variances) -> tuple[Floats, Floats, float]:
        """(xᵀ V⁻¹ x [k, k], xᵀ V⁻¹ y [k], yᵀ V⁻¹ y), where V is the covariance of the rows, divided by the noise."""
        import numpy as np

        scale, spread, k = np.sqrt(self._precision(variances)), self._spread(variances), len(self.at)
        table, y = (self.table.T * scale).T, self.y * scale
        gram, moment = table.T @ table, table.T @ y
        pulled = (np.column_stack([gram[:, :k], moment])[self.shared].T * spread).T
        half = _half(gram[np.ix_(self.shared, self.shared)] * np.outer(spread, spread), pulled)
        x, last = half[:, :k], half[:, k]
        return gram[:k, :k] - x.T @ x, moment[:k] - x.T @ last, float(y @ y - last @ last)

    def _precision(self, variances: Variances) -> Floats:
        """Of each row, of what it shares with no other one, times the noise."""
        import numpy as np

        precision: Floats = 1.0 / (np.where(self.short, variances.short_noise, 1.0) + variances.seed_edit * self.alone)
        return precision

    def _spread(self, variances: Variances) -> Floats:
        """The SD of the effect of each shared column, relative to the noise."""
        import numpy as np

        return np.sqrt([variances.seed, *[variances.seed_edit] * (len(self.shared) - 1)])


@dataclass(frozen=True)
class Columns:
    """The model's columns: levels, edits, pairs, deviations of sources in short trainings. ``kind``: the field of
    `Variances` of each, empty for levels."""

    levels: int
    kind: NDArray[np.str_]
    pairs: dict[tuple[int, int], int]  # two edits → column

    def prior(self, variances: Variances) -> Floats:
        """Prior variances, relative to the noise; infinite for levels."""
        import numpy as np

        known = {"": np.inf, **asdict(variances)}
        return np.array([known[kind] for kind in self.kind])


@dataclass
class Fitted:
    """The posterior in the unit of the outcome. ``covariance`` is that of ``mean``, ``noise`` the variance of one full
    training."""

    columns: Columns
    variances: Variances
    noise: float
    mean: Floats
    covariance: Floats
    _blocks: list[SeedBlock] = field(repr=False)

    @property
    def levels(self) -> int:
        return self.columns.levels

    @property
    def pairs(self) -> dict[tuple[int, int], int]:
        return self.columns.pairs

    def weights(self, edits: Sequence[int], given: Sequence[int] = ()) -> tuple[Floats, int]:
        """(weights [columns] of the edits' effect on a source with the edits ``given``, pairs without a column)."""
        import numpy as np

        out, unseen = np.zeros(len(self.mean)), 0
        for index, edit in enumerate(edits):
            out[self.levels + edit] += 1.0
            for other in [*given, *edits[:index]]:
                column = self.pairs.get((min(edit, other), max(edit, other)))
                unseen += column is None
                if column is not None:
                    out[column] += 1.0
        return out, unseen

    def answers(self, weights: Floats, unseen: Sequence[int] | None = None) -> list[Estimate]:
        """The posterior mean and SD of each row of ``weights`` [m, columns], a sum of effects; ``unseen`` [m]: unknown
        pairs in each."""
        import numpy as np

        with _one_thread():
            towards = self.covariance @ weights.T
            variance = np.maximum(np.einsum("ji,ij->i", towards, weights), 0.0)
            ratio, df = self._observed(towards / self.noise)
        variance += self.variances.pair * self.noise * np.asarray(unseen if unseen is not None else 0.0)
        figures = (weights @ self.mean).tolist(), np.sqrt(variance * ratio).tolist(), df.tolist()
        return [Estimate(mean, sd, freedom) for mean, sd, freedom in zip(*figures, strict=True)]

    def projected(self, block: SeedBlock) -> tuple[Floats, Floats, Floats]:
        """(P times the shared columns, P y [n], diagonal of P [n]) of a block's rows, where P is the inverse of the
        marginal covariance without what the levels take up (Patterson and Thompson), times the noise."""
        inverse = block.inverse(self.variances)
        pulled = _times(*inverse, block.x)
        taken = pulled @ (self.covariance[block.at[:, None], block.at] / self.noise)
        shared = block.table[:, block.shared]
        product = _times(*inverse, shared) - taken @ (pulled.T @ shared)
        diagonal = inverse[0] - (inverse[1] ** 2).sum(axis=0) - (taken * pulled).sum(axis=1)
        return product, _times(*inverse, block.y - block.x @ self.mean[block.at]), diagonal

    def _observed(self, towards: Floats) -> tuple[Floats, Floats]:
        """(variance relative to the model's, degrees of freedom) of estimates with ``towards`` [columns, m], both [m].

        Block b adds a_b to an estimate; the model expects the variance h_b of it.
        """
        import numpy as np

        def observed(blocks: Sequence[SeedBlock]) -> tuple[Floats, ...]:
            seen, expected, squares = np.zeros((3, towards.shape[1]))
            for block in blocks:
                gram, moment, _ = block.products(self.variances)
                left = gram - gram @ (self.covariance[block.at[:, None], block.at] / self.noise) @ gram
                rows = towards[block.at]
                h = np.einsum("ij,ij->j", left @ rows, rows)
                seen += ((moment - gram @ self.mean[block.at]) @ rows) ** 2 / self.noise
                expected += h
                squares += h**2
            return seen, expected, squares

        seen, expected, squares = _summed(self._blocks, observed)
        known = np.maximum(expected, TINY)
        blocks = np.where(expected > TINY, expected**2 / np.maximum(squares, TINY**2), 0.0)
        return (POOLED_DF + blocks * seen / known) / (POOLED_DF + blocks), POOLED_DF + blocks


def _half(gram: Floats, pulled: Floats) -> Floats:
    """h with hᵀ h = pulledᵀ (1 + gram)⁻¹ pulled."""
    import numpy as np

    half: Floats = np.linalg.inv(np.linalg.cholesky(np.eye(len(gram)) + gram)) @ pulled
    return half


def _times(own: Floats, half: Floats, table: NDArray[Any]) -> Floats:
    """``table`` [n, any] times the inverse that `SeedBlock.inverse` gave as (``own``, ``half``)."""
    product: Floats = (table.T * own).T - half.T @ (half @ table)
    return product


def _summed(blocks: list[SeedBlock], sums: Callable[[Sequence[SeedBlock]], tuple[Floats, ...]]) -> list[Floats]:
    """The sums over all blocks, by threads: those of each TOGETHER blocks, added in order, are equal on any machine."""
    parts = [blocks[start : start + TOGETHER] for start in range(0, len(blocks), TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [sum(terms[1:], terms[0]) for terms in zip(*threads.map(sums, parts), strict=True)]


@cache
def _loaded() -> ThreadpoolController:
    """The linear algebra that numpy has loaded; to look for it takes 5 ms."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[object]:
    """The matrices are small: a second linear algebra thread would only wait, especially on a busy machine."""
    limit: AbstractContextManager[object] = _loaded().limit(limits=1, user_api="blas")
    return limit


def fit(table: ExperimentTable) -> Fitted | None:
    """The model of all rows; None if there are fewer than three, or all are equal."""
    import numpy as np

    if len(table.outcome) < 3 or np.ptp(table.outcome) == 0.0:
        return None
    with _one_thread():
        columns, blocks = design(table)
        return solved(columns, blocks, estimated(columns, blocks))


def design(table: ExperimentTable) -> tuple[Columns, list[SeedBlock]]:
    """The columns, and the rows of each seed, in order."""
    import numpy as np
    from scipy.sparse import csr_array, hstack

    levels, edits = int(table.short.max()) + 1, table.held[:, : table.width]
    order = np.argsort(table.seed, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(table.seed[order])) + 1)
    pairs = _pairs(edits, groups)
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    parts = [csr_array(np.eye(levels)[table.short]), edits, edits[:, first] * edits[:, second]]
    kinds = ["", "effect", "pair"]
    if levels > 1:
        parts.append(_repeated(table))
        kinds.append("short_source")
    kind = np.repeat(kinds, [part.shape[1] for part in parts])
    parts += [csr_array(np.ones((len(order), 1))), table.held[:, table.width :]]
    every = csr_array(hstack(parts, format="csr"))
    outcome, size = table.outcome - np.median(table.outcome), len(kind)
    is_change = np.concatenate([kind == "effect", [False], np.repeat(True, every.shape[1] - size - 1)])
    blocks = [_block(every, is_change, size, rows, outcome[rows], table.short[rows]) for rows in groups]
    return Columns(levels, kind, {pair: levels + table.width + i for i, pair in enumerate(pairs)}), blocks


def _repeated(table: ExperimentTable) -> csr_array:
    """[rows, sources with shortened trainings under several seeds], the most frequent ones: more seeds do not average
    out what a source does in short trainings."""
    import numpy as np
    from scipy.sparse import csr_array

    short = np.flatnonzero(table.short)
    _, which = np.unique(table.source[short] * (1 + table.short.max()) + table.short[short], return_inverse=True)
    counts = np.bincount(which)
    often = np.sort(np.argsort(-counts, kind="stable")[:REPEATED])
    column = np.full(len(counts), -1)
    column[often] = np.where(counts[often] > 1, np.cumsum(counts[often] > 1) - 1, -1)
    is_known = column[which] >= 0
    shape = len(table.outcome), int(column.max(initial=-1)) + 1
    return csr_array((np.ones(int(is_known.sum())), (short[is_known], column[which[is_known]])), shape=shape)


def _dense(table: csr_array, rows: Ints) -> tuple[Ints, NDArray[np.int8]]:
    """(columns that any of the rows has, the rows in these columns)."""
    import numpy as np

    some = table[rows].astype(np.int8)
    columns = np.flatnonzero(np.bincount(some.indices))
    return columns, some[:, columns].toarray()


def _block(every: csr_array, is_change: NDArray[np.bool_], size: int, rows: Ints, y: Floats, short: Ints) -> SeedBlock:
    """Of these ``rows`` of ``every``: ``size`` columns of the model, a column of ones and changes without an effect."""
    import numpy as np

    columns, table = _dense(every, rows)
    alone = is_change[columns] & (table.sum(axis=0) == 1)
    kept = np.flatnonzero((columns <= size) | ~alone)
    places = np.flatnonzero(columns[kept] >= size)[:1], np.flatnonzero((is_change[columns] & ~alone)[kept])
    at = columns[columns < size]
    return SeedBlock(rows, at, table[:, kept], np.concatenate(places), table[:, alone].sum(axis=1), y, short > 0)


def _pairs(edits: csr_array, groups: Sequence[Ints]) -> list[tuple[int, int]]:
    """The pairs of edits that occur together in most blocks, sorted."""
    import numpy as np

    counts = np.zeros((edits.shape[1],) * 2, dtype=np.int64)
    for rows in groups:
        rows_of_edit, seeds_of_edit = _dense(edits, rows)
        counts[rows_of_edit[:, None], rows_of_edit] += (seeds_of_edit.T.astype(float) @ seeds_of_edit) > 0
    first, second = np.nonzero(np.triu(counts, 1) >= SEEN)
    often = np.lexsort((second, first, -counts[first, second]))[:PAIRS]
    return sorted(zip(first[often].tolist(), second[often].tolist(), strict=True))


def solved(columns: Columns, blocks: list[SeedBlock], variances: Variances) -> Fitted:
    """The posterior at these variances."""
    import numpy as np

    size = len(columns.kind)

    def equations(blocks: Sequence[SeedBlock]) -> tuple[Floats, Floats, Floats]:
        gram, moment, total = np.zeros((size, size)), np.zeros(size), np.zeros(())
        for block in blocks:
            in_block, moment_in_block, square = block.products(variances)
            gram[block.at[:, None], block.at] += in_block
            moment[block.at] += moment_in_block
            total += square
        return gram, moment, total

    gram, moment, total = _summed(blocks, equations)
    missing = (np.diag(gram) == 0.0) & (columns.kind == "")  # a level that no row has: any precision will do
    spread = np.linalg.inv(gram + np.diag(1.0 / columns.prior(variances) + missing)).astype(float)
    mean = spread @ moment
    freedom = max(sum(len(block.y) for block in blocks) - columns.levels, 1)
    noise = max(float(total - moment @ mean), TINY * max(float(total), TINY)) / freedom
    return Fitted(columns, variances, noise, mean, spread * noise, blocks)


def estimated(columns: Columns, blocks: list[SeedBlock]) -> Variances:
    """The variances that maximise the restricted likelihood, by rows of evenly chosen blocks; two steps of the fixed
    point are extrapolated to a longer one (Varadhan and Roland 2008)."""
    import numpy as np

    some = blocks[:: 1 + sum(len(block.y) for block in blocks) // ROWS]

    def step(logs: Floats) -> Floats:
        now = Variances(*np.exp(np.clip(logs, np.log(LEAST), np.log(MOST))).tolist())
        return np.log([*vars(_closer(solved(columns, some, now))).values()])

    logs = np.log([*vars(Variances()).values()])
    for _ in range(ROUNDS):
        first = step(logs)
        second = step(first)
        change = first - logs
        bend = second - first - change
        if np.abs(change).max() < CLOSE:
            break
        size = min(max(1.0, float(np.linalg.norm(change)) / max(float(np.linalg.norm(bend)), TINY)), FARTHEST)
        logs = logs + 2.0 * size * change + size**2 * bend
    return Variances(*np.exp(second).tolist())


def _closer(fitted: Fitted) -> Variances:
    """The next step: of each variance v with f effective parameters and sum of squares s (in v and the noise), the
    likelihood is flat where f = s, with the factor SD where f = s + 1."""
    import numpy as np

    old, noise = fitted.variances, fitted.noise
    freedom, squares = dict.fromkeys(vars(old), 0.0), dict.fromkeys(vars(old), 0.0)
    for block in fitted._blocks:
        left, rest, diagonal = fitted.projected(block)
        shared = block.table[:, block.shared]
        fitting, pulling = (shared * left).sum(axis=0), (rest @ shared) ** 2
        for name, free, square in (
            ("seed", fitting[0], pulling[0]),
            ("seed_edit", fitting[1:].sum() + block.alone @ diagonal, pulling[1:].sum() + block.alone @ rest**2),
            ("short_noise", diagonal[block.short].sum(), (rest[block.short] ** 2).sum()),
        ):
            freedom[name] += getattr(old, name) * float(free)
            squares[name] += getattr(old, name) * float(square) / noise
    prior = fitted.columns.prior(old) * noise
    for name in ("effect", "pair", "short_source"):
        is_kind = fitted.columns.kind == name
        freedom[name] = float(np.sum(1.0 - np.diag(fitted.covariance)[is_kind] / prior[is_kind]))
        squares[name] = float(np.sum(fitted.mean[is_kind] ** 2 / prior[is_kind]))
    return Variances(**{
        name: min(max(value * (squares[name] + (name != "short_noise")) / freedom[name], LEAST), MOST)
        if freedom[name] > TINY else value
        for name, value in vars(old).items()
    })  # fmt: skip
