"""A match on its own, outside any evolution: `metaloop match` and, with one program and one seed, `metaloop run`."""

from __future__ import annotations

from collections.abc import Sequence

from arena.drain import drain_on_interrupt
from arena.executor import LocalExecutor, Progress
from arena.match import Entry, Match, enter, play
from arena.race import Allocation
from arena.study import Study
from programs.ids import content_id


def play_entries(study: Study, entries: Sequence[Entry], runs: int, progress: Progress) -> Match:
    """Play ``entries`` at equal budget, ``runs`` each, in ``study``; the same entries again resume the same match."""
    label = "match-" + content_id("", *(e.program.program_id for e in entries))
    purpose = "run" if len(entries) == 1 else "race"
    with (
        study,
        drain_on_interrupt(study, progress),
        LocalExecutor(study.folder, study.config.workers, progress) as executor,
    ):
        for entry in entries:
            study.admit(entry.program, generation=0, operator="entry")
        match = enter(study, label, entries, purpose=purpose, stream="selection", generation=0)
        play(study, executor, match, Allocation({arm.arm_id: runs for arm in match.arms}), progress)
    return match
