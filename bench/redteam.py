"""The red team's count: `python -m bench.redteam [pytest arguments]`.

Runs tests/redteam and the marked tests elsewhere, slow ones included, in several processes; prints how many exploits
of tests/redteam/catalogue.md were tried, in how many attempts, and how many of these gained a verified score or harmed
something. Exit status 1 if any did, or failed otherwise.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
REDTEAM = ROOT / "tests" / "redteam"
PAGE = REDTEAM / "catalogue.md"
_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)
RAISED = 1e-3  # of the task's unit: a score of the search that is better than the honest twin's by more


def catalogue() -> dict[int, tuple[str, str]]:
    """Number → name of the exploit, and the last column of its row: the tests that try it, or why none does."""
    return {int(number): (name.strip(), tests.strip()) for number, name, _, tests in _ROW.findall(PAGE.read_text())}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """In the process of the test: what is counted travels with its report."""
    report = yield
    numbers = {mark.args[0] for mark in item.iter_markers("exploit")}
    if call.when == "call" and not report.skipped:
        report.user_properties += [("exploit", number) for number in sorted(numbers)]
    if call.excinfo is not None and not report.skipped:
        report.user_properties.append(("raised", call.excinfo.typename))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the files that are not the red team's own, the marked tests alone."""
    kept = [i for i in items if i.path.is_relative_to(REDTEAM) or i.get_closest_marker("exploit")]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@dataclass
class Count:
    """A pytest plugin that counts attempts by the number of their exploit, in whichever processes the tests run."""

    attempts: Counter[int] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)  # a gain, or harm
    failed: list[str] = field(default_factory=list)  # another assertion
    raised: set[str] = field(default_factory=set)
    total: int = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = report.user_properties if report.when == "call" or report.failed else []
        for kind in (str(value) for name, value in known if name == "raised"):
            (self.bad if kind in ("Gain", "Harm") else self.failed).append(f"{report.nodeid} ({kind})")
        numbers = [int(str(value)) for name, value in known if name == "exploit"]
        self.attempts.update(numbers)
        self.total += bool(numbers)
        if report.skipped:
            self.skipped.append(report.nodeid)
        if any(name == "scored_gain" and float(str(value)) > RAISED for name, value in known):
            self.raised.add(report.nodeid)


def suite() -> list[str]:
    """The files in which an exploit is tried."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [path for path in files if "mark.exploit(" in path.read_text() and REDTEAM not in path.parents]
    return [str(path) for path in (REDTEAM, *marked)]


def main() -> int:
    count = Count()
    more = sys.argv[1:]
    chosen = [] if any(Path(word.partition("::")[0]).exists() for word in more) else suite()
    ended = pytest.main([*chosen, "-m", "", "-q", "-p", "no:cacheprovider", "-p", "bench.redteam", *more], [count])
    known = catalogue()
    lacking = {number for number, (_, tests) in known.items() if tests.startswith("needs")}  # part of it at most
    tried = set(count.attempts) & set(known) - lacking
    print(f"exploits_tried: {len(tried)} of {len(known)}   (goal 60)")
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
