"""What a log leaves open is asked about with the flag that answers it; what it states is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.imports.columns import Stated
from programs.errors import UsageError
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import ask, bring_in, bring_in_one, rows
from tests.analysis.imports.samples import tsv

FEW = [{"id": n, "ahead": n / 10, "throughput": 5.0} if n < 3 else {"id": n, "ahead": n / 10} for n in range(12)]
NESTED = [{"id": n, "blend": n / 10, "config": {"blend": {"higher": n}}, "more": {"mae": 0.5}} for n in range(5)]


def as_lines(objects: list[dict[str, object]]) -> str:
    return "".join(json.dumps(item) + "\n" for item in objects)


@pytest.mark.parametrize(
    ("name", "text", "question", "flag"),
    [
        ("log.md", "AUC of the detector, lower is better\n\n| run | auc |\n|--|--|\n| a | .9 |\n| b | .8 |\n",
         "the text of the file says lower is better, the name 'auc' higher", "--direction"),
        ("log.tsv", tsv("name|val_mse (maximize)", "a|.1", "b|.2"), "its header says higher .*lower", "--direction"),
        ("log.md", "loss: lower is better\nloss: higher is better\n\n| run | loss |\n|--|--|\n| a | .9 |\n| b | .8 |\n",
         "says both", "--direction"),
        ("log.tsv", samples.UNSURE, "a lower or a higher 'performance'", "--direction"),
        ("log.tsv", tsv("name|blend|sharpe_val|status", "a|1|2|keep", "b|2|3|keep"), "blend, sharpe_val", "--metric"),
        ("log.jsonl", as_lines(FEW), "a lower or a higher 'ahead'", "--direction"),
        ("log.jsonl", as_lines(NESTED), "a lower or a higher 'blend'", "--direction"),
        ("log.jsonl", '{"id":0,"metrics":{"test":{"rmse":50}},"composite":-5}', "higher 'composite'", "--direction"),
        ("log.jsonl", '{"id": 0, "what": "x", "other": "y"}', "no column has a number .*other", "--metric"),
        ("log.tsv", tsv("a|b|c|d|e", "1|2|3|4|5|6|7|8", "2|2|3|4|5|6|7|8"),
         r"more cells \(8\) than the header \(5\)", "name every"),
        ("log.tsv", tsv("commit|val_loss|status", "a|1,531|keep", "b|1,520|keep"), "decimal comma or", "with a point"),
        ("log.tsv", tsv("e12|0.61|keep|start", "e13|0.66|keep|more"), "no line is a header", "commit val_bpb"),
        ("log.tsv", samples.NOT_A_LOG, "no line is a header", "commit val_bpb"),
        ("log.tsv", "", "no line is a header", "commit val_bpb"),
        ("log.tsv", "commit\tval_bpb\tstatus\n", "a header without rows", "results.tsv"),
    ],
)  # fmt: skip
def test_questions(tmp_path: Path, name: str, text: str, question: str, flag: str) -> None:
    with pytest.raises(UsageError, match=question) as caught:
        bring_in(tmp_path, {name: text})
    assert flag in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


@pytest.mark.parametrize(
    ("name", "text", "metric", "direction", "source"),
    [
        ("log.tsv", tsv("score (lower is better)|what", ".9|a", ".8|b", ".7|c"), "score", "lower", "its header"),
        ("log.tsv", tsv("id|speed ↑|what", "1|.9|a", "2|.8|b"), "speed", "higher", "its header"),
        ("log.md", "Lower is better.\n\n| run | score |\n|--|--|\n| a | .9 |\n| b | .8 |\n", "score", "lower",
         "the text of the file"),
        ("log.tsv", tsv("id|value|goal|what", "1|.9|minimize|a", "2|.8|minimize|b"), "value", "lower", "its column"),
        ("log.tsv", samples.ORDER, "val_rmse", "lower", "its name"),
        ("log.csv", samples.COMMAS, "val_acc", "higher", "its name"),
        ("log.jsonl", samples.RECORDS, "val_loss", "lower", "its name"),
    ],
)  # fmt: skip
def test_what_a_log_states(tmp_path: Path, name: str, text: str, metric: str, direction: str, source: str) -> None:
    run = bring_in_one(tmp_path, text, name=name)
    assert (run["metric"], run["direction"], run["direction_from"]) == (metric, direction, source)


def test_the_answers(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, samples.SEVERAL, Stated("Beta-Y", "higher", noise=0.1))
    assert (run["metric"], run["metric_from"], run["direction_from"]) == ("beta_y", "given", "given")
    assert (run["noise_sd"], run["noise_df"], run["best_kept"], run["baseline"]) == (0.1, 0, 1.7, 1.5)
    with pytest.raises(UsageError, match=r"no single column is 'speed'; columns: id, alpha_x"):
        bring_in(tmp_path / "other", {"log.tsv": samples.SEVERAL}, Stated("speed"))


def test_the_column_of_statuses(tmp_path: Path) -> None:
    text = tsv("id|loss|status|good", "1|3|keep|no", "2|2|keep|yes", "3|1|keep|no")
    assert bring_in_one(tmp_path / "a", text)["kept"] == 2
    assert bring_in_one(tmp_path / "b", text, Stated(status="good"))["kept"] == 1
    empty = bring_in_one(tmp_path / "empty", tsv("id|loss|result|what", "1|3||x", "2|2||y"))
    assert (empty["metric"], empty["decided"], empty["new_bests"]) == ("loss", False, 1)
    both = tsv("id|loss|status|decision", "1|3|ok|keep", "2|2|ok|revert", "3|0|crash|", "4|1|ok|keep")
    run = bring_in_one(tmp_path / "c", both)
    assert (run["kept"], run["discarded"], run["failed"], run["best_kept"]) == (1, 1, 1, 1.0)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("0,531", "0,52"), [0.531, 0.52]),
        (("0,987", "1,234"), [0.987, 1.234]),
        (("1,234", "987.5"), [1234.0, 987.5]),
        (("95.2%", "~96"), [95.2, 96.0]),
        (("0.98 ± 0.01", "**0.97**"), [0.98, 0.97]),
    ],
)
def test_numbers(tmp_path: Path, cells: tuple[str, str], values: list[float]) -> None:
    bring_in_one(tmp_path, tsv("commit|val_loss|status", *(f"a{n}|{cell}|keep" for n, cell in enumerate(cells))))
    assert [value for (value,) in rows(tmp_path, "metric")] == values


def test_statuses(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, samples.STATUSES)
    found = dict(rows(tmp_path, "word", "coalesce(decision, 'open') || ' ' || coalesce(status, 'not run')"))
    assert found["✅ keep"] == found["keep (best so far!)"] == found["Approved"] == found["new_best"] == "keep ok"
    assert found["Rejected"] == found["❌"] == found["no_improvement"] == "discard ok"
    assert (found["OOM"], found["FAILED"], found["BASELINE"]) == ("discard oom", "discard crash", "baseline ok")
    assert found["tentative"] == found["hmm"] == "open ok" and found["skip"] == "open not run"
    assert run["notes"]["unknown_statuses"] == ["hmm", "neutral", "partial", "pending", "skip", "support", "tentative"]


def test_words_against_each_other_decide_nothing(tmp_path: Path) -> None:
    text = tsv("commit|val_loss|status", "a|2|keep", "b|1|not kept", "c|1|kept, then reverted", "d|1|discard (crash)",
               "e|3|❌ slower")  # fmt: skip
    bring_in_one(tmp_path, text)
    assert rows(tmp_path, "decision", "status")[1:] == [
        (None, "ok"), (None, "ok"), ("discard", "crash"), ("discard", "ok"),
    ]  # fmt: skip


def test_a_failure_in_place_of_the_metric(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, samples.FAILURES)
    assert (run["rows"], run["failed"], run["kept"], run["quarantined"]) == (9, 7, 1, 0)
    assert [status for (status,) in rows(tmp_path, "status")][2:] == [
        "invalid", "invalid", "invalid", "timeout", "oom", "invalid", "crash",
    ]  # fmt: skip


def test_newest_first_is_turned_around(tmp_path: Path) -> None:
    text = tsv("time|name|score", "2026-01-03|c|3", "2026-01-02|b|2", "2026-01-02|a2|1.5", "2026-01-01|a|1")
    run = bring_in_one(tmp_path / "a", text)
    assert (run["baseline"], run["claimed_gain"], run["notes"]) == (1.0, 2.0, {"sorted_by": "time"})
    assert [line for (line,) in rows(tmp_path / "a", "line")] == [5, 4, 3, 2]
    missing = bring_in_one(tmp_path / "b", text.replace("2026-01-02\tb", "\tb"))
    seconds = bring_in_one(tmp_path / "c", tsv("time|name|score", "300|a|1", "200|b|2"))
    assert (missing["baseline"], seconds["baseline"]) == (3.0, 1.0)  # an incomplete column; durations
    assert "sorted_by" not in missing["notes"] | seconds["notes"]


def test_sections_and_models_are_runs_of_their_own(tmp_path: Path) -> None:
    table = "| name | loss | status |\n|--|--|--|\n"
    sections = f"## A\n{table}| a | 1 | keep |\n| b | .9 | keep |\n\n## B\n{table}| a | 10 | keep |\n| b | 9 | keep |\n"
    found = bring_in(tmp_path / "a", {"log.md": sections})
    assert [(run["name"], run["baseline"], run["best_kept"]) for run in found] == [
        ("logs: A", 1, 0.9),
        ("logs: B", 10, 9),
    ]
    models = ["model|loss|status|what", *(f"s|{n}|keep|x" for n in (3, 2, 1)), *(f"l|{n}|keep|y" for n in (30, 20, 10))]
    found = bring_in(tmp_path / "b", {"log.tsv": tsv(*models)})
    assert [(run["name"], run["baseline"], run["kept"]) for run in found] == [("logs: l", 30, 2), ("logs: s", 3, 2)]
    run = bring_in_one(tmp_path / "c", tsv(*models, "m|5|keep|z"))
    assert run["notes"]["one_run_of"] == {"column": "model", "values": 3}
    found = bring_in(tmp_path / "d", {"log.tsv": samples.LONG})
    assert [(run["metric"], run["direction"], run["rows"]) for run in found] == [
        ("auc", "higher", 3),
        ("latency_ms", "lower", 3),
    ]


def test_a_value_that_is_far_off_is_pointed_out(tmp_path: Path) -> None:
    text = tsv(
        "commit|tok_s|status|what", "a|10|keep|single", "b|11|keep|x", "c|700|keep|a batch of 64", "d|400|keep|y"
    )
    far = {"rows": 1, "line": 4, "value": 700.0}
    assert bring_in_one(tmp_path, text)["notes"] == {"far_from_baseline": far}


def test_kept_rows_that_are_mostly_worse(tmp_path: Path) -> None:
    """Nothing states the direction of a score: the name alone does not decide against what was kept."""
    text = tsv("id|score|status|what", *(f"{n}|{10 - n}|keep|x{n}" for n in range(1, 8)))
    with pytest.raises(UsageError, match=r"6 of 6 kept rows are worse .* if higher is better") as caught:
        bring_in(tmp_path, {"log.tsv": text})
    assert "--direction" in caught.value.hint
    assert bring_in_one(tmp_path / "lower", text, Stated(direction="lower"))["claimed_gain"] == 6.0
    given = bring_in_one(tmp_path / "given", text, Stated(direction="higher"))
    assert given["notes"]["kept_worse"] == 6


def test_columns_that_are_no_metric(tmp_path: Path) -> None:
    """The metric of autoresearch goes before all others; constants, and changes in per cent, are none."""
    own = tsv("commit|val_bpb|tok_per_sec|final_loss|status|what", "a|.9|6|3|keep|x", "b|.8|7|2|keep|y")
    assert bring_in_one(tmp_path / "a", own)["metric"] == "val_bpb"
    other = tsv("commit|tok_s|hits|improvement|status|what", "a|.9|0|0%|keep|x", "b|1.8|0|99%|keep|y")
    assert bring_in_one(tmp_path / "b", other)["metric"] == "tok_s"


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path / "a", samples.ORDER)
    assert run["notes"] == {"unused_columns": ["loc", "branch", "lr", "epochs", "host"]}
    [row] = ask(tmp_path / "a", """
        SELECT e.seed, e.steps, e.wall_seconds, e.peak_memory_mb, e.started_at, r.extra FROM experiments AS e
        JOIN import_rows AS r USING (experiment_id) WHERE r."commit" = 'exp2'
    """)  # fmt: skip
    assert row.pop("extra")["host"] == "box"
    assert row == {"seed": 7, "steps": 1000, "wall_seconds": 62.5, "peak_memory_mb": 4096.0, "started_at": None}
    run = bring_in_one(tmp_path / "b", samples.OTHER_TABLES)
    reasons = ask(tmp_path / "b", "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY min(line)")
    assert [(row["reason"], row["n"]) for row in reasons] == [
        ("text", 2), ("the metric may be any of latency_ms, tok_s", 2), ("the metric may be any of weights, share", 2),
    ]  # fmt: skip
    assert (run["rows"], run["quarantined"]) == (9, 6)
