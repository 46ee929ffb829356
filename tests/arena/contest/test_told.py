"""What a host has done is told wherever a person or an agent reads of the contest: an early close, a void entry."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from arena.contest.contest import Contest
from arena.contest.entering import acts, removal
from arena.contest.entering.entries import change
from arena.contest.export import export
from arena.contest.ranking.views import board_view
from arena.contest.running import pace
from arena.contest.running.work import carry_on
from arena.contest.stored import arm_label
from arena.serving.clock import utc_now
from meta.cli import contest_host
from meta.cli.main import run
from programs.common.errors import UsageError
from tests.arena.contest.hosting import Browser, founded, served
from tests.arena.contest.test_run import entered, quiet
from tests.meta.cli_study import metaloop

READ = ("/", "/queue", "/rules", "/llms.txt")


def test_reason_of_an_early_close_is_on_every_page_afterwards(tmp_path: Path) -> None:
    later = {name: utc_now() + timedelta(hours=hours) for name, hours in (("opens", 1), ("closes", 2))}
    contest = founded(tmp_path, **later).contest  # closed before it opens
    with served(contest) as port:
        assert not any("early" in Browser(port).get(path).text.split("<main")[0] for path in READ[:3])
        contest.state(early="heavy rain", close_asked="2026-01-01T00:00:00+00:00")
        contest.database.set_fact("deciding", done=3, wanted=9, looks=[])
        for phase, state in (("closing", {}), ("deciding", {"deciding": "x"}), ("decided", {"decided": "x"})):
            contest.state(**state)
            assert contest.phase() == phase
            for path in READ:
                text = Browser(port).fresh(path).text
                assert "early: heavy rain" in text, (phase, path)
                assert "closed 2026-01-01 00:00:00 UTC" in text or path != "/llms.txt"
            assert Browser(port).get("/api/v1/contest").json["closes"].startswith("2026-01-01T00:00:00")
    assert "closed early\theavy rain" in metaloop("contest", "status", contest.folder).stdout


def test_early_close_shows_the_host_how_long_the_rest_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contest, asked = founded(tmp_path).contest, list[str]()
    monkeypatch.setattr(contest_host, "ask", lambda question, *_: asked.append(question))
    contest_host.request_close(contest, "heavy\nrain", yes=False)
    assert re.search("2 entries unfinished, about .*; then the leaders run again, at most ", asked[0])
    each, _ = pace.run_seconds(contest)  # one leader and stock twice: 3 runs each
    assert pace.most_seconds(contest, 1) == pytest.approx(3 * 3 * each)
    assert contest.state()["early"] == "heavy rain" and contest.closed_at() < contest.config.closes


@pytest.mark.slow
def test_void_after_the_decision_is_beside_the_announcement(contest: Contest, tmp_path: Path) -> None:
    """Of one that did not win, too: in the announcement's table, under its own heading, by status and close."""
    entered(contest, "local", "one-line", "local")
    carry_on(contest, quiet, until_idle=True)
    contest.state(close_asked="2026-01-01T00:00:00+00:00")
    carry_on(contest, quiet)
    said = board_view(contest)["announcement"]
    racing = [row["number"] for row in said["rows"] if row["role"] == "program"]
    assert 5 in (others := [who["number"] for who in said["not_racing"]])  # the text of 3 once more
    assert sorted([*racing, *others]) == [3, 4, 5]
    last = [row for row in board_view(contest)["announcement"]["rows"] if row["role"] == "program"][-1]
    acts.void(contest, last["entry_id"], "found out late")
    acts.write_down(contest)
    with served(contest) as port:
        html = Browser(port).get("/").text
        own = Browser(port).get(f"/entry/{last['entry_id']}").text
    assert len(set(re.findall(r"metaloop show (r\w+) -s DIR", own))) == 1 and own.count("<polygon") <= 1
    assert re.search(r"<h2 id=\"best\">Its best run: confirming run \d+</h2>", own)
    decision, below = html.split(">Void</h3>")
    mark = "<strong>void</strong> since"
    assert decision.count(mark) == 1 and "found out late" in decision.split(mark)[1]
    assert "found out late" in below and "Entries without a measured run" not in below and "not measured" not in below
    for verb in ("status", "close"):
        shown = metaloop("contest", verb, contest.folder).stdout
        assert re.search(rf"\n{arm_label(last)}\t.*; void since then: found out late\n", shown)
    export(contest, tmp_path / "out")
    for folder in (contest.folder, tmp_path / "out"):
        rows = metaloop("standings", folder, "--json").json["items"]
        assert {row["name"] for row in rows} >= {"stock", arm_label(last)}
        own_row = next(row for row in rows if row["name"] == arm_label(last))
        assert own_row["gain"] == pytest.approx(last["gain"]) and own_row["n"] == last["n"]  # of the race


