"""Keep or discard in an agent's run: which of the measured sources is the head, and who decides.

An agent decides with git, like the stock program: committed sources are kept, reset ones are not. It only chooses among
sources that the bench trained in full and that did not fail; it changes no metric and no charge, and its choice is
measured again when the run has ended. If the agent does not decide, a source better than the head is kept, by the same
rule as in other runs (`inner_loop.comparison.decide_by`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from inner_loop.bench import Bench
from inner_loop.comparison import decide_by, difference, gain_over, gain_text
from inner_loop.record import Record
from trainer.source import Source

AGENT = "agent"  # the proposer of its experiments
Blobs = tuple[tuple[str, str], ...]


@lru_cache(maxsize=256)
def blobs(source: Source) -> Blobs:
    """The names that git gives to the files of a source.

    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """
    hashes = []
    for name, text in source.files:
        data = text.encode()
        hashes.append((name, hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()))
    return tuple(hashes)


def restore_best(bench: Bench) -> None:
    """At the end of a run, its best kept source becomes the result, wherever the agent's work tree is by then: a reset
    moves the tree, not what was measured and kept."""
    kept = [r for r in bench.history if r.decision == "keep" and r.full and r.ok]
    bench.move_head(max([bench.head, *kept], key=lambda record: gain_over(bench, record, bench.head) or 0.0))


class Verdicts:
    """Made at the source that the agent's repository begins with. ``rewound``: the head has gone back at least once."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._laid = blobs(bench.head.source)
        self.rewound = False
        self._commits = False  # something was committed: from then on git decides
        self._line: list[Blobs] = []  # to HEAD, as of the last experiment

    def settle(self, line: Sequence[Mapping[str, str]], current: Source | None, *, ended: bool = False) -> None:
        """Decide what is open before something else is run, or when the session has ``ended``. ``line`` leads to the
        agent's HEAD, newest first; ``current``: the source in the work tree now.

        The source in the work tree is not decided before the end. Then changes since the last experiment count as the
        agent's decision: a source that it committed, reverted, or removed from the work tree. A source without a change
        (committed before it was measured, or not at all) is decided as if the agent had not decided, and so is one that
        was reset together with the head before it.
        """
        before, self._line = self._line, [tuple(sorted(entry.items())) for entry in line]
        commits = self._line
        self._commits = self._commits or (bool(commits) and commits[0] != self._laid)
        if self._commits and (commits or not ended):
            stands = blobs(self._bench.head.source) in commits
            for record in self._open():
                was, now = blobs(record.source) in before, blobs(record.source) in commits
                here = record.source == current
                keeps = now and not (was if ended else here)
                if keeps or (stands and not now and (not here or (ended and was))):
                    why = "committed" if keeps else "reverted" if ended else "did not commit"
                    self._decide(record, "keep" if keeps else "discard", f"the agent {why} it")
        if not ended:
            self.finish(besides=current)  # what was reset together with the head before it
        if self._commits and (not ended or (commits and commits != before)):
            self._follow(commits, None if ended else current)
        if ended:
            self.finish()

    def finish(self, besides: Source | None = None) -> None:
        """The agent did not decide: keep what is better than the head."""
        for record in self._open():
            if record.source != besides and record.proposer == AGENT:  # a night decides its own
                decision = decide_by(self._bench, difference(self._bench, record, self._bench.head))
                self._decide(record, decision, "no decision by the agent")

    def _follow(self, commits: Sequence[Blobs], current: Source | None) -> None:
        """A rewind: if the head is no longer in the line, the newest measured source of the line becomes the head."""
        head, present = self._bench.head, blobs(current) if current else None
        if blobs(head.source) in (present, *commits):
            return
        measured = {blobs(r.source): r for r in reversed(self._bench.history) if r.full and r.ok}
        back = next((measured[one] for one in commits if one in measured and one != present), head)
        if back is not head:
            self._bench.move_head(back)
            self.rewound = True

    def _open(self) -> list[Record]:
        return [record for record in self._bench.history if not record.decision]

    def _decide(self, record: Record, decision: str, why: str) -> None:
        found = difference(self._bench, record, self._bench.head)
        if decision == "discard" and decide_by(self._bench, found) == "undecided":
            decision = "undecided"  # that an agent dropped it does not show that it did not help
        told = f": {gain_text(found, '.6f')} {self._bench.task.unit}".rstrip() if found else ""
        self._bench.decide(record, decision, why + told, found)
