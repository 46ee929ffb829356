"""The page as a whole: its parts, what other people's text may do to it, and that every figure follows from a query."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
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
from tests.analysis.report import studies
from tests.analysis.report.conftest import SECRET

PARTS = "verdict standings program runs lineage spent experiments reproduce"
OURS = """
a b body button code dd details div dl dt figcaption figure footer form h1 h2 h3 head header html i input label li
line link main meta nav noscript option p path pre circle rect script section select span style summary svg table tbody
td text th thead title tr ul
"""


class Parsed(HTMLParser):
    """A page as a browser's parser sees it: its elements (tag, attributes), scripts (attributes, text), other text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self._inside:
            self.text += data

    @property
    def data(self) -> list[str]:
        return [text for attributes, text in self.scripts if attributes.get("type") == "application/json"]


@pytest.fixture(scope="module")
def parts(ended: Path) -> page.Page:
    return studies.page_of(ended)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose texts attack the page."""
    return studies.finished(tmp_path_factory.mktemp("hostile"), hostile=True)


@pytest.fixture(scope="module")
def attacked(hostile: Path) -> Parsed:
    return Parsed(studies.written(hostile))


def test_a_finished_study_has_all_parts_in_order(html: str) -> None:
    assert re.findall(r'<section id="([a-z]+)"', html) == PARTS.split()
    assert "champion beats stock by " in html and "0.469 to 0.571" in html


def test_what_others_wrote_stays_text(attacked: Parsed) -> None:
    """Program, reasons, findings: none adds an element, ends a script, leaves its attribute or turns the writing."""
    assert {tag for tag, _ in attacked.found} <= {*OURS.split()}
    assert not [name for _, attributes in attacked.found for name in attributes if name.startswith("on")]
    executable = [text for attributes, text in attacked.scripts if attributes.get("type") != "application/json"]
    assert executable == [*map(page.asset, page.LIBRARIES), *map(page.template_text, page.SCRIPTS)]
    assert "<img src=x onerror=" in attacked.text and "{{ 7 * 7 }}" in attacked.text
    assert "\u202e" not in attacked.text


def test_embedded_data_is_json_that_no_parser_can_leave(attacked: Parsed) -> None:
    value = '</script><!--]]>\u2028\u2029&lt;a"b\\c\ud83d\ude00'
    assert json.loads(str(page.embed({"x": value}))) == {"x": value}
    assert len(attacked.data) >= 5 and any("onerror" in text for text in attacked.data)
    for text in (*attacked.data, str(page.embed({"x": value}))):
        assert not set(text) & set("<>&\u2028\u2029")
        json.loads(text)


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


def test_the_same_ledger_gives_the_same_page_without_secrets(ended: Path, html: str) -> None:
    assert studies.written(ended) == html and SECRET not in html


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


PLANNED = """
INSERT INTO credit BY NAME SELECT *, 'p-best' AS program_id, 'strokes' AS task, 'nats' AS unit, 0.1 AS se FROM (VALUES
    ('c1', NULL, NULL, 'factorial', 'randomised', 'Raise the rate', 0.4, 0.2, 0.6, 24, 0.01, true),
    ('c2', NULL, NULL, 'factorial', 'randomised', 'Wider', 0.1, -0.1, 0.3, 24, 0.4, false),
    ('c3', 'r-m1-best-0', 'e1', 'leave-one-out', 'paired', 'lr=0.1', 0.3, 0.1, 0.5, 4, 0.03, true)
) AS t(credit_id, run_id, experiment_id, method, design, label, estimate, low, high, n, q, significant);
INSERT INTO ablations BY NAME SELECT 'x1' AS ablation_id, ['e0', 'e1', 'e2'] AS factors,
    '{"labels": ["wd=0", "lr=0.1", "lr=0.2"]}' AS plan;
INSERT INTO replays BY NAME SELECT 'x1' AS ablation_id, 'r-m1-best-0' AS run_id, ['e0', 'e2'] AS commits,
    ['e2'] AS skipped;
