"""What is told of a close, a void entry and a win: on pages, by commands, on the card of the winner, in an export."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.entering import accounts, acts, removal
from arena.contest.entering.accounts import hashed
from arena.contest.entering.entries import change
from arena.contest.export import export
from arena.contest.ranking.views import board_view
from arena.contest.running import pace
from arena.contest.stored import arm_label
from arena.contest.tables import ContestEntry
from arena.contest.web import card
from arena.serving.clock import utc_now
from meta.cli import contest_host
from programs.common.errors import UsageError
from tests.arena.contest.hosting import Browser, decided, entered, founded, served, winner
from tests.arena.contest.test_board import filled
from tests.meta.cli_study import cli, metaloop

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
                assert "early: heavy rain" in Browser(port).fresh(path).text, (phase, path)
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


def test_void_after_the_decision_is_beside_the_announcement(ended_copy: Contest, tmp_path: Path) -> None:
    """Of one that did not win, too: in the announcement's table, under its own heading, by status and close."""
    contest, said = ended_copy, board_view(ended_copy)["announcement"]
    last = [row for row in said["rows"] if row["role"] == "program"][-1]
    acts.void(contest, last["entry_id"], "found out late")
    acts.write_down(contest)
    assert board_view(contest)["announcement"] == said  # the record of the decision stays
    ranks = query(contest.folder, "SELECT rank_low FROM standings WHERE purpose = 'confirmation'")
    assert all(row["rank_low"] is not None for row in ranks)
    with served(contest) as port:
        html = Browser(port).get("/").text
        own = Browser(port).get(f"/entry/{last['entry_id']}").text
    assert re.search(r"<h2 id=\"best\">Its best run: confirming run \d+</h2>", own)
    decision, below = html.split(">Void</h3>")
    mark = "<strong>void</strong> since"
    assert decision.count(mark) == 1 and "found out late" in decision.split(mark)[1]
    assert "found out late" in below and below.count("not measured") == 1  # that of Dan
    for verb in ("status", "close"):
        shown = metaloop("contest", verb, contest.folder).stdout
        assert re.search(rf"\n{arm_label(last)}\t.*; void since then: found out late\n", shown)
    export(contest, tmp_path / "out")
    for folder in (contest.folder, tmp_path / "out"):
        rows = metaloop("standings", folder, "--json").json["items"]
        own_row = next(row for row in rows if row["name"] == arm_label(last))
        assert own_row["gain"] == pytest.approx(last["gain"]) and own_row["n"] == last["n"]  # of the race


def test_an_export_before_the_decision_says_that_it_is_no_study(ran_copy: Contest, tmp_path: Path) -> None:
    contest, out = ran_copy, tmp_path / "out"
    said = metaloop("export", contest.folder, "-o", out).stderr
    assert "study.toml is left out because it holds the secret" in said
    removal.forget(contest, "Ada")
    metaloop("export", contest.folder, "-o", tmp_path / "later")
    for folder, named in ((out, True), (tmp_path / "later", False)):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert ("Ada" in "".join(str(path) + path.read_text() for path in files)) == named
    said = metaloop("standings", out, code=2).stderr
    assert "from before the decision" in said and "--quick" not in said
    assert {path.stat().st_mode & 0o044 for path in out.rglob("*")} == {out.stat().st_mode & 0o044}  # the ledger, too
    assert (contest.folder / "ledger").stat().st_mode & 0o077 == 0
    index = (out / "README.md").read_text()
    names = re.findall(r"^- \[(.*)\]\(", index, re.MULTILINE)
    assert sorted([*names, "README.md"]) == sorted(path.name for path in out.iterdir())
    assert "was not decided" in index and "card.svg" not in index
    assert "is an export of a contest" in metaloop("contest", "status", out, code=2).stderr
    shutil.copy(contest.folder / "study.toml", out)  # as after the decision
    assert "out/announcement.json" in metaloop("standings", out).stderr
    shutil.rmtree(out / "ledger")
    ended = cli("verify", out)  # of nothing, all is derived from the secret
    assert ended.returncode != 0 and "out/ledger is missing, empty, or not readable for you" in ended.stderr


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


SVG = "{http://www.w3.org/2000/svg}"


def announced(contest: Contest, outcome: str, winners: int) -> list[dict[str, Any]]:
    """An announcement with so many winners, the entries 3 and 4."""
    filled(contest, 2)
    with contest.database.write() as connection:
        entries = {entry.number: entry for entry in connection.query(ContestEntry)}
        for number, name in ((3, "Ada"), (4, "Bob")):
            person, entries[number].name = entries[number].person, "<p>"
            assert person is not None
            person.name, person.token_hash = name, hashed(f"{accounts.PERSON}{name}")
    who = [
        {"entry_id": entries[n].entry_id, "number": n, "entrant": entrant, "name": "<p>"}
        for n, entrant in ((3, "Ada"), (4, "Bob"))
    ]
    figures = {"gain": 0.5, "low": 0.4, "high": 0.6, "n": 9, "se": 0.1, "rank_high": 3}
    stock = {"entry_id": entries[1].entry_id, "number": 1, "entrant": "host", "name": "stock", "role": "control"}
    rows = [winner(**figures, **one) for one in (*who, stock)]
    said = decided(rows, outcome=outcome, winners=who[:winners], best=who[0])
    reason = {"below": None, "by": 0.1, "runs": 9, "above_stock": False}
    said["lost"] = [{**reason, "number": one["number"]} for one in who[winners:]]
    contest.database.set_fact("announcement", **said)
    contest.state(decided="2026-01-02T00:00:00+00:00")
    return who


