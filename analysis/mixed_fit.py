"""Fits the mixed model of experiments (`analysis.mixed_model`): blocks, variances, posterior."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from analysis.mixed_model import Fitted, Ratios, SeedBlock, Weighed, root_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BLOCKS = 400  # used to estimate variances; effects use all blocks
LARGEST = 400  # rows of a block; a larger one is split by runs
PAIRS = 300  # pairs of edits with a column, the most frequent ones
SEEN = 3  # blocks in which a pair must have been seen
REPEATED = 200  # sources with shortened trainings in several blocks that have a column, the most frequent ones
OUTLIER = 4.0  # robust SD at which residuals are clipped
LEAST, MOST = 1e-4, 1e4  # variance ratios
FREE = 1e-6  # precision of a fixed effect relative to the noise: effects that are not estimable stay unknown


@dataclass(frozen=True)
class ExperimentTable:
    """Experiments [n]. ``outcome``: higher is better; ``block``: number of the training seed; ``run``: number of the
    run; ``short``: 0 for a full training, else the number of its fraction; ``source``: number of the source.
    ``held`` [n, width]: the edits of each row; ``code`` [n, any]: further changes of each row that have no column and
    only add variance."""

    outcome: Floats
    block: Ints
    run: Ints
    short: Ints
    source: Ints
    held: csr_array
    code: csr_array

    @property
    def width(self) -> int:
        return int(self.held.shape[1])


def fit(table: ExperimentTable) -> Fitted | None:
    """The model of all rows; None if there are fewer than three, or all are equal."""
    import scipy.linalg  # noqa: F401 - before the limit, which holds for the libraries that are loaded then
    from threadpoolctl import threadpool_limits

    # The matrices are small: a second linear algebra thread would only wait, especially on a busy machine.
    with threadpool_limits(1, "blas"):
        return _fit(table)


def _fit(table: ExperimentTable) -> Fitted | None:
    import numpy as np

    if len(table.outcome) < 3:
        return None
    scale = float(np.median(np.abs(table.outcome - np.median(table.outcome)))) or float(np.std(table.outcome))
    if scale == 0.0:
        return None
    shape = Shape.of(table)
    outcome = table.outcome / scale
    blocks = [shape.block(rows, outcome[rows]) for rows in shape.groups]
    ratios = _estimated(shape, blocks, Ratios())
    fitted = _solved(shape, blocks, ratios, scale)
    rest = _residuals(fitted, len(outcome))
    sd = 1.4826 * float(np.median(np.abs(rest)))
    if sd > 0.0 and float(np.max(np.abs(rest))) > OUTLIER * sd:
        # One diverged script would dominate the fit: clip outliers and fit again.
        outcome = outcome - rest + np.clip(rest, -OUTLIER * sd, OUTLIER * sd)
        blocks = [replace(block, y=outcome[block.rows]) for block in blocks]
        fitted = _solved(shape, blocks, _estimated(shape, blocks, ratios), scale)
    return fitted


@dataclass(frozen=True)
class Shape:
    table: ExperimentTable
    groups: list[Ints]
    levels: int
    pairs: dict[tuple[int, int], int]
    bends: int  # first column of the deviations of edits in short trainings
    repeated: dict[tuple[int, int], int]  # a source and the number of a fraction → column
    columns: int

    @classmethod
    def of(cls, table: ExperimentTable) -> Shape:
        levels = int(table.short.max()) + 1
        first = levels + table.width
        groups = _groups(table.block, table.run)
        pairs = {pair: first + i for i, pair in enumerate(_pairs(table, groups))}
        bends = first + len(pairs)
        own = bends + (table.width if levels > 1 else 0)
        repeated = {key: own + i for i, key in enumerate(_repeated(table))}
        return cls(table, groups, levels, pairs, bends, repeated, own + len(repeated))

    def prior(self, ratios: Ratios) -> Floats:
        """Prior variances of the columns, relative to the noise."""
        import numpy as np

        out = np.full(self.columns, np.inf)
        for name, (start, end) in self.ranges().items():
            out[start:end] = getattr(ratios, name)
        return out

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Columns of each kind of random effect."""
        pairs, own = self.levels + self.table.width, self.columns - len(self.repeated)
        return {
            "effect": (self.levels, pairs),
            "pair": (pairs, self.bends),
            "bend": (self.bends, own),
            "own": (own, self.columns),
        }

    def block(self, rows: Ints, y: Floats) -> SeedBlock:
        import numpy as np

        short, mine, own = self.table.short[rows], *_dense(self.table.held, rows)
        parts, at = [np.eye(self.levels)[short], own], [np.arange(self.levels), self.levels + mine]
        known, first, second = self._together(mine)
        if len(known):
            parts.append(own[:, first] * own[:, second])
            at.append(known)
        if self.levels > 1:
            parts.append(own * (short > 0)[:, None])
            at.append(self.bends + mine)
        again = (
            [self.repeated.get(key, -1) for key in zip(self.table.source[rows].tolist(), short.tolist(), strict=True)]
            if self.repeated
            else [-1]
        )
        if max(again) >= 0:
            columns = np.unique([column for column in again if column >= 0])
            parts.append((np.array(again)[:, None] == columns).astype(float))
            at.append(columns)
        x, at_columns = np.concatenate(parts, axis=1), np.concatenate(at)
        there = (x != 0.0).any(axis=0)
        every = np.concatenate((x[:, there], _dense(self.table.code, rows)[1]), axis=1).astype(np.int8)
        return SeedBlock(every, y, at_columns[there], int(there[: self.levels].sum()), len(mine), short > 0, rows)

    def _together(self, mine: Ints) -> tuple[Ints, Ints, Ints]:
        """(columns, first and second positions in ``mine``) of the pairs of these edits."""
        import numpy as np

        index = np.full(self.table.width, -1)
        index[mine] = np.arange(len(mine))
        positions = index[self.both]
        known = np.flatnonzero((positions >= 0).all(axis=1))
        return self.levels + self.table.width + known, positions[known, 0], positions[known, 1]

    @cached_property
    def both(self) -> Ints:
        """The two edits of each pair, in the order of their columns."""
        import numpy as np

        return np.array(list(self.pairs), dtype=np.int64).reshape(-1, 2)


