"""What `contest status` and `contest init --dry-run` print at a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from analysis.wording import duration
from arena.contest.entries import change
from arena.contest.settings import BOARD_FILE, MARK, utc_now
from arena.contest.stored import Announcement, MeasuredRow
from arena.contest.tables import ContestEntry
from meta.cli.contest_entrant import columns, decided_rows, shown
from meta.cli.main import run
from meta.cli.output import Column, Output, Row, table
from tests.arena.contest.hosting import Browser, founded, served
from trainer.variants import init_simulated


def winner(gain: float) -> MeasuredRow:
    return {
        "entry_id": "e3", "number": 3, "entrant": "Ada", "name": "Ada 1", "arm_id": "a", "program_id": "p", "n": 28,
        "se": 0.01, "low": gain - 0.02, "high": gain + 0.02, "claimed": gain, "words": 5, "role": "program",
        "trust": "verified", "failed_seeds": 0.0, "device_seconds_charged": 70.0, "tokens": None, "usd": None,
        "gain": gain, "rank_low": 1, "rank_high": 1, "state": "verified",
    }  # fmt: skip


def test_after_the_decision_the_deciding_runs_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = founded(tmp_path).contest
    command = ["contest", "status", str(contest.folder)]
    contest.database.set_fact("pulse", at="2026-01-01T00:00:00+00:00")
    assert run(command) == 0
    before = capsys.readouterr()
    assert "queue: not running, last active" in before.err and "0.691" not in before.out
    contest.database.set_fact(
        "announcement", headline="Ada wins", rows=[winner(0.691)], unit="nats", secret=contest.study.secret
    )
    contest.state(decided="2026-01-01T00:00:00+00:00")
    assert run(command) == 0
    after = capsys.readouterr()
    assert f"fromhex('{contest.study.secret}')" in after.err and contest.config.secret_hash in after.err
    assert "Ada 1\t0.691" in after.out and "confirming runs" in after.err
    assert not any(word in after.out for word in ("claimed", "device", "verified"))
    assert "no runs are left" in after.err and "not running" not in after.err
    contest.state(early="rain", close_asked="2026-01-01T00:00:00+00:00")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in (MARK, BOARD_FILE):  # as export writes them
        (tmp_path / "out" / name).write_bytes((contest.folder / MARK).read_bytes())
    assert run(["contest", "ls"]) == 0
    said = capsys.readouterr()
    assert "2026-01-01 00:00" in said.out and said.err == "not listed: 1 export of contests (out)\n"


def test_the_reason_and_the_whole_interval_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [winner(0.929), {**winner(0.740), "number": 4, "entry_id": "e4", "entrant": "Ben", "name": "Ben 2"}]
    said: Announcement = {
        "outcome": "won", "winners": [rows[0]], "rows": rows, "unit": "nats", "n": 28,
        "race": {"looks": [28], "looked": 28, "level": 0.01, "leaders": 2, "runs": 56, "equal_runs": 56},
        "lost": [{"number": 4, "below": 3, "by": 0.189, "runs": 28, "above_stock": False}],
    }  # fmt: skip
    printed: list[str] = []
    monkeypatch.setattr(Output, "rows", lambda self, rows, columns, **_: printed.append(drawn(rows, columns)))
    decided_rows(Output(), said)
    reason = "out of the race after 28 runs, when it was 0.189 worse than Ada 1; not significantly above stock"
    text = " ".join(printed[0].split())
    assert "0.909 to 0.949" in text and "0.720 to 0.760" in text and "…" not in text
    assert set(reason.split()) <= set(text.split()) and max(map(len, printed[0].splitlines())) <= 80


def test_names_and_heads_of_the_leaderboard_are_whole_in_80_columns() -> None:
    names = ("bold and very long", "bold and even longer", "bold")
    rows = [{**winner(0.929), "entrant": "Phoebe", "name": name, "rank_high": 8} for name in names]
    text = drawn([shown(row, rows) for row in rows], columns("nats"))
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert {"rank", "entry", "95%", "runs", "state", "longer"} <= set(text.split()) and "gain, nats" in text


def drawn(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    console = Console(width=80, file=(text := io.StringIO()))
    console.print(table(rows, columns))
    return text.getvalue()


def test_the_host_is_told_to_close_once_no_run_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contest = founded(tmp_path, closes=utc_now() - timedelta(seconds=1)).contest
    command, page = ["contest", "status", str(contest.folder)], []
    for state in ("queued", "verified"):
        for number in (1, 2):
            change(contest, number, state=state)
        assert run(command) == 0
        page.append(capsys.readouterr().err)
    assert "now: metaloop contest close" not in page[0]
    assert f"now: metaloop contest close {contest.folder}" in page[1] and "2 measured, stock's two arms" in page[1]
    with served(contest) as port:
        assert "Waiting for the host to close the contest" in Browser(port).get("/").text
        change(contest, 1, state="running")
        assert "then the host closes the contest" in Browser(port).get("/?unshared").text
        contest.ask_close("")
        assert "finishing; then the leaders run again" in Browser(port).get("/?unshared=2").text
        with contest.database.read() as connection:
            entry = f"/entry/{connection.get_one(ContestEntry, 1).entry_id}"
        text = Browser(port).get(entry).text
        assert "runs are under way" in text and "osition 1" not in text
        change(contest, 1, state="verified")
        contest.state(deciding="2026-01-01T00:00:00+00:00")
        contest.database.set_fact("deciding", done=3, wanted=9)
        text = Browser(port).get("/queue?unshared").text
        assert "under way, 3 of at most 9 done" in text and "0 entries" not in text and "is empty" not in text


def test_an_entrant_sees_whether_an_entry_is_still_in_the_race(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contest = founded(tmp_path).contest
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        path = ada.form("/enter", text="# Mine\n").headers["location"]
        with contest.database.read() as connection:
            entry = connection.query(ContestEntry).where(ContestEntry.role == "program").one()
        named = {"number": entry.number, "entry_id": entry.entry_id, "entrant": "Ada", "name": "Ada 1"}
        said = "out of the race after 7 runs, when it was 0.29 worse than Ben 1"
        race = [{**named, "said": "in the race", "number": 99, "name": "x"}, {**named, "said": said}]
        contest.database.set_fact("deciding", done=3, wanted=9, looks=[], race=race, next_look=5)
        pages = ("/", "/me", path)
        for going_on in (False, True):
            if going_on:
                contest.state(deciding="2026-01-01T00:00:00+00:00")
            texts = [unescape(ada.get(page).text).replace("\\", "") for page in pages]
            assert [said[1:] in text for text in texts] == [going_on] * len(pages)
            assert run(["contest", "status", str(contest.folder)]) == 0
            shown = capsys.readouterr().err
            serve = f"start it: metaloop contest serve {contest.folder}"
            assert serve in shown and " left" not in shown  # the queue is stopped
            look = "he next look is after 5 runs of each"
            assert all(text.count(look) == going_on for text in (texts[0], shown))  # once, not for every leader
            assert ("3 of at most 9 confirming runs" in shown and f"Ada 1: {said}" in shown) == going_on


def test_an_entrant_sees_gain_and_rank_of_the_decision(tmp_path: Path) -> None:
    contest = founded(tmp_path).contest
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        path = ada.form("/enter", text="---\nmetaloop:\n  name: mine\n---\n# Mine\n").headers["location"]
        page = ada.get(path).text
        assert "<hr" not in page and "<h2>metaloop" not in page and "<h1>Mine" in page.split("Rendered")[1]
        row = {**winner(0.691), "number": 3, "entry_id": path.removeprefix("/entry/")}
        said: Announcement = {
            "outcome": "won", "winners": [row], "rows": [row], "unit": "nats", "n": 28, "headline": "Ada 1 won",
            "gain": 0.691, "over_stock": 0.2, "over_low": 0.1, "over_high": 0.3, "decided_at": "2026-01-01",
        }  # fmt: skip
        contest.database.set_fact("announcement", **said)
        contest.state(decided="2026-01-01T00:00:00+00:00")
        page = ada.get("/me").text
    for cell in (">0.691</td>", ">0.671 to 0.711</td>", f">{row['n']} in the decision</td>", ">won</td>"):
        assert cell in page
    assert 'data-label="Rank"' not in page


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    law, folder = init_simulated(tmp_path / "law", 3), tmp_path / "c"
    command = ["contest", "init", str(folder), "-t", str(law), "--dry-run", "--confirm-runs", "9", "--json"]
    assert run([*command, "--expect-entries", "4"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["runs"], plan["leaders"]) == (9, 4) and plan["run_seconds"] > 0 and not folder.exists()
    command = [*command[:-1], "--closes", "2031-02-03T04:05", "-n", "2", "--entries-per-person", "1"]
    assert run(command) == 0
    said = capsys.readouterr().err
    assert "budget of a run: " in said and "by the clock with " in said
    assert "closes 2031-02-03 04:05" in said and "2 runs per entry; at most 1 entry per person" in said
    real = [str(tmp_path / "real") if word == str(folder) else word for word in command if word != "--dry-run"]
    assert run(real) == 0
    planned, created = said.splitlines(), capsys.readouterr().err.splitlines()
    assert created[1] == planned[1] and created[3] == planned[3]  # the others have the time of now in them
    for lines in (planned, created):
        assert "on an idle machine can finish about" in lines[2] and "stock's two included" in lines[2]
    assert "knowledge ideas" not in said and "knowledge ideas" not in " ".join(created)
    strokes = ["contest", "init", str(tmp_path / "s"), "--dry-run", "--confirm-runs", "9"]
    assert run([*strokes, "--closes", "5m", "--workers", "2", "--json"]) == 0  # the default task
    shown = capsys.readouterr()
    plan, said = json.loads(shown.out), " ".join(shown.err.split())
    usual, most = (duration(300 + runs * plan["run_seconds"] / 2) for runs in (plan["usual"], 14 * 9))
    assert f"in all about {usual}, at most {most}, if the machine is idle" in said
    assert "For fewer than 12 entries, --expect-entries N plans" in said
    assert "low power" in said and "leave --confirm-runs out" in said
    assert "measured on 12 tasks of the family strokes, so the output of `metaloop knowledge ideas` may win" in said
    folder.mkdir()
    (folder / "mine").touch()
    assert run(command) == 2 and "is not empty" in capsys.readouterr().err