"""


def test_planned_ablation_has_a_figure_per_program_and_run(ended: Path, parts: page.Page) -> None:
    assert "effects" not in {part.name for part, _ in parts.parts}
    with open_study(ended) as con:
        con.execute(PLANNED)
        found = page.Page(ReportSource(con, str(ended)), verdict_of(con))
        [figures] = [figures for part, figures in found.parts if part.name == "effects"]
        con.execute("DELETE FROM champions")
        for ablated, leader in ((None, "stock"), ("p-best", "p-best")):  # stock is the best of m1
            verdict = replace(found.verdict, match_id="m1", ablated=ablated)
            assert page.Page(found.source, verdict).leader == leader
    assert [figure.title for figure in figures] == [
        "Planned ablation: directives of champion, in nats",
        "Planned ablation: kept commits of run r-m1-be, in nats",
    ]
    assert [row["significant"] for row in figures[0].data["rows"]] == [True, False]
    assert figures[0].rows[0][:3] == ["Raise the rate", "+0.40", "0.20 to 0.60"]
    assert figures[1].rows[0][0] == "lr=0.1, and what needs it: lr=0.2"


def test_the_card_holds_the_verdict(hostile: Path) -> None:
    with open_study(hostile) as con:
        drawn = card(con, str(hostile))
    assert "beats" in drawn and "<img" not in drawn and "<script" not in drawn
    parsed = ElementTree.fromstring(drawn)  # well formed, whatever the programs are called
    assert {element.tag.rpartition("}")[2] for element in parsed.iter()} <= {
        "svg", "style", "clipPath", "g", "text", "rect", "line", "circle", "path"
    }  # fmt: skip


@pytest.fixture(scope="module")
def shown(html: str) -> Parsed:
    return Parsed(html)


def test_verdict_and_tiles_follow_from_sql(ended: Path, shown: Parsed) -> None:
    [row] = query(ended, """
        SELECT details -> 'decision' -> 'tested' -> 'lead' AS lead, (SELECT count(*) FROM runs) AS runs,
            (SELECT count(*) FROM experiments) AS experiments,
            (SELECT coalesce(sum(device_seconds_spent), 0) FROM experiments) +
            (SELECT sum((record ->> 'device_seconds_spent')::DOUBLE) FROM events WHERE kind = 'baseline') AS spent
        FROM champions
    """)  # fmt: skip
    lead = Estimate(**row["lead"])
    assert f"beats stock by {estimate(lead.value, lead.low, lead.high, 'nats', 3)} (planned" in shown.text
    assert f"{count(row['runs'])} runs, {count(row['experiments'])} experiments" in shown.text
    assert f"{duration(row['spent'])} of device time" in shown.text


def test_standings_follow_from_sql(ended: Path, shown: Parsed, parts: page.Page) -> None:
    rows = query(ended, "SELECT name, role, gain, low, high, claimed, n FROM standings WHERE match_id = 'm2' "
                 "ORDER BY gain DESC, arm_id")  # fmt: skip
    [table, *_] = next(figures for part, figures in parts.parts if part.name == "standings")
    titles = [title.removeprefix(">") for title in table.titles]
    assert len(rows) == len(table.rows) == 3 and "ranks" not in titles  # one planned test decides, without ranks
    for row, told in zip(rows, table.rows, strict=True):
        cells, digits = dict(zip(titles, told, strict=True)), interval_decimals(row["low"], row["high"])
        assert all(text in shown.text for text in told)
        assert cells["gain"] == number(row["gain"], digits) and digits >= 2
        assert cells["95% interval"] == f"{number(row['low'], digits)} to {number(row['high'], digits)}"
        assert (cells["claimed gain"], cells["role"]) == (brief(row["claimed"], 4), row["role"])


TEXT, SHAPES = 4.5, 3.0  # the least contrast of text, and of what must be seen to understand a picture (1.4.3, 1.4.11)
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "soft", "accent", "warm") for ground in ("bg", "panel")),
    *(("ink", f"{way}-{step}", TEXT) for way in ("up", "down") for step in range(1, 5)),
    *((ink, "band", TEXT) for ink in ("ink", "soft")),
    *((shape, ground, SHAPES) for shape in ("accent", "warm", "soft", "other") for ground in ("bg", "band")),
]
SCHEMES = ("light", "dark")


def colours(scheme: str) -> dict[str, str]:
    both = r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);"
    found = re.findall(both, page.template_text("style.css"))
    assert len(found) > 15
    return {name: (light, dark)[SCHEMES.index(scheme)] for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_must_be_read_can_be_read(scheme: str) -> None:
    known = colours(scheme)
    weak = {
        (ink, ground): round(contrast(known[ink], known[ground]), 2)
        for ink, ground, least in PAIRS
        if contrast(known[ink], known[ground]) < least
    }
    assert not weak


def test_every_colour_comes_from_the_list() -> None:
    """A colour that is written anywhere else escapes the check above."""
    style = page.template_text("style.css")
    rules = style[style.index('[data-theme="light"]') :]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsl", rules)
    known = set(colours("light"))
    for name in ("style.css", "charts.js", "page.js", "experiments.js"):
        text = page.template_text(name)
        assert set(re.findall(r"var\(--([a-z0-9-]+)\)", text)) <= known
        assert set(re.findall(r'colour\("([a-z0-9-]+)"\)', text)) <= known
        assert name == "style.css" or not re.search(r'"#[0-9a-f]{3,6}"', text)


def test_libraries_are_those_that_were_fetched() -> None:
    versions = (page.ASSETS / "VERSIONS").read_text()
    for line in versions.partition("SHA-256\n")[2].splitlines():
        digest, name = line.split()
        assert hashlib.sha256((page.ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert "Mike Bostock" in page.licences() and "Observable" in page.licences()
