"""The studies below a folder, followed by their ledgers in a thread, so that a page never waits for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.ledger.run_state import StudyState
from arena.lock import is_taken
from meta.cli.board import StudyView
from meta.cli.record_tail import RecordTail
from meta.cli.resolve import studies_below
from meta.cli.screen import status_item
from meta.steering import Wish, waiting, wishes
from programs.errors import Corrupt, NotFound, OtherVersion

LOOK_SECONDS, SEARCH_SECONDS = 0.5, 5.0


@dataclass
class FollowedStudy:
    """A study as far as its ledger was read. ``version`` grows with each change of what is known."""

    name: str
    folder: Path
    board: StudyView
    tail: RecordTail
    version: int = 0
    whole: bool = False
    at_work: bool = False
    refused: OtherVersion | None = None
    damage: str = ""  # why it cannot be read
    lock: threading.RLock = field(default_factory=threading.RLock)
    _requests: tuple[object, list[Wish]] = (None, [])

    @classmethod
    def of(cls, name: str, folder: Path) -> FollowedStudy:
        return cls(name, folder, StudyView(folder), RecordTail(folder / "ledger"))

    def look(self) -> bool:
        """Read what was added to the ledger; whether anything changed. One that cannot be read is damaged for good."""
        if self.damage:
            return False
        try:
            return self._look()
        except OSError:  # it was removed meanwhile: the next search notices
            return False
        except Exception as error:  # whatever is in a study of someone else, the others are followed
            self._damaged(error)
            return True

    def _damaged(self, error: Exception) -> None:
        self.damage = str(getattr(error, "message", "") or f"{type(error).__name__}: {error}")[:300]
        self.whole, self.version = True, self.version + 1

    def _look(self) -> bool:
        before = self.version
        try:
            for event in self.tail.fresh() if self.refused is None else ():
                with self.lock:
                    self.board.take(event)
                self.version += 1
        except OtherVersion as error:
            self.refused, self.board.is_other_version = error, True
        at_work = is_taken(self.folder)
        self.version += (not self.whole) + (at_work != self.at_work)
        self.whole, self.at_work = True, at_work
        return self.version != before

    def requests(self) -> list[Wish]:
        """What a person asked of it (`metaloop steer`). The ledger is read for that only where there is a request, and
        again only after a match has ended or a program was written."""
        waits, board = waiting(self.folder), self.board
        if not waits and not board.steered:
            return []
        ended = sum(match.state != "running" for match in board.matches.values())
        key = [wish.wish_id for wish in waits], len(board.steered), len(board.programs), ended, self.whole
        if self._requests[0] != key:
            self._requests = key, list(wishes(self.folder, StudyState.read(self.folder / "ledger")))
        return self._requests[1]

    def begun(self) -> tuple[str, str]:
        """To sort studies by the time of their beginning."""
        return self.board.first_at, self.name

    @property
    def share_read(self) -> float:
        """Of the bytes of its ledger, 0 to 1."""
        size = sum(path.stat().st_size for path in (self.folder / "ledger").glob("*.jsonl"))
        return min(1.0, sum(self.tail.offsets.values()) / size) if size else 1.0

    def item(self) -> dict[str, Any]:
        """What the list of studies shows."""
        if not self.damage:
            try:
                return self._item()
            except Exception as error:  # figures that no record of ours has
                self._damaged(error)
        nothing = {"calls": 0, "tokens": 0, "usd": None, **status_item(StudyView(self.folder), self.name, False)}
        return {**nothing, "state": "damaged", "verdict": [self.damage], "holds": None, "tasks": ""}

    def _item(self) -> dict[str, Any]:
        with self.lock:
            item = {"calls": 0, "tokens": 0, "usd": None, **status_item(self.board, self.name, self.at_work)}
            decision = self.board.decision
            item["verdict"], item["holds"] = self.board.verdict, decision.holds if decision else None
            item["tasks"] = ", ".join(dict.fromkeys(str(m.event.get("task")) for m in self.board.matches.values()))
            return item


class Studies:
    """Finds the studies below ``root`` and follows them until ``close``."""

    def __init__(self, root: Path) -> None:
        self.root, self.followed = root.resolve(), dict[str, FollowedStudy]()
        self.version = 0
        self._ending = threading.Event()
        self.search()
        self._thread = threading.Thread(target=self._follow, name="studies", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()

    def search(self) -> None:
        """Take in new studies, and let go of those that are gone."""
        there = dict(self._there())
        for name in there.keys() - self.followed.keys():
            self.followed[name] = FollowedStudy.of(name, there[name])
            self.version += 1
        for name in self.followed.keys() - there.keys():
            del self.followed[name]
            self.version += 1

    def _there(self) -> Iterator[tuple[str, Path]]:
        for here in studies_below(self.root):
            if (here / "ledger").is_dir():
                yield str(here.relative_to(self.root)) if here != self.root else here.name, here

    def _follow(self) -> None:
        searched = time.monotonic()
        while not self._ending.is_set():
            if time.monotonic() - searched > SEARCH_SECONDS:
                self.search()
                searched = time.monotonic()
            newest = sorted(self.followed.values(), key=lambda one: (one.whole, -_changed(one.folder)))
            for one in newest:
                if self._ending.is_set():
                    return
                self.version += one.look()
            self._ending.wait(LOOK_SECONDS)

    def get(self, name: str) -> FollowedStudy:
        """Raises NotFound, OtherVersion, or Corrupt."""
        if name not in self.followed:
            raise NotFound(f"there is no study {name!r} here", hint="the first page lists them")
        if (refused := self.followed[name].refused) is not None:
            raise refused
        if damage := self.followed[name].damage:
            raise Corrupt(f"this study is damaged: {damage}", hint="restore it from a copy")
        return self.followed[name]

    def newest_first(self) -> list[FollowedStudy]:
        return sorted(self.followed.values(), key=lambda one: (one.at_work, _changed(one.folder)), reverse=True)


def _changed(folder: Path) -> float:
    """When something was last added to a study."""
    try:
        return max((path.stat().st_mtime for path in (folder / "ledger").glob("*.jsonl")), default=0.0)
    except OSError:
        return 0.0
