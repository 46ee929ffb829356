"""Many logs become a study with the same views, whole or not at all, and the summary follows from those views."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from analysis.imports.load import Doubt, Options
from analysis.imports.study import import_logs
from analysis.imports.summary import summary
from analysis.ledger import check
from analysis.study import VIEWS, open_study
from bench.imports import write_log
from programs.errors import EnvironmentProblem, NotFound, UsageError
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import ask, bring_in

SURE = {
    f"{name.lower()}/results.tsv": getattr(samples, name)
    for name in dir(samples)
    if name.isupper() and name not in ("NOT_A_LOG", "UNSURE", "SEVERAL", "MARKDOWN", "COMMAS")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("import")
    bring_in(place, SURE | {"copy/results.tsv": samples.CANONICAL, "cities/results.tsv": samples.NOT_A_LOG})
    return place


def test_every_view_opens(folder: Path) -> None:
    with open_study(folder / "study") as con:
        counts = {view: con.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0] for view in VIEWS}
    assert counts["runs"] == counts["arms"] and counts["experiments"] == counts["import_rows"] > 70
    assert counts["imports"] == counts["runs"] + 4 and counts["quarantine"] > 5
    assert counts["verifications"] == counts["credit"] == counts["programs"] == 0
    assert check(folder / "study" / "ledger") == []


def test_nothing_is_invented(folder: Path) -> None:
    empty = """
    SELECT count(seed) AS seed, count(started_at) AS at, count(device_seconds_charged) AS charged,
        count(device_seconds_spent) AS spent, count(source_id) AS source, count(fraction) AS fraction,
        count(edit) AS edit, count(task) AS task, count(DISTINCT trust) AS trusts, min(trust) AS trust
    FROM experiments WHERE run_id NOT IN (SELECT run_id FROM imports WHERE path LIKE '%/order/%')
    """
    [row] = ask(folder, empty)
    trust = {key: row.pop(key) for key in ("trusts", "trust")}
    assert set(row.values()) == {0} and trust == {"trusts": 1, "trust": "self-reported"}
    runs = """
    SELECT DISTINCT state, device_seconds_charged, device_seconds_spent, started_at, ended_at, verified_gain, tokens,
        usd, run_seed, researcher, program_id, stream, trust FROM runs
    """
    [run] = ask(folder, runs)
    assert (run.pop("state"), run.pop("trust")) == ("imported", "self-reported")
    assert set(run.values()) == {None}
    [match] = ask(folder, "SELECT DISTINCT task, run_budget, hardware_class, started_at, ended_at FROM matches")
    assert set(match.values()) == {None}


def test_what_a_log_does_say_is_there(folder: Path) -> None:
    [row] = ask(folder, """
        SELECT e.seed, e.steps, e.wall_seconds, e.peak_memory_mb, e.started_at, r.extra FROM experiments AS e
        JOIN import_rows AS r USING (experiment_id) WHERE r."commit" = 'exp2' AND e.metric = 0.55
    """)  # fmt: skip
    assert row.pop("extra")["host"] == "box"
    assert row == {"seed": 7, "steps": 1000, "wall_seconds": 62.5, "peak_memory_mb": 4096.0, "started_at": None}


def test_gains_have_the_right_sign(folder: Path) -> None:
    rows = ask(folder, """
        SELECT i.metric, e.decision, e.gain FROM experiments AS e JOIN imports AS i USING (run_id)
        WHERE e.number > 0 AND i.path LIKE '%/two_schemas/%' ORDER BY i.metric, e.number
    """)  # fmt: skip
    assert [(r["metric"], r["decision"], round(r["gain"], 3)) for r in rows] == [
        ("sharpe", "keep", 0.3), ("sharpe", "discard", 0.1), ("val_loss", "keep", 0.08),
    ]  # fmt: skip


def test_runs_of_one_metric_and_direction_share_a_match(folder: Path) -> None:
    rows = ask(folder, "SELECT metric, direction, label, state, purpose FROM matches ORDER BY metric, direction")
    assert len({(row["metric"], row["direction"]) for row in rows}) == len(rows)
    assert {row["purpose"] for row in rows} == {"import"}
    joined = "SELECT count(*) AS n FROM runs JOIN matches USING (match_id) WHERE runs.direction = matches.direction"
    assert ask(folder, joined) == ask(folder, "SELECT count(*) AS n FROM runs")


def test_every_line_is_in_one_place(folder: Path) -> None:
    by_file = """
    SELECT import_id, max(lines) AS lines,
        sum(row_lines)::BIGINT + max(headers) + max(blanks) + max(quarantined) AS told
    FROM imports WHERE state = 'imported' GROUP BY import_id
    """
    assert all(row["lines"] == row["told"] for row in ask(folder, by_file))
    aside = "SELECT count(*) AS n FROM quarantine WHERE line > 0 AND reason <> '' AND path <> ''"
    assert ask(folder, aside) == ask(folder, "SELECT sum(quarantined)::BIGINT AS n FROM imports")


def test_a_duplicate_is_told_and_not_counted_twice(folder: Path) -> None:
    whole = "SELECT import_id FROM imports WHERE path LIKE '%/prose/%' AND state = 'imported'"
    told = f"SELECT path, rows FROM imports WHERE state = 'duplicate' AND duplicate_of = ({whole}) ORDER BY path"
    rows = ask(folder, told)
    assert [row["path"].split("/")[-2] for row in rows] == ["canonical", "copy"]  # an earlier state, and its copy
    assert [row["rows"] for row in rows] == [0, 0]


def test_contradictions_are_findings(folder: Path) -> None:
    rows = ask(folder, "SELECT kind, count(*) AS n FROM findings GROUP BY kind ORDER BY kind")
    told = (
        "SELECT contradiction AS kind, count(*) AS n FROM import_rows WHERE contradiction <> '' GROUP BY 1 ORDER BY 1"
    )
    assert rows == ask(folder, told)
    assert {row["kind"] for row in rows} == {
        "delta", "discarded-better", "kept-worse", "not-reproduced",
    }  # fmt: skip


def test_the_summary_follows_from_the_views(tmp_path: Path) -> None:
    done = bring_in(tmp_path, SURE)
    item = asdict(summary(done))
    [told] = ask(tmp_path, """
        SELECT count(*) FILTER (r.word IS NOT NULL OR true)::BIGINT AS rows,
            count(*) FILTER (e.decision IS DISTINCT FROM 'baseline'
                AND (e.metric IS NOT NULL OR e.status IS NOT NULL OR e.decision IS NOT NULL)) AS tried,
            count(*) FILTER (e.decision = 'keep') AS kept,
            count(*) FILTER (e.status NOT IN ('ok')) AS failed
        FROM experiments AS e JOIN import_rows AS r USING (run_id, experiment_id)
    """)  # fmt: skip
    [merged] = ask(tmp_path, "SELECT sum(merged_rows)::BIGINT AS n FROM imports")
    assert item["rows"] == told["rows"] + merged["n"]
    assert (item["tried"], item["kept"], item["failed"]) == (told["tried"], told["kept"], told["failed"])
    kinds = ask(tmp_path, """
        SELECT r.category, count(*) AS tried, count(*) FILTER (e.decision = 'keep') AS kept
        FROM experiments AS e JOIN import_rows AS r USING (run_id, experiment_id)
        WHERE e.decision IS DISTINCT FROM 'baseline'
            AND (e.metric IS NOT NULL OR e.status IS NOT NULL OR e.decision IS NOT NULL)
        GROUP BY ALL
    """)  # fmt: skip
    found = {row["category"]: (row["tried"], row["kept"]) for row in item["categories"]}
    assert found == {row["category"]: (row["tried"], row["kept"]) for row in kinds}


def test_an_unsure_log_does_not_refuse_the_others(tmp_path: Path) -> None:
    texts = {"a/results.tsv": samples.UNSURE, "b/results.tsv": samples.CANONICAL, "c/results.tsv": samples.SEVERAL}
    bring_in(tmp_path, texts)
    states = ask(tmp_path, "SELECT state, rows, reason FROM imports ORDER BY path")
    assert [(row["state"], row["rows"]) for row in states] == [("unsure", 0), ("imported", 5), ("unsure", 0)]
    assert "is unclear" in states[0]["reason"] and "alpha_x, beta_y" in states[2]["reason"]


def test_an_import_of_unsure_logs_alone_leaves_nothing(tmp_path: Path) -> None:
    texts = {"a/results.tsv": samples.UNSURE, "c/results.tsv": samples.SEVERAL}
    with pytest.raises(UsageError, match=r"performance.*is unclear.*1 more") as caught:
        bring_in(tmp_path, texts)
    assert "--direction lower|higher" in caught.value.hint and "--skip-unsure" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_unsure_logs_can_be_set_aside(tmp_path: Path) -> None:
    texts = {"a/results.tsv": samples.UNSURE, "b/results.tsv": samples.CANONICAL}
    bring_in(tmp_path, texts, Options(skip_unsure=True))
    states = ask(tmp_path, "SELECT state, rows, quarantined FROM imports ORDER BY path")
    assert states == [
        {"state": "unsure", "rows": 0, "quarantined": 3},
        {"state": "imported", "rows": 5, "quarantined": 0},
    ]
    assert len(ask(tmp_path, "FROM quarantine WHERE reason LIKE '%is unclear%'")) == 3


def test_stated_direction_and_metric(tmp_path: Path) -> None:
    bring_in(tmp_path, {"results.tsv": samples.SEVERAL}, Options(metric="Beta-Y", direction="higher", noise=0.1))
    [row] = ask(tmp_path, "SELECT metric, metric_from, direction, direction_from, noise_sd, noise_from FROM imports")
    assert row == {"metric": "beta_y", "metric_from": "given", "direction": "higher", "direction_from": "given",
                   "noise_sd": 0.1, "noise_from": "stated"}  # fmt: skip


def test_doubts_are_asked_about_once_each(tmp_path: Path) -> None:
    asked: list[Doubt] = []

    def answer(doubt: Doubt) -> str | None:
        asked.append(doubt)
        return {"metric": "beta_y", "direction": None if doubt.metric == "performance" else "higher"}[doubt.what]

    texts = {
        "a/results.tsv": samples.UNSURE,
        "b/results.tsv": samples.UNSURE + "a4\t1\tx\n",
        "c/results.tsv": samples.SEVERAL,
    }
    bring_in(tmp_path, texts, ask=answer)
    assert [(doubt.what, doubt.metric) for doubt in asked] == [
        ("direction", "performance"), ("metric", "alpha_x"), ("direction", "beta_y"),
    ]  # fmt: skip
    states = ask(tmp_path, "SELECT state, metric FROM imports ORDER BY path DESC")
    assert states == [
        {"state": "imported", "metric": "beta_y"}, {"state": "unsure", "metric": None},
        {"state": "duplicate", "metric": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "options", "error", "says"),
    [
        ({}, Options(), NotFound, "no log of experiments"),
        ({"results.tsv": samples.NOT_A_LOG}, Options(), UsageError, "no results table"),
        ({"results.tsv": samples.CANONICAL}, Options(metric="accuracy"), UsageError, "no log has a column"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, texts: dict[str, str], options: Options, error: type[Exception], says: str
) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(error, match=says):
        bring_in(tmp_path, texts, options)
    assert not (tmp_path / "study").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with pytest.raises(UsageError, match="exists"):
        bring_in(tmp_path, {"results.tsv": samples.CANONICAL})
    with pytest.raises(EnvironmentProblem):
        import_logs([tmp_path / "logs"], Path("/proc/nowhere/study"), Options())


def test_an_empty_log_and_an_unreadable_one_among_others(tmp_path: Path) -> None:
    header = samples.CANONICAL.splitlines(keepends=True)[0]
    done = bring_in(tmp_path, {"a/results.tsv": header, "b/results.tsv": samples.CANONICAL, "c/results.tsv": "\0"})
    assert [log.state for log in done.logs] == ["empty", "imported", "refused"]
    assert (done.logs[0].reason, done.logs[2].reason) == ("a header without rows that can be read", "binary data")


def test_processes_write_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    monkeypatch.setattr("analysis.imports.study.SMALL", 1000)
    rng = random.Random(1)
    stray = sum(write_log(tmp_path / "logs" / f"{n}" / "results.tsv", 50, rng) for n in range(6))
    for name, workers in (("one", 1), ("two", 2)):
        import_logs([tmp_path / "logs"], tmp_path / name / "study", Options(skip_unsure=True), workers=workers)
    query = "SELECT experiment_id, metric, decision, description FROM experiments ORDER BY experiment_id"
    assert ask(tmp_path / "one", query) == ask(tmp_path / "two", query)
    assert len(list((tmp_path / "two" / "study" / "ledger").glob("*.jsonl"))) == 3
    [told] = ask(tmp_path / "two", "SELECT sum(rows)::BIGINT AS rows, sum(quarantined)::BIGINT AS aside FROM imports")
    assert told == {"rows": 300, "aside": stray}
    assert check(tmp_path / "two" / "study" / "ledger") == []
