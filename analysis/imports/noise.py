"""How much of what a log kept noise alone would give: from tries that measured something again, or a stated sd."""

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

LEVEL = 0.05  # a kept step that noise gives this often or more is one that noise explains
_WORDS = re.compile(r"[^\W\d_]+")
_EULER = 0.5772156649015329
_GENERIC = frozenset({"", "head", "none", "baseline", "main", "master", "wip", "uncommitted", "dirty", "n/a", "-"})


@dataclass(frozen=True)
class MeasurementNoise:
    """The sd of one measurement, in metric units; None where nothing tells it. ``df``: measurements less sources."""

    sd: float | None
    df: int
    source: str


def reruns(rows: Sequence[ParsedRow], values: Sequence[float | None], bests: Sequence[int | None]) -> dict[int, int]:
    """place of a row that measures an earlier one again → place of that one. ``bests``: the best kept before each row.

    A row does so if it is a further "baseline", if commit and description both repeat, or if its words say so and what
    it repeats can be found: its commit, an id that it names, "best", "baseline", the same description. A commit alone
    says nothing: discarded rows often carry the hash of the commit they started from.
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
    """What later rows may know an earlier one by: its commit or id, and, if that is ever asked for, its description."""

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
        """The row that one which says it measures again is about."""
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
    """The words of a description without those of measuring again, numbers and marks."""
    words = _WORDS.findall(rerun_patterns()["words"].sub(" ", text))
    return " ".join(word for word in words if word not in ("of", "the", "with", "a", "run"))


def spread(groups: Sequence[Sequence[float]]) -> MeasurementNoise:
    """The pooled sd within groups of measurements of the same thing."""
    used = [group for group in groups if len(group) > 1]
    df = sum(len(group) - 1 for group in used)
    if df == 0:
        return MeasurementNoise(None, 0, "nothing was measured twice")
    squares = math.fsum((v - math.fsum(g) / len(g)) ** 2 for g in used for v in g)
    if squares == 0.0:
        return MeasurementNoise(None, df, "re-runs agree to the last digit: copied rows, or no noise at all")
    sources = "one source" if len(used) == 1 else f"{len(used)} sources"
    return MeasurementNoise(math.sqrt(squares / df), df, f"{df + len(used)} measurements of {sources}")


def explained(step: float, tries: int, sd: float) -> float:
    """The chance that noise alone gives a step of at least ``step`` in the best of ``tries`` tries without any effect.

    P(max of n normals - another normal >= step / sd), integrated over the other by Gauss and Hermite. The head that
    a step is measured against was itself picked for its luck, so the true chance is smaller: this errs on noise's side.
    """
    if step <= 0.0:
        return 1.0
    nodes = _nodes()
    return 1.0 - math.fsum(w * (0.5 * math.erfc(-(step / sd + b) / math.sqrt(2.0))) ** max(tries, 1) for b, w in nodes)


def is_explained(step: float, tries: int, sd: float) -> bool:
    """Whether noise alone gives such a step more often than LEVEL; most steps need no integral to tell."""
    if step <= 0.0:
        return True
    once = 0.5 * math.erfc(step / sd / 2.0)  # one try against one head: a normal of sd √2
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
    """Kept steps that keep-if-better expects of ``tries`` tries of nothing but noise: H(n + 1) - 1 records."""
    n = tries + 1
    harmonic = math.fsum(1.0 / i for i in range(1, n + 1)) if n < 100 else math.log(n) + _EULER + 0.5 / n
    return harmonic - 1.0


def chance_gain(tries: int, sd: float) -> float:
    """What the best of a baseline and ``tries`` equal tries is expected to gain: sd × their largest (Blom 1958)."""
    return sd * NormalDist().inv_cdf((tries + 1 - 0.375) / (tries + 1 + 0.25)) if tries > 0 else 0.0
