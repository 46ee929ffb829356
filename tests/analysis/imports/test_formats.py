"""Each format of docs/import.md is read from a file of `formats/`: what becomes of it, and what is still asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.imports.columns import Stated
from analysis.imports.study import import_logs
from tests.analysis.imports.helpers import ask, bring_in, rows

from .samples import tsv

HOME = Path(__file__).with_name("formats")
near = pytest.approx


@dataclass(frozen=True)
class Format:
    """What is expected: for each run columns of ``imports``, for all rows a list for each column of theirs."""

    runs: Sequence[Mapping[str, Any]]
    rows: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    stated: Stated = field(default_factory=Stated)


FORMATS = {
    # `none` is no commit, 0.000000 beside discard no measurement, and another seed of the best script no change
    "autoresearch.tsv": Format(
        [{"kept": 2, "failed": 1, "reruns": 1, "best_measured": 1.0399, "notes": {"zeros_unmeasured": 1}}],
        {"e.metric": [1.0441, None, 1.0402, None, 1.0418, 1.0399], "again": [None, None, None, None, 4, None],
         '"commit"': ["3f1a9c0", None, "81be0d7", "81be0d7", "9d02c4e", "5ce77aa"]}),
    "pi-autoresearch.jsonl": Format(
        [{"metric": "hit_rate", "direction": "higher", "kept": 1, "baseline": 0.61, "best_kept": 0.66},
         {"metric": "total_ms", "direction": "lower", "kept": 1, "failed": 2, "baseline": 841, "best_kept": 799}],
        {"line": [7, 8, 2, 3, 4, 5]}),
    "polyresearch.tsv": Format(
        [{"metric": "metric_minus_baseline", "kept": 2, "failed": 1, "discarded": 2, "best_kept": near(-11.0),
          "best_line": 4, "claimed_gain": None}],
        {"step_gain": [near(7.1), None, near(11.0), None, None]}, Stated(direction="lower", noise=1.0)),
    "wandb-runs.csv": Format(
        [{"metric": "summary_val_loss", "rows": 6, "failed": 2, "reruns": 2, "noise_df": 2, "quarantined": 0}],
        {"e.metric": [0.912, None, 0.916, 0.871, None, 0.908], "again": [None, None, 2, None, None, 2]}),
    "wandb-history.csv": Format(
        [{"metric": "val_loss", "rows": 1, "best_measured": near(3.2 / 11, abs=1e-4),
          "quarantined": 12, "notes": {"description_column": "", "unused_columns": ["runtime", "train_loss"]}}],
        stated=Stated("val/loss")),
    "tensorboard.csv": Format([{"rows": 1, "best_measured": near(2 / 6, abs=1e-4)}], stated=Stated(direction="lower")),
    "scalars.csv": Format(
        [{"metric": "val_acc", "direction": "higher", "rows": 2, "baseline": 0.7, "best_kept": near(0.71)},
         {"metric": "val_loss", "direction": "lower", "rows": 2, "baseline": 0.5, "best_kept": near(0.4)}]),
    "optuna.csv": Format(
        [{"metric": "value", "failed": 1, "best_measured": 0.455, "reruns": 1, "noise_df": 1, "new_bests": 1}],
        {"e.metric": [0.482, None, 0.455, None, 0.459, None],
         "status": ["ok", None, "ok", "crash", "ok", None]}, Stated(direction="lower")),
    "notes.md": Format(
        [{"rows": 4, "kept": 2, "discarded": 1, "quarantined": 2, "best_kept": 0.5098,
          "notes": {"quoted_noise": "STD=0.0021"}}],
        {"e.metric": [0.524, 0.5101, 0.539, 0.5098], '"commit"': ["a1a1a11", "b2b2b22", "2", "c3c3c33"]}),
    "gates.csv": Format(
        [{"name": "gates: matmul", "kept": 1, "discarded": 1, "reruns": 0, "baseline": 410.0, "best_kept": 395.0},
         {"name": "gates: softmax", "kept": 1, "discarded": 1, "reruns": 0, "baseline": 88.0, "best_kept": 84.0}]),
    "hashes.json": Format(
        [{"kept": 1, "reruns": 2, "noise_sd": None, "tried": 1}], {"line": [2, 3, 4, 5], "again": [None, None, 2, 3]}),
    "metrics.tsv": Format([{"metric": "latency_ms", "kept": 0}, {"metric": "performance", "kept": 1}]),
    "repeats.tsv": Format([{"reruns": 1, "noise_df": 1}], {"again": [None, None, None, 4, None, None]},
                          Stated(reruns="words")),
    "all-crashed.tsv": Format([{"failed": 2, "tried": 2, "best_measured": None}]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "form"), FORMATS.items(), ids=FORMATS)
def test_format_of_the_docs_is_read(tmp_path: Path, name: str, form: Format) -> None:
    found = _imported(tmp_path, name, form.stated)
    assert len(found) == len(form.runs)
    for run, expected in zip(sorted(found, key=lambda run: (run["metric"], run["name"])), form.runs, strict=True):
        shown = {column: run[column] for column in expected}
        if "notes" in expected and expected["notes"].keys() < run["notes"].keys():
            shown["notes"] = {note: run["notes"][note] for note in expected["notes"]}
        assert shown == expected
    for column, values in form.rows.items():
        joined = "experiments AS e JOIN import_rows USING (run_id, experiment_id) JOIN imports AS i USING (run_id)"
        by_metric = ask(tmp_path, f"SELECT {column} AS v FROM {joined} ORDER BY i.metric, e.number")
        assert [row["v"] for row in by_metric] == values


SETUPS = ("gpu|val_loss|status|what", "a|2.0|keep|baseline", "a|1.9|keep|x", "a|1.8|keep|y", "b|9.0|keep|baseline")
HASHES = ("code_hash|val_loss|status|what", "e1|2.0|keep|baseline", "f2|1.9|keep|x", "e1|{}|discard|y", "g3|1.8|keep|z")
#: log → columns of `imports`, `again` of each row
KINDS = {
    "texts that differ make a rising step no training": (
        tsv("step|val_loss|notes", "1|3|baseline", "2|2|x", "3|1|y"), {"rows": 3, "quarantined": 0}, None),
    "commits of what was discarded are no trainings": (
        tsv("commit|step|loss|status", "a|1|3|keep", "a|2|4|discard", "b|3|2|keep", "b|4|3|discard"),
        {"rows": 4}, None),
    "each run is a training": (
        tsv("run|step|loss", *(f"r{n // 3}|{n % 3}|{9 - n}" for n in range(9))),
        {"rows": 3, "best_measured": 1.0}, None),
    "the baseline of another setup is no re-run": (
        tsv(*SETUPS), {"reruns": 0, "notes": {"description_column": "what", "unused_columns": ["gpu"],
                                              "one_run_of": {"column": "gpu", "values": 2}}}, None),
    "hashes that differ are a measure of noise": (
        tsv(*HASHES).format("2.1"), {"noise_df": 1, "reruns": 1, "tried": 2}, [None, None, 2, None]),
    "a deterministic script measures no noise": (
        tsv(*HASHES, "h4|2.2|discard|rerun of baseline, other data").format("2.0"),
        {"noise_df": 1, "noise_sd": near(0.2 / 2**0.5), "reruns": 2}, [None, None, 2, None, 2]),
    "equal settings of other changes are no re-runs": (
        tsv("config.lr|val_loss|notes", ".1|2|start", ".1|3|wider", ".1|1|deeper"), {"reruns": 0}, None),
    "answers in a column of settings are no statuses": (
        tsv("id|val_loss|use_ema|what", "1|3|yes|x", "2|2|no|y", "3|1|yes|z"),
        {"decided": False, "new_bests": 2}, None),
    "a zero beside small values is one": (
        tsv("id|val_loss|status", "1|3|keep", "2|0.001|keep", "3|0|discard"), {"best_measured": 0.0}, None),
    "a zero that nothing says was discarded is one": (
        tsv("id|val_loss|status", "1|3|keep", "2|2|keep", "3|0|keep"), {"best_kept": 0.0}, None),
    "a zero beside a kept zero is one": (
        tsv("id|error|status", "1|3|keep", "2|0|keep", "3|0|discard"),
        {"best_kept": 0.0, "notes": {"description_column": "",
                                     "far_from_baseline": {"rows": 2, "line": 3, "value": 0.0}}}, None),
    "a baseline with a change is no baseline": (
        tsv("commit|loss|status|what", "a|3|keep|baseline", "b|2.9|keep|baseline + QK norm",
            "c|2.8|keep|baseline with lr .1",
            "d|3.1|discard|baseline with seed 2", "e|2.7|keep|rerun of best with dropout"),
        {"reruns": 1, "kept": 3}, [None, None, None, 2, None]),
    "equal commits and words of two machines are no re-runs": (
        tsv("commit|node|loss|what", "a|n1|3|baseline", "a|n2|2|baseline", "a|n3|4|baseline"), {"reruns": 0}, None),
    "settings under several seeds are re-runs": (
        tsv("lr|width|seed|loss", ".1|8|1|3", ".1|8|2|3.1", ".2|8|1|2", ".2|8|2|2.1"), {"reruns": 2},
        [None, 2, None, 4]),
    "a re-run with more steps is no training": (
        tsv("commit|steps|loss|status", "a|90|3|keep", "b|95|2|keep", "b|99|2.1|keep", "c|97|2.5|discard"),
        {"rows": 4, "quarantined": 0}, None),
    "a number of parameters is no setting": (
        tsv("id|param_count|val_loss", "1|12|3", "2|12|2", "3|12|1"), {"reruns": 0, "new_bests": 2}, None),
    "words beside a status are no other one": (
        tsv("id|val_loss|status", "1|3|keep", "2|2|keep, running EMA", "3|2.5|discard (skipped)"),
        {"best_kept": 2.0, "discarded": 1}, None),
    "a change of the config is a row": (
        '{"type": "model", "val_loss": 3}\n{"type": "config", "val_loss": 2}\n', {"rows": 2, "new_bests": 1}, None),
    "words in a column metric are its names": (
        tsv("metric|score|status", "auc|.7|keep", "auc|.8|keep"), {"metric": "auc", "best_kept": 0.8}, None),
    "a constant baseline is that of the run": (
        tsv("id|metric (lower is better)|baseline|status", "1|3|3|keep", "2|2|3|keep"), {"metric": "metric"}, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected", "again"), KINDS.values(), ids=KINDS)
def test_log_of_several_meanings_is_read_as(
    tmp_path: Path, text: str, expected: Mapping[str, Any], again: list[int | None] | None
) -> None:
    [run] = bring_in(tmp_path, {"results.tsv": text})
    assert {column: run[column] for column in expected} == expected
    assert again is None or rows(tmp_path, "again") == [(line,) for line in again]


def test_phases_that_begin_with_a_baseline_are_runs(tmp_path: Path) -> None:
    lines = ("phase|val_loss|status|what", "1|3|keep|baseline", "1|2|keep|x", "2|5|keep|{}", "2|4|keep|y")
    found = bring_in(tmp_path / "a", {"results.tsv": tsv(*lines).format("baseline")})
    assert [(run["name"], run["baseline"], run["kept"]) for run in found] == [("logs: 1", 3, 1), ("logs: 2", 5, 1)]
    assert len(bring_in(tmp_path / "b", {"results.tsv": tsv(*lines).format("z")})) == 1


def test_metric_option_takes_one_of_the_named_metrics(tmp_path: Path) -> None:
    [run] = _imported(tmp_path, "scalars.csv", Stated("Val_Loss"))
    assert (run["metric"], run["rows"], run["quarantined"]) == ("val_loss", 2, 22)


def test_rows_of_json_have_their_own_lines(tmp_path: Path) -> None:
    text = '{"note": "runs",\n "runs": [\n  {"loss": 3, "x": NaN},\n  {"loss": 2},\n\n  {"loss": 1}], "more": [1]}\n'
    bring_in(tmp_path, {"results.jsonl": text + '{"loss": 0.5}\n'})
    assert rows(tmp_path, "line") == [(3,), (4,), (6,), (7,)]


def test_direction_against_a_certain_name_is_questioned(tmp_path: Path) -> None:
    text = tsv("id|val_bpb|what", "1|.9|a", "2|.8|b")
    for way, notes in (("higher", "higher"), ("lower", None)):
        [run] = bring_in(tmp_path / way, {"log.tsv": text}, Stated(direction=way))
        assert run["notes"].get("direction_against_name") == notes


def _imported(folder: Path, name: str, stated: Stated) -> list[dict[str, Any]]:
    import_logs([HOME / name], folder / "study", stated)
    return ask(folder, "FROM imports ORDER BY metric, name")


def test_docs_list_each_format_file() -> None:
    page = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")
    assert {path.name for path in HOME.iterdir()} == set(FORMATS)
    assert [name for name in FORMATS if f"`{name}`" not in page] == []
