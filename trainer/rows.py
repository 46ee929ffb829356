"""The noise of the data: what is known of the rows that a metric is measured on, and statistics over rows.

metric(script, seed; rows) = true value + noise of the seed + noise of the rows. All trainings of a script share the
noise of its rows, so that training again never reduces it; two scripts on the same rows share a part of it, so that
differences are paired row by row. docs/night.md explains what a task may say of it, and what follows.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from programs.common.errors import Corrupt
from trainer.streams import Streams
from trainer.user_files import private_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]  # a value for each row, in the order of the file, in the metric's unit

#: The noises that an interval may contain; a record has those that it contains, separated by blanks. EXACT: there is
#: none, as the metric is a count or a size. An empty record: nothing is known, and there is no interval.
SEEDS, ROWS, EXACT = "seeds", "rows", "exact"
#: What a task says of its rows (`Task.data_noise`), best first. DRAWN: each verification draws hidden rows of its own.
DRAWN, SPLIT, VALUES, COUNT, UNKNOWN = "drawn", "split", "rows", "n_rows", "unknown"
SEARCH, CONFIRM = "search", "confirm"  # the values of {split} and METALOOP_SPLIT

HELD_BACK = 0.3  # share of the rows that no search sees
LEAST_HELD = 300  # rows from which on some are held back; with fewer, nothing can be shown on a third of them
RESOLVED = 2.8  # standard errors: the gain that is significant (1.96) in 80% of cases (.84)
KEPT = 1.0  # standard errors of the difference from which on a change is kept
LUCK_DRAWS = 200


class Difference(NamedTuple):
    """A gain with its standard error, both in the metric's unit; ``se`` None: unknown. ``rows_se``: the part of the
    error that the draw of the rows makes, which no further training seed reduces; None: unknown."""

    value: float
    se: float | None
    rows_se: float | None = None


@dataclass(frozen=True)
class Luck:
    """What so many tries without any effect would have shown: the mean of the sum of their kept gains, in the metric's
    unit, and the share ``p`` of LUCK_DRAWS draws in which that sum is at least as large as the observed one."""

    gain: float
    p: float


class RowStore:
    """Values of rows in a study's folder, a file for each distinct array. Its name is a hash of its content, so that
    the ledger, which has the name, cannot disagree with it."""

    def __init__(self, study: Path) -> None:
        self.folder = Path(study) / "rows"

    def put(self, values: Rows) -> str:
        """Store the values as float64; returns their name."""
        import numpy as np

        data = np.ascontiguousarray(values, dtype="<f8")
        name = hashlib.sha256(data.tobytes()).hexdigest()[:24]
        path = self.folder / f"{name}.npy"
        if not path.exists():
            private_folder(self.folder)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                np.save(file, data)
            os.replace(file.name, path)
        return name

    def get(self, name: str) -> Rows:
        """Raises Corrupt for a file that is missing or is not what was stored."""
        import numpy as np

        path = self.folder / f"{name}.npy"
        try:
            values: Rows = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            values = np.empty(0)
        if hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()[:24] != name:
            raise Corrupt(f"{path}: is not the file that was recorded", hint="restore it from a copy")
        return values

    def first(self, label: str, value: float) -> float:
        """The number that was first given for the label in this study: ``value`` if there is none yet."""
        path = self.folder / f"{label}.txt"
        if not path.exists():
            private_folder(self.folder)
            with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False) as file:
                file.write(repr(float(value)))
            with suppress(FileExistsError):  # another worker was faster
                os.link(file.name, path)
            os.unlink(file.name)
        return float(path.read_text("utf-8"))

    def known(self, label: str) -> float | None:
        """The number of a label; None if none was given yet."""
        path = self.folder / f"{label}.txt"
        return float(path.read_text("utf-8")) if path.exists() else None


def held_rows(rows: int, share: float | None = None) -> int:
    """How many of the rows are held back. ``share``: as for `held_back`."""
    return round((HELD_BACK if share is None else share) * rows) if rows >= LEAST_HELD else 0


def held_back(streams: Streams, task_id: str, rows: int, share: float | None = None) -> NDArray[np.bool_]:
    """Which of the rows are held back, [rows]: drawn once by the study's secret; none below LEAST_HELD rows.

    ``share``: of all rows, in place of HELD_BACK.
    """
    import numpy as np

    mask = np.zeros(rows, dtype=bool)
    drawing = Streams(streams.held_secret or streams.secret)
    rng = np.random.default_rng(drawing.data_seed("confirmation", "held back", task_id))
    mask[rng.permutation(rows)[: held_rows(rows, share)]] = True
    return mask


def paired(sign: float, old: Sequence[Rows], new: Sequence[Rows]) -> Difference:
    """The gain of ``new`` over ``old``, arrays [rows] of trainings under the same seeds in the same order, and its
    standard error: over rows, and with two seeds or more also over seeds.

    ``sign``: 1 where lower values are better, else -1.
    """
    import numpy as np

    differences = np.array([sign * (before - after) for before, after in zip(old, new, strict=True)])  # [seeds, rows]
    seeds, rows = differences.shape
    variance = float(differences.mean(axis=0).var(ddof=1)) / rows if rows > 1 else math.nan
    if seeds > 1:
        variance += float(differences.mean(axis=1).var(ddof=1)) / seeds
    return Difference(float(differences.mean()), math.sqrt(variance) if math.isfinite(variance) else None)


def share_error(value: float, rows: int) -> float:
    """Standard error of a share, as an error rate or an accuracy from 0 to 1, of ``rows`` independent rows.

    It is at least that of a share of 1 / (rows + 1), because a share of 0 or 1 is not known exactly either.
    """
    share = min(1.0, max(0.0, value))
    return math.sqrt(max(share * (1 - share), rows / (rows + 1) ** 2) / rows)


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """(SD of values around the mean of their group, its degrees of freedom); None if no group has two values."""
    known = [(values, math.fsum(values) / len(values)) for values in groups if values]
    df = sum(len(values) - 1 for values, _ in known)
    squares = math.fsum((value - mean) ** 2 for values, mean in known for value in values)
    return (math.sqrt(squares / df), df) if df else None


def share_scale(values: Sequence[float]) -> float | None:
    """What an error rate or an accuracy with these values is a share of: 1, or 100 where they are in percent, as some
    are above 1. None where they are neither."""
    if not all(0 <= value <= 100 for value in values):
        return None
    return 100.0 if any(value > 1 for value in values) else 1.0


def luck_test(tries: Sequence[Rows], untouched: Rows, kept: float, seed: int, least: float = KEPT) -> Luck:
    """Draw the search again as if every script were as good as the untouched one, and keep by the same rule.

    ``tries``: for each try, its gain in each row over the script that it was compared with, [rows]; ``untouched``: the
    values of the untouched script in the same rows; ``kept``: the sum of the observed kept gains; ``least``: the
    standard errors from which on a gain is kept.

    A script's luck on these rows is normal, with the standard error of one script. That of a try and of the script that
    it changed correlate the more, the fewer rows they differ in; a lucky script is hard to beat, so kept gains do not
    add up over a night.
    """
    import numpy as np

    rng, n = np.random.default_rng(seed), len(untouched)
    level = float(untouched.var(ddof=1)) / n
    first = luck = rng.normal(0.0, math.sqrt(level), LUCK_DRAWS)
    for gains in tries:
        squared = float(gains @ gains) / n**2
        if not squared:
            continue
        apart = min(1.0, squared / (2 * level)) if level else 1.0  # one less the correlation
        gain = -apart * luck + rng.normal(0.0, math.sqrt(squared * (1 - apart / 2)), LUCK_DRAWS)
        luck = np.where((gain > 0) & (gain >= least * math.sqrt(squared)), luck + gain, luck)
    p = (1 + int((luck - first >= kept - 1e-12).sum())) / (1 + LUCK_DRAWS)
    return Luck(float((luck - first).mean()), p)


def luck_of_looks(se: float, looks: int) -> float:
    """By how much the best of so many looks at the same rows seems better where nothing is true: about
    se · √(2 ln looks), the expected maximum of that many independent normal errors."""
    return se * math.sqrt(2 * math.log(looks)) if looks > 1 else 0.0


def resolvable(se: float) -> float:
    """The gain that is significant, at 5% two-sided, in 80% of cases."""
    return RESOLVED * se
