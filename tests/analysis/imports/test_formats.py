"""Each format of docs/import.md is read from a file of `formats/`: what becomes of it, and what is still asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.imports.columns import Stated
from programs.errors import UsageError
from tests.analysis.imports.helpers import ask, bring_in, rows

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
        {"e.metric": [0.524, 0.5101, 0.539, 0.5098], '"commit"': ["a1a1a11", "b2b2b22", None, "c3c3c33"]}),
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
        by_metric = ask(tmp_path, f"SELECT {column} AS v FROM experiments AS e JOIN import_rows USING "
                        "(run_id, experiment_id) JOIN imports AS i USING (run_id) ORDER BY i.metric, e.number")  # fmt: skip
        assert [row["v"] for row in by_metric] == values


def _imported(folder: Path, name: str, stated: Stated) -> list[dict[str, Any]]:
    text = (HOME / name).read_text(encoding="utf-8")
    from analysis.imports.study import import_logs

    (folder / "logs").mkdir()
    (folder / "logs" / name).write_text(text, encoding="utf-8")
    import_logs([folder / "logs" / name], folder / "study", stated)
    return ask(folder, "FROM imports ORDER BY metric, name")


def test_docs_list_each_format_file() -> None:
    page = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")
    assert {path.name for path in HOME.iterdir()} == set(FORMATS)
    assert [name for name in FORMATS if f"`{name}`" not in page] == []
