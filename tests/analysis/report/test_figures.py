"""Every figure of the page follows from SQL: a sample, asked anew in words of this test, stands on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.statistics import Estimate
from analysis.study import query
from analysis.wording import brief, count, duration, estimate, interval_decimals, number
from tests.analysis.report.parsed import Parsed


@pytest.fixture(scope="module")
def shown(html: str) -> Parsed:
    return Parsed(html)


def only(folder: Path, sql: str) -> dict[str, Any]:
    (row,) = query(folder, sql)
    return row


def test_the_verdict_and_the_tiles(ended: Path, shown: Parsed) -> None:
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


def test_the_standings(ended: Path, shown: Parsed) -> None:
    rows = query(ended, "SELECT name, role, gain, low, high, claimed, n FROM standings WHERE match_id = 'm2' "
                 "ORDER BY gain DESC, arm_id")  # fmt: skip
    told = shown.rows("standings-0")
    assert len(rows) == len(told) == 3 and "ranks" not in told[0]  # one planned test decides, so no ranks are beside it
    for row, cells in zip(rows, told, strict=True):
        digits = interval_decimals(row["low"], row["high"])
        assert cells["gain"] == number(row["gain"], digits) and digits >= 2
        assert cells["95% interval"] == f"{number(row['low'], digits)} to {number(row['high'], digits)}"
        assert (cells["claimed gain"], cells["role"]) == (brief(row["claimed"], 4), row["role"])


def test_lineage_and_runs(ended: Path, shown: Parsed) -> None:
    means = query(
        ended,
        "SELECT program_id, avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE stream = 'selection' "
        "GROUP BY program_id",
    )
    told = {row["program"]: row for row in shown.rows("lineage-0")}
    for row in means:
        cells = told["champion" if row["program_id"] == "p-best" else row["program_id"]]
        digits = len(cells["gain"].partition(".")[2])
        assert (cells["gain"], cells["runs"]) == (number(row["gain"], digits), count(row["n"]))
    run = only(
        ended, "SELECT run_id, experiments, kept FROM runs WHERE match_id = 'm2' ORDER BY verified_gain DESC LIMIT 1"
    )
    assert any(
        row["run"] == run["run_id"][:7]
        and (row["experiments"], row["kept"]) == (str(run["experiments"]), str(run["kept"]))
        for row in shown.rows("runs-0")
    )


def test_where_the_time_went(ended: Path, shown: Parsed) -> None:
    told = {row["what"]: (row["times"], row["spent"]) for row in shown.rows("spent-0")}
    seconds = "sum((record ->> 'device_seconds_spent')::DOUBLE) AS s, count(*) AS n"
    spent = only(ended, f"SELECT {seconds} FROM events WHERE kind = 'baseline'")
    assert told["shared baselines"] == (count(spent["n"]), duration(spent["s"]))
    verified = only(ended, "SELECT count(*) AS n FROM verifications")["n"]
    assert told["verification of the final scripts"][0] == count(verified)


def test_the_experiments_that_are_shown_are_those_of_the_view(ended: Path, shown: Parsed) -> None:
    best = query(ended, "FROM experiments WHERE decision = 'keep' ORDER BY gain DESC, experiment_id LIMIT 5")
    told = {(row["number"], row["metric"], row["gain"]) for row in shown.rows("experiments-0")}
    for row in best:
        assert (count(row["number"]), brief(row["metric"], 4), brief(row["gain"], 4)) in told
