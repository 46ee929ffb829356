"""The experiments of a task as input of the mixed model, and its estimates for edits, bundles and experiments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.credit import Key, canonical
from analysis.mixed_fit import ExperimentTable, fit
from analysis.mixed_model import Fitted, PosteriorEstimate
from analysis.scope import Scope
from analysis.settings import settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOST_EDITS = 600  # with their own column, the most frequent ones; the others count as unnamed changes
HARMFUL = 2.0  # SD of one training that an edit costs the untouched source
FAR = 5.0  # times the best gains: losses are clipped there


@dataclass(frozen=True)
class TriedValue:
    """A knob and its value as JSON, against the task's untouched source."""

    id: int
    knob: str
    value: str


@dataclass(frozen=True)
class Effects:
    """The model of a task. ``fitted`` is None if too few experiments ran.

    ``column``: edit → its column; ``seeds`` [columns]: number of training seeds with an experiment that has it;
    ``sound`` [columns]: of these, seeds with such a source that has no other edit which hurts the untouched one. The
    others show how an edit repairs what another one broke, as a learning rate an optimizer.
    ``held`` [rows, columns]: the edits in each experiment's source; ``parent`` [rows]: the parent row, or -1.
    """

    fitted: Fitted | None
    column: dict[Key, int]
    seeds: Ints
    sound: Ints
    held: csr_array
    parent: Ints
    finder: Finder

    def edits(self) -> dict[Key, PosteriorEstimate]:
        """The effect of each edit on the untouched source."""
        import numpy as np

        if self.fitted is None or not self.column:
            return {}
        weights = np.zeros((len(self.column), len(self.fitted.mean)))
        weights[np.arange(len(weights)), self.fitted.levels + np.array(list(self.column.values()))] = 1.0
        return dict(zip(self.column, self.fitted.answers(weights), strict=True))

    def bundle(self, edits: Iterable[Key], on: Iterable[Key] = ()) -> PosteriorEstimate | None:
        """The effect of these edits together on a source with the edits ``on``; None if one was never tried."""
        wanted, given = list(edits), list(on)
        if self.fitted is None or not wanted or any(key not in self.column for key in (*wanted, *given)):
            return None
        weights, unseen = self.fitted.weights([self.column[k] for k in wanted], [self.column[k] for k in given])
        return self.fitted.answers(weights[None, :], [unseen])[0]

    def changes(self, rows: Ints, group: Ints, count: int) -> Floats:
        """[count, columns of the model]: how many rows of each group added an edit to their parent, less those that
        removed it.

        A row without a parent changed nothing, and neither did row -1, an experiment that did not run.
        """
        import numpy as np
        from scipy.sparse import csr_array

        assert self.fitted is not None
        known = np.flatnonzero((rows >= 0) & (self.parent[rows] >= 0))
        positions = np.tile(group[known], 2), np.concatenate([rows[known], self.parent[rows[known]]])
        signs = np.repeat([1.0, -1.0], len(known))
        member = csr_array((signs, positions), shape=(count, self.held.shape[0]))
        out, first = np.zeros((count, len(self.fitted.mean))), self.fitted.levels + self.fitted.width
        out[:, self.fitted.levels : first] = (member @ self.held).toarray()
        if self.fitted.pairs:
            pairs, columns = np.array(list(self.fitted.pairs)), self.held.tocsc()
            both = columns[:, pairs[:, 0]].multiply(columns[:, pairs[:, 1]])
            out[:, first : first + len(pairs)] = (member @ both).toarray()
        return out


def key_of(term: str) -> Key:
    """The edit named by a term of an idea: ``lr=0.002``, ``optimizer=adamw``; a bare name is a patch."""
    knob, sign, text = term.strip().lstrip("+").partition("=")
    if not sign:
        return knob.lower(), canonical(True)
    try:
        return knob.lower(), canonical(float(text.replace("_", "")))
    except ValueError:
        return knob.lower(), canonical(text.strip("'\""))


def edit_effects(scope: Scope) -> Effects:
    """The model of all experiments of the task that ran, kept or not.

    The same source with the same seed is one measurement, however often it was read from the cache.
    """
    import numpy as np

    settings(scope.con)
    try:
        scope.table("task_runs")
        runs = scope.con.execute("SELECT place, run FROM task_runs").fetchall()
        data, marks = scope.columns("effect_rows"), scope.columns("effect_held")
        names = scope.rows("effect_names", TriedValue)
        code = scope.columns("effect_code")
    finally:
        scope.con.execute("DROP TABLE IF EXISTS task_runs")
    numbers, ranks = np.array(runs, dtype=np.int64).reshape(-1, 2).T
    rank = np.zeros(numbers.max(initial=0) + 1, dtype=np.int64)
    rank[numbers] = ranks
    finder = Finder(data["run"], data["number"])
    data = {name: column[finder.order] for name, column in data.items()}
    row = finder.positions(rank[marks["run"]], marks["number"])
    ids = marks["id"][row >= 0] - (names[0].id if names else 0)
    values = [(name.knob.lower(), canonical(json.loads(name.value))) for name in names]
    parent = finder.positions(data["run"], data["parent"])
    changed = finder.positions(code["run"], code["number"])
    column, held, spare = _columns(len(parent), values, (row[row >= 0], ids), changed[changed >= 0], parent)
    fitted, seeds, sound = _fitted(data, held, spare)
    return Effects(fitted, column, seeds, sound, held, parent, finder)


