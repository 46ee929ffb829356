"""The roles of a log's columns: by the names in its header, else by the cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.imports.cells import is_hash, is_missing, number
from analysis.imports.direction import votes
from analysis.imports.text import UnreadableLog
from analysis.imports.words import failure, held_out, meaning, roles
from trainer.values.metric_names import named_direction, plain_name

SAMPLE = 200  # rows used for a guess
MOSTLY = 0.6  # of the cells of a metric's column are numbers, at least
CLEAR = 3  # net rows by which statuses must agree better with one metric than with another
_TELLING = ("commit", "status", "description", "metric_name", "metric", "memory_gb", "memory_mb", "after", "before")


@dataclass(frozen=True)
class Layout:
    """The columns of one table. ``at``: role → column; ``metric``: name of the metric's column, None if unnamed.

    ``doubt``: the columns that could be the metric, if the choice is unclear.
    """

    names: tuple[str, ...]
    at: Mapping[str, int]
    metric: str | None
    source: str  # how the metric's column was identified
    doubt: tuple[str, ...] = ()
    header: int | None = None  # its line
    extra: tuple[tuple[int, str], ...] = field(default=())

    @property
    def width(self) -> int:
        return len(self.names)


def named(wanted: str, names: Collection[str]) -> str | None:
    """The name that the user's name of a metric means: the same one, else the only one in another spelling. Raises
    UnreadableLog if there are several."""
    like = [wanted] if wanted in names else [name for name in names if plain_name(name) == plain_name(wanted)]
    if len(set(like)) > 1:
        raise UnreadableLog(f"--metric {wanted} may be {' or '.join(repr(name) for name in like)}")
    return like[0] if like else None


def is_header(cells: Sequence[str]) -> bool:
    """Whether these cells are a header: two known names, one of them specific to logs, and no numbers."""
    if len(cells) < 2 or any(number(cell) is not None for cell in cells) or max(map(len, cells)) > 60:
        return False
    names = [plain_name(cell) for cell in cells]
    known = [roles()[name][0] for name in names if name in roles()]
    metrics = sum(named_direction(name)[0] is not None for name in names if name not in roles())
    telling = metrics + sum(role in _TELLING for role in known)
    return telling >= 2 or (telling >= 1 and len(known) >= 2)


def from_header(
    cells: Sequence[str], line: int, sample: Sequence[Sequence[str]], wanted: str | None = None
) -> Layout | None:
    """The layout of a header, with the metric's column decided; None without a metric."""
    names = tuple(plain_name(cell) or f"column_{index + 1}" for index, cell in enumerate(cells))
    written = [cell.strip() or name for cell, name in zip(cells, names, strict=True)]
    metric_column = named(wanted, written) if wanted else None
    given = None if metric_column is None else written.index(metric_column)
    at = _columns_by_role(names, sample, given)
    return _with_metric(names, at, sample, given, line)


def from_cells(sample: Sequence[Sequence[str]]) -> Layout | None:
    """The layout of a table without a header; None unless it has a column of statuses or hashes and one of numbers.

    The metric is the first column of numbers, as in autoresearch and similar loops; it has no name.
    """
    width = _commonest([len(cells) for cells in sample])
    rows = [cells for cells in sample if len(cells) == width]
    if width < 3 or not rows:
        return None
    columns = list(zip(*rows, strict=True))
    shares = [_shares(column) for column in columns]
    at: dict[str, int] = {}
    for role, least in (("status", 0.6), ("commit", 0.5)):
        best = max(range(width), key=lambda i: shares[i][role])
        if shares[best][role] >= least:
            at[role] = best
    numeric = [i for i in range(width) if shares[i]["number"] >= 0.6 and i not in at.values()]
    texts = [i for i in range(width) if i not in at.values() and i not in numeric]
    if not numeric or not at or (len(at) == 1 and not texts):
        return None
    first_is_text = "commit" not in at and texts[:1] == [0] and len(texts) > 1
    if first_is_text and not any(" " in cell.strip() for cell in columns[0]):
        at["commit"] = texts.pop(0)
    if texts:
        at["description"] = max(texts, key=lambda i: shares[i]["length"])
    fractions = [i for i in numeric if any("." in cell for cell in columns[i])]
    at["metric"] = (fractions or numeric)[0]
    names = tuple(f"column_{i + 1}" for i in range(width))
    source = "the only column of numbers" if len(numeric) == 1 else "the first column of numbers"
    return _finish(names, at, None, source, (), None)


def _shares(column: Sequence[str]) -> dict[str, float]:
    n, any_number = len(column), any(number(cell) is not None for cell in column)
    values = sum(number(cell) is not None or is_missing(cell) or failure(cell) is not None for cell in column)
    return {
        "status": 0.0 if any_number else sum(meaning(cell) is not None for cell in column) / n,
        "commit": sum(is_hash(cell) for cell in column) / n,
        "number": values / n if any_number else 0.0,
        "length": sum(map(len, column)) / n,
    }


