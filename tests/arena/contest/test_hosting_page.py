"""The host's page and API: who may press what, and what everybody reads of it."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

from arena.contest.contest import Contest
from arena.contest.entering.entries import change
from arena.contest.plan import measured_power
from arena.serving.clock import utc_now
from arena.study.study import Study
from tests.arena.contest.hosting import Answer, Browser, founded, joined, numbered, served
from tests.arena.contest.test_board import filled
from tests.meta.cli_study import metaloop

PROGRAM = b"# Mine\n\n## Ideas\n\n- Try one thing.\n"


def pressed(browser: Browser, path: str, **fields: str) -> Answer:
    return browser.form(path, sure="yes", **fields)


def test_the_hosts_page_and_buttons(tmp_path: Path) -> None:
    made = founded(tmp_path)
    contest = made.contest
    with served(contest) as port:
        ada = joined(port, "Ada")
        entry = ada.enter(PROGRAM).json["entry_id"]
        stranger, host = Browser(port), Browser(port)
        assert stranger.get("/host").headers["location"] == "/join#login"
        assert pressed(stranger, "/host/void", entry=entry, because="I dislike it").status == 403
        assert pressed(ada, "/host/void", entry=entry, because="I dislike it").status == 403
        assert stranger.form("/login", token="mla_wrong").status == 422
        assert host.form("/login", token=made.admin_token).status == 303
        assert stranger.get("/host").status == 303 and "No host actions" in host.get("/host").text
        page = host.get("/host")
        assert "Declare void" in page.text and page.headers["cache-control"] == "no-store"
        assert "The entry leaves the queue, the ranks and the decision" in page.text
        assert "<td><details><summary>Declare void" in page.text  # cells keep their line breaks
        assert "no process runs the queue" in page.text
        unsure = host.form("/host/void", entry=entry, because="<b>copied</b>")
        assert unsure.status == 422 and "tick" in unsure.text
        assert stranger.get(f"/api/v1/entries/{entry}").json["state"] == "queued"
        assert pressed(host, "/host/void", entry=entry, because="<b>copied</b>").status == 303
        seen = stranger.get(f"/entry/{entry}").text
        assert "declared this entry void: &lt;b&gt;copied" in seen and "<b>copied" not in seen and "Reason:" not in seen
        assert "copied" in stranger.get("/").text and stranger.get("/api/v1/acts").json["rows"][0]["what"] == "void"
        assert "Reinstate" in host.get("/host").text
        assert pressed(host, "/host/unvoid", entry=entry, because="it was not").status == 303
        assert stranger.get(f"/api/v1/entries/{entry}").json["state"] == "queued"
        contest.database.set_fact("deciding", done=3, wanted=9, looks=[], next_look=5, race=[
            {"entry_id": entry, "number": 3, "entrant": "Ada", "name": "1", "said": "in the race; 1 of 5 runs done"}
        ])  # fmt: skip
        contest.state(deciding=utc_now().isoformat())
        assert "in the race; 1 of 5 runs done" in host.get("/host").text
        shown = stranger.fresh("/queue").text
        assert "too late for further runs. The leaders' runs for the decision are under way, 3 of" in unescape(shown)
        assert "The list is in the order" not in shown
        with Study.open(contest.folder):
            assert "<dt>Queue</dt><dd>runs the leaders for the decision, 1 worker" in host.get("/host").text
        assert "The entry is not in the race and cannot win: it is listed as void" in host.get("/host").text
        contest.state(leaders=[3])
        assert "The entry leaves the race and cannot win" in host.get("/host").text
        contest.state(decided=utc_now().isoformat())
        page = host.get("/host").text
        assert "The announced decision does not change" in page and "The entry leaves" not in page
        assert "the announced decision does not change. Pages" in page and "take part as before" not in page
        contest.state(deciding="", decided="")
        page = host.get("/host")
        assert "<dt>Queue</dt><dd>not running</dd>" in page.text
        assert ">Host</a>" in page.text.split("<main")[0] and "/join" not in page.text and ">Host</a>" not in seen
        assert "3 queued, stock's two arms included" in page.text
        assert page.text.count("Remove account…") == 1
        assert (
            pressed(ada, "/host/forget", person="1").status == 403
            and "not ticked" in host.form("/host/forget", person="1").text
        )
        assert (
            pressed(host, "/host/forget", person="x").status == 422
            and pressed(host, "/host/forget", person="9").status == 422
        )
        assert pressed(host, "/host/forget", person="1").status == 303
        page = host.get("/host")
        assert "account removed" in page.text and "former entrant 1" in page.text and "Ada" not in page.text
        assert "account removed" in page.text and "Remove account…" not in page.text
        out = ">Log the host out</button>"
        assert page.text.count("/logout") == 1 and out in page.text and out not in seen
        host.form("/join", name="Eve")
        page = host.get("/host").text
        assert ">Me (Eve)</a>" in page and ">Host</a>" in page.split("<main")[0]
        assert page.count("/logout") == 1 and ">Log Eve and the host out</button>" in page
        assert host.form("/logout").status == 303 and host.get("/host").status == 303
        assert host.get("/me").status == 303
        assert pressed(host, "/host/void", entry=entry, because="again").status == 403


def test_the_host_closes_on_the_page(tmp_path: Path) -> None:
    made = founded(tmp_path)
    with served(made.contest) as port:
        ada, host = joined(port, "Ada"), Browser(port)
        assert pressed(ada, "/host/close", because="I lead").status == 403
        host.form("/login", token=made.admin_token)
        page = host.get("/host").text
        assert "Close early…" in page and f"metaloop contest close {made.contest.folder.resolve()}" in page
        assert host.form("/host/close", because="rain").status == 422  # not ticked
        assert "needs a reason" in pressed(host, "/host/close").text and made.contest.phase() == "open"
        assert pressed(host, "/host/close", because="heavy\nrain").status == 303
        assert made.contest.phase() == "closing" and made.contest.state()["early"] == "heavy rain"
        assert "closed the contest before its time: heavy rain" in host.get("/host").text.split('id="acts"')[1]
        assert "asked for already" in pressed(host, "/host/close", because="again").text
        assert "No process runs the queue" in host.get("/host").text and "Close early" not in host.get("/host").text
        again = Browser(port, made.admin_token).send("/api/v1/close", {"reason": "again"})
        assert again.status == 200 and made.contest.state()["early"] == "heavy rain"


def test_after_the_closing_time_no_reason_is_needed(tmp_path: Path) -> None:
    contest = founded(tmp_path, closes=utc_now() - timedelta(seconds=1)).contest
    contest.ask_close("")
    assert contest.state()["close_asked"] and "early" not in contest.state()


def test_host_reads_the_power_of_the_close_by_the_measured_noise(tmp_path: Path) -> None:
    made = founded(tmp_path, confirm_runs=20, runs=4)
    filled(made.contest, 4, [0.22, 0.22, 1.78, 1.78])  # the SD of a run is 0.9
    with served(made.contest) as port:
        host = Browser(port, made.admin_token)
        shown, power = host.get("/host").text, host.get("/api/v1/health").json["power"]
        assert power is not None and power < 0.02
        assert f"{100 * power:.0f}% of simulated closes name an entry" in shown and "several share the win" in shown
        assert f"in {power:.0%} of simulated closes" in metaloop("contest", "status", made.contest.folder).stdout
    rows: list[Any] = [{"gain": 1.0, "se": 0.05, "n": 4}] * 4
    assert measured_power(rows, 20, 4) == 1.0 == measured_power([*rows, {**rows[0], "se": 9.0}], 20, 4)
    assert measured_power(rows[:3], 20, 4) is None  # nine degrees of freedom
    assert measured_power([{**row, "gain": -1.0} for row in rows], 20, 4) is None is measured_power([], 20, 0)


def test_the_hosts_api(tmp_path: Path) -> None:
    made = founded(tmp_path)
    with served(made.contest) as port:
        ada, host = joined(port, "Ada"), Browser(port, made.admin_token)
        entry = ada.enter(PROGRAM).json["entry_id"]
        for who in (ada, Browser(port), Browser(port, "mla_wrong")):
            assert who.send(f"/api/v1/entries/{entry}/void", {"because": "a reason"}).status == 403
            assert who.get("/api/v1/health").status == 403
        assert host.send(f"/api/v1/entries/{entry}/void", {"because": "a reason"}).json["what"] == "void"
        assert host.send(f"/api/v1/entries/{entry}/void", {"because": "a reason"}).status == 422
        assert host.send("/api/v1/entries/none/void", {"because": "a reason"}).status == 404
        assert ada.get("/api/v1/me").json["used"] == 0
        assert host.get("/api/v1/health").json["queue"] == "not running"
        assert host.get("/api/v1/contest").json["states"] == {"queued": 2, "void": 1}
        assert host.send(f"/api/v1/entries/{entry}/unvoid", {"because": "no"}).status == 422
        assert host.send(f"/api/v1/entries/{entry}/unvoid", {"because": "a mistake"}).json["what"] == "unvoid"
        assert ada.get("/api/v1/me").json["used"] == 1


def test_a_pause_is_told_on_the_queues_page(contest: Contest) -> None:
    contest.database.set_fact(
        "pause", since="2026-01-01T00:00:00+00:00", kind="credential", message="the key is refused", hint="set another"
    )
    change(contest, 1, attempts=0)
    with served(contest) as port:
        page = Browser(port).get("/queue").text
        assert "the key is refused" in page and "does not count against any entry" in page
    assert numbered(contest, 1).attempts == 0