def test_an_export_before_the_decision_says_that_it_is_no_study(
    contest: Contest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entered(contest, "local")
    carry_on(contest, quiet, until_idle=True)
    said = metaloop("export", contest.folder, "-o", tmp_path / "out").stderr
    assert "study.toml is left out because it holds the secret" in said
    removal.forget(contest, "P local 0")
    metaloop("export", contest.folder, "-o", tmp_path / "later")
    for name, named in (("out", True), ("later", False)):
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        texts = [str(path) + path.read_text() for path in files]
        assert ("P local" in "".join(texts)) == named
    assert "a contest is decided by its race, not" in metaloop("standings", contest.folder).stderr
    said = metaloop("standings", tmp_path / "out", code=2).stderr
    assert "from before the decision" in said and "--quick" not in said
    readers = {path.stat().st_mode & 0o044 for path in (tmp_path / "out").rglob("*")}
    assert readers == {(tmp_path / "out").stat().st_mode & 0o044}  # of the ledger, too
    assert (contest.folder / "ledger").stat().st_mode & 0o077 == 0
    index = (tmp_path / "out" / "README.md").read_text()
    names = re.findall(r"^- \[(.*)\]\(", index, re.MULTILINE)
    assert sorted([*names, "README.md"]) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "was not decided" in index and "card.svg" not in index
    said = metaloop("contest", "status", tmp_path / "out", code=2).stderr
    assert "is an export of a contest" in said and "board.json" in said and "missing" not in said
    shutil.copy(contest.folder / "study.toml", tmp_path / "out")  # as after the decision
    said = metaloop("standings", tmp_path / "out").stderr
    assert "out/announcement.json" in said and "contest status" not in said
    shutil.rmtree(tmp_path / "out/ledger")
    assert run(["verify", str(tmp_path / "out")]) != 0  # of nothing, all is derived from the secret
    assert "out/ledger is missing, empty, or not readable for you" in capsys.readouterr().err


def test_an_entry_that_is_reinstated_too_late_waits_for_no_run(contest: Contest) -> None:
    ids = entered(contest, "local")
    for number in (1, 2):
        change(contest, number, state="verified")
    acts.void(contest, ids[0], "too early")
    contest.state(close_asked="x", deciding="x")
    late, all_had = "The host reinstated 1 entry too late for further runs.", "All entries have had their runs."
    with served(contest) as port:
        assert all_had in Browser(port).fresh("/queue").text
        acts.unvoid(contest, ids[0])
        for phase, also in (("deciding", "The leaders' runs for the decision"), ("decided", "no runs are left")):
            contest.state(**{phase: "x"})
            page = unescape(Browser(port).fresh("/queue").text)
            assert late in page and also in page and all_had not in page and "Done in about" not in page
            assert "P local" not in page
            page = Browser(port).get(f"/entry/{ids[0]}?{phase}").text
            assert "was reinstated too late for further runs" in page and "osition 1" not in page


def test_export_has_an_entry_that_came_after_the_pages_were_read(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.contest.ranking.standing.SNAPSHOT_SECONDS", 3600.0)  # as all readers share one
    before = len(board_view(contest)["unmeasured"])
    entered(contest, "local")
    export(contest, tmp_path / "out")
    listed = json.loads((tmp_path / "out" / "board.json").read_text())["unmeasured"]
    assert len(listed) == before + 1


def test_export_before_the_first_run_is_whole_or_leaves_nothing(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(contest, "local")
    with monkeypatch.context() as broken:
        broken.setattr("arena.contest.export.contest_view", lambda _: 1 / 0)
        (tmp_path / "there").mkdir()
        for name, stays in (("new", False), ("there", True)):
            with pytest.raises(ZeroDivisionError):
                export(contest, tmp_path / name)
            assert (tmp_path / name).exists() == stays
    for name in ("new", "there"):
        assert export(contest, tmp_path / name)["entries"] == 3
        assert (tmp_path / name / "board.json").is_file()
    with pytest.raises(UsageError, match="exists already"):
        export(contest, tmp_path / "new")
