"""The studies below a folder, followed by their ledgers in a thread, so that a page never waits for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.report.progress import Progress, RunGain, of_nights, of_runs
from arena.study.lock import is_taken
from meta.cli.resolve import studies_below
from meta.steering import steering_outcomes
from meta.ui.imported import ImportStatus, is_import
from meta.ui.live import AFTERWARDS, LiveStudy
from meta.ui.status import StudyStatus, arm_statuses, match_title, run_statuses
from programs.common.errors import Corrupt, MetaloopError, NotFound, OtherVersion
from programs.common.text import escaped

LOOK_SECONDS, SEARCH_SECONDS = 0.5, 5.0
NOT_DRAWN = (*AFTERWARDS, "night")  # purposes of matches without a place in the picture of the programs
MOST_RUNS = 100  # listed
Item = tuple[StudyStatus | ImportStatus | None, list[Progress]]  # a study in the list, and its pictures


@dataclass
class FollowedStudy:
    """A study as far as its ledger was read. ``version`` grows with each change of what is known; ``problem``: why it
    cannot be read, for good."""

    name: str
    study: LiveStudy
    version: int = 0
    whole: bool = False
    at_work: bool = False
    problem: MetaloopError | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def folder(self) -> Path:
        return self.study.folder

    def look(self) -> bool:
        """Read what was added to the ledger; whether anything changed."""
        before = self.version
        try:
            if self.problem is None:
                self._look()
        except OSError:  # it was removed meanwhile: the next search notices
            pass
        except Exception as error:  # whatever is in a study of someone else, the others are followed
            self._refuse(error)
        return self.version != before

    def _look(self) -> None:
        for event in self.study.tail.news():
            with self.lock:
                self.study.take(event)
            self.version += 1
        at_work = is_taken(self.folder)
        if self.study.champion is None:
            self.study.verdict(at_work)  # so that no page waits for the views
        self.version += (not self.whole) + (at_work != self.at_work)
        self.whole, self.at_work = True, at_work

    def _refuse(self, error: Exception) -> None:
        text = str(getattr(error, "message", "") or f"{type(error).__name__}: {error}")[:300]
        damage = Corrupt(f"this study is damaged: {text}", hint="restore it from a copy")
        self.problem = error if isinstance(error, OtherVersion) else damage
        self.whole, self.version = True, self.version + 1

    def item(self) -> Item:
        """What the list of studies shows; no status where it cannot be read."""
        try:
            if self.problem is None:
                with self.lock:
                    return self._item()
        except Exception as error:  # figures that no record of ours has
            self._refuse(error)
        return None, []

    def _item(self) -> Item:
        return StudyStatus(self.study, self.at_work or not self.whole), self.pictures()

    @property
    def state(self) -> str:
        """What the pages write beside its name."""
        if self.problem is not None:
            return "other version" if isinstance(self.problem, OtherVersion) else "damaged"
        return self.study.state(self.at_work) if self.whole else ""

    def page(self, match_id: str) -> dict[str, Any]:
        """What the study's page shows of a match, else of the current one."""
        study = self.study
        match = study.matches.get(match_id) or study.current
        runs = run_statuses(study, match) if match else []
        return {
            "match": match,
            "matches": [(match, match_title(match)) for match in study.matches.values()],
            "arms": arm_statuses(study, match) if match else (),
            "runs": runs[:MOST_RUNS],
            "more_runs": max(0, len(runs) - MOST_RUNS),
            "requests": list(steering_outcomes(self.folder, study)),
        }

    def pictures(self) -> list[Progress]:
        """Of what its runs gained, or of each of its nights."""
        study = self.study
        if study.turns:
            started = {turn.run_id: study.run(turn.run_id).started for turn in study.turns}
            configs = {run_id: study.matches[run.match_id].config for run_id, run in started.items() if run}
            return of_nights(study.turns, {key: (config.metric, config.direction) for key, config in configs.items()})
        runs = [
            RunGain(run_id, match.label, arm.program_id,
                    arm.names or study.name(arm.program_id), run.gain, match.config.unit)
            for match in study.matches.values() if match.purpose not in NOT_DRAWN
            for arm in match.arms
            for run_id, run in study.runs_of(arm).items() if run.state == "finished" and run.gain is not None
        ]  # fmt: skip
        return of_runs(runs, str(study.champion.body.get("program_id")) if study.champion else None)


class FollowedImport(FollowedStudy):
    """Imported logs. Their ledger is not followed: nothing runs there."""

    imported: ImportStatus | None = None

    def _look(self) -> None:
        if self.imported is None:
            self.imported = ImportStatus(self.folder)
            self.whole, self.version = True, self.version + 1

    def _item(self) -> Item:
        return self.imported, []

    @property
    def state(self) -> str:
        return "imported" if self.problem is None else super().state


def follow(name: str, folder: Path) -> FollowedStudy:
    return (FollowedImport if is_import(folder) else FollowedStudy)(name, LiveStudy(folder))


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
        folders = dict(self._there())
        for name in folders.keys() - self.followed.keys():
            self.followed[name] = follow(name, folders[name])
            self.version += 1
        for name in self.followed.keys() - folders.keys():
            del self.followed[name]
            self.version += 1

    def _there(self) -> Iterator[tuple[str, Path]]:
        for folder in studies_below(self.root):
            if (folder / "ledger").is_dir():
                yield escaped(str(folder.relative_to(self.root)) if folder != self.root else folder.name), folder

    def _follow(self) -> None:
        searched = time.monotonic()
        while not self._ending.is_set():
            if time.monotonic() - searched > SEARCH_SECONDS:
                self.search()
                searched = time.monotonic()
            newest = sorted(self.followed.values(), key=lambda one: (one.whole, -_changed(one.folder)))
            for study in newest:
                if self._ending.is_set():
                    return
                self.version += study.look()
            self._ending.wait(LOOK_SECONDS)

    def get(self, name: str) -> FollowedStudy:
        """Raises NotFound, OtherVersion, or Corrupt."""
        if name not in self.followed:
            raise NotFound(f"there is no study {name!r} here", hint="the first page lists them")
        if (problem := self.followed[name].problem) is not None:
            raise problem
        return self.followed[name]

    def newest_first(self) -> list[FollowedStudy]:
        return sorted(self.followed.values(), key=lambda one: (one.at_work, _changed(one.folder)), reverse=True)


def _changed(folder: Path) -> float:
    """When something was last added to a study."""
    try:
        return max((path.stat().st_mtime for path in (folder / "ledger").glob("*.jsonl")), default=0.0)
    except OSError:
        return 0.0
