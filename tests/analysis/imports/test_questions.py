"""What a log leaves open is asked about with the flag that answers it; what it states is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from analysis.imports.columns import Stated
from programs.common.errors import UsageError
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import ask, bring_in, bring_in_one, rows
from tests.analysis.imports.samples import tsv

FEW = [{"id": n, "ahead": n / 10, "throughput": 5.0} if n < 3 else {"id": n, "ahead": n / 10} for n in range(12)]
NESTED = [{"id": n, "blend": n / 10, "config": {"blend": {"higher": n}}, "more": {"mae": 0.5}} for n in range(5)]


def as_lines(objects: Sequence[Mapping[str, object]]) -> str:
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
        ("log.tsv", "", "no line is a header", "commit val_bpb"),
        ("results.jsonl", "[" * 5000, "line 1: nested too deeply", "a part"),
        ("log.tsv", tsv("run|loss|status", "a||crash", "b||crashed"), "every row failed", "--metric"),
        ("log.tsv", "commit\tval_bpb\tstatus\n", "a header without rows", "results.tsv"),
    ],
)  # fmt: skip
def test_log_that_leaves_much_open_is_asked(tmp_path: Path, name: str, text: str, question: str, flag: str) -> None:
    with pytest.raises(UsageError, match=question) as caught:
        bring_in(tmp_path, {name: text})
    assert flag in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_direction_that_a_log_states_is_used(tmp_path: Path) -> None:
    stated = {
        "a-log.tsv": (tsv("score (lower is better)|what", ".9|a", ".8|b", ".7|c"), "score", "lower", "its header"),
        "b-log.tsv": (tsv("id|speed ↑|what", "1|.9|a", "2|.8|b"), "speed", "higher", "its header"),
        "c-log.md": ("Lower is better.\n\n| run | score |\n|--|--|\n| a | .9 |\n| b | .8 |\n", "score", "lower",
                     "the text of the file"),
        "d-log.tsv": (tsv("id|value|goal|what", "1|.9|minimize|a", "2|.8|minimize|b"), "value", "lower", "its column"),
        "e-log.csv": (samples.COMMAS, "val_acc", "higher", "its name"),
    }  # fmt: skip
    found = bring_in(tmp_path, {name: text for name, (text, *_) in stated.items()})
    told = [(run["metric"], run["direction"], run["direction_from"]) for run in found]
    assert told == [tuple(known) for _, *known in stated.values()]


def test_answers_that_are_given_are_used(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, samples.SEVERAL, Stated("Beta-Y", "higher", noise=0.1))
    assert (run["metric"], run["metric_from"], run["direction_from"]) == ("beta_y", "given", "given")
    assert (run["noise_sd"], run["noise_df"], run["best_kept"], run["baseline"]) == (0.1, 0, 1.7, 1.5)
    with pytest.raises(UsageError, match=r"no single column is 'speed'; columns: id, alpha_x"):
        bring_in(tmp_path / "other", {"log.tsv": samples.SEVERAL}, Stated("speed"))


def test_rows_of_a_metric_that_is_no_share_are_refused(tmp_path: Path) -> None:
    for name, second, why in (
        ("val_loss", 0.3, "is not named like one"), ("val_acc", 181, "is 181 in one row"),
        ("val_err", -0.3, "is -0.3 in one row"), ("val_auc", 0.5, "is not named like one"),
    ):  # fmt: skip
        text = tsv(f"commit|{name}|status", "a|0.4|keep", f"b|{second}|keep")
        with pytest.raises(UsageError, match=f"--rows is for an error rate or an accuracy, .*; {name} {why}"):
            bring_in_one(tmp_path, text, Stated(rows=100))
        assert not (tmp_path / "study").exists()


def test_words_for_kept_and_the_first_metric_of_a_log(tmp_path: Path) -> None:
    text = tsv("what|loss|acc|result", "a|3|.1|success", "b|2|.2|success", "c|4|.3|worse")
    run = bring_in_one(tmp_path / "a", text, Stated("val_loss,loss,acc", kept="fine,Success"))
    assert (run["metric"], run["kept"], run["decided"]) == ("loss", 1, True)
    assert "unknown_statuses" not in run["notes"]
    run = bring_in_one(tmp_path / "b", text, Stated("loss"))
    assert (run["kept"], run["decided"], run["new_bests"]) == (0, False, 1)
    assert run["notes"]["unknown_statuses"] == ["success"]


def test_a_text_in_place_of_the_metric_is_a_failure(tmp_path: Path) -> None:
    log: list[dict[str, object]] = [{"notes": f"n{n}", "loss": 3 - n} for n in range(3)]
    run = bring_in_one(tmp_path / "a", as_lines([*log, {"notes": "x", "error": "Traceback"}]), name="runs.jsonl")
    assert (run["failed"], run["quarantined"], run["rows"]) == (1, 0, 4)
    run = bring_in_one(tmp_path / "b", tsv("what|error", "a|.3", "b|.2", "c|.25"), Stated(direction="lower"))
    assert (run["metric"], run["failed"]) == ("error", 0)


def test_column_of_the_descriptions_is_chosen_or_given(tmp_path: Path) -> None:
    """A tracker's name is a label where there are notes; --set description chooses, and the rest stays in `extra`."""
    notes = ["baseline", "wider", "best so far again, seed 1", "baseline, seed 1"]
    losses = (3.0, 2.0, 2.1, 3.1)
    log = [{"step": n, "name": f"x{n}", "width": n, "loss": losses[n], "notes": notes[n]} for n in range(4)]
    run = bring_in_one(tmp_path / "a", as_lines(log), name="runs.jsonl")
    assert run["notes"] == {"description_column": "notes", "unused_columns": ["name", "width"]}
    assert "whose name has no other known meaning" in run["metric_from"]
    assert rows(tmp_path / "a", "description", "again") == list(zip(notes, (None, None, 2, 1), strict=True))
    run = bring_in_one(tmp_path / "b", as_lines(log), Stated(description="name"), "runs.jsonl")
    assert run["notes"] == {"description_column": "name", "unused_columns": ["width", "notes"]}
    found = rows(tmp_path / "b", "description", "r.extra ->> 'notes'")
    assert found == [(f"x{n}", note) for n, note in enumerate(notes)]
    with pytest.raises(UsageError, match="no single column is 'words'") as caught:
        bring_in_one(tmp_path / "c", as_lines(log), Stated(description="words"))
    assert caught.value.hint == "correct --set description"


