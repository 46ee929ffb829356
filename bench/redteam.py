"""The red team's count: `python bench/redteam.py [pytest arguments]`.

Runs tests/redteam, slow ones included, and prints how many exploits of the catalogue (docs/threat-model.md) were
tried, in how many attempts, and how many of these gained a verified score or harmed something. Exit status 1 if any
did, or failed otherwise.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)
RAISED = 1e-3  # of the task's unit: a score of the search that is better than the honest twin's by more


def catalogue() -> dict[int, tuple[str, str]]:
    """Number → name of the exploit, and the last column of its row: the tests that try it, or why none does."""
    return {int(number): (name.strip(), tests.strip()) for number, name, _, tests in _ROW.findall(PAGE.read_text())}


@dataclass
class Count:
    """A pytest plugin that counts attempts by the number of their exploit."""

    attempts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    skipped: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)  # a gain, or harm
    failed: list[str] = field(default_factory=list)  # another assertion
    raised: set[str] = field(default_factory=set)
    total: int = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        numbers = {mark.args[0] for mark in item.iter_markers("exploit")}
        if call.excinfo is not None and not report.skipped:
            bad = call.excinfo.typename in ("Gain", "Harm")
            (self.bad if bad else self.failed).append(f"{item.nodeid} ({call.excinfo.typename})")
        if report.skipped:
            self.skipped.append(item.nodeid)
        elif call.when == "call" and numbers:
            self.total += 1
            for number in numbers:
                self.attempts[number] += 1
        if any(name == "scored_gain" and value > RAISED for name, value in report.user_properties):
            self.raised.add(item.nodeid)
        return report


def main() -> int:
    count = Count()
    suite = [str(ROOT / "tests" / "redteam"), "-m", "", "-q", "-p", "no:cacheprovider"]
    ended = pytest.main([*suite, *sys.argv[1:]], [count])
    known = catalogue()
    lacking = {number for number, (_, tests) in known.items() if tests.startswith("needs")}  # part of it at most
    tried = set(count.attempts) & set(known) - lacking
    print(f"exploits_tried: {len(tried)} of {len(known)}   (goal 40)")
    print(f"attempts: {count.total}")
    print(f"with_gain_or_harm: {len(count.bad)}   (goal 0)")
    print(f"failed_otherwise: {len(count.failed)}")
    print(f"search_scores_raised: {len(count.raised)}   (chunks are no promise: none of these was verified)")
    for number, (name, tests) in known.items():
        if number not in tried:
            print(f"not_tried: {number} {name}: {tests}")
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        print("the tests did not run: see above")
    for what, names in (("gain_or_harm", count.bad), ("failed", count.failed), ("skipped", count.skipped)):
        for name in names:
            print(f"{what}: {name}")
    return int(ended != pytest.ExitCode.OK or bool(count.bad or count.failed))


if __name__ == "__main__":
    sys.exit(main())
