"""A database: SQLite in WAL mode, synced at every commit: what is accepted is durable."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import URL, DateTime, Dialect, create_engine, event
from sqlalchemy.orm import DeclarativeBase, sessionmaker
from sqlalchemy.orm import Session as Connection
from sqlalchemy.types import TypeDecorator

from arena.serving.clock import utc_now
from trainer.user_files import write_private

WAIT_SECONDS = 30  # for another writer's transaction
BEAT_SECONDS = 5.0  # between two heartbeats that say the same


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite drops the zone, this restores it."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Database:
    """Opens connections to one file; processes and threads may share it. A subclass has its ``name``, the base class of
    its ``tables``, and the table of its ``facts``, named values of the whole."""

    name: str
    tables: type[DeclarativeBase]
    facts: type[Any]

    def __init__(self, folder: Path) -> None:
        self.path = folder / self.name
        # without a limit of its own: threads limit the connections, and a reader that waits for one may hold another
        url = URL.create("sqlite", database=str(self.path))
        self.engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS}, max_overflow=-1)
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._heartbeat: tuple[float, dict[str, Any]] = float("-inf"), {}

    def create(self) -> None:
        """Create a file that only its owner may read; SQLite gives its other files the same mode."""
        write_private(self.path, "")
        self.tables.metadata.create_all(self.engine)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start; on the disk when the block ends."""
        with self._turn(), self._sessions() as connection:
            connection.connection(execution_options={"metaloop_writes": True})
            with _committed(connection):
                yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A fair queue of writers: SQLite polls for its lock, so a process that writes often would starve others."""
        with open(self.path.with_suffix(".turn"), "a") as line:
            fcntl.flock(line, fcntl.LOCK_EX)
            yield

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot."""
        with self._sessions() as connection:
            yield connection

    def fact(self, name: str) -> dict[str, JsonValue]:
        """The value of a fact; empty if it is not set."""
        with self.read() as connection:
            fact = connection.get(self.facts, name)
            return dict(fact.value) if fact else {}

    def set_fact(self, name: str, **value: Any) -> None:
        with self.write() as connection:
            self.put(connection, name, **value)

    def heartbeat(self, **value: Any) -> None:
        """Store in the fact `pulse` that this process works on the folder now, with ``value``. The same ``value`` again
        is stored only every BEAT_SECONDS, because every commit is synced and other writers wait for it."""
        at, before = self._heartbeat
        now = time.monotonic()
        if value != before or now - at > BEAT_SECONDS:
            self._heartbeat = now, value
            self.set_fact("pulse", at=utc_now().isoformat(), pid=os.getpid(), **value)

    @classmethod
    def put(cls, connection: Connection, name: str, **value: Any) -> None:
        """The same within a transaction."""
        connection.merge(cls.facts(name=name, value=value, changed_at=utc_now()))

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _committed(connection: Connection) -> Iterator[None]:
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _prepare(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # the driver's own BEGIN comes too late; `_begin` issues it
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        raw.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    writes = connection.get_execution_options().get("metaloop_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
