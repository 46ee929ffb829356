"""Replies that were made on an older source: what was kept since stays, and what became of the reply is told."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from inner_loop.researchers.merge import merge
from tests.arena.test_chat import alone, of
from tests.llm.fixtures import dropped, litellm_loaded, server
from tests.llm.researcher import prompt_of, reply
from tests.llm.server import LlmServer
from tests.llm.studies import planted
from trainer.source import Source
from trainer.task import Task

__all__ = ["litellm_loaded", "server"]
CASES, LINES = 400, 12
TWO = "# Two\n\nLower the loss.\n\n## Roles\n\n- Ada: first\n- Bea: second\n"


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
    """Two edits of the same source, at a few lines so that many collide: both are there in full, or it is a conflict."""
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
        if result.source is None:
            met["conflict"] += 1
            assert "train.py, line" in result.conflict
            assert k_removed & m_removed or k_written and m_written, seed  # never without a reason
            continue
        met["same" if mine == kept else "merged"] += 1
        lines = result.source.text().splitlines()
        counted = Counter(lines)
        assert all(counted[line] == 1 for line in k_written | m_written), seed
        assert not (k_removed | m_removed) & set(lines), seed
        for side in (kept, mine):  # the order of each side's lines is its own
            places = [lines.index(line) for line in side if line and line in lines]
            assert all(one < other for one, other in pairwise(places)), seed
    assert met["conflict"] >= 200 and met["merged"] >= 50 and met["same"] >= 20, met


def test_neighbouring_settings_merge_and_the_same_line_does_not() -> None:
    base = source("A = 1", "B = 2", "C = 3", "go()")
    kept = source("A = 9", "B = 2", "C = 3", "go()")
    merged = merge(base, kept, source("A = 1", "B = 8", "C = 3", "go()"))
    assert merged.source == source("A = 9", "B = 8", "C = 3", "go()")
    assert merge(base, kept, source("A = 9", "B = 2", "C = 7", "go()")).source == source("A = 9", "B = 2", "C = 7", "go()")
    lost = merge(base, kept, source("A = 5", "B = 2", "C = 3", "go()"))
    assert lost.source is None and lost.conflict == "train.py, line 1: kept `A = 9`, the reply `A = 5`"


def test_two_insertions_at_one_place_are_both_made_unless_they_overlap() -> None:
    base = source("a", "b")
    assert merge(base, source("a", "x", "b"), source("a", "y", "b")).source == source("a", "x", "y", "b")
    assert merge(base, source("a", "x", "z", "b"), source("a", "x", "b")).source == source("a", "x", "z", "b")
    assert merge(base, source("a", "x", "b"), source("a", "w", "x", "b")).source == source("a", "w", "x", "b")
    assert merge(base, source("a", "x", "z", "b"), source("a", "x", "y", "b")).source is None


def change(body: dict[str, Any], wanted: dict[str, tuple[str, str]]) -> str:
    """Each role sets one constant to one value, whatever it reads."""
    prompt = prompt_of(body)
    role = "Ada" if "Your turn, Ada" in prompt else "Bea"
    knob, value = wanted[role]
    found = re.search(rf"^{knob} = .+$", prompt, re.MULTILINE)
    assert found
    return reply("train.py", found[0], f"{knob} = {value}", follows=[], luck=random.Random(9))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("merge") / "task", experiments=6)


def better(task: Task) -> list[tuple[str, str, str]]:
    """Knobs with two values that beat the untouched one."""
    law = task.law
    assert law is not None
    return []


@dropped
def test_a_reply_on_an_older_source_is_tried_on_what_was_kept_or_not_at_all(
    server: LlmServer, task: Task, tmp_path: Path
) -> None:
    """Ada's edit is kept while Bea's call is in flight: of another line, both are in the next source; of the same line,
    Bea's is not tried, the ledger and the results say so, and Ada's stays."""
    _, events = alone(task, TWO)
    first = next(e for e in of(events, "experiment") if e["number"] and e["edit"]["set"])
    assert first
