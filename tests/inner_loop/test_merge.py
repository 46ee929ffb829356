"""Three-way merges: what either side changed is in the result, or there is none."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from inner_loop.merge import merge
from trainer.source import Source

CASES, LINES = 600, 12


def source(*lines: str) -> Source:
    return Source((("train.py", "".join(f"{line}\n" for line in lines)),))


def edited(luck: random.Random, lines: list[str], mark: str, among: list[int]) -> tuple[list[str], set[str], set[str]]:
    """One to three changes at some of these lines: the new lines, what was written and what was removed."""
    out: dict[int, list[str]] = {at: [line] for at, line in enumerate(lines)}
    written, removed = set[str](), set[str]()
    for at in luck.sample(among, min(len(among), luck.randint(1, 3))):
        kind, new = luck.choice(("replace", "insert", "delete", "several")), f"{mark}{at}"
        fresh = [f"{new}.{n}" for n in range(3)] if kind == "several" else [new]
        if kind != "delete":
            written.update(fresh)
        if kind != "insert":
            removed.add(lines[at])
        out[at] = {"insert": [*out[at], *fresh], "delete": []}.get(kind, fresh)
    return [line for at in sorted(out) for line in out[at]], written, removed


def test_no_kept_edit_is_lost_in_planted_conflicts() -> None:
    """Two edits of the same source, at a few lines, so that many collide: both are made in full, or none."""
    met: Counter[str] = Counter()
    for seed in range(CASES):
        luck = random.Random(seed)
        base = [f"line {n}" if luck.random() < 0.8 else "" for n in range(LINES)]
        numbers = [n for n, line in enumerate(base) if line]
        among = luck.sample(numbers, min(len(numbers), luck.choice((2, 4, 8))))
        kept, k_written, k_removed = edited(luck, base, "kept", among)
        mine, m_written, m_removed = edited(luck, base, "mine", among)
        if luck.random() < 0.1:  # the same edit by both
            mine, m_written, m_removed = kept, k_written, k_removed
        result = merge(source(*base), source(*kept), source(*mine))
        if result is None:
            met["conflict"] += 1
            assert k_removed & m_removed or (k_written and m_written), seed  # never without a reason
            continue
        met["same" if mine == kept else "merged"] += 1
        lines = result.text().splitlines()
        counted = Counter(lines)
        assert all(counted[line] == 1 for line in k_written | m_written), seed
        assert not (k_removed | m_removed) & set(lines), seed
        for side in (kept, mine):  # the order of each side's lines is its own
            places = [lines.index(line) for line in side if line and line in lines]
            assert all(one < other for one, other in pairwise(places)), seed
    assert met["conflict"] >= 200 and met["merged"] >= 50 and met["same"] >= 20, met


@pytest.mark.parametrize(
    ("base", "kept", "mine", "both"),
    [
        ("A1 B2 C3 go", "A9 B2 C3 go", "A1 B8 C3 go", "A9 B8 C3 go"),  # neighbours
        ("A1 B2 C3 go", "A9 B2 C3 go", "A9 B2 C7 go", "A9 B2 C7 go"),
        ("A1 B2 C3 go", "A9 B2 C3 go", "A5 B2 C3 go", None),  # the same line
        ("a b", "a x b", "a y b", "a x y b"),  # two insertions at one place
        ("a b", "a x z b", "a x b", "a x z b"),
        ("a b", "a x b", "a w x b", "a w x b"),
        ("a b", "a x z b", "a x y b", None),
    ],
)
def test_edits_of_one_source_merge_unless_they_overlap(base: str, kept: str, mine: str, both: str | None) -> None:
    merged = merge(*(source(*lines.split()) for lines in (base, kept, mine)))
    assert merged == (None if both is None else source(*both.split()))
