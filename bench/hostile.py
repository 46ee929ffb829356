"""Attacks on a contest's host, tried and counted: `python -m bench.hostile [pytest arguments]`.

Runs tests/arena/contest/hostile, slow ones included, against real servers on 127.0.0.1, and prints for each family how
many distinct attacks were tried and how many got through: a case of the corpus is one, wherever it is looked for.
Exit status 1 if any did, or if less than 200 were tried.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.common import figure

ROOT = Path(__file__).resolve().parents[1]
GOAL = 200


@dataclass
class Count:
    """A pytest plugin that counts attacks by family. Whatever fails in one counts as through."""

    tried: Counter[str] = field(default_factory=Counter)
    through: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        families = {mark.args[0] for mark in item.iter_markers("attack")}
        if report.skipped:
            self.skipped.append(item.nodeid)
        elif call.when == "call":
            self.tried.update(families)
        if report.failed:
            self.failed.append(item.nodeid)
            self.through.update(families)
        return report


def main() -> int:
    count = Count()
    suite = [str(ROOT / "tests" / "arena" / "contest" / "hostile"), "-o", "addopts=", "-q", "-p", "no:cacheprovider"]
    ended = pytest.main([*suite, *sys.argv[1:]], [count])
    for family in sorted(count.tried):
        print(f"{family}: {count.tried[family]} tried, {count.through[family]} through")
    figure("attacks tried", count.tried.total(), f"{GOAL}")
    figure("through", count.through.total(), "0")
    figure("failed otherwise", len(count.failed) - count.through.total(), "0")
    for name in [*count.failed, *(f"skipped: {name}" for name in count.skipped)]:
        print(name)
    return int(ended != pytest.ExitCode.OK or count.tried.total() < GOAL)


if __name__ == "__main__":
    sys.exit(main())
