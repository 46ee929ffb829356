"""Readers and entrants of a contest in a process of their own: sockets and nothing more, for they share the processors.

``python -m bench.contest_clients`` takes a `Plan` as a line of JSON, says when it begins, and prints what was measured.

How readers behave. A live one has the page open in a browser: it listens to /events, and when the board has changed it
fetches the page again as static/live.js does (after 0 to 1 s, and not within 5 s of the time before). The
others click, each after a time drawn from an exponential distribution. All keep their connection.
What is asked for: the mixture MIX, first pages mostly. A latency runs from sending to the last byte, at the client.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

MIX = (("/", 60), ("/?page=2", 8), ("/?page=N", 7), ("/llms.txt", 8), ("/api/v1/board", 12), ("/queue", 5))
PAGES = 100  # of the board
LEAST, APART = 5.0, 1.0  # seconds, of static/live.js
EVERY = 10  # pages, of which the age of one is read
MADE = re.compile(rb"(?:<time>|; now )(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)")  # when the page was made, as it says


Answer = tuple[int, bytes, bytes]  # status, head in small letters, body
HTML = "accept: text/html\r\n"


@dataclass
class Plan:
    """``live`` + ``clicking`` readers for ``seconds``; ``rate`` entries a second. ``think`` 0: as fast as they can."""

    port: int
    seconds: float
    live: int
    clicking: int
    think: float
    rate: float
    tokens: list[str]
    warm: float = 5.0  # seconds at the start that are not counted
    seed: int = 1


@dataclass
class Measurements:
    """What was measured. Latencies in seconds."""

    reads: list[float] = field(default_factory=list)
    entries: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    events: int = 0
    bytes: int = 0


class Wire(asyncio.Protocol):
    """A connection that is kept: one request at a time, or a stream of events."""

    def __init__(self, on_event: Callable[[bytes], None] | None = None) -> None:
        self.on_event = on_event
        self.buffer = bytearray()
        self.answer: asyncio.Future[Answer] | None = None
        self.transport: Any = None
        self.gone = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        if self.on_event is not None:
            self.on_event(data)
            return
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) >= end + 4 + size and self.answer is not None and not self.answer.done():
            self.answer.set_result((int(head[9:12]), head, bytes(self.buffer[end + 4 : end + 4 + size])))
            self.buffer.clear()


class Client:
    """One reader or entrant, who opens its connection again where it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.wire: Wire | None = None

    async def open(self, on_event: Callable[[bytes], None] | None = None) -> Wire:
        _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(on_event), "127.0.0.1", self.port)
        return wire

    async def ask(
        self, path: str, headers: str = "", body: bytes = b"", method: str = "GET"
    ) -> tuple[int, bytes, bytes]:
        if self.wire is None or self.wire.gone:
            self.wire = await self.open()
        self.wire.answer = asyncio.get_running_loop().create_future()
        size = f"content-length: {len(body)}\r\n" if body else ""
        self.wire.transport.write(f"{method} {path} HTTP/1.1\r\nhost: load\r\n{size}{headers}\r\n".encode() + body)
        return await self.wire.answer


