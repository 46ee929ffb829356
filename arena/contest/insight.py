"""Run curves and lineage: computed by the queue's process and stored, so that pages only read them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arena.contest.courses import Courses
from arena.contest.descent import Descents, lineage
from arena.contest.settings import utc_now
from arena.contest.standing import whole_board

if TYPE_CHECKING:
    from arena.contest.contest import Contest
    from arena.study import Study

PATIENCE = 20.0  # minimum time between computations of the lineage, in multiples of the last one
LEAST_SECONDS = 5.0


class Insight:
    """Keeps the tables behind the entry pages and the lineage page up to date."""

    def __init__(self, contest: Contest, study: Study) -> None:
        self.contest = contest
        self.courses, self.descents = Courses(contest, study), Descents(contest, study)
        self._stale, self._next = True, 0.0

    def refresh(self, force: bool = False) -> None:
        """Update runs at once, which is cheap; the lineage if enough time has passed or ``force``."""
        stored = self.courses.follow()  # both must run
        entered = self.descents.follow()
        self._stale = self._stale or bool(stored or entered)
        began = time.monotonic()
        if not self._stale or (began < self._next and not force):
            return
        page = lineage(self.contest, list(whole_board(self.contest)))
        self.contest.database.set_fact("lineage", as_of=utc_now().isoformat(), **page)
        self._stale = False
        self._next = time.monotonic() + max(PATIENCE * (time.monotonic() - began), LEAST_SECONDS)
