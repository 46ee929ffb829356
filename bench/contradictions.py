"""Sentences that contradict each other, on one screen or two of a study: from 20 studies with planted contradictions.

python -m bench.contradictions [N]      the first N studies (default: all); exit status 1 where something contradicts

The studies are simulated ones whose confirmation was given planted gains (`bench.contradiction.laws`). Every screen
that states a verdict is drawn by the product's own code, and what it states is read by
`bench.contradiction.statements`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.common import figure
from bench.contradiction import plants, rules
from bench.contradiction.laws import PLANTS
from bench.contradiction.screens import screens
from bench.contradiction.statements import statements


def bases(folder: Path) -> Callable[[str], Path]:
    """Makes each shape of a study once."""

    @cache
    def made(kind: str) -> Path:
        return plants.base(folder / f"base-{kind}", kind)

    return made


def judged(name: str, folder: Path, made: Callable[[str], Path]) -> tuple[int, int, list[str], list[str]]:
    """(screens, statements, contradictions, what was not read) of one planted study."""
    shown = screens(plants.planted(PLANTS[name], made, folder))
    read = {screen: statements(screen, text) for screen, text in shown.items()}
    return len(shown), sum(len(said) for said, _ in read.values()), *rules.of_study(read)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else len(PLANTS)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    read = wrong = missed = 0
    print(f"{'study':44} screens statements contradictions unread")
    with tempfile.TemporaryDirectory(prefix="metaloop-contradictions-", dir=memory) as folder:
        made = bases(Path(folder))
        for number, name in enumerate(list(PLANTS)[:count]):
            drawn, said, clashes, unread = judged(name, Path(folder) / f"study-{number}", made)
            print(f"{name:44} {drawn:7} {said:10} {len(clashes):14} {len(unread):6}", flush=True)
            for line in clashes:
                print(f"    contradiction: {line}")
            for line in unread:
                print(f"    unread: {line}")
            read, wrong, missed = read + said, wrong + len(clashes), missed + len(unread)
    figure("studies", count)
    figure("statements read", read)
    figure("contradictions", wrong, "0")
    figure("unread sentences", missed, "0")
    return int(wrong + missed > 0)


if __name__ == "__main__":
    sys.exit(main())
