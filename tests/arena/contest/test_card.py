"""The card of the winner: there once an entry has won, and never more certain than the announcement."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from arena.contest.contest import Contest
from arena.contest.entering import accounts, acts
from arena.contest.entering.accounts import hashed
from arena.contest.tables import ContestEntry
from arena.contest.web import card
from tests.arena.contest.hosting import Browser, decided, founded, served, winner
from tests.arena.contest.test_board import filled
from tests.meta.cli_study import metaloop

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
    contest = founded(tmp_path, title="Trial <1>").contest
    with served(contest) as port:
        assert Browser(port).get("/card.svg").status == 404
        who = announced(contest, outcome, winners)
        page = Browser(port).fresh("/").text
        assert Browser(port, f"{accounts.PERSON}Ada").get("/").text.split("</table>")[0].count(" (yours)") == 1
        svg = Browser(port).get("/card.svg")
        own, other = (Browser(port).get(f"/entry/{each['entry_id']}").text for each in who)
        acts.void(contest, who[0]["entry_id"], "found out late")
        later = Browser(port).get("/card.svg").text
    tied = winners == 2
    won = "Ada: &lt;p&gt; and Bob: &lt;p&gt; share the win" if tied else "Ada: &lt;p&gt; won"
    assert won in own.split("pins")[0] and '<img class="card" src="/card.svg"' in own.split("pins")[0]
    assert won in page and ('class="card"' in other) == tied
    for text in (page, own):  # the picture is on the page; a link to it alone leads to an address without a way back
        assert '<img class="card" src="/card.svg"' in text and text.count('"/card.svg" download') == 1
        assert 'href="/card.svg">' not in text
    assert svg.headers["content-type"] == "image/svg+xml" and "script" not in svg.headers["content-security-policy"]
    texts = [" ".join("".join(node.itertext()).split()) for node in ElementTree.fromstring(svg.text).iter(f"{SVG}text")]
    assert ("Win shared by 2 entries: Ada: <p> and Bob: <p>" if tied else "Ada: <p> won") in texts and any(
        "Trial <1>" in text for text in texts
    )
    assert ("95% interval 0.40 to 0.60" in " ".join(texts)) != tied and {"Ada: <p>", "Bob: <p>"} <= set(texts)
    assert any(text.endswith("decided 2026-01-02") for text in texts)
    gains = " of each, the winners gain 0.50 nats" if tied else ", Ada: <p> gains 0.50 nats"
    assert any(text.startswith(f"Over 9 fresh runs{gains}") for text in texts)
    assert "has declared Ada" not in svg.text and "has declared Ada" in later


def test_card_and_export_of_an_early_close_say_so(contest: Contest, tmp_path: Path) -> None:
    announced(contest, "won", 1)
    contest.state(early="heavy rain " * 40)
    assert ">Closed early by the host.<" in (card.winners_card(contest) or "")  # without a reason that has no room
    contest.state(early="...")
    assert ">Closed early by the host.<" in (card.winners_card(contest) or "")
    contest.state(early="heavy rain.")
    contest.database.set_fact("address", url="http://127.0.0.1:8321/")
    said = metaloop("export", contest.folder, "-o", tmp_path / "out").stderr
    assert f"next:\n  metaloop verify {tmp_path / 'out'}  #" in said
    svg, text = ((tmp_path / "out" / name).read_text() for name in ("card.svg", "announcement.md"))
    assert ">Metaloop contest ·" in svg and ">Closed early by the host: heavy rain.<" in svg
    assert [x in svg for x in (">0.2</text>", ">0.6</text>")] == [True, True]  # the axis has more than one tick
    assert "Closed early by the host: heavy rain" in text and "- Ada: <p>: 0.50 nats (95% interval" in text
    assert "[card.svg](card.svg)" in (tmp_path / "out" / "README.md").read_text()
    for verb in ("close", "status"):
        said = metaloop("contest", verb, contest.folder)
        assert said.stderr.split("next:\n")[1].startswith(f"  metaloop export {contest.folder} -o {contest.folder}-")
        assert "/, and /card.svg if an entry won\n" in said.stderr and "address\thttp://127.0.0.1:8321/" in said.stdout


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
