"""`contest serve` where something is in its way: one clear line, and nothing lost."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session as Connection

from arena.contest.contest import Contest
from arena.contest.entering.entries import Accepted, change, checked, enter
from arena.contest.ranking.standing import snapshot
from arena.contest.running.health import health
from arena.contest.running.serve import clock_problems, warning
from arena.contest.tables import ContestEntry
from arena.contest.web.host import RateLimits
from arena.serving import throttled_cache
from arena.serving.clock import utc_now
from arena.serving.intake import Intake
from arena.serving.limits import Rate
from arena.serving.process import address, trusted
from arena.serving.throttled_cache import ThrottledCache
from arena.serving.wire import listen
from arena.study.study import Study
from meta.cli.main import run
from programs.common.errors import EnvironmentProblem, NotComparable, UsageError
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, joined, newcomer, served

SERVE = [sys.executable, "-m", "meta.cli.main", "contest", "serve"]


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EnvironmentProblem, match="in use"):
            listen("127.0.0.1", taken.getsockname()[1])


def test_address_for_others_is_this_machines_with_http_warning() -> None:
    own = address("0.0.0.0", 8321)
    assert "0.0.0.0" not in own and own.startswith("http://") and own.endswith(":8321/")
    assert (address("::1", 1), address("10.0.0.7", 2)) == ("http://[::1]:1/", "http://10.0.0.7:2/")
    assert "proxy with TLS" in warning("0.0.0.0", None)
    assert not any((warning("127.0.0.1", None), warning("0.0.0.0", "172.17.0.1")))
    mapped = "::ffff:172.17.0.1/128,::ffff:10.0.0.0/104"
    assert trusted("172.17.0.1, 10.0.0.0/8") == f"127.0.0.1,172.17.0.1,10.0.0.0/8,{mapped}" and trusted(None) is None
    with pytest.raises(UsageError, match="no address or network"):
        trusted("*")


def test_a_room_joins_from_one_address(contest: Contest) -> None:
    with served(contest) as port:
        assert all(joined(port, f"Guest {n}").token for n in range(32))


def test_joins_from_one_customer_network_are_limited_together(contest: Contest) -> None:
    """A customer of a provider has a /48 of IPv6 addresses, which is 65,536 networks of a computer."""
    limits = RateLimits(join=Rate(3, 3600.0))
    with served(contest, limits, proxies="127.0.0.1") as port:
        statuses = [
            Browser(port).send("/api/v1/join", {"name": f"Guest {n}"}, x_forwarded_for=f"2001:db8:1:{n}::1").status
            for n in range(5)
        ]
    assert statuses == [201, 201, 201, 429, 429]


def test_pages_and_stop_work_while_the_task_has_changed(contest: Contest) -> None:
    with Study.open(contest.folder), served(contest) as port:
        task = Path(contest.study.task) / "task.toml"
        task.write_text(task.read_text() + "\n# changed\n")
        assert snapshot(contest).positions and health(contest)["at_work"]
        with pytest.raises(NotComparable):
            Study.open(contest.folder)
        assert run(["stop", str(contest.folder)]) == 0
        assert (contest.folder / "stop").is_file() and Browser(port).get("/queue").status == 200


def test_a_clock_that_went_back_is_told(contest: Contest) -> None:
    assert clock_problems(contest) == []
    with contest.database.write() as connection:
        connection.get_one(ContestEntry, 1).changed_at = utc_now() + timedelta(hours=2)
    (told,) = clock_problems(contest)
    assert "behind" in told


def test_unreachable_database_accepts_nothing_and_says_so(contest: Contest, tmp_path: Path) -> None:
    with served(contest) as port:
        ada = joined(port, "Ada")
        contest.database.close()
        contest.folder.rename(tmp_path / "moved")
        answer = ada.enter(b"# Mine\n\n## Ideas\n\n- one\n")
        assert answer.status == 503 and "nothing was stored" in answer.json["error"]["message"]
        (tmp_path / "moved").rename(contest.folder)
        assert ada.enter(b"# Mine\n\n## Ideas\n\n- one\n").status == 201


@pytest.mark.slow
def test_sigterm_ends_it_in_peace_and_a_second_one_waits(contest: Contest) -> None:
    change(contest, 1, state="verified")
    change(contest, 2, state="verified")
    command = [*SERVE, str(contest.folder), "--port", "0", "--json"]
    running = []
    for _ in range(2):
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        assert running[-1].stdout is not None and running[-1].stderr is not None
        port = int(json.loads(running[-1].stdout.readline())["url"].rstrip("/").rpartition(":")[2])
        assert Browser(port).get("/").status == 200
        if len(running) == 1:  # until it has the queue
            while not contest.database.fact("pulse"):
                time.sleep(0.05)
    second = ""
    while "another process runs this contest's queue" not in second:
        second += running[1].stderr.readline() if running[1].stderr else ""
    for process in reversed(running):
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0 and "stopped; the same command resumes" in said


def test_one_who_left_stops_nobody(contest: Contest) -> None:
    person = newcomer(contest, "P")
    intake = Intake(contest.database)

    def store(name: str) -> Callable[[Connection], Accepted]:
        return partial(enter, contest=contest, person=person, read=checked(contest, person, starter(name).raw))

    with contest.database.write():  # the writer waits for this transaction
        first = intake.take(store("local"))
        until = time.monotonic() + 100
        while not first.running() and time.monotonic() < until:
            time.sleep(0.01)
        second = intake.take(store("one-line"))
        assert not first.cancel() and second.cancel()  # the one is being stored, the other waits in line
    assert first.result(100).new
    assert intake.take(store("one-line")).result(100).new


def test_slow_values_are_computed_seldom_and_quick_ones_always(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cache = [100.0], ThrottledCache[int]()
    monkeypatch.setattr(throttled_cache, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(throttled_cache, "PATIENCE", 20.0)

    def got(state: int, seconds: float) -> int:
        def make() -> int:
            clock[0] += seconds
            return state

        return cache.get(state, make)

    assert [got(1, 3.0), got(1, 3.0)] == [1, 1] and clock == [103.0]  # nothing has changed
    assert got(2, 0.0) == 1
    clock[0] += 59.0
    assert got(2, 0.0) == 1
    clock[0] += 1.0
    assert [got(2, 0.0), got(3, 0.0), got(4, 0.5), got(5, 0.0)] == [2, 3, 4, 4]


def test_proxy_makes_cookies_secure_and_limits_per_client(tmp_path: Path) -> None:
    limits = RateLimits(join=Rate(1, 3600.0))
    with served(founded(tmp_path, join_open=False).contest, limits) as port:
        forwarded = {"x_forwarded_proto": "https", "host": "contest.example"}
        page = Browser(port).get("/llms.txt", **forwarded)
        assert "https://contest.example/api/v1" in page.text
        assert "Secure" in Browser(port).get("/join", **forwarded).headers["set-cookie"]
        assert "Secure" not in Browser(port).get("/join").headers["set-cookie"]
        said = [
            Browser(port).send("/api/v1/join", {"name": "x", "code": "bad"}, x_forwarded_for=client).status
            for client in ("9.9.9.1", "9.9.9.1", "9.9.9.2")
        ]
        assert said == [403, 429, 403]


@pytest.mark.parametrize(("proxies", "secure"), [("127.0.0.0/8", True), ("172.17.0.1", False)])
def test_forwarded_headers_count_from_the_named_proxy_alone(tmp_path: Path, proxies: str, secure: bool) -> None:
    with served(founded(tmp_path).contest, proxies=proxies) as port:
        said = Browser(port).get("/join", x_forwarded_proto="https").headers["set-cookie"]
    assert ("Secure" in said) == secure
