"""A study of each kind that is cut at any record ends as if nothing had happened, by `metaloop resume` alone.

METALOOP_EXAMPLES=100 draws a hundred cuts of each kind, METALOOP_TEST_KILLS=10 kills each ten times.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ledger import check, read
from analysis.study import VIEWS, open_study
from analysis.views.tables import rows
from arena.study.lock import request_stop
from arena.study.stop import Drained
from arena.study.study import Study
from meta.kinds.contract import KINDS, kind_of
from tests.conftest import EXAMPLES
from tests.gallery import Gallery

from .cli_study import metaloop

KILLS = int(os.environ.get("METALOOP_TEST_KILLS", "1"))
QUICK, SLOW = ("night", "match", "replay"), ("evolve", "ablation")
APART = ("_at", "wall", "utilization", "spent", "secret", "place", "details", "config")  # times, and where a row stands
PAGES = ("champion.md", "champion.evidence.md", "best_train.py")
Line = tuple[str, Path, bytes]  # time, segment, bytes


def digits(value: Any) -> Any:
    """Twelve digits of a number: sums of the view `credit` go by the order of lines, which a kill changes."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def answers(folder: Path, apart: Sequence[str] = APART) -> dict[str, Any]:
    """The pages and the views of a study, without what another run of the same may change."""
    found: dict[str, Any] = {name: (folder / name).read_text() for name in PAGES if (folder / name).exists()}
    with open_study(folder) as con:
        for view in set(VIEWS) - {"events"}:
            kept = [
                {key: digits(value) for key, value in row.items() if not any(word in key for word in apart)}
                for row in rows(con.execute(f"SELECT * FROM {view}"))
            ]
            found[view] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    return {name: str(value).replace(str(folder), "") for name, value in found.items()}


def assert_same(calm: Path, shaken: Path, apart: Sequence[str] = APART) -> None:
    assert check(shaken / "ledger") == []
    expected, found = undisturbed(calm, tuple(apart)), answers(shaken, apart)
    for name, value in expected.items():
        assert found[name] == value, name


undisturbed = cache(answers)


@cache
def written(folder: Path) -> list[Line]:
    """The lines of a ledger in the order of time."""
    found = [(path, line) for path in sorted((folder / "ledger").glob("*.jsonl"))
             for line in path.read_bytes().splitlines(keepends=True)]  # fmt: skip
    return sorted(((json.loads(line)["at"], path, line) for path, line in found), key=lambda each: each[0])


def kind_of_line(line: Line) -> str:
    return str(json.loads(line[2])["kind"])


def cut_copy(calm: Path, folder: Path, count: int, part: float = 0.0) -> None:
    """A study as it was after so many records and a part of the next line; the requests of a person wait again."""
    unwritten = shutil.ignore_patterns("ledger", "champion*", "best*", "evidence", "programs.git", "cache")
    shutil.copytree(calm, folder, symlinks=True, ignore=unwritten)
    (folder / "ledger").mkdir(mode=0o700)
    lines = written(calm)
    for _, path, line in lines[:count]:
        with (folder / "ledger" / path.name).open("ab") as segment:
            segment.write(line)
    if part and count < len(lines):
        _, path, line = lines[count]
        with (folder / "ledger" / path.name).open("ab") as segment:
            segment.write(line[: int(part * (len(line) - 1))])
    for event in read(calm / "ledger"):
        if event["kind"] == "steer":
            (folder / "steer").mkdir(exist_ok=True)
            (folder / "steer" / f"{event['wish_id']}.json").write_text(json.dumps(event))


def play_until(folder: Path, count: int) -> None:
    """Go on with a study, and ask it to stop after so many words of its progress."""
    seen = 0

    def stop_soon(_: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            request_stop(folder)

    study = Study.open(folder)
    study.look()
    kind = kind_of(study.config)
    try:
        kind.play(study, kind.read_plan(study.config), stop_soon)
    except Drained:
        assert seen >= count


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
@settings(max_examples=int(EXAMPLES or 2))
@given(share=st.floats(0, 1), at=st.floats(0, 1), how=st.sampled_from(["kill", "half a line", "stop"]),
       part=st.floats(0.01, 0.99))  # fmt: skip
def test_study_cut_anywhere_ends_as_if_nothing_had_happened(
    gallery: Gallery, name: str, share: float, at: float, how: str, part: float
) -> None:
    """Kinds of records are drawn first, so that rare ones are cut as often as experiments."""
    calm = gallery(name)
    lines = written(calm)
    first = [kind_of_line(line) for line in lines].index("ablation") + 1 if name == "replay" else 1
    by_kind: dict[str, list[int]] = {}
    for number, line in enumerate(lines[first:], first):
        by_kind.setdefault(kind_of_line(line), []).append(number)
    numbers = by_kind[sorted(by_kind, reverse=True)[min(int(share * len(by_kind)), len(by_kind) - 1)]]
    number = numbers[-1 - min(int(at * len(numbers)), len(numbers) - 1)]  # the simplest example is cut late
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        cut_copy(calm, folder, number, part if how == "half a line" else 0.0)
        if how == "stop" and name != "replay":
            play_until(folder, 1 + int(part * 60))
        ended = metaloop("resume", folder).stderr
        assert any(words in ended for words in ("plan: ", "; left: at most ", "has already finished"))
        assert_same(calm, folder)


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "meta.cli.start", "resume", str(folder), "-y"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def records(folder: Path) -> int:
    return sum(segment.read_bytes().count(b"\n") for segment in (folder / "ledger").glob("*.jsonl"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [*KINDS.built_in, "trained"])
def test_study_killed_often_ends_as_if_nothing_had_happened(gallery: Gallery, tmp_path: Path, name: str) -> None:
    """kill -9 of the command with its workers; where these train, of the command alone, which they outlive a moment."""
    calm, shaken = gallery(name), tmp_path / "study"
    first = [kind_of_line(line) for line in written(calm)].index("ablation") + 1 if name == "replay" else 2
    cut_copy(calm, shaken, first)
    rng, kills, rest = np.random.default_rng(5), 0, len(written(calm)) - first
    process = start(shaken)
    while kills < KILLS:
        goal = records(shaken) + int(rng.integers(1, max(2, rest // (KILLS + 1))))
        while process.poll() is None and records(shaken) < goal:
            time.sleep(0.001)
        if process.poll() is not None:
            break
        (os.kill if name == "trained" else os.killpg)(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
        process = start(shaken)
    _, errors = process.communicate(timeout=1500)
    assert process.returncode == 0, errors.decode()
    assert kills >= (KILLS + 1) // 2
    # of two runs with one source, the first to reach it trains it
    assert_same(calm, shaken, (*APART, *["memory", "cached"] * (name == "trained")))
