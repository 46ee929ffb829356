"""A contest on disk: one folder that is a study too, with its rules and its database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from arena.audit.scratch import secret_hash
from arena.contest.ranking.announced import headline
from arena.contest.ranking.history import RunHistory
from arena.contest.running.queue import Costs
from arena.contest.settings import BOARD_FILE, MARK, ContestConfig, Phase, is_export
from arena.contest.stored import Announcement, LedgerHead, StateFact
from arena.contest.tables import ContestDatabase, ContestEntry, ContestFact, Person
from arena.serving.clock import utc_now
from arena.serving.throttled_cache import ThrottledCache
from arena.study.settings import StudyConfig
from programs.common.errors import Corrupt, UsageError
from programs.common.text import one_line
from trainer.task import Task

if TYPE_CHECKING:
    from arena.contest.ranking.standing import Snapshot
    from arena.study.study import Study

HEAD_EVERY = timedelta(days=1)  # between two heads of the ledger on the pages
LEAST_REASON, MOST_REASON = 3, 500  # characters of why it is closed early


def with_names(announcement: Announcement, names: Mapping[int, tuple[str, str]]) -> Announcement:
    """The same with these entrants and names of entries, by their numbers."""
    updated = cast(Announcement, renamed(announcement, names))
    return {**updated, "headline": headline(updated["winners"], updated["best"])} if "best" in updated else updated


def without_names(announcement: Announcement) -> Announcement:
    """The same as the ledger has it: `entry 3`."""
    rows = (*announcement.get("rows", ()), *announcement.get("left_out", ()), *announcement.get("not_racing", ()))
    return with_names(announcement, {row["number"]: ("entry", str(row["number"])) for row in rows})


def renamed(value: Any, names: Mapping[int, tuple[str, str]]) -> Any:
    """The same with these entrants and names of entries, by their numbers."""
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: renamed(item, names) for key, item in value.items()}
    if {"number", "entrant", "name"} <= kept.keys() and (now := names.get(kept["number"])):
        kept |= {"entrant": now[0], "name": now[1]}
    return kept


@dataclass(frozen=True)
class Contest:
    """An open contest folder. Holds no lock; the process that carries out runs holds the study's."""

    folder: Path
    config: ContestConfig
    study: StudyConfig
    database: ContestDatabase

    @cached_property
    def history(self) -> RunHistory:
        """What the ledger has of the runs, for pages; read when it is followed."""
        return RunHistory(self.folder, self.study, self.config)

    @cached_property
    def snapshots(self) -> ThrottledCache[Snapshot]:
        """The latest `standing.snapshot`, which all readers share."""
        return ThrottledCache()

    @classmethod
    def open(cls, folder: Path) -> Contest:
        """Raises NotFound, or Corrupt if config, rules and study do not match."""
        if is_export(folder):
            raise UsageError(
                f"{folder} is an export of a contest: it has no database and cannot be served or changed",
                hint=f"read {BOARD_FILE} and announcement.json in it, or name the contest's own folder",
            )
        config = ContestConfig.read(folder)
        study = StudyConfig.read(folder / "study.toml")
        if secret_hash(study.streams) != config.secret_hash:
            hint = "restore study.toml from a copy"
            raise Corrupt(f"{folder}/study.toml: the secret does not match the hash in {MARK}", hint=hint)
        database = ContestDatabase(folder)
        if not database.path.is_file():
            raise Corrupt(f"{database.path} is missing", hint="restore it from a copy: it contains the entries")
        return cls(folder, config, study, database)

    def phase(self, now: datetime | None = None) -> Phase:
        state = self.database.fact("state")
        closing, deciding, decided = (bool(state.get(key)) for key in ("close_asked", "deciding", "decided"))
        return self.config.phase(now or utc_now(), closing, deciding, decided)

    @property
    def hides_texts(self) -> bool:
        """Whether texts of entries, and what would show parts of them, are hidden from others now."""
        return self.config.texts_after_close and self.phase() in ("upcoming", "open")

    def state(self, **changes: Any) -> StateFact:
        """The fact `state`, after applying ``changes``."""
        if not changes:
            return cast(StateFact, self.database.fact("state"))
        with self.database.write() as connection:  # three processes change it
            return self._changed(connection, changes)

    def _changed(self, connection: Connection, changes: Mapping[str, Any]) -> StateFact:
        fact = connection.get(ContestFact, "state")
        state = cast(StateFact, {**(fact.value if fact else {}), **changes})
        self.database.put(connection, "state", **state)
        return state

    def ask_close(self, reason: str) -> None:
        """Accept no more entries; the process that runs the queue finishes the runs and decides.

        Raises UsageError if the reason is missing before the time in the rules, or if it was asked before.
        """
        with self.database.write() as connection:  # of several at once, one is heard; entries are before it or refused
            now, reason = utc_now(), one_line(reason).strip()
            if now < self.config.closes and len(reason) < LEAST_REASON:
                raise UsageError("an early close needs a reason, which is public", hint="say why in a few words")
            fact = connection.get(ContestFact, "state")
            if fact is not None and fact.value.get("close_asked"):
                raise UsageError("the close has been asked for already", hint="the board shows how far it is")
            early = {"early": reason[:MOST_REASON]} if now < self.config.closes else {}
            self._changed(connection, {"close_asked": now.isoformat(), **early})

    def closed_at(self) -> datetime:
        """When it closes or closed for entries: by the rules, or earlier at the host's request."""
        state = self.state()
        requested_at = state.get("close_asked")
        return datetime.fromisoformat(requested_at) if requested_at and state.get("early") else self.config.closes

    def announcement(self) -> Announcement:
        """The decision, empty before it, with the names that entries have now; it is stored without."""
        stored = cast(Announcement, self.database.fact("announcement"))
        if not stored:
            return stored
        with self.database.read() as connection:
            columns = select(ContestEntry.number, func.coalesce(Person.name, "host"), ContestEntry.name)
            rows = connection.execute(columns.outerjoin(Person, Person.person_id == ContestEntry.person_id))
            return with_names(stored, {number: (entrant, name) for number, entrant, name in rows})

    def publish_head(self, study: Study, *, daily: bool = False) -> LedgerHead:
        """Record the heads of the ledger's segments, and show that record's hash on the pages; ``daily``: unless the
        last is younger than a day."""
        last = cast(LedgerHead, self.database.fact("ledger_head"))
        if daily and last and utc_now() - datetime.fromisoformat(last["at"]) < HEAD_EVERY:
            return last
        segment, sha256 = study.record_heads()
        head: LedgerHead = {"segment": segment, "hash": sha256, "at": utc_now().isoformat()}
        self.database.set_fact("ledger_head", **head)
        return head

    @cached_property
    def task(self) -> Task:
        """Read once, because every page names it."""
        return Task.load(self.study.task)

    @property
    def costs(self) -> Costs:
        """Device-seconds of a screening and of a run."""
        return Costs(self.config.screen_budget, self.config.run_budget)
