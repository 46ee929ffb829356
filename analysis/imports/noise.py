"""The gain that noise alone would show in a log: from repeated measurements, or an SD given by the user."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from analysis.imports.cells import is_hash
from analysis.imports.rows import ParsedRow
from analysis.imports.words import rerun_patterns

LEVEL = 0.05  # noise explains a kept step if it gives one of that size with this probability or more
_WORDS = re.compile(r"[^\W\d_]+")
_EULER = 0.5772156649015329
_GENERIC = frozenset({"", "head", "none", "baseline", "main", "master", "wip", "uncommitted", "dirty", "n/a", "-"})


@dataclass(frozen=True)
class MeasurementNoise:
    """The SD of one measurement, in metric units; None if unknown. ``df``: measurements minus sources."""

    sd: float | None
    df: int
    source: str


def reruns(rows: Sequence[ParsedRow], values: Sequence[float | None], bests: Sequence[int | None]) -> dict[int, int]:
    """index of a re-run → index of the row that it repeats. ``bests``: the best kept before each row.

    A row is a re-run if it is a further "baseline", if commit and description both repeat, or if its words say so and
    the original can be identified: by commit, id, "best", "baseline" or the same description. The commit alone is not
    enough: discarded rows often have the hash of the commit they started from.
    """
    originals: dict[int, int] = {}
    same: dict[tuple[str, str], int] = {}
    texts = [row.description.lower() for row in rows]
    words = rerun_patterns()["words"].search
    again = [words(text) is not None for text in texts]
    seen = _Seen(rows, texts) if any(again) else None
    baseline: int | None = None
    for index, row in enumerate(rows):
        if values[index] is None:
            continue
        text = texts[index]
        is_base = _is_baseline(row, text)
        first = same.get((row.commit, text)) if row.commit and text else None
        if first is None and is_base:
            first = baseline
        if first is None and again[index] and seen is not None:
            first = seen.original(index, bests[index], baseline)
        if first is not None:
            originals[index] = first = originals.get(first, first)
        first = index if first is None else first
        same.setdefault((row.commit, text), first)
        baseline = first if is_base and baseline is None else baseline
        if seen is not None:
            seen.add(index, first)
    return originals


def _is_baseline(row: ParsedRow, text: str) -> bool:
    return row.decision == "baseline" or rerun_patterns()["only_baseline"].match(text) is not None


class _Seen:
    """Looks up earlier rows by commit or id, and by description (indexed only when needed)."""

    def __init__(self, rows: Sequence[ParsedRow], texts: Sequence[str]) -> None:
        self._rows, self._texts = rows, texts
        self._commits: dict[str, int] = {}
        self._by_text: dict[str, int] = {}
        self._unread: list[tuple[int, int]] = []  # arguments of `add` whose description is not in _by_text yet

    def add(self, index: int, first: int) -> None:
        commit = self._rows[index].commit.lower()
        self._unread.append((index, first))
        if commit not in _GENERIC:
            self._commits.setdefault(commit, first)
            if len(commit) > 7 and is_hash(commit):
                self._commits.setdefault(commit[:7], first)

    def original(self, index: int, best: int | None, baseline: int | None) -> int | None:
        """The original of a row that says it is a re-run."""
        text, commit = self._texts[index], self._rows[index].commit.lower()
        for name in (commit, commit[:7] if is_hash(commit) else commit, *text.replace("#", " ").split()[:40]):
            if name in self._commits:
                return self._commits[name]
        if best is not None and rerun_patterns()["best"].search(text):
            return best
        if baseline is not None and rerun_patterns()["baseline"].search(text):
            return baseline
        for earlier, first in self._unread:
            self._by_text.setdefault(_bare(self._texts[earlier]), first)
        self._unread.clear()
        bare = _bare(text)
        return self._by_text.get(bare) if bare else None


def _bare(text: str) -> str:
    """The words of a description without re-run words, numbers and punctuation."""
    words = _WORDS.findall(rerun_patterns()["words"].sub(" ", text))
    return " ".join(word for word in words if word not in ("of", "the", "with", "a", "run"))


def spread(groups: Sequence[Sequence[float]]) -> MeasurementNoise:
    """The pooled SD within groups of measurements of the same source."""
    used = [group for group in groups if len(group) > 1]
    df = sum(len(group) - 1 for group in used)
    if df == 0:
        return MeasurementNoise(None, 0, "nothing was measured twice")
    squares = math.fsum((v - math.fsum(g) / len(g)) ** 2 for g in used for v in g)
    if squares == 0.0:
        return MeasurementNoise(None, df, "re-runs agree to the last digit: copied rows, or no noise")
    sources = "one source" if len(used) == 1 else f"{len(used)} sources"
    return MeasurementNoise(math.sqrt(squares / df), df, f"{df + len(used)} measurements of {sources}")


def explained(step: float, tries: int, sd: float) -> float:
    """The probability that noise alone gives a step of at least ``step`` in the best of ``tries`` tries without effect.

    P(max of n normals - another normal >= step / sd), integrated over the other by Gauss and Hermite. The reference
    of a step was itself selected for its luck, so the true probability is smaller: this overestimates the noise.
    """
    if step <= 0.0:
        return 1.0
    nodes = _nodes()
    return 1.0 - math.fsum(w * (0.5 * math.erfc(-(step / sd + b) / math.sqrt(2.0))) ** max(tries, 1) for b, w in nodes)


def is_explained(step: float, tries: int, sd: float) -> bool:
    """Whether noise alone gives such a step with a probability above LEVEL; most steps need no integral."""
    if step <= 0.0:
        return True
    once = 0.5 * math.erfc(step / sd / 2.0)  # one try against one reference: a normal of SD √2
    if once > LEVEL or once * max(tries, 1) <= LEVEL:
        return once > LEVEL
    return explained(step, tries, sd) > LEVEL


@lru_cache(maxsize=1)
def _nodes() -> tuple[tuple[float, float], ...]:
    """Nodes and weights of a standard normal's integral."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    return tuple(zip(nodes.tolist(), (weights / math.sqrt(2.0 * math.pi)).tolist(), strict=True))


def chance_keeps(tries: int) -> float:
    """Expected kept steps of keep-if-better for ``tries`` tries of pure noise: H(n + 1) - 1 records."""
    n = tries + 1
    harmonic = math.fsum(1.0 / i for i in range(1, n + 1)) if n < 100 else math.log(n) + _EULER + 0.5 / n
    return harmonic - 1.0


def chance_gain(tries: int, sd: float) -> float:
    """Expected gain of the best of a baseline and ``tries`` equal tries: SD × expected maximum (Blom 1958)."""
    return sd * NormalDist().inv_cdf((tries + 1 - 0.375) / (tries + 1 + 0.25)) if tries > 0 else 0.0
