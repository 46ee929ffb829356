"""Three-way merge by lines: an edit that was made on an older source, brought onto the source that is kept now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from inner_loop.researchers.quoting import line
from trainer.source import Source

QUOTED = 60  # characters of a line in the description of a conflict


@dataclass(frozen=True)
class Merged:
    """``source``: the kept source with the new edit; None where both change the same lines, see ``conflict``."""

    source: Source | None
    conflict: str = ""


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


class _Conflict(Exception):
    """Two hunks that cannot both be made."""

    def __init__(self, kept: _Hunk, mine: _Hunk) -> None:
        super().__init__()
        self.kept, self.mine = kept, mine


def merge(base: Source, kept: Source, mine: Source) -> Merged:
    """``mine`` was made from ``base`` while ``kept`` replaced it: all that ``kept`` changed stays, and what ``mine``
    changed is added. A change that both make is made once."""
    texts = dict(kept.files)
    for name, text in base.files:
        old = text.splitlines(keepends=True)
        try:
            texts[name] = _merged(old, texts[name].splitlines(keepends=True), mine.text(name).splitlines(keepends=True))
        except _Conflict as conflict:
            return Merged(None, _described(name, conflict))
    return Merged(Source(tuple(texts.items())))


def _merged(base: Sequence[str], kept: Sequence[str], mine: Sequence[str]) -> str:
    """Raises _Conflict."""
    theirs = _hunks(base, kept)
    fresh: list[_Hunk] = []
    for hunk in _hunks(base, mine):
        at = next((at for at, other in enumerate(theirs) if hunk.overlaps(other)), None)
        if at is None:
            fresh.append(hunk)
        elif hunk != theirs[at]:
            theirs[at] = _both_inserted(theirs[at], hunk)
    out: list[str] = []
    done = 0
    for hunk in sorted([*theirs, *fresh], key=lambda one: (one.start, one.end)):
        out += [*base[done : hunk.start], *hunk.lines]
        done = hunk.end
    return "".join([*out, *base[done:]])


def _both_inserted(kept: _Hunk, mine: _Hunk) -> _Hunk:
    """Two insertions at the same place: both, or the one that contains the other. Raises _Conflict for all else, and
    if they have a line in common, which would be carried out twice."""
    if mine.start != mine.end or kept.start != kept.end:
        raise _Conflict(kept, mine)
    if _within(mine.lines, kept.lines):
        return kept
    if _within(kept.lines, mine.lines):
        return mine
    if {text.strip() for text in kept.lines} & {text.strip() for text in mine.lines} - {""}:
        raise _Conflict(kept, mine)
    return _Hunk(mine.start, mine.end, (*kept.lines, *mine.lines))


def _within(part: Sequence[str], whole: Sequence[str]) -> bool:
    return any(tuple(whole[at : at + len(part)]) == tuple(part) for at in range(len(whole) - len(part) + 1))


def _hunks(base: Sequence[str], changed: Sequence[str]) -> list[_Hunk]:
    """The changes in order; lines replaced by as many lines are a hunk each."""
    hunks: list[_Hunk] = []
    for tag, start, end, low, high in SequenceMatcher(None, base, changed, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if tag == "replace" and end - start == high - low:
            hunks += [_Hunk(start + i, start + i + 1, (changed[low + i],)) for i in range(end - start)]
        else:
            hunks.append(_Hunk(start, end, tuple(changed[low:high])))
    return hunks


def _described(name: str, conflict: _Conflict) -> str:
    at = max(conflict.kept.start, conflict.mine.start) + 1
    return f"{name}, line {at}: kept {_first(conflict.kept)}, the reply {_first(conflict.mine)}"


def _first(hunk: _Hunk) -> str:
    """The first line that a hunk writes."""
    text = next((text for text in hunk.lines if text.strip()), "")
    return f"`{line(text, QUOTED)}`" if text else "deletes it"
