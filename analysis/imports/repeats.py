"""Which rows of a log measure a script again, and the noise that these re-runs show."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from analysis.imports.cells import aliases
from analysis.imports.noise import MeasurementNoise, pooled
from analysis.imports.rows import Row


class SeenRows:
    """Looks up what a row measures again: by the hash or all settings of its script, else by its words and its commit.
    The commit alone is not enough, because discarded rows often have the hash of the commit they started from.
    ``by_words``: the same words without a better script between are enough, too."""

    def __init__(self, by_words: bool) -> None:
        self.best: Row | None = None
        self.same_words = 0  # rows that would be re-runs ``by_words``
        self._by_words = by_words
        self._rows: dict[tuple[str, str], Row] = {}  # (kind of key, key) → the first row with it
        patterns = aliases()["again"]
        columns_of_words = ("words", "best", "baseline", "seed", "change")
        self._words, self._best, self._baseline, self._seed, self._change = (
            re.compile(patterns[k]) for k in columns_of_words
        )

    def original(self, row: Row) -> Row | None:
        """The row that this one repeats; remembers the row."""
        text, commit = row.description.lower(), (row.commit or "").lower()[:7]
        says_again = self._words.search(text) is not None
        rest = self._words.sub(" ", text) if says_again else text  # "seed 2" names no experiment
        bare, of_best = _bare(rest), self._best.search(text)
        setup, script, config = (row.same[kind] for kind in ("setup", "script", "config"))
        keys = {("row", f"{setup}\n{commit}\n{text}")} if commit and text else set()
        keys |= {("script", script)} if script else set()
        keys |= {("config", f"{setup}\n{config}")} if config else set()
        baseline, same_text = ("baseline", f"{setup}\nbaseline"), ("same text", f"{setup}\n{bare}")
        changes = self._change.search(rest) is not None  # "baseline with dropout" is a script of its own
        if row.decision == "baseline" or (self._baseline.match(text) and not changes):
            keys.add(baseline)
        first = self._first(keys) or (self.best if self._seed.fullmatch(text) else None)
        if first is None and says_again:
            named = [word for word in rest.split() if not (of_best and word.isdigit())]  # "rerun 2 of the best"
            first = self._first({("commit", word[:7]) for word in (commit, *named)})
            if first is None and not changes:
                kind = {baseline} if "baseline" in text else {same_text} if bare else ()
                first = self.best if of_best and self.best else self._first(kind)
        since = ("words", f"{self.best.line if self.best else 0}\n{setup}\n{text}")
        if first is None and text and not script and (same := self._first({since})):
            self.same_words += 1
            first = same if self._by_words else None
        for key in keys | {("commit", commit), same_text, since}:
            if key[1]:
                self._rows.setdefault(key, first or row)
        return first

    def _first(self, keys: Iterable[tuple[str, str]]) -> Row | None:
        return next((self._rows[key] for key in sorted(keys) if key in self._rows), None)


def _bare(text: str) -> str:
    """The words of a description, without the one that a re-run has."""
    return " ".join(word for word in re.findall(r"[^\W\d_]+", text) if word != "again")


def scripts_first(rows: Sequence[Row]) -> list[Row]:
    """The rows, with those behind their script that a loop logs before it: both seeds are trained, then it decides."""
    words = re.compile(aliases()["again"]["words"])
    texts = [row.description.lower() for row in rows]
    is_repeat = [words.search(text) is not None for text in texts]
    if not any(is_repeat):
        return list(rows)
    bare = [_bare(words.sub(" ", text) if repeated else text) for text, repeated in zip(texts, is_repeat, strict=True)]
    scripts = dict[str, int]()  # words → the first place of the script
    for index, text in enumerate(bare):
        if not is_repeat[index]:
            scripts.setdefault(text, index)
    after = [max(index, scripts.get(bare[index], 0)) if is_repeat[index] else index for index in range(len(rows))]
    return [rows[index] for index in sorted(range(len(rows)), key=lambda place: (after[place], is_repeat[place]))]


def repeats_of(rows: Sequence[Row]) -> dict[Row, list[float]]:
    """Row that was measured again → what its re-runs measured. Where all exact repeats of a script are equal, it is
    deterministic, and they measure no noise."""
    is_deterministic = all(row.repeats and row.metric == row.repeats.metric for row in rows if row.is_exact)
    repeats: dict[Row, list[float]] = defaultdict(list)
    for row in rows:
        if row.repeats is not None and row.metric is not None and not (is_deterministic and row.is_exact):
            repeats[row.repeats].append(row.metric)
    return repeats


def noise_of(repeats: Mapping[Row, list[float]]) -> MeasurementNoise:
    """The SD pooled over what was measured more than once. A kept row was chosen for its luck, so where it has several
    re-runs, only they count."""
    groups = []
    for row, later in repeats.items():
        lucky = row.step_gain is not None and len(later) > 1
        groups.append(later if lucky or row.metric is None else [row.metric, *later])
    return pooled(groups)