def _columns_by_role(names: Sequence[str], sample: Sequence[Sequence[str]], given: int | None) -> dict[str, int]:
    """role → column; of several columns for one role the better name, then the leftmost."""
    at: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for index, name in enumerate(names):
        role, rank = roles().get(name, ("", 0))
        if not role or role == "other" or index == given or not _fits(role, index, sample):
            continue
        if role not in at or rank < ranks[role]:
            at[role], ranks[role] = index, rank
    if "description" not in at:  # "experiment" is a number in some logs and a description in others
        wordy = [i for i, n in enumerate(names) if roles().get(n, ("",))[0] in ("number", "") and _wordy(i, sample)]
        if wordy:
            at["description"] = wordy[-1]
            at = {role: i for role, i in at.items() if i != wordy[-1] or role == "description"}
    return at


def _fits(role: str, column: int, sample: Sequence[Sequence[str]]) -> bool:
    """Whether the cells fit the role; "result" is a status in some logs and the metric in others."""
    cells = _filled(column, sample)
    if not cells:
        return True
    if role in ("metric", "after"):
        return _numbers(column, sample)
    numbers = _share_of_numbers(cells)
    if role == "status":
        return sum(meaning(cell) is not None for cell in cells) >= 0.3 * len(cells) and numbers < 0.5
    if role == "description":
        return numbers < 0.9
    return True


def _filled(column: int, sample: Sequence[Sequence[str]]) -> list[str]:
    return [row[column] for row in sample if column < len(row) and not is_missing(row[column])]


def _share_of_numbers(cells: Sequence[str]) -> float:
    return sum(number(cell) is not None for cell in cells) / len(cells)


def _wordy(column: int, sample: Sequence[Sequence[str]]) -> bool:
    cells = [row[column] for row in sample if column < len(row)]
    return bool(cells) and sum(" " in cell.strip() or not cell.isascii() for cell in cells) >= 0.5 * len(cells)


def _with_metric(
    names: tuple[str, ...], at: dict[str, int], sample: Sequence[Sequence[str]], given: int | None, line: int
) -> Layout | None:
    if given is not None:
        at["metric"] = given
        return _finish(names, at, names[given], "given", (), line)
    if "metric_name" in at and "metric" in at:
        return _finish(names, at, None, "named in each row", (), line)
    if "after" in at:
        at["metric"] = at["after"]
        return _finish(names, at, names[at["after"]], "the metric after the change", (), line)
    if "metric" in at:
        return _finish(names, at, names[at["metric"]], "its name", (), line)
    free = [i for i, name in enumerate(names) if i not in at.values() and name not in roles() and _numbers(i, sample)]
    chosen, source, doubt = _choose(names, free, at, sample)
    if chosen is None and not doubt:
        return None
    at["metric"] = free[0] if chosen is None else chosen
    return _finish(names, at, names[at["metric"]], source, doubt, line)


def _numbers(column: int, sample: Sequence[Sequence[str]]) -> bool:
    """Whether a column can be a metric: its cells are numbers, but for missing ones and names of failures."""
    cells = [cell for cell in _filled(column, sample) if failure(cell) is None]
    return not cells or _share_of_numbers(cells) >= MOSTLY


def _choose(
    names: Sequence[str], free: Sequence[int], at: Mapping[str, int], sample: Sequence[Sequence[str]]
) -> tuple[int | None, str, tuple[str, ...]]:
    """(column of the metric, how it was identified, the candidates if it is unclear)."""
    named = [i for i in free if named_direction(names[i])[0] is not None]
    fresh = [i for i in named if held_out(names[i])] or [i for i in named if held_out(names[i]) is None] or named
    pool = fresh or list(free)
    if len(pool) < 2:
        return (pool[0], "its name" if fresh else "the only column of numbers", ()) if pool else (None, "", ())
    agreeing = {i: abs(_agreement(i, at, sample)) for i in pool}
    best = max(pool, key=lambda i: agreeing[i])
    if agreeing[best] - agreeing[pool[0]] < CLEAR and fresh:
        return pool[0], "the first of several", ()
    if agreeing[best] - max(agreeing[i] for i in pool if i != best) >= CLEAR and not fresh:
        return best, "the statuses follow it", ()
    return None, "", tuple(names[i] for i in pool)


def _agreement(column: int, at: Mapping[str, int], sample: Sequence[Sequence[str]]) -> int:
    """Rows whose status implies that lower is better in this column, minus those that imply higher."""
    if "status" not in at:
        return 0
    decided = []
    for row in sample:
        if max(column, at["status"]) < len(row):
            said = meaning(row[at["status"]])
            decided.append((number(row[column]), said.decision if said and said.status == "ok" else None))
    return votes(decided)


def _finish(
    names: tuple[str, ...],
    at: Mapping[str, int],
    metric: str | None,
    source: str,
    doubt: tuple[str, ...],
    line: int | None,
) -> Layout:
    used = {i for role, i in at.items() if role != "number"}
    extra = tuple((i, name) for i, name in enumerate(names) if i not in used)
    return Layout(names, dict(at), metric, source, doubt, line, extra)


def _commonest(values: Sequence[int]) -> int:
    return max(set(values), key=lambda v: (values.count(v), v)) if values else 0
