"""Three-way merge by lines: a change that was made to one source, made to another version of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from trainer.source import Source


@dataclass(frozen=True)
class _Hunk:
    """Lines ``start`` to ``end`` of the base become ``lines``; an insertion has an empty range."""

    start: int
    end: int
    lines: tuple[str, ...]

    def overlaps(self, other: _Hunk) -> bool:
        """Whether both change the same lines. Neighbouring lines are different lines: most are settings."""
        if self.start == self.end == other.start == other.end:
            return True
        return self.start < other.end and other.start < self.end


def merge(base: Source, kept: Source, mine: Source) -> Source | None:
    """``kept`` and ``mine`` were both made from ``base``: all that either changed, a change that both make once. None
    where they change the same lines, or insert different ones that share a line at the same place."""
    texts = dict(kept.files)
    for name, text in base.files:
        old, theirs, ours = (version.splitlines(keepends=True) for version in (text, texts[name], mine.text(name)))
        merged = _merged(old, _hunks(old, theirs), _hunks(old, ours))
        if merged is None:
            return None
        texts[name] = merged
    return Source(tuple(texts.items()))


def _merged(base: Sequence[str], theirs: list[_Hunk], ours: Sequence[_Hunk]) -> str | None:
    fresh: list[_Hunk] = []
    for hunk in ours:
        at = next((at for at, other in enumerate(theirs) if hunk.overlaps(other)), None)
        if at is None:
            fresh.append(hunk)
        elif hunk != theirs[at]:
            both = _both_inserted(theirs[at], hunk)
            if both is None:
                return None
            theirs[at] = both
    out: list[str] = []
    done = 0
    for hunk in sorted([*theirs, *fresh], key=lambda one: (one.start, one.end)):
        out += [*base[done : hunk.start], *hunk.lines]
        done = hunk.end
    return "".join([*out, *base[done:]])


def _both_inserted(kept: _Hunk, mine: _Hunk) -> _Hunk | None:
    """Two insertions at the same place: both, or the one that contains the other."""
    if mine.start != mine.end or kept.start != kept.end:
        return None
    if _within(mine.lines, kept.lines):
        return kept
    if _within(kept.lines, mine.lines):
        return mine
    if {text.strip() for text in kept.lines} & {text.strip() for text in mine.lines} - {""}:
        return None
    return _Hunk(mine.start, mine.end, (*kept.lines, *mine.lines))


def _within(part: Sequence[str], whole: Sequence[str]) -> bool:
    return any(tuple(whole[at : at + len(part)]) == tuple(part) for at in range(len(whole) - len(part) + 1))


def _hunks(base: Sequence[str], changed: Sequence[str]) -> list[_Hunk]:
    """The changes in order; lines replaced by as many lines are a hunk each."""
    hunks: list[_Hunk] = []
    for tag, start, end, low, high in SequenceMatcher(None, base, changed, autojunk=False).get_opcodes():
        if tag == "replace" and end - start == high - low:
            hunks += [_Hunk(start + i, start + i + 1, (changed[low + i],)) for i in range(end - start)]
        elif tag != "equal":
            hunks.append(_Hunk(start, end, tuple(changed[low:high])))
    return hunks
