"""``metaloop import``: one command from a log to an answer; then log, show, sql and status work on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.analysis.imports import samples

from .cli_study import cli, on_terminal


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    for name, text in (("night", samples.RERUN_LOWER), ("prose", samples.PROSE), ("unsure", samples.UNSURE)):
        (folder / name).mkdir()
        (folder / name / "results.tsv").write_text(text, encoding="utf-8")
    done = cli("import", "night/results.tsv", "-s", "studies/night", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_one_command_answers(here: Path) -> None:
    done = cli("import", "prose/results.tsv", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    item = json.loads(done.stdout)
    assert item["study"].startswith("studies/import-prose-") and (here / item["study"]).is_dir()
    assert (item["rows"], item["quarantined"], item["kept"], item["tried"]) == (5, 3, 2, 4)
    assert item["noise"]["runs_unknown"] == 1 and item["noise"]["kept_steps_explained"] is None
    assert [aside["line"] for aside in item["set_aside"]] == [8, 9, 11]
    assert item["items"][0]["claimed_gain"] == pytest.approx(0.019)
    assert {row["category"] for row in item["categories"]} == {
        "learning rate", "activation and norm", "size", "regularisation",
    }  # fmt: skip
    assert "prose/results.tsv:8: set aside" in done.stderr


def test_a_person_reads_it_at_80_columns(here: Path) -> None:
    code, shown = on_terminal("import", "night/results.tsv", "-s", "person", cwd=here)
    assert code == 0
    assert max(map(len, shown.splitlines())) < 200  # with colours
    for words in ("fitness (by its name), higher is better", "+0.8 claimed", "measured again at 0.31, 0.29, 0.3",
                  "not-reproduced 1", "experiments by the first keyword"):  # fmt: skip
        assert words in " ".join(shown.split()), words


def test_plain_output_is_keys_and_values(here: Path) -> None:
    done = cli("import", "night/results.tsv", "-s", "plain", "-q", cwd=here)
    lines = dict(line.split("\t") for line in done.stdout.splitlines())
    assert (lines["rows"], lines["trust"], json.loads(lines["contradictions"])) == (
        "7", "self-reported", {"not-reproduced": 1},
    )  # fmt: skip
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("args", "code", "kind"),
    [
        (("unsure/results.tsv",), 2, "usage"),
        (("nowhere.tsv",), 2, "usage"),
        (("studies",), 2, "not_found"),
        (("prose/results.tsv", "--metric", "speed"), 2, "usage"),
        (("prose/results.tsv", "--noise", "0"), 2, "usage"),
        (("/dev/zero",), 2, "usage"),
    ],
)
def test_errors_are_one_line(here: Path, args: tuple[str, ...], code: int, kind: str) -> None:
    done = cli("import", *args, "-s", "studies/never", "--json", cwd=here)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["kind"]) == (code, kind)
    assert "\n" not in error["message"] and error["hint"] and done.stdout == ""
    assert not (here / "studies" / "never").exists()


def test_unsure_logs_are_told_how_to_be_read(here: Path) -> None:
    done = cli("import", "unsure/results.tsv", "-s", "studies/u1", cwd=here)
    assert "--direction lower|higher" in done.stderr and done.returncode == 2
    done = cli("import", "unsure/results.tsv", "--direction", "higher", "-s", "studies/u1", cwd=here)
    assert done.returncode == 0
    done = cli("import", "unsure", "night", "-s", "studies/u3", cwd=here)
    assert done.returncode == 0 and "unsure/results.tsv: left out: the direction" in done.stderr
    assert "1 of 2 logs left out" in done.stderr and (here / "studies" / "u3").is_dir()
    done = cli("import", "unsure", "night", "--skip-unsure", "-s", "studies/u2", "--json", cwd=here)
    item = json.loads(done.stdout)
    assert (done.returncode, item["imported_logs"], item["unsure_logs"], item["quarantined"]) == (0, 1, 1, 3)


def test_a_stray_file_is_named_and_the_logs_beside_it_are_imported(here: Path) -> None:
    (here / "mixed").mkdir()
    (here / "mixed" / "results.tsv").write_text(samples.RERUN_LOWER, encoding="utf-8")
    (here / "mixed" / "results.csv").write_bytes(b"\xff\x00 not a log")
    done = cli("import", "mixed", "-s", "studies/mixed", "--json", cwd=here)
    item = json.loads(done.stdout)
    assert (done.returncode, item["imported_logs"], item["refused_logs"]) == (0, 1, 1), done.stderr
    assert "mixed/results.csv: left out:" in done.stderr


def test_it_asks_at_a_terminal(here: Path) -> None:
    words = ("import", "unsure/results.tsv", "-s", "studies/asked")
    code, text = on_terminal(*words, cwd=here, typed=b"sideways\nhigher\n")
    assert code == 0, text
    assert "which is better" in text and "'sideways' is not one of" in text and "higher is better" in text


@pytest.mark.slow
def test_log_show_sql_status_work_on_an_import(here: Path) -> None:
    log = json.loads(cli("log", "studies/night", "--all", "--json", cwd=here).stdout)
    assert [row["number"] for row in log["items"]] == list(range(7))
    assert {row["program"] for row in log["items"]} == {"night"} and log["items"][0]["started_at"] is None
    best = log["items"][2]["experiment_id"]
    item = json.loads(cli("show", best, "-s", "studies/night", "--json", cwd=here).stdout)
    assert (item["line"], item["again"], item["contradiction"]) == (4, None, "not-reproduced")
    assert item["findings"][0]["text"].startswith("line 4: kept at 0.9")
    rows = json.loads(cli("sql", "studies/night", "FROM imports", "--json", cwd=here).stdout)
    whole = json.loads(cli("show", rows[0]["import_id"], "-s", "studies/night", "--json", cwd=here).stdout)
    assert (whole["kind"], whole["rows"], len(whole["findings"])) == ("import", 7, 1)
    status = json.loads(cli("status", "studies/night", "--json", cwd=here).stdout)
    assert (status["state"], status["trust"], status["experiments"]) == ("imported", "self-reported", 7)
    assert status["device_seconds_charged"] is None and status["runs_finished"] is None  # nothing was run here
    _, shown = on_terminal("status", "studies/night", cwd=here)
    assert "nothing was run here" in shown and "0.00s" not in shown and " 1 runs" not in shown
    for verb in ("standings", "credit", "lineage"):
        done = cli(verb, "studies/night", cwd=here)
        assert done.returncode == 0, (verb, done.stderr)
    assert "no verified gains" in cli("standings", "studies/night", cwd=here).stderr


@pytest.mark.parametrize("args", [("evolve", "--resume", "studies/night"), ("verify", "studies/night")])
def test_nothing_can_be_run_in_an_import(here: Path, args: tuple[str, ...]) -> None:
    done = cli(*args, "--json", cwd=here)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["kind"]) == (2, "not_comparable")
    assert "imported" in error["message"]


def test_imported_logs_become_knowledge(here: Path) -> None:
    rows = [
        "commit|val_bpb|status|description",
        "a1|1.2|keep|baseline",
        "a2|1.1|keep|lr 0.02 -> 0.04",
        "a3|nan|crash|lr=1",
    ]
    (here / "said").mkdir()
    (here / "said" / "results.tsv").write_text("\n".join(rows).replace("|", "\t") + "\n", encoding="utf-8")
    assert cli("import", "said/results.tsv", "-s", "studies/said", cwd=here).returncode == 0
    done = cli("learn", "studies/said", "studies/night", "--into", "kb", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "said: 3 effects" in done.stderr and "log night: no row says what it changed; left out" in done.stderr
    shown = json.loads(cli("knowledge", "show", "kb", "--json", cwd=here).stdout)
    assert [(row["role"], row["value"]) for row in shown["items"]] == [("learning_rate", "0.04")]
    for args, why in (
        (("studies/night",), "no row says what it changed"),
        (("studies/said", "-t", "strokes"), "the log's metric is val_bpb, that of strokes is nll"),
    ):
        done = cli("learn", *args, "--into", "never", "--json", cwd=here)
        error = json.loads(done.stderr)["error"]
        assert done.returncode == 2 and why in error["message"] and "columns of settings" in error["hint"]
    assert not (here / "never").exists()