@pytest.mark.parametrize(("outcome", "winners"), [("won", 1), ("shared", 2)])
def test_a_win_has_a_card_with_its_interval(tmp_path: Path, outcome: str, winners: int) -> None:
    contest, tied = founded(tmp_path, title="Trial <1>").contest, winners == 2
    with served(contest) as port:
        assert Browser(port).get("/card.svg").status == 404
        who = announced(contest, outcome, winners)
        page = Browser(port).fresh("/").text
        assert Browser(port, f"{accounts.PERSON}Ada").get("/").text.split("</table>")[0].count(" (yours)") == 1
        svg = Browser(port).get("/card.svg")
        own, other = (Browser(port).get(f"/entry/{each['entry_id']}").text for each in who)
        acts.void(contest, who[0]["entry_id"], "found out late")
        later = Browser(port).get("/card.svg").text
    won = "Ada: &lt;p&gt; and Bob: &lt;p&gt; share the win" if tied else "Ada: &lt;p&gt; won"
    assert won in own.split("pins")[0] and won in page and ('class="card"' in other) == tied
    for text in (page, own):  # the picture is on the page; a link to it alone leads to an address without a way back
        assert '<img class="card" src="/card.svg"' in text and text.count('"/card.svg" download') == 1
        assert 'href="/card.svg">' not in text
    assert svg.headers["content-type"] == "image/svg+xml" and "script" not in svg.headers["content-security-policy"]
    texts = [" ".join("".join(node.itertext()).split()) for node in ElementTree.fromstring(svg.text).iter(f"{SVG}text")]
    assert ("Win shared by 2 entries: Ada: <p> and Bob: <p>" if tied else "Ada: <p> won") in texts
    assert ("95% interval 0.40 to 0.60" in " ".join(texts)) != tied and {"Ada: <p>", "Bob: <p>"} <= set(texts)
    assert any("Trial <1>" in text for text in texts) and any(text.endswith("decided 2026-01-02") for text in texts)
    assert "has declared Ada" not in svg.text and "has declared Ada" in later


def test_card_and_export_of_an_early_close_say_so(contest: Contest, tmp_path: Path) -> None:
    announced(contest, "won", 1)
    contest.state(early="heavy rain " * 40)
    assert ">Closed early by the host.<" in (card.winners_card(contest) or "")  # without a reason that has no room
    contest.state(early="heavy rain.")
    said = metaloop("export", contest.folder, "-o", tmp_path / "out").stderr
    assert f"next:\n  metaloop verify {tmp_path / 'out'}  #" in said
    svg, text = ((tmp_path / "out" / name).read_text() for name in ("card.svg", "announcement.md"))
    assert ">Closed early by the host: heavy rain.<" in svg
    assert [x in svg for x in (">0.2</text>", ">0.6</text>")] == [True, True]  # the axis has more than one tick
    assert "Closed early by the host: heavy rain" in text and "- Ada: <p>: 0.50 nats (95% interval" in text
    assert "[card.svg](card.svg)" in (tmp_path / "out" / "README.md").read_text()
    for verb in ("close", "status"):
        said = metaloop("contest", verb, contest.folder).stderr
        assert said.split("next:\n")[1].startswith(f"  metaloop export {contest.folder} -o {contest.folder}-")


def test_card_draws_arms_by_gain_and_says_how_many_are_left_out(contest: Contest) -> None:
    announced(contest, "won", 1)
    said = contest.announcement()
    twin = {**said["rows"][-1], "role": "a/a", "number": 2, "gain": 0.1}
    more = [{**said["rows"][1], "number": n, "entrant": f"P{n}"} for n in range(5, 20)]
    contest.database.set_fact("announcement", **{**said, "rows": [*said["rows"], twin, *more]})
    svg = card.winners_card(contest) or ""
    assert svg.count("stock, both arms") == 1 and "Ada" in svg
    drawn = svg.count("<circle")
    assert drawn > 5 and f"; {18 - drawn} more programs not drawn" in svg
    lucky = [{**one, "gain": 0.6} for one in more]
    contest.database.set_fact("announcement", **{**said, "rows": [*said["rows"], *lucky]})
    svg = card.winners_card(contest) or ""
    places = [svg.index(name) for name in (">P5: &lt;p&gt;<", ">Ada: &lt;p&gt;<", ">stock, both arms<")]
    assert svg.count("<circle") == 8 and places == sorted(places)


def test_without_a_winner_there_is_no_card(contest: Contest) -> None:
    announced(contest, "none", 0)
    with served(contest) as port:
        assert Browser(port).get("/card.svg").status == 404
        assert "/card.svg" not in Browser(port).fresh("/").text