def _fitted(data: dict[str, NDArray[Any]], held: csr_array, spare: csr_array) -> tuple[Fitted | None, Ints, Ints]:
    """(the model, `Effects.seeds`, `Effects.sound`)."""
    import numpy as np
    from scipy.sparse import csr_array

    n = len(data["run"])
    seed = np.where(data["seed"] >= 0, data["seed"], -1 - data["run"])
    block = np.unique(seed, return_inverse=True)[1].astype(np.int64)
    short = np.unique(np.append(-data["fraction"], -1.0), return_inverse=True)[1][:-1].astype(np.int64)
    of_seed = csr_array((np.ones(n), (block, np.arange(n))), shape=(int(block.max(initial=-1)) + 1, n))
    seeds = np.bincount((of_seed @ held).nonzero()[1], minlength=held.shape[1])
    key = np.stack([data["source"].astype(np.int64), block, short])
    once = np.sort(np.unique(key, axis=1, return_index=True)[1]) if n else np.zeros(0, dtype=np.int64)
    if not n or not held.shape[1]:
        return None, seeds, seeds
    outcome = _bounded(data["outcome"], data["gain"], short)[once]
    table = ExperimentTable(outcome, block[once], data["run"][once], short[once], key[0, once], held[once], spare[once])
    fitted = fit(table)
    sound = (
        seeds
        if fitted is None
        else np.bincount((of_seed @ _beside_sound(fitted, held)).nonzero()[1], minlength=held.shape[1])
    )
    return fitted, seeds, sound


def _beside_sound(fitted: Fitted, held: csr_array) -> csr_array:
    """The marks of ``held`` in rows without another edit that makes the untouched source worse."""
    import numpy as np
    from scipy.sparse import csr_array

    effect = fitted.mean[fitted.levels : fitted.levels + held.shape[1]]
    harmful = (effect < -HARMFUL * np.sqrt(fitted.noise)).astype(float)
    row, column = held.nonzero()
    sound = (held @ harmful)[row] == harmful[column]
    return csr_array((np.ones(int(sound.sum())), (row[sound], column[sound])), shape=held.shape)


def _bounded(outcome: Floats, gain: Floats, short: Ints) -> Floats:
    """Clips losses at ``FAR`` times the best gains: a diverged run may be a million times worse."""
    import numpy as np

    full = short == 0
    best = float(np.quantile(np.maximum(gain[full], 0.0), 0.99)) if full.any() else 0.0
    if best <= 0.0:
        return outcome
    limited: Floats = outcome + np.where(full, np.maximum(gain, -FAR * best) - gain, 0.0)
    return limited


def _columns(
    count: int, values: list[Key], marks: tuple[Ints, Ints], changed: Ints, parent: Ints
) -> tuple[dict[Key, int], csr_array, csr_array]:
    """(column of each edit, [rows, columns] of each row's edits, [rows, unnamed changes] of each row).

    The same number written in two ways is one edit. A change of the source without a knob gets its own column, like an
    edit; a row inherits those of its parent. Beyond the limit, changes are unnamed.
    """
    import numpy as np
    from scipy.sparse import csr_array

    uses: dict[Key, int] = {}
    for key, n in zip(values, np.bincount(marks[1], minlength=len(values)).tolist(), strict=True):
        uses[key] = uses.get(key, 0) + n
    ordered = sorted((key for key, n in uses.items() if n), key=lambda key: (-uses[key], key))
    column = {key: i for i, key in enumerate(sorted(ordered[:MOST_EDITS]))}
    first = len(column) + len(ordered[MOST_EDITS:])  # of the changes that no knob describes
    position = column | {key: len(column) + i for i, key in enumerate(ordered[MOST_EDITS:])}
    row, token = _inherited(changed, parent)
    rows = np.concatenate([marks[0], row])
    at = np.concatenate([np.array([position.get(key, -1) for key in values], dtype=np.int64)[marks[1]], first + token])
    room = max(0, MOST_EDITS - len(column)) if first == len(column) else 0
    width = len(column) + min(room, len(changed))
    named = at < width
    ones = np.ones(len(at))
    held = csr_array((ones[named], (rows[named], at[named])), shape=(count, width))
    rest = max(first + len(changed) - width, 1)
    spare = csr_array((ones[~named], (rows[~named], at[~named] - width)), shape=(count, rest))
    return column, held, spare


def _inherited(changed: Ints, parent: Ints) -> tuple[Ints, Ints]:
    """(rows, indices of their changes): their own, and those inherited from the parent row."""
    import numpy as np

    own = {row: i for i, row in enumerate(np.sort(changed).tolist())}
    held: dict[int, list[int]] = {}
    for row in range(len(parent)) if own else ():
        before = held.get(int(parent[row]), []) if parent[row] < row else []
        if mine := [*before, *([own[row]] if row in own else [])]:
            held[row] = mine
    pairs = [(row, token) for row, mine in held.items() for token in mine]
    rows, tokens = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return rows, tokens


class Finder:
    """Sorts rows by run and number, and finds the row of a run and number."""

    def __init__(self, run: Ints, number: Ints) -> None:
        import numpy as np

        self._first = min(number.min(initial=0), 0)  # an imported log may have rows before its baseline
        self._room = np.zeros(run.max(initial=0) + 2, dtype=np.int64)
        np.maximum.at(self._room, run + 1, number - self._first + 1)  # that a run needs, after those of the runs before
        self._start = np.cumsum(self._room)
        at = self._start[run] + number - self._first
        self.order = np.argsort(at)
        self._rows = np.full(self._start[-1] + 1, -1)
        self._rows[at[self.order]] = np.arange(len(self.order))

    def positions(self, run: Ints, number: Ints) -> Ints:
        """Row of each pair of run and number, -1 where there is none."""
        import numpy as np

        inside = run < len(self._room) - 1
        run = np.where(inside, run, 0)
        known = inside & (number >= self._first) & (number - self._first < self._room[run + 1])
        rows: Ints = self._rows[np.where(known, self._start[run] + number - self._first, -1)]
        return np.where(known, rows, -1)
