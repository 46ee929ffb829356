"""Sentences that contradict each other, on one screen or two of a study: from 20 studies with planted contradictions,
and from studies with planted facts.

python -m bench.contradictions [N]      the first N studies (default: all); exit status 1 where something contradicts

The studies are simulated ones whose confirmation was given planted gains (`bench.contradiction.laws`). Every screen
that states a verdict is drawn by the product's own code: it has to show the verdict's sentences and may judge nothing
in words of its own (`bench.contradiction.rules`). A fact has the same figures on every screen
(`bench.contradiction.facts`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

from analysis.study import open_study
from analysis.verdict.verdict import VIEWS, verdict_of
from bench.common import figure
from bench.contradiction import plants, rules
from bench.contradiction.facts import FACTS, STUDIES, of_fact
from bench.contradiction.laws import PLANTS
from bench.contradiction.screens import screens


def bases(folder: Path) -> Callable[[str], Path]:
    """Makes each shape of a study once."""

    @cache
    def made(kind: str) -> Path:
        return plants.base(folder / f"base-{kind}", kind)

    return made


def judged(name: str, folder: Path, made: Callable[[str], Path]) -> tuple[int, list[str]]:
    """(screens, contradictions) of one planted study."""
    study = plants.planted(PLANTS[name], made, folder)
    shown = screens(study)
    with open_study(study, views=VIEWS) as con:
        return len(shown), rules.of_study(shown, verdict_of(con))


def of_facts(folder: Path) -> Iterator[tuple[str, int, list[str]]]:
    """(name, screens, contradictions) of each planted fact."""
    studies = {name: make(folder / name) for name, make in STUDIES.items()}
    shown = {name: screens(study) for name, study in studies.items()}
    for name, fact in FACTS.items():
        yield name, len(shown[fact.study]), list(of_fact(fact, studies[fact.study], shown[fact.study]))


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else len(PLANTS)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    seen = wrong = 0
    print(f"{'study or fact':52} screens contradictions")
    with tempfile.TemporaryDirectory(prefix="metaloop-contradictions-", dir=memory) as place:
        folder = Path(place)
        made = bases(folder)
        some = enumerate([*PLANTS][:count])
        planted = ((name, *judged(name, folder / f"study-{number}", made)) for number, name in some)
        for name, drawn, clashes in chain(planted, of_facts(folder)):
            print(f"{name:52} {drawn:7} {len(clashes):14}", flush=True)
            for line in clashes:
                print(f"    contradiction: {line}")
            seen, wrong = seen + drawn, wrong + len(clashes)
    figure("studies", count)
    figure("facts", len(FACTS))
    figure("screens", seen)
    figure("contradictions", wrong, "0")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
