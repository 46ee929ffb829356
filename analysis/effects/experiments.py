"""The experiments of a task as input of the mixed model, and its estimates for edits, bundles and experiments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

from analysis.effects.mixed_model import ExperimentTable, Fitted, fit
from analysis.effects.rows import Key, edit_key
from analysis.effects.settings import settings
from analysis.statistics import Estimate
from analysis.views.scope import Scope

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOST_EDITS = 600  # changes with an effect of their own, the most frequent ones
HARMFUL = 2.0  # SD of one training that an edit costs the untouched source
FAR = 5.0  # losses are clipped at this multiple of the best gains, or of TYPICAL times the median change of the metric
TYPICAL = 3.0


@dataclass(frozen=True)
class KnobValue:
    """A knob and a value of it, as JSON."""

    knob: str
    value: str

    @property
    def key(self) -> Key:
        return edit_key(self.knob, json.loads(self.value))


@dataclass(frozen=True)
class TriedValue(KnobValue):
    """One against the task's untouched source."""

    id: int


@dataclass(frozen=True)
class FailedScript:
    """``base``: the settings of the task's untouched source; both are JSON, which few readers need."""

    config: str
    base: str

    @property
    def edits(self) -> list[Key]:
        base = json.loads(self.base)
        return [edit_key(name, v) for name, v in json.loads(self.config).items() if v != base.get(name)]


class RowFinder:
    """Finds the row of a run (its place in `run_starts`) and a number of an experiment there."""

    def __init__(self, run: Ints, number: Ints) -> None:
        import numpy as np

        keys = (run << 32) + number
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def positions(self, run: Ints, number: Ints) -> Ints:
        """Row of each pair, -1 where there is none."""
        import numpy as np

        if not len(self._keys):
            return np.full(len(run), -1)
        wanted = (run.astype(np.int64) << 32) + number
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[at] == wanted, self._order[at], -1)


@dataclass(frozen=True)
class Effects:
    """The model of a task. ``fitted`` is None if too few experiments ran.

    ``column``: edit → its column; ``seeds`` [columns]: number of training seeds with an experiment that has it;
    ``isolated`` [columns]: of these, seeds with such a source that has no other edit which hurts the untouched one. The
    others show how an edit repairs what another one broke, as a learning rate an optimizer.
    ``held`` [rows, columns]: the edits in each experiment's source; ``parent`` [rows]: the parent row, or -1.
    ``failed``: the scripts of which a training failed.
    """

    fitted: Fitted | None
    column: dict[Key, int]
    seeds: Ints
    isolated: Ints
    held: csr_array
    parent: Ints
    finder: RowFinder
    failed: list[FailedScript]

    @cached_property
    def conflicts(self) -> set[frozenset[Key]]:
        """Pairs of edits that failed together, and that no experiment which ran has both of."""
        both = (self.held.T @ self.held).toarray()
        pairs = {frozenset(pair) for one in self.failed for pair in combinations(one.edits, 2)}
        ran = (pair for pair in pairs if pair <= self.column.keys() and both[*(self.column[key] for key in pair)])
        return pairs.difference(ran)

    def fail_together(self, edits: Iterable[Key]) -> bool:
        """Whether two of these edits are known to conflict."""
        return any(frozenset(pair) in self.conflicts for pair in combinations(edits, 2))

    def edits(self) -> dict[Key, Estimate]:
        """The effect of each edit on the untouched source."""
        if self.fitted is None:
            return {}
        return dict(zip(self.column, self.fitted.answers(self.edit_weights()), strict=True))

    def edit_weights(self) -> Floats:
        """[edits, columns of the model]: each edit alone."""
        import numpy as np

        assert self.fitted is not None
        return np.eye(len(self.column), len(self.fitted.mean), self.fitted.levels)

    def bundle(self, edits: Iterable[Key]) -> Estimate | None:
        """The effect of these edits together on the untouched source; None if one was never tried."""
        wanted = list(edits)
        if self.fitted is None or not wanted or any(key not in self.column for key in wanted):
            return None
        weights, unseen = self.fitted.weights([self.column[k] for k in wanted])
        return self.fitted.answers(weights[None, :], [unseen])[0]

    def changes(self, rows: Ints, group: Ints, count: int) -> Floats:
        """[count, columns of the model]: how many rows of each group added an edit to their parent, less those that
        removed it. A row without a parent changed nothing, and neither did row -1, an experiment that did not run."""
        import numpy as np
        from scipy.sparse import csr_array

        assert self.fitted is not None
        known = np.flatnonzero((rows >= 0) & (self.parent[rows] >= 0))
        positions = np.tile(group[known], 2), np.concatenate([rows[known], self.parent[rows[known]]])
        signs = np.repeat([1.0, -1.0], len(known))
        member = csr_array((signs, positions), shape=(count, self.held.shape[0]))
        out, first = np.zeros((count, len(self.fitted.mean))), self.fitted.levels + self.held.shape[1]
        out[:, self.fitted.levels : first] = (member @ self.held).toarray()
        if self.fitted.pairs:
            pairs, columns = np.array(list(self.fitted.pairs)), self.held.tocsc()
            both = columns[:, pairs[:, 0]].multiply(columns[:, pairs[:, 1]])
            out[:, first : first + len(pairs)] = (member @ both).toarray()
        return out


