"""The page as a whole: its parts, what other people's text may do to it, and that every figure follows from a query."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from analysis.ledger import Ledger
from analysis.report import page
from analysis.report.card import card
from analysis.report.source import Answer, ReportSource
from analysis.statistics import Estimate
from analysis.study import open_study, query
from analysis.verdict.verdict import verdict_of
from analysis.views.tables import rows
from analysis.wording import brief, clean, count, duration, estimate, interval_decimals, number
from tests.analysis import synthetic
from tests.analysis.report import studies
from tests.analysis.report.parsed import Parsed

PARTS = "verdict standings program runs lineage spent experiments reproduce"
OURS = """
a b body button code dd details div dl dt figcaption figure footer form h1 h2 h3 head header html i input label li
line link main meta nav noscript option p path pre circle rect script section select span style summary svg table tbody
td text th thead title tr ul
"""


@dataclass(frozen=True)
class HostilePage:
    """Of a study whose texts attack the page."""

    elements: Parsed
    card: str


@pytest.fixture(scope="module")
def parts(ended: Path) -> page.Page:
    return studies.page_of(ended)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> HostilePage:
    folder = studies.finished(tmp_path_factory.mktemp("hostile"), hostile=True)
    with open_study(folder) as con:
        return HostilePage(Parsed(studies.written(folder)), card(con, str(folder)))


def test_a_finished_study_has_all_parts_in_order(html: str) -> None:
    assert re.findall(r'<section id="([a-z]+)"', html) == PARTS.split()
    assert "champion beats stock by " in html and "0.469 to 0.571" in html


def test_what_others_wrote_stays_text(hostile: HostilePage) -> None:
    """Program, reasons, findings: none adds an element, ends a script, leaves its attribute or turns the writing."""
    elements = hostile.elements
    assert {tag for tag, _ in elements.found} <= {*OURS.split()}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    executable = [text for attributes, text in elements.scripts if attributes.get("type") != "application/json"]
    expected = [page.asset(name) for name in page.LIBRARIES] + [page.template_text(name) for name in page.SCRIPTS]
    assert executable == expected
    assert "<img src=x onerror=" in elements.text and "{{ 7 * 7 }}" in elements.text
    assert "\u202e" not in elements.text


def test_embedded_data_is_json_that_no_parser_can_leave(hostile: HostilePage) -> None:
    data = hostile.elements.data
    assert len(data) >= 5
    for text in data:
        assert not set(text) & set("<>&\u2028\u2029")
        json.loads(text)
    assert any("onerror" in text for text in data)


def test_nothing_is_asked_of_any_server(html: str) -> None:
    own = html
    for name in page.LIBRARIES:
        own = own.replace(page.asset(name), "")
    for tag, attributes in Parsed(html).found:
        for name in ("src", "href", "action", "poster", "data", "srcset"):
            value = attributes.get(name) or ""
            assert not value or value.startswith("#") or value == "data:,", (tag, name, value)
    assert "url(" not in page.template_text("style.css") and "@import" not in page.template_text("style.css")
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|importScripts|csvParse|eval)\s*\(", own)


def test_the_policy_names_each_script_by_its_hash(html: str) -> None:
    elements = Parsed(html)
    [policy] = [a["content"] or "" for tag, a in elements.found if tag == "meta" and a.get("http-equiv")]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "script-src" in policy and "unsafe-inline" not in policy.partition("script-src")[2]
    for attributes, text in elements.scripts:
        if attributes.get("type") != "application/json":
            assert page.script_hash(text) in policy


def test_every_figure_follows_from_its_query(ended: Path, html: str, parts: page.Page) -> None:
    """What the page shows under "SQL query" gives, through `metaloop sql`, the rows that the page is made of."""
    found: list[Answer] = [*parts.answers.values(), parts.identity]
    assert len(found) > 8
    with open_study(ended) as con:
        for answer in found:
            again = [{key: clean(value) for key, value in row.items()} for row in rows(con.execute(answer.sql))]
            assert again == answer.rows
            assert not answer.rows or answer.sql in unescape(html)
    for answer in found[::5]:  # opening a study takes its time
        assert len(query(ended, answer.sql)) == len(answer.rows)


def test_the_same_ledger_gives_the_same_page(ended: Path, html: str) -> None:
    assert studies.written(ended) == html


def test_no_secret_is_on_the_page(tmp_path: Path) -> None:
    folder = studies.finished(tmp_path)
    (folder / "study.toml").write_text('secret = "0123456789abcdef"\n')
    assert "0123456789abcdef" not in studies.written(folder)


def test_match_without_champion_compares_the_named_programs(tmp_path: Path) -> None:
    for gain, sd, state in ((0.30, 0.05, "open"), (0.9, 0.01, "better")):
        gains = {"alpha": (gain, sd), "beta": (0.31, sd), "gamma": (0.05, 0.01)}
        html = studies.written(studies.race_only(tmp_path / state, gains))
        assert "alpha minus beta: " in html and "(two-sided p " in html and f'<div class="verdict {state}">' in html
        assert ("To show this difference with 80% power" in html) == (state == "open")


def test_an_empty_study_and_one_that_has_just_begun_have_a_page(tmp_path: Path) -> None:
    with Ledger(tmp_path / "empty" / "ledger", "main") as ledger:
        ledger.append({"kind": "study", "study_id": "y1", "config": {}, "version": "0"}, sync=False)
    assert "No run of this study has ended" in studies.written(tmp_path / "empty")
    assert "Runs that had not ended: 1." in studies.written(studies.just_begun(tmp_path / "begun"))


def test_the_credit_of_a_line_is_shown_with_its_experiments(ended: Path) -> None:
    with open_study(ended) as con:
        con.execute("UPDATE credit SET estimate = -2, low = -3, high = -1, n = 10 WHERE method = 'directive'")
        html = " ".join(page.report(con, str(ended)).split())
    assert "\u22122.00 [\u22123.00, \u22121.00], 10 experiments" in html


def test_planned_ablation_has_a_figure_per_program_and_run(ended: Path, parts: page.Page) -> None:
    assert "effects" not in {part.name for part, _ in parts.parts}
    with open_study(ended) as con:
        con.execute(
            "INSERT INTO credit BY NAME SELECT * FROM (VALUES "
            "('c1', 'p-best', NULL, 'factorial', 'randomised', 'Raise the rate', 0.4, 0.1, 0.2, 0.6, 24, 0.01, true), "
            "('c2', 'p-best', NULL, 'factorial', 'randomised', 'Wider', 0.1, 0.1, -0.1, 0.3, 24, 0.4, false), "
            "('c3', 'p-best', 'r-m1-best-0', 'leave-one-out', 'paired', 'lr=0.1', 0.3, 0.1, 0.1, 0.5, 4, 0.03, true)"
            ") AS t(credit_id, program_id, run_id, method, design, label, estimate, se, low, high, n, q, significant), "
            "(SELECT 'strokes' AS task, 'nats' AS unit)"
        )
        con.execute("UPDATE credit SET experiment_id = 'e1' WHERE credit_id = 'c3'")
        con.execute(
            "INSERT INTO ablations BY NAME SELECT 'x1' AS ablation_id, ['e0', 'e1', 'e2'] AS factors, "
            """'{"labels": ["wd=0", "lr=0.1", "lr=0.2"]}' AS plan"""
        )
        con.execute(
            "INSERT INTO replays BY NAME SELECT 'x1' AS ablation_id, 'r-m1-best-0' AS run_id, "
            "['e0', 'e2'] AS commits, ['e2'] AS skipped"
        )
        found = page.Page(ReportSource(con, str(ended)), verdict_of(con))
        [figures] = [figures for part, figures in found.parts if part.name == "effects"]
        con.execute("DELETE FROM champions")
        alone = [
            page.Page(found.source, replace(found.verdict, match_id="m1", ablated=one)) for one in (None, "p-best")
        ]
        assert [one.leader for one in alone] == ["stock", "p-best"]  # stock is the best of m1
    assert [figure.title for figure in figures] == [
        "Planned ablation: directives of champion, in nats",
        "Planned ablation: kept commits of run r-m1-be, in nats",
    ]
    assert [row["significant"] for row in figures[0].data["rows"]] == [True, False]
    assert figures[0].rows[0][:3] == ["Raise the rate", "+0.40", "0.20 to 0.60"]
    assert figures[1].rows[0][0] == "lr=0.1, and what needs it: lr=0.2"


def test_an_ablation_is_no_race(tmp_path: Path) -> None:
    """Its match decides nothing beside others, and its variants stand neither in the lineage nor among the programs."""
    folder = studies.finished(tmp_path)
    with Ledger(folder / "ledger", "later") as ledger:
        synthetic.program(ledger, "variant", operator="ablation", parent_ids=["p-best"], generation=1)
        match = {"match_id": "m3", "purpose": "ablation", "stream": "selection", "task": "strokes", "config": {},
                 "arms": [{"arm_id": "a1", "program_id": "variant", "role": "ablation"}]}  # fmt: skip
        ledger.append({"kind": "match", **match}, sync=False)
        synthetic.run(ledger, "r1", "m3", "a1", "variant", 0, [0.9, 0.8], claimed=0.9, trust="scored")
    after = studies.page_of(folder)
    assert all(row["program"] != "variant" for name in ("standings", "lineage") for row in after.asked(name).rows)
    assert after.verdict.decision is not None


def test_the_card_holds_the_verdict(hostile: HostilePage) -> None:
    drawn = hostile.card
    assert "beats" in drawn and "<img" not in drawn and "<script" not in drawn
    parsed = ElementTree.fromstring(drawn)  # well formed, whatever the programs are called
    assert {element.tag.rpartition("}")[2] for element in parsed.iter()} <= {
        "svg", "style", "clipPath", "g", "text", "rect", "line", "circle", "path"
    }  # fmt: skip


def test_embed_keeps_what_it_is_given() -> None:
    value = '</script><!--]]>\u2028\u2029&lt;a"b\\c\ud83d\ude00'
    text = str(page.embed({"x": value}))
    assert json.loads(text) == {"x": value} and not set(text) & set("<>&\u2028\u2029")


@pytest.fixture(scope="module")
def shown(html: str) -> Parsed:
    return Parsed(html)


def only(folder: Path, sql: str) -> dict[str, Any]:
    (row,) = query(folder, sql)
    return row


def test_verdict_and_tiles_follow_from_sql(ended: Path, shown: Parsed) -> None:
    row = only(ended, "SELECT details -> 'decision' -> 'tested' -> 'lead' AS lead FROM champions")["lead"]
    lead = Estimate(**row)
    assert f"beats stock by {estimate(lead.value, lead.low, lead.high, 'nats', 3)} (planned" in shown.text
    counts = only(
        ended, "SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM experiments) AS experiments"
    )
    assert f"{count(counts['runs'])} runs, {count(counts['experiments'])} experiments" in shown.text
    spent = only(
        ended,
        "SELECT (SELECT coalesce(sum(device_seconds_spent), 0) FROM experiments) + "
        "(SELECT sum((record ->> 'device_seconds_spent')::DOUBLE) FROM events WHERE kind = 'baseline') AS s",
    )
    assert f"{duration(spent['s'])} of device time" in shown.text


def test_standings_follow_from_sql(ended: Path, shown: Parsed) -> None:
    rows = query(ended, "SELECT name, role, gain, low, high, claimed, n FROM standings WHERE match_id = 'm2' "
                 "ORDER BY gain DESC, arm_id")  # fmt: skip
    told = shown.rows("standings-0")
    assert len(rows) == len(told) == 3 and "ranks" not in told[0]  # one planned test decides, so no ranks are beside it
    for row, cells in zip(rows, told, strict=True):
        digits = interval_decimals(row["low"], row["high"])
        assert cells["gain"] == number(row["gain"], digits) and digits >= 2
        assert cells["95% interval"] == f"{number(row['low'], digits)} to {number(row['high'], digits)}"
        assert (cells["claimed gain"], cells["role"]) == (brief(row["claimed"], 4), row["role"])


def test_table_of_time_follows_from_sql(ended: Path, shown: Parsed) -> None:
    told = {row["what"]: (row["times"], row["spent"]) for row in shown.rows("spent-0")}
    seconds = "sum((record ->> 'device_seconds_spent')::DOUBLE) AS s, count(*) AS n"
    spent = only(ended, f"SELECT {seconds} FROM events WHERE kind = 'baseline'")
    assert told["shared baselines"] == (count(spent["n"]), duration(spent["s"]))
    verified = only(ended, "SELECT count(*) AS n FROM verifications")["n"]
    assert told["verification of the final scripts"][0] == count(verified)


def test_experiments_follow_from_sql(ended: Path, shown: Parsed) -> None:
    best = query(ended, "FROM experiments WHERE decision = 'keep' ORDER BY gain DESC, experiment_id LIMIT 5")
    told = {(row["number"], row["metric"], row["gain"]) for row in shown.rows("experiments-0")}
    for row in best:
        assert (count(row["number"]), brief(row["metric"], 4), brief(row["gain"], 4)) in told