def test_statuses_of_all_spellings_are_decisions(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, samples.STATUSES)
    found = dict(rows(tmp_path, "word", "coalesce(decision, 'open') || ' ' || coalesce(status, 'not run')"))
    assert found["✅ keep"] == found["keep (best so far!)"] == found["Approved"] == found["new_best"] == "keep ok"
    assert found["Rejected"] == found["❌"] == found["no_improvement"] == "discard ok"
    assert (found["OOM"], found["FAILED"], found["BASELINE"]) == ("discard oom", "discard crash", "baseline ok")
    assert found["tentative"] == found["hmm"] == "open ok" and found["skip"] == "open not run"
    assert run["notes"]["unknown_statuses"] == ["hmm", "neutral", "partial", "support", "tentative"]


def test_sections_and_models_are_runs_of_their_own(tmp_path: Path) -> None:
    table = "| name | loss | status |\n|--|--|--|\n"
    sections = f"## A\n{table}| a | 1 | keep |\n| b | .9 | keep |\n\n## B\n{table}| a | 10 | keep |\n| b | 9 | keep |\n"
    found = bring_in(tmp_path / "a", {"log.md": sections})
    assert [(run["name"], run["best_kept"]) for run in found] == [("logs: A", 0.9), ("logs: B", 9)]
    models = ["model|loss|status|what", *(f"s|{n}|keep|x" for n in (3, 2, 1)), *(f"l|{n}|keep|y" for n in (30, 20, 10))]
    found = bring_in(tmp_path / "b", {"log.tsv": tsv(*models)})
    assert [(run["name"], run["baseline"], run["kept"]) for run in found] == [("logs: l", 30, 2), ("logs: s", 3, 2)]
    run = bring_in_one(tmp_path / "c", tsv(*models, "m|5|keep|z"))
    assert run["notes"]["one_run_of"] == {"column": "model", "values": 3}
    found = bring_in(tmp_path / "d", {"log.tsv": samples.LONG})
    assert [(run["metric"], run["rows"]) for run in found] == [("auc", 3), ("latency_ms", 3)]


def test_kept_rows_that_are_mostly_worse_are_questioned(tmp_path: Path) -> None:
    """Nothing states the direction of a score: the name alone does not decide against what was kept."""
    text = tsv("id|score|status|what", *(f"{n}|{10 - n}|keep|x{n}" for n in range(1, 8)))
    with pytest.raises(UsageError, match=r"6 of 6 kept rows are worse .* if higher is better") as caught:
        bring_in(tmp_path, {"log.tsv": text})
    assert "--direction" in caught.value.hint
    assert bring_in_one(tmp_path / "lower", text, Stated(direction="lower"))["claimed_gain"] == 6.0
    given = bring_in_one(tmp_path / "given", text, Stated(direction="higher"))
    assert given["notes"]["kept_worse"] == 6


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path / "a", samples.ORDER)
    unused = ["loc", "branch", "host"]
    assert run["notes"] == {"description_column": "hypothesis", "unused_columns": unused}
    [row] = ask(tmp_path / "a", """
        SELECT e.seed, e.steps, e.wall_seconds, e.peak_memory_mb, e.started_at, r.extra FROM experiments AS e
        JOIN import_rows AS r USING (experiment_id) WHERE r."commit" = 'exp2'
    """)  # fmt: skip
    assert row.pop("extra")["host"] == "box"
    assert row == {"seed": 7, "steps": 1000, "wall_seconds": 62.5, "peak_memory_mb": 4096.0, "started_at": None}
    run = bring_in_one(tmp_path / "b", samples.OTHER_TABLES)
    reasons = ask(tmp_path / "b", "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY min(line)")
    assert [(row["reason"], row["n"]) for row in reasons] == [
        ("no row of the table", 2), ("the metric may be any of latency_ms, tok_s", 2),
        ("the metric may be any of weights, share", 2),
    ]  # fmt: skip
    assert (run["rows"], run["quarantined"]) == (9, 6)