class Crowd:
    """All of them, and what they saw."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.measurements = plan, Measurements()
        self.rng = random.Random(plan.seed)
        self.begin = time.monotonic()
        self.end = self.begin + plan.warm + plan.seconds
        self.answered = 0

    def path(self) -> str:
        (path,) = self.rng.choices([path for path, _ in MIX], [weight for _, weight in MIX])
        return path.replace("N", str(self.rng.randint(3, PAGES)))

    async def read(self, client: Client, path: str) -> None:
        """One page, timed."""
        kind = "" if path.startswith("/api") or path.endswith(".txt") else HTML
        began = time.monotonic()
        try:
            status, _, body = await client.ask(path, kind)
        except OSError as error:
            self.failed(f"{path}: {error!r}")
            return
        if began > self.begin + self.plan.warm:
            self.measurements.reads.append(time.monotonic() - began)
            self.measurements.bytes += len(body)
            self.answered += 1
        if status != 200:
            self.failed(f"{path}: {status}")
        elif self.answered % EVERY == 0 and not path.startswith("/api"):
            self.age(body)

    def failed(self, why: str) -> None:
        if time.monotonic() < self.end:
            self.measurements.errors.append(why)

    def age(self, body: bytes) -> None:
        match = MADE.search(body)
        if match:
            then = datetime.fromisoformat(match[1].decode().replace(" ", "T")).replace(tzinfo=UTC)
            self.measurements.ages.append((datetime.now(UTC) - then).total_seconds())

    async def clicking(self) -> None:
        client = Client(self.plan.port)
        await asyncio.sleep(self.rng.random() * min(self.plan.think, self.plan.warm))
        while time.monotonic() < self.end:
            await self.read(client, self.path())
            if self.plan.think:
                await asyncio.sleep(self.rng.expovariate(1.0 / self.plan.think))

    async def live(self) -> None:
        client, changed, last, seen = Client(self.plan.port), asyncio.Event(), 0.0, b""

        def on_event(data: bytes) -> None:
            nonlocal seen
            at = data.find(b"data: ")
            if at >= 0:
                self.measurements.events += 1
                now = data[at:].split(b"\n", 1)[0]
                if seen and now != seen:
                    changed.set()
                seen = now

        await asyncio.sleep(self.rng.random() * self.plan.warm)
        await self.read(client, "/")
        try:
            stream = await client.open(on_event)
        except OSError as error:
            self.failed(f"/events: {error!r}")
            return
        stream.transport.write(b"GET /events HTTP/1.1\r\nhost: load\r\n\r\n")
        while time.monotonic() < self.end:
            try:
                async with asyncio.timeout(self.end - time.monotonic()):
                    await changed.wait()
            except TimeoutError:
                break
            await asyncio.sleep(max(0.0, last + LEAST - time.monotonic()) + APART * self.rng.random())
            changed.clear()
            last = time.monotonic()
            await self.read(client, "/")
            if stream.gone:
                self.failed("/events: closed")
                break
        stream.transport.close()

    async def enter(self, free: asyncio.Queue[Client], token: str, text: bytes) -> None:
        began = time.monotonic()
        client = await free.get()
        try:
            headers = f"authorization: Bearer {token}\r\ncontent-type: text/markdown\r\n"
            status, _, body = await client.ask("/api/v1/entries", headers, text, "POST")
            if status == 201:
                self.measurements.accepted.append(json.loads(body)["entry_id"])
                self.measurements.entries.append(time.monotonic() - began)
            else:
                self.failed(f"entry: {status} {body[:100]!r}")
        except OSError as error:
            self.failed(f"entry: {error!r}")
        finally:
            free.put_nowait(client)

    async def entering(self) -> None:
        """So many a second, whether those before have been answered or not."""
        free: asyncio.Queue[Client] = asyncio.Queue()
        for _ in range(40):
            free.put_nowait(Client(self.plan.port))
        tasks, number = set[asyncio.Task[None]](), 0
        while self.plan.rate and time.monotonic() < self.end:
            token = self.plan.tokens[number % len(self.plan.tokens)]
            task = asyncio.create_task(self.enter(free, token, program(self.rng)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(max(0.0, self.begin + number / self.plan.rate - time.monotonic()))
        await asyncio.gather(*tasks)

    async def all(self) -> Measurements:
        who = [self.clicking() for _ in range(self.plan.clicking)] + [self.live() for _ in range(self.plan.live)]
        await asyncio.gather(*who, self.entering())
        return self.measurements


def program(rng: random.Random) -> bytes:
    """A small program that nobody has sent before, of ideas that others have too."""
    ideas = "".join(f"- Try idea {i} of the pool, and keep it if it helps.\n" for i in rng.sample(range(400), 6))
    return f"# Attempt {rng.getrandbits(48):012x}-{time.time_ns()}\n\n## Ideas\n\n{ideas}".encode()


def main() -> None:
    plan = Plan(**json.loads(sys.stdin.readline()))
    print("begun", flush=True)
    print(json.dumps(asdict(asyncio.run(Crowd(plan).all()))))


if __name__ == "__main__":
    main()