@dataclass(frozen=True)
class HeldDirective:
    """A directive for which ``n`` scripts were tried, in ``runs_cited`` runs with ``experiments`` scripts in all.
    ``runs``: those of the programs that have it."""

    directive_id: str
    text: str
    heading: str
    kind: str
    program_ids: list[str]
    runs: int
    n: int
    failures: int
    seconds: float
    runs_cited: int
    experiments: int


class MethodInput:
    """What a method of attribution works from: one task of a study, and the model of its experiments."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @cached_property
    def effects(self) -> Effects:
        """The mixed model of all experiments: `edits()`, `bundle(edits)`."""
        return edit_effects(self.scope)

    @cached_property
    def cited(self) -> list[HeldDirective]:
        """The directives that experiments cite."""
        return self.scope.rows("effects/directive_held", HeldDirective)

    @cached_property
    def answers(self) -> tuple[dict[Key, Estimate], list[Estimate | None]]:
        """(`Effects.edits`, the mean gain of the scripts tried for each of `cited`, None where they change nothing).

        All by one call of the model, which goes through the experiments again.
        """
        import numpy as np

        effects = self.effects
        if effects.fitted is None:
            return {}, [None] * len(self.cited)
        group = {row.directive_id: i for i, row in enumerate(self.cited)}
        use = self.scope.columns("effects/directive_use")
        rows = effects.finder.positions(use["run"], use["number"])
        groups = np.array([group[column] for column in use["directive_id"]], dtype=np.int64)
        gains = effects.changes(rows, groups, len(group)) / np.array([row.n for row in self.cited])[:, None]
        answers = effects.fitted.answers(np.concatenate([effects.edit_weights(), gains]))
        edits = dict(zip(effects.column, answers, strict=False))
        changed = gains.any(axis=1).tolist()
        return edits, [gain if some else None for gain, some in zip(answers[len(edits) :], changed, strict=True)]


def edit_effects(scope: Scope) -> Effects:
    """The model of all experiments of the task that ran, kept or not.

    The same source with the same seed is one measurement, however often it was read from the cache.
    """
    import numpy as np

    settings(scope.con)
    data, marks, code = (scope.columns(f"effects/effect_{name}") for name in ("rows", "held", "code"))
    names = scope.rows("effects/effect_names", TriedValue)
    finder = RowFinder(data["run"], data["number"])
    parent, row = finder.positions(data["run"], data["parent"]), finder.positions(marks["run"], marks["number"])
    values = [name.key for name in names]
    ids = marks["id"][row >= 0] - (names[0].id if names else 0)
    changed = finder.positions(code["run"], code["number"])
    keys, every = _changes(len(parent), values, (row[row >= 0], ids), changed[changed >= 0], parent)
    width, once = min(MOST_EDITS, every.shape[1]), np.flatnonzero(data["is_first"])
    fitted = None
    if width and len(once):
        outcome = _bounded(data["outcome"], data["gain"], data["short"])
        seed, short, source = (data[name][once] for name in ("seed", "short", "source"))
        fitted = fit(ExperimentTable(outcome[once], seed, short, source, every[once], width))
    held, column = every[:, :width], {key: i for i, key in enumerate(keys[:width])}
    seeds = _seeds_with(held, data["seed"])
    isolated = _seeds_with(_without_harm(fitted, held), data["seed"]) if fitted else seeds
    failed = scope.rows("effects/failed_scripts", FailedScript)
    return Effects(fitted, column, seeds, isolated, held, parent, finder, failed)


def _seeds_with(held: csr_array, seed: Ints) -> Ints:
    """The number of seeds with a row that has each column."""
    import numpy as np
    from scipy.sparse import csr_array

    of_seed = csr_array((np.ones(len(seed)), (seed, np.arange(len(seed)))), shape=(seed.max(initial=-1) + 1, len(seed)))
    return np.bincount((of_seed @ held).nonzero()[1], minlength=held.shape[1])


def _without_harm(fitted: Fitted, held: csr_array) -> csr_array:
    """The marks of ``held`` in rows without another edit that makes the untouched source worse."""
    import numpy as np
    from scipy.sparse import csr_array

    effect = fitted.mean[fitted.levels : fitted.levels + held.shape[1]]
    harmful = (effect < -HARMFUL * np.sqrt(fitted.noise)).astype(float)
    row, column = held.nonzero()
    alone = (held @ harmful)[row] == harmful[column]
    return csr_array((np.ones(int(alone.sum())), (row[alone], column[alone])), shape=held.shape)


def _bounded(outcome: Floats, gain: Floats, short: Ints) -> Floats:
    """Clips losses: a diverged run may be a million times worse. Where hardly anything gains, the best gains are noise
    and most changes are losses, so the median change of the metric counts, too. Those of shortened trainings are below
    the middle one of their fraction."""
    import numpy as np

    full = short == 0
    changed = np.abs(gain[full & (gain != 0.0)])
    if not len(changed):
        return outcome
    best = float(np.quantile(np.maximum(gain[full], 0.0), 0.99))
    lowest = np.full(len(gain), -FAR * max(best, TYPICAL * float(np.median(changed))))
    for fraction in set(short[~full].tolist()):
        lowest[short == fraction] += np.median(gain[short == fraction])
    limited: Floats = outcome + (np.maximum(gain, lowest) - gain)
    return limited


def _changes(
    count: int, values: list[Key], marks: tuple[Ints, Ints], changed: Ints, parent: Ints
) -> tuple[list[Key], csr_array]:
    """(the edits, most frequent first, [rows, changes]: the changes of each row's source).

    The same number written in two ways is one edit. After the edits come the changes of a source that no knob
    describes; a row inherits those of its parent.
    """
    import numpy as np
    from scipy.sparse import csr_array

    uses: Counter[Key] = Counter()
    for key, n in zip(values, np.bincount(marks[1], minlength=len(values)).tolist(), strict=True):
        uses[key] += n
    keys = sorted((key for key, n in uses.items() if n), key=lambda key: (-uses[key], key))
    position = {key: i for i, key in enumerate(keys)}
    row, token = _inherited(changed, parent)
    of_value = np.array([position.get(key, -1) for key in values], dtype=np.int64)
    rows, at = np.concatenate([marks[0], row]), np.concatenate([of_value[marks[1]], len(keys) + token])
    return keys, csr_array((np.ones(len(at)), (rows, at)), shape=(count, len(keys) + len(changed)))


def _inherited(changed: Ints, parent: Ints) -> tuple[Ints, Ints]:
    """(rows, indices of their changes): their own, and those inherited from the parent row."""
    import numpy as np

    rows_of: dict[int, list[int]] = {row: [i] for i, row in enumerate(np.sort(changed).tolist())}
    held: dict[int, list[int]] = {}
    for row, above in enumerate(parent.tolist() if rows_of else ()):
        if rows_above := [*(held.get(above, ()) if above < row else ()), *rows_of.get(row, ())]:
            held[row] = rows_above
    pairs = [(row, token) for row, rows_above in held.items() for token in rows_above]
    rows, tokens = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return rows, tokens
