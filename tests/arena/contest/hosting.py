"""A contest on a simulated task, and a real server for it on a port of the kernel's choice."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from analysis.ledger.events import VerificationEvent
from arena.contest.contest import Contest
from arena.contest.create import ContestOptions, NewContest, create_contest
from arena.contest.entering import accounts
from arena.contest.entering.entries import accept
from arena.contest.running import arms
from arena.contest.stored import entry_label
from arena.contest.tables import ContestEntry, Person
from arena.contest.web.host import RateLimits
from arena.contest.web.pages import page_cache
from arena.match import announcement
from arena.serving.clock import utc_now
from arena.study.study import Study
from arena.study.task_study import tasks_of
from inner_loop.events import Event, RunEndedEvent, RunStartedEvent
from programs.common.ids import content_id
from programs.shelf import starter
from tests.events import example
from tests.studies import drawn_law
from trainer.task import Task

RUNS = 2


def wishes(folder: Path, **changes: Any) -> ContestOptions:
    """Open since a minute, for an hour; two runs an entry; anybody may join."""
    task = Task.load(str(drawn_law(folder / "law", 7)))
    plain = ContestOptions(
        title="Trial", task=task, opens=utc_now() - timedelta(minutes=1), closes=utc_now() + timedelta(hours=1),
        run_budget=task.run_budget, runs=RUNS, confirm_runs=3, entries_per_person=2, join_open=True,
        workers=1, fixed_steps=False, sandbox=True,
    )  # fmt: skip
    return replace(plain, **changes)


def founded(folder: Path, **changes: Any) -> NewContest:
    return create_contest(folder / "contest", wishes(folder, **changes))


def winner(gain: float, **changes: Any) -> dict[str, Any]:
    """The row of a leader in an announcement."""
    return {
        "entry_id": "e3", "number": 3, "entrant": "Ada", "name": "1", "arm_id": "a", "program_id": "p", "n": 28,
        "se": 0.01, "low": gain - 0.02, "high": gain + 0.02, "claimed": None, "words": 5, "kept": 1, "role": "program",
        "trust": "verified", "failed_seeds": 0.0, "device_seconds_charged": 70.0, "tokens": None, "usd": None,
        "gain": gain, "rank_low": 1, "rank_high": 1, "state": "verified", **changes,
    }  # fmt: skip


def decided(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """The announcement of a race of these rows, which the first one won at its only look."""
    first, *others = rows
    lost = {"below": first["number"], "by": 0.189, "runs": first["n"], "above_stock": False}
    label = entry_label(first["entrant"], first["name"])
    race = {"looks": [first["n"]], "looked": first["n"], "level": 0.01, "leaders": 2, "runs": 56, "equal_runs": 56}
    return {
        "outcome": "won", "winners": [first], "best": first, "headline": f"{label} won", "rows": rows,
        "lost": [{**lost, "number": row["number"]} for row in others if row["role"] == "program"], "race": race,
        "unit": "nats", "secret": "s", "secret_hash": "h", "decided_at": "2026-01-02T00:00:00+00:00",
        **{key: first[key] for key in ("gain", "low", "high", "n")}, "over_stock": 0.2, "over_low": 0.1,
        "over_high": 0.3, "aa_spread": None, "left_out": [], **changes,
    }  # fmt: skip


def quiet(_text: str) -> None:
    """A log that nobody reads."""


def newcomer(contest: Contest, name: str = "Ada") -> Person:
    """Somebody who has joined."""
    return accounts.join(contest.database, contest.config, name, "")[0]


def entered(contest: Contest, *names: str) -> list[str]:
    """People, each with the starter of that name; returns the ids of the entries."""
    ids = []
    for name in names:
        person = newcomer(contest, f"P {name} {len(ids)}")
        ids.append(accept(contest, person, starter(name).raw).entry.entry_id)
    return ids


def numbered(contest: Contest, number: int) -> ContestEntry:
    """The entry of this number."""
    with contest.database.read() as connection:
        return connection.get_one(ContestEntry, number)


def with_runs(contest: Contest, gains: Mapping[int, Sequence[float]], **changes: Any) -> None:
    """The ledger has measured runs with these gains, by the number of the entry; ``changes`` of each run's end."""
    events = list[Event]()
    with Study.open(contest.folder) as study:
        on = tasks_of(study)[0]
        board = arms.match_of(on, arms.BOARD)
        events.append(announcement(on, board))
        for number, of_entry in gains.items():
            entry = numbered(contest, number)
            arm_id = content_id("a", board.match_id, entry.entry_id)
            about = {"arm_id": arm_id, "program_id": entry.program_id, "task": study.task.name, "stream": board.stream}
            for index, gain in enumerate(of_entry):
                run_id = content_id("r", arm_id, str(index))
                events.append(example(RunStartedEvent, run_id=run_id, match_id=board.match_id, **about))
                events.append(example(RunEndedEvent, run_id=run_id, state="finished", **changes))
                for seed in range(study.config.seeds_on(board.stream)):
                    measured = {"status": "ok", "gain": gain, "trust": "scored"}
                    events.append(example(VerificationEvent, run_id=run_id, seed=seed, **about, **measured))
        study.record(*events)


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """A client that keeps cookies; nothing is followed and nothing is hidden."""

    port: int
    token: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if self.token:
            sent.setdefault("authorization", f"Bearer {self.token}")
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=200)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return Answer(answer.status, {key.lower(): value for key, value in answer.headers.items()}, raw)

    def get(self, path: str, **headers: str) -> Answer:
        headers.setdefault("accept", "text/html")
        return self.ask("GET", path, **headers)

    def fresh(self, path: str) -> Answer:
        """As `get`, of a page that no earlier reader of this process has made."""
        page_cache.cache_clear()
        return self.get(path)

    def send(self, path: str, value: Any, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(value).encode(), content_type="application/json", **headers)

    def form(self, path: str, **fields: str) -> Answer:
        """Post a form as a browser would, with the proof that the page carries."""
        page = self.get("/join").text
        proof = page.split('name="proof" value="')[1].split('"')[0]
        body = urlencode({"proof": proof} | fields).encode()
        kind = "application/x-www-form-urlencoded"
        return self.ask("POST", path, body, content_type=kind, accept="text/html")

    def enter(self, raw: bytes) -> Answer:
        return self.ask("POST", "/api/v1/entries", raw, content_type="text/markdown")


@contextmanager
def served(
    contest: Contest,
    limits: RateLimits | None = None,
    proxies: str | None = None,
) -> Iterator[int]:
    """The pages alone, without the queue's process; yields the port."""
    from arena.contest.web.app import create_app
    from arena.serving.wire import Server, configured, listen

    listening = listen("127.0.0.1", 0)
    app = create_app(contest, limits)
    config = configured(app, proxies)
    config.timeout_graceful_shutdown = 1
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        contest.database.close()


def joined(port: int, name: str) -> Browser:
    """Somebody new with a token."""
    told = Browser(port).send("/api/v1/join", {"name": name})
    assert told.status == 201, told.text
    return Browser(port, told.json["token"])


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive of texts by name."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target.getvalue()