def _dense(table: csr_array, rows: Ints) -> tuple[Ints, Floats]:
    """(columns that any of the rows has, the rows in these columns)."""
    import numpy as np

    ends = table.indptr[rows + 1]
    lengths = ends - table.indptr[rows]
    inside = np.repeat(ends - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
    columns, at = np.unique(table.indices[inside], return_inverse=True)
    out = np.zeros((len(rows), len(columns)))
    out[np.repeat(np.arange(len(rows)), lengths), at] = table.data[inside]
    return columns.astype(np.int64), out


def _pairs(table: ExperimentTable, groups: Sequence[Ints]) -> list[tuple[int, int]]:
    """The pairs of edits that occur together in most blocks, sorted."""
    import numpy as np

    counts = np.zeros((table.width, table.width), dtype=np.int64)
    for rows in groups:
        mine, own = _dense(table.held, rows)
        counts[mine[:, None], mine] += own.T @ own > 0
    first, second = np.nonzero(np.triu(counts, 1) >= SEEN)
    often = np.lexsort((second, first, -counts[first, second]))[:PAIRS]
    return sorted(zip(first[often].tolist(), second[often].tolist(), strict=True))


def _repeated(table: ExperimentTable) -> list[tuple[int, int]]:
    """The sources (each with the number of a fraction) with shortened trainings in several blocks, sorted.

    A source's behaviour in short trainings is the same under every seed, so more seeds do not average it out.
    """
    import numpy as np

    short = table.short > 0
    seen = np.unique(np.stack([table.source, table.short, table.block])[:, short], axis=1)
    keys, counts = np.unique(seen[:2], axis=1, return_counts=True)
    often = sorted((-n, source, at) for source, at, n in zip(*keys.tolist(), counts.tolist(), strict=True) if n > 1)
    return sorted((source, at) for _, source, at in often[:REPEATED])


def _groups(block: Ints, run: Ints) -> list[Ints]:
    """Rows of each block, in order; a block that is too large is split by runs."""
    import numpy as np

    def split(keys: Ints, rows: Ints) -> list[Ints]:
        order = np.argsort(keys, kind="stable")
        return np.split(rows[order], np.flatnonzero(np.diff(keys[order])) + 1)

    groups: list[Ints] = []
    for rows in split(block, np.arange(len(block))):
        groups += [rows] if len(rows) <= LARGEST else split(run[rows], rows)
    return groups


@dataclass(frozen=True)
class _Sums:
    """X'V⁻¹X, X'V⁻¹y, y'V⁻¹y and log |V| over the blocks."""

    gram: Floats
    moment: Floats
    total: float
    log: float


def _sums(shape: Shape, blocks: Sequence[SeedBlock], parts: Iterable[Weighed]) -> _Sums:
    import numpy as np

    gram, moment, total, log = np.zeros((shape.columns, shape.columns)), np.zeros(shape.columns), 0.0, 0.0
    for block, part in zip(blocks, parts, strict=True):
        gram[block.at[:, None], block.at] += part.gram
        moment[block.at] += part.moment
        total += float(part.whole[-1, -1])
        log += 2.0 * float(np.log(part.root.diagonal()).sum())
    return _Sums(gram, moment, total, log)


def _estimated(shape: Shape, blocks: list[SeedBlock], start: Ratios) -> Ratios:
    """The variance ratios that maximise the restricted likelihood of (at most BLOCKS, evenly chosen) blocks."""
    import numpy as np
    from scipy.optimize import minimize

    step = max(1, len(blocks) // BLOCKS)
    chosen = blocks[::step]
    names = ["meeting", "level", "effect"]
    names += ["pair"] if shape.pairs else []
    names += ["short", "bend"] if shape.levels > 1 else []
    names += ["own"] if shape.repeated else []
    if sum(len(block.y) for block in chosen) <= shape.levels + 1:
        return start

    def at(logs: Floats) -> Ratios:
        return Ratios(**{**vars(start), **dict(zip(names, np.exp(logs).tolist(), strict=True))})

    def loss(logs: Floats) -> tuple[float, Floats]:
        value, slopes = restricted(shape, chosen, at(logs))
        penalised = np.array([name != "short" for name in names])
        return value - float(logs[penalised].sum()), np.array([slopes[name] for name in names]) - penalised

    bounds = [(float(np.log(LEAST)), float(np.log(MOST)))] * len(names)
    first = np.log([getattr(start, name) for name in names])
    best = minimize(loss, first, method="L-BFGS-B", jac=True, bounds=bounds, options={"ftol": 1e-5, "maxiter": 40})
    return at(best.x)


def restricted(shape: Shape, blocks: Sequence[SeedBlock], ratios: Ratios) -> tuple[float, dict[str, float]]:
    """-2 log restricted likelihood with the noise's variance profiled out, and its slope in the log of each ratio."""
    import numpy as np
    from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

    parts = [Weighed.of(block, ratios) for block in blocks]
    sums, prior = _sums(shape, blocks, parts), shape.prior(ratios)
    seen = np.flatnonzero(np.diag(sums.gram) > 0)
    position = np.zeros(shape.columns, dtype=np.int64)
    position[seen] = np.arange(len(seen))
    prior = prior[seen]
    inner = sums.gram[np.ix_(seen, seen)] + np.diag(1.0 / prior)
    root = dpotrf(inner, lower=1)[0]
    mean = dpotrs(root, sums.moment[seen], lower=1)[0]
    left = max(sums.total - float(sums.moment[seen] @ mean), 1e-12)
    random = np.isfinite(prior)
    freedom = sum(len(block.y) for block in blocks) - int((~random).sum())
    value = sums.log + 2.0 * float(np.log(np.diag(root)).sum()) + float(np.log(prior[random]).sum())
    value += freedom * float(np.log(left / freedom))

    spread = _mirrored(dpotri(root, lower=1)[0])
    share = freedom / left
    slopes = dict.fromkeys(vars(ratios), 0.0)
    for block, part in zip(blocks, parts, strict=True):
        own = position[block.at]
        for name, (trace, towards) in _seed_effects(block, part).items():
            x, rest = towards[:, : part.k], towards[:, -1] - towards[:, : part.k] @ mean[own]
            lost = float(np.vdot(x @ spread[own[:, None], own], x)) + share * float(rest @ rest)
            slopes[name] += getattr(ratios, name) * (trace - lost)
    of_columns = np.where(random, 1.0 - (np.diag(spread) + share * mean**2) / prior, 0.0)
    columns = np.zeros(shape.columns)
    columns[seen] = of_columns
    for name, (start, end) in shape.ranges().items():
        slopes[name] += float(columns[start:end].sum())
    return value, slopes


def _seed_effects(block: SeedBlock, part: Weighed) -> dict[str, tuple[float, Floats]]:
    """Of each kind of random effect of a seed, with design Z: the trace of Z'V⁻¹Z, and Z'V⁻¹W."""
    import numpy as np
    from scipy.linalg.lapack import dtrtrs

    edits, code = slice(block.levels, block.levels + block.edits), slice(part.k, -1)
    level = part.whole[: block.levels].sum(axis=0, keepdims=True)
    terms = {
        "meeting": (float(part.whole[edits, edits].trace()), part.whole[edits]),
        "level": (float(level[0, : block.levels].sum()), level),
        "effect": (float(part.whole[code, code].trace()), part.whole[code]),
    }
    if block.short.any():
        unit = dtrtrs(part.root, np.eye(len(block.y))[:, block.short], lower=1)[0]
        towards = dtrtrs(part.root, part.half, lower=1, trans=1)[0][block.short]
        terms["short"] = float(np.vdot(unit, unit)), towards
    return terms


def _mirrored(lower: Floats) -> Floats:
    """The symmetric matrix of a lower triangle."""
    import numpy as np

    half = np.tril(lower)
    whole: Floats = half + np.tril(half, -1).T
    return whole


def _solved(shape: Shape, blocks: list[SeedBlock], ratios: Ratios, scale: float) -> Fitted:
    """Posterior and least squares at these ratios."""
    import numpy as np

    sums = _sums(shape, blocks, (Weighed.of(block, ratios) for block in blocks))
    gram, moment = sums.gram, sums.moment
    prior = shape.prior(ratios)
    tiny = np.where(np.isinf(prior), FREE * 1e-3, 0.0)  # a level that no row of the table has
    posterior = np.linalg.inv(gram + np.diag(1.0 / prior + tiny)).astype(float)
    mean = posterior @ moment
    count = sum(len(block.y) for block in blocks)
    noise = max(sums.total - float(moment @ mean), 1e-12) / max(count - shape.levels, 1)
    edits = np.zeros(shape.columns, dtype=bool)
    edits[shape.levels : shape.levels + shape.table.width] = True
    spread = np.linalg.inv(gram + np.diag(np.where(edits, FREE, 1.0 / prior) + tiny)).astype(float)
    return Fitted(
        width=shape.table.width,
        levels=shape.levels,
        pairs=shape.pairs,
        ratios=ratios,
        scale=scale,
        noise=noise,
        mean=mean,
        covariance=posterior * noise,
        prior=prior * noise,
        fixed=spread @ moment,
        spread=spread,
        _blocks=blocks,
    )


def _residuals(fitted: Fitted, count: int) -> Floats:
    """The residual of each outcome, given the model and the other rows of its block."""
    import numpy as np
    from scipy.linalg import cho_solve

    out = np.zeros(count)
    for block in fitted._blocks:
        rest = block.y - block.x[:, : len(block.at)] @ fitted.mean[block.at]
        root = root_of(block, np.column_stack((block.x, block.y)), fitted.ratios)
        out[block.rows] = block.noise(fitted.ratios) * cho_solve((root, True), rest, check_finite=False)
    return out
