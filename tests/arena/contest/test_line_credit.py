"""The figures beside the lines of a program: which experiments they average, and what is said of other lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analysis.report.champion import excerpts
from analysis.study import query
from analysis.tables import record, rows
from analysis.wording import MINUS
from arena.contest import accounts, insight
from arena.contest.acts import void
from arena.contest.entries import accept
from arena.contest.insight import credit_of
from arena.contest.line_credit import DirectiveHolders, LineCredit, SharedTries, TriesByLine
from arena.contest.work import carry_on
from programs.program import Program
from tests.arena.contest.hosting import Browser, founded, served
from tests.arena.contest.test_insight import LISTED, quiet


def test_lines_with_the_same_edits_share_their_experiments() -> None:
    lines = {"d1": "`MOMENTUM=0.9`", "d2": "Try `MOMENTUM=0.9`", "d3": "Try `MOMENTUM=0.8`", "d5": "Or `MOMENTUM=0.9`"}
    held = [DirectiveHolders(key, "idea", text, ["p", key]) for key, text in lines.items()]
    held.append(DirectiveHolders("d4", "charter", "confirm: 0.15", ["p"]))
    tried = [
        SharedTries("MOMENTUM=0.9", "t", 4, 0.2, 1, ["d1", "d2"]),
        SharedTries("MOMENTUM=0.9", "u", 1, 3.0, 0, ["d2"]),
        SharedTries(
            "MOMENTUM=0.8",
            "t",
            1,
            0.3,
            0,
            ["d3"],
            raced=4,
            race_total=-0.2,
            race_failed=1,
            race_kept=2,
            race_lines=["d3"],
        ),
        SharedTries("MOMENTUM=0.8", "u", 0, 0.0, 0, ["d3"], raced=1, race_total=0.5, race_lines=["d1", "d3"]),
    ]
    tries = TriesByLine(held, tried, {"p": [3], "d2": [4, 5]}, {"t": "nats", "u": "points"})
    row: dict[str, Any] = {
        "directive_id": "d1", "kind": "idea", "text": "`MOMENTUM=0.9`", "credit_id": "c", "method": "directive",
        "design": "observational", "estimate": -0.126, "low": -0.4, "high": 0.1, "n": 2, "q": None,
        "unit": "nats per experiment", "causal": False, "task": "t",
    }  # fmt: skip
    blank = {"average": None, "averaged": 0, "failed": 0, "has_own": True, "others": 0, "entries": [], "named": False}
    blank |= {"race_average": None, "raced": 0, "race_failed": 0, "race_kept": 0}
    blank |= {"race_own": True, "race_others": 0}

    def credited(**changes: Any) -> list[LineCredit]:
        return [record({**blank, **one}, LineCredit) for one in tries.credited([{**row, **changes}])]

    said, elsewhere = credited()
    shared = "+0.0500 on average, 4 experiments and 1 failed of this line and 1 other with the same edits"
    assert said.label == shared and list(said.entries) == [3, 4, 5]  # few: no model
    assert elsewhere.label == "+3.0000, 1 experiment of 1 other line with the same edits"  # on that task not its own
    assert replace(elsewhere, named=True).label.startswith("u, in points: +3.0000, 1 experiment")
    proven = credited(q=0.01, high=-0.1)[0]
    assert proven.label == f"{shared}; this line alone, adjusted {proven.estimated}, significant"
    none: dict[str, Any] = {"method": None, "task": None, "estimate": None, "low": None, "high": None}
    unrun = [one for one in credited(directive_id="d5", **none) if one.estimate is not None]
    assert unrun[0].label == "+0.0500 on average, 4 experiments and 1 failed of 2 other lines with the same edits"
    assert [(one.task, one.unit) for one in unrun] == [("t", "nats per experiment"), ("u", "points per experiment")]
    race = "in the race -0.0500 on average, 4 experiments and 1 failed, 2 kept".replace("-", MINUS)
    tested, in_race = credited(directive_id="d3", q=0.2)
    assert (
        tested.label == f"+0.3000, 1 experiment; adjusted {tested.estimated}, not significant; {race}"
    )  # which does not count them
    both = "of this line and 1 other with the same edits"
    assert in_race.label == f"in the race +0.5000, 1 experiment {both}, none kept" and not in_race.is_adjusted
    assert in_race.estimate is None and list(in_race.entries) == [3]  # the race says nothing of what a line gains
    text = "## Ideas\n\n- Try `MOMENTUM=0.8`\n"
    idea = Program.parse(text).ideas[0].directive_id
    marks = [mark for one in excerpts(text, [replace(in_race, directive_id=idea)]) for mark in one.marks]
    assert [(mark.label, mark.design, mark.way) for mark in marks] == [(in_race.label, "", "none")]
    assert replace(proven, kind="charter").label == f"{proven.label}; not tinted: a setting"
    assert (proven.significance, said.significance) == ("yes", "no")
    assert replace(proven, kind="charter").significance == "yes, but a setting: not tinted"
    assert next(tries.credited([{**row, "directive_id": "d4", "kind": "charter", "low": None}]))["estimate"] is None
    assert record({**blank, **row}, LineCredit).label == f"{said.estimated}, 2 experiments"  # of an earlier version


def test_lines_that_only_the_race_cites_are_listed_apart() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE matches AS FROM (VALUES ('b', 'board'), ('c', 'confirmation')) AS m(match_id, stream)")
    con.execute(
        """CREATE TABLE experiments AS SELECT m || i AS run_id, n AS number, CASE n WHEN 0 THEN [] ELSE [cites] END
        AS directive_ids, 'ok' AS status, 1.0 AS fraction, 's' || n AS source_id, 0 AS parent_number, i AS seed,
        n * 0.5 AS gain, 'keep' AS decision, 't' AS task, m AS match_id
        FROM (VALUES ('b', 1, 'd1'), ('c', 2, 'd1'), ('c', 3, 'd2'), ('c', 4, 'd3')) AS runs(m, i, cites),
        range(2) AS r(n)"""
    )
    keys = {"ids": ["d1", "d2", "d3"], "keys": ["same", "same", "own"]}
    own, same = (record(row, SharedTries) for row in rows(con.execute(insight._query("directive_tries"), keys)))
    assert (same.n, same.lines, same.raced, same.race_lines) == (1, ["d1"], 2, ["d1", "d2"])
    assert (own.n, own.lines, own.raced, own.race_lines) == (0, [], 1, ["d3"])


@pytest.mark.slow
def test_another_entrants_words_are_not_shown_beside_a_line_and_a_copy_counts_once(tmp_path: Path) -> None:
    contest = founded(tmp_path, sealed=False).contest
    ada, bob = (accounts.join(contest.database, contest.config, name, "")[0] for name in ("Ada", "Bob"))
    forged = "Ada cheated, adjusted"
    entry = accept(contest, ada, LISTED).entry
    other = accept(contest, bob, LISTED.replace(b"Set `LADDER1=0.1`.", f"`LADDER1=0.1` {forged}".encode())).entry
    carry_on(contest, quiet, until_idle=True)
    sql = "SELECT source_id, parent_source_id, seed, unnest(directive_ids) AS directive FROM experiments "
    cited = query(contest.folder, sql + "WHERE number > 0 AND source_id <> parent_source_id AND fraction = 1")
    with served(contest) as port:
        shown = [Browser(port).get(f"/entry/{entry.entry_id}").text]
        void(contest, str(other.number), "cheating")
        shown.append(Browser(port).get(f"/entry/{entry.entry_id}").text)
    link = f'The same edits: <a href="/entry/{other.entry_id}">Bob 1</a>'
    credits = ["".join(page.split('<div class="credit ')[1:]).split('id="changes"')[0] for page in shown]
    assert [link in page for page in credits] == [True, False] and forged not in "".join(credits)
    ids = zip(*([one.directive_id for one in Program.parse(e.raw).ideas] for e in (entry, other)), strict=True)
    alike = {first: {first, second} for first, second in ids}
    before = {row.directive_id: row.averaged + row.failed for row in credit_of(contest, entry.program_id)}
    every = repeated = 0
    for row in credit_of(contest, entry.program_id):
        trained = [tuple(one.values())[:3] for one in cited if one["directive"] in alike[row.directive_id]]
        assert row.averaged + row.failed == len(set(trained))
        every, repeated = every + len(trained), repeated + len(trained) - len(set(trained))
    assert every > repeated > 0
    assert not any(row.raced for row in credit_of(contest, entry.program_id))
    contest.state(close_asked="2026-01-01T00:00:00+00:00")
    carry_on(contest, quiet)
    race = "(SELECT match_id FROM matches WHERE stream = 'confirmation')"
    raced = query(contest.folder, f"{sql}WHERE match_id IN {race} AND number > 0 AND source_id <> parent_source_id")
    for row in credit_of(contest, entry.program_id):
        trained = {tuple(one.values())[:3] for one in raced if one["directive"] == row.directive_id}
        assert row.raced + row.race_failed == len(trained) > 0 and "; in the race " in row.label
        assert row.averaged + row.failed == before[row.directive_id]  # without the race's
