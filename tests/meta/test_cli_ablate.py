"""``metaloop ablate`` and ``credit``: plan, design, replay, which rows are shown, and the way back from each."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.study import open_study, query
from bench.simulated_tasks import simulated_task
from meta.cli import views
from meta.cli.study_result import effect_of_all
from tests.analysis import synthetic
from tests.analysis.imports.helpers import repository
from tests.analysis.imports.samples import tsv
from tests.gallery import Gallery
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import cli, config, metaloop, on_terminal
from trainer.laws.law import Law
from trainer.user_files import private_folder

PROGRAM = "---\nmetaloop: {proposers: {queue: 1.0}, no_repeat: false}\n---\n# Small\n\nBe bold.\n\n## Ideas\n\n"
IDEAS = "- First `momentum=0.9`.\n- A larger step: `lr=0.1`.\n"
LAW = Law(
    before=dict.fromkeys("ABCD", 1.0), effects={("A", 2.0): 0.4, ("B", 2.0): 0.2, ("C", 2.0): -0.1, ("D", 2.0): 0.0},
    interactions={}, seed=1, noise=0.001,
)  # fmt: skip
HOW = ("-t", str(BLOBS), "--set", "fixed_steps=true", "-b", "0.8s")


def ablate(*args: str, cwd: Path) -> Any:
    return metaloop("ablate", *args, "--json", cwd=cwd).json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.md").write_text(PROGRAM + IDEAS)
    return tmp_path


def test_dry_run_shows_design_power_and_cost(folder: Path) -> None:
    plan = ablate("small.md", *HOW, "--dry-run", cwd=folder)
    assert (plan["directives"], plan["runs_per_block"], plan["blocks"], plan["runs"]) == (4, 8, 4, 32)
    assert [d["text"] for d in plan["factors"]][2:] == ["First `momentum=0.9`.", "A larger step: `lr=0.1`."]
    assert {d["why"] for d in plan["left_out"]} == {"changes nothing here", "switched together with its list"}
    assert "; 2 left out" in plan["design"] and not (folder / "studies").exists()
    small = ablate("small.md", *HOW, "--budget", "16s", "--dry-run", cwd=folder)
    assert small["runs"] == 16 and small["device_seconds"] <= 16
    assert "± 1.10 SD" in small["power"] and "an effect of 1.54 SD" in small["power"]
    one = ablate("small.md", *HOW, "--only", plan["factors"][3]["directive_id"][:7], "--dry-run", cwd=folder)
    assert one["directives"] == 1 and {d["why"] for d in one["left_out"]} >= {"not selected"}


@pytest.mark.parametrize(
    ("args", "told"), [(("--budget", "5s"), "the budget pays for"), (("--only", "d000"), "no directive d000")]
)
def test_refused_ablation_creates_no_study(folder: Path, args: tuple[str, ...], told: str) -> None:
    done = metaloop("ablate", "small.md", *args, *HOW, cwd=folder, code=2)
    assert told in done.stderr and not (folder / "studies").exists()


def test_ablation_row_leads_back_to_its_runs(gallery: Gallery) -> None:
    study = gallery("ablation")
    rows = query(study, "SELECT * FROM credit WHERE method = 'factorial'")
    assert {row["design"] for row in rows} == {"randomised"} and len({row["n"] for row in rows}) == 1
    told = metaloop("show", rows[0]["credit_id"][:7], "-s", study, "--json").json
    assert (told["kind"], told["estimate"], len(told["rests_on"])) == ("credit", rows[0]["estimate"], rows[0]["n"])
    found = metaloop("sql", study, told["sql"], "--json").json
    runs = found if isinstance(found, list) else found["items"]
    means = {held: fmean(run["verified_gain"] for run in runs if run["held"] is held) for held in (True, False)}
    assert means[True] - means[False] == pytest.approx(rows[0]["estimate"])


def test_replayed_change_is_the_run_without_it(gallery: Gallery) -> None:
    study = gallery("replay")
    rows = query(study, "SELECT * FROM credit WHERE method = 'leave-one-out'")
    [run] = query(study, "SELECT run_id, kept FROM runs ORDER BY kept DESC LIMIT 1")
    assert len(rows) > 1 and {row["run_id"] for row in rows} == {run["run_id"]}
    assert {(row["design"], row["n"]) for row in rows} == {("paired", 6)}
    means = "SELECT avg(gain) AS gain, max(len(commits)) AS most FROM replays WHERE {}"
    [whole] = query(study, means.format("len(commits) = (SELECT max(len(commits)) FROM replays)"))
    [less] = query(study, means.format(f"len(commits) = {whole['most'] - 1} AND NOT "
                                       f"list_contains(commits, '{rows[0]['experiment_id']}')"))  # fmt: skip
    assert rows[0]["estimate"] == pytest.approx(whole["gain"] - less["gain"])


def imported(folder: Path, *rows: str) -> str:
    """An imported log of a repository with a task, whose commits double one constant each; the run's id."""
    simulated_task(LAW, folder / "repo", experiments=8)
    texts = [(folder / "repo" / "train.py").read_text()]
    for name in "ADBC":
        texts.append(texts[-1].replace(f"\n{name} = 1.0", f"\n{name} = 2.0"))
    hashes = repository(folder / "repo", texts)
    (folder / "repo" / "train.py").write_text(texts[0])  # a simulated task needs the script of its law
    head = "commit|loss|status|description"
    log = folder / "repo" / "results.tsv"
    log.write_text(tsv(head, f"{hashes[0]}|1.0|keep|baseline", *(row.format(*hashes) for row in rows)))
    metaloop("import", "repo/results.tsv", "-s", "studies/old", cwd=folder)
    return str(query(folder / "studies" / "old", "SELECT run_id FROM imports")[0]["run_id"])


def test_kept_rows_of_an_import_are_trained_again(tmp_path: Path) -> None:
    """A commit that the log lacks is between two kept ones; one row has no commit, one was kept though worse."""
    rows = ("{1}|0.6|keep|more of A", "{3}|0.4|keep|more of B", "0123abc|0.39|keep|lost", "{4}|0.5|keep|worse")
    run_id = imported(tmp_path, *rows)
    words = ("ablate", run_id[:6], "-s", "studies/old", "-t", "repo")
    plan = metaloop(*words, "--dry-run", "--json", cwd=tmp_path).json
    assert (plan["commits"], plan["runs"]) == (3, 20) and not list((tmp_path / "studies").glob("planted*"))
    done = metaloop(*words, "-n", "3", "--json", cwd=tmp_path)
    made = done.json
    effects = {row["label"]: row["estimate"] for row in made["items"]}
    assert effects == pytest.approx({"more of A": 0.4, "more of B": 0.2, "worse": -0.1}, abs=0.01)
    assert "left out: 1 of 4 kept rows" in done.stderr
    assert (made["changes"], made["helpful"], made["harmful"], made["seeds"]) == (3, 2, "worse", 3)
    assert made["gain_of_all"] == pytest.approx(0.5, abs=0.006)  # .4 + .2 - .1 by the law
    again = cli("resume", made["study"], "--json", cwd=tmp_path)
    assert again.json["items"] == made["items"]
    shown = cli("show", made["items"][0]["credit_id"], "-s", made["study"], "--json", cwd=tmp_path)
    assert len(shown.json["rests_on"]) == 15
    measured = "3 of 3 kept changes of 1 run have a significant effect (planned ablation)."
    told = cli("standings", made["study"], cwd=tmp_path).stderr
    assert measured in told and "the match that decides" not in told
    status = cli("status", made["study"], "--json", cwd=tmp_path).json
    assert (status["replays"], status["trust"]) == (15, "scored")
    assert "15 trainings of an ablation" in on_terminal("status", made["study"], cwd=tmp_path)[1]
    metaloop("report", made["study"], "-o", "report.html", cwd=tmp_path)
    assert "more of A" in (tmp_path / "report.html").read_text()


def test_effect_of_all_counts_changes_before_and_after_q() -> None:
    rows: list[dict[str, Any]] = [
        {"label": "wider", "low": 0.1, "high": 0.2, "q": 0.001, "unit": "nats"},
        {"label": "lucky", "low": 0.1, "high": 0.9, "q": 0.07},
        {"label": "slower", "low": -0.3, "high": -0.1, "q": 0.07},
        {"label": "unclear", "low": -0.3, "high": 0.1, "q": 0.4},
    ]
    effect = effect_of_all(rows, [0.3, 0.5])
    assert (effect["gain_of_all"], effect["low"]) == pytest.approx((0.4, -0.87), abs=0.01)
    assert (effect["seeds"], effect["changes"], effect["helpful"], effect["corrected"]) == (2, 4, 2, 1)
    assert effect["harmful"] == "slower"


@pytest.mark.parametrize(
    ("rows", "task", "message"),
    [
        (("{1}|0.6|keep|more of A",), (), "name the task"),
        (("{1}|0.6|discard|more of A",), ("-t", "repo"), "kept no change"),
        (("0123abc|0.6|keep|more of A",), ("-t", "repo"), "no kept row of run"),
        (("{4}|0.6|keep|less",), ("-t", "repo/inner"), "lack train.py"),
    ],
)
def test_import_that_cannot_be_trained_again_is_refused(
    tmp_path: Path, rows: tuple[str, ...], task: tuple[str, ...], message: str
) -> None:
    run_id = imported(tmp_path, *rows)
    simulated_task(LAW, tmp_path / "repo" / "inner", experiments=8)
    done = metaloop("ablate", run_id, "-s", "studies/old", *task, cwd=tmp_path, code=2)
    assert message in done.stderr and "hint: " in done.stderr, done.stderr
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["old"]


EDITS = [f"`@knob_{letter}={number}?`" for number, letter in enumerate("abcdefghijklmnop")]
IDEA = f"All at once, as far as the script has them, what helped most: {' '.join(EDITS)} (expected to help on letters)."
SPARE = "Apply the trap."
WORLD = synthetic.World({("muon", True): 0.4, ("trap", True): -0.3}, {"muon": False, "trap": False}, noise=0.01)


@pytest.fixture
def tried(tmp_path: Path) -> Path:
    """Six runs, each of which tries two ideas: one gains 0.4 nats, one loses 0.3."""
    listed = [{"directive_id": d, "heading": "Ideas", "kind": "idea", "text": text, "position": position}
              for position, (d, text) in enumerate((("d-muon", IDEA), ("d-trap", SPARE)))]  # fmt: skip
    rng = np.random.default_rng(5)
    private_folder(tmp_path / "one" / "ledger")
    with Ledger(tmp_path / "one" / "ledger", "arena") as ledger:
        synthetic.program(ledger, "p1", directives=listed)
        synthetic.match(ledger, "m1", {"a1": "p1"})
        for run in range(6):
            synthetic.start(ledger, f"r{run}", "m1", "a1", "p1", run)
            synthetic.search(ledger, WORLD, f"r{run}", rng, tries=2, seed=run,
                             ideas=[("muon", True), ("trap", True)], directives=["d-muon", "d-trap"])  # fmt: skip
    config(tmp_path / "one")
    return tmp_path / "one"


def test_terminal_of_80_columns_shows_the_whole_sentence(tried: Path) -> None:
    code, text = on_terminal("credit", tried, "--method", "directive", cwd=tried.parent)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    assert code == 0 and max(map(len, plain.split("\n"))) <= 80 and plain.startswith("computing the estimates")
    text = " ".join(plain.split())
    assert "`@knob_a=0?`" in text and "`@knob_p=15?`" in text
    assert "in nats (observational, an association), on strokes" in text
    command = re.search(r"metaloop (show c\w+ -s \S+)", text)  # as typed, it lists the experiments
    assert command and "\nrests_on:\nexperiment_id\t" in cli(*command[1].split(), cwd=tried.parent).stdout
    row = metaloop(*command[1].split(), "--json", cwd=tried.parent).json
    rows = query(tried, row["sql"])
    assert row["mean_over_parent"] == pytest.approx(fmean(one["over_parent"] or 0.0 for one in rows))
    assert row["estimate"] == pytest.approx(row["mean_over_parent"], abs=0.1) and "over_parent" in row["about_estimate"]


def test_pipes_get_the_whole_label_and_the_same_unit(tried: Path) -> None:
    done = cli("credit", tried, "--json")
    [row] = [row for row in done.json["items"] if row["label"] == IDEA]
    assert row["unit"] == "nats" and row["estimate"] == pytest.approx(0.4, abs=0.03) and row["low"] < 0.4 < row["high"]
    assert "1 row hidden" in done.stderr and "hidden" not in cli("credit", tried, "--all").stderr
    assert IDEA in cli("credit", tried).stdout
    unknown, none = (cli("credit", tried, "--method", method) for method in ("foo", "factorial"))
    assert (unknown.returncode, unknown.stderr.splitlines()[-2]) == (2, "error: no method 'foo'")
    assert unknown.stderr.splitlines()[-1].startswith("hint: --method ") and "directive, edit" in unknown.stderr
    assert none.returncode == 0 and "no effect with q below 0.05; estimated: directive, edit" in none.stderr


def test_each_count_of_the_same_sentence_says_what_it_counts(tried: Path) -> None:
    rng = np.random.default_rng(6)
    with Ledger(tried / "ledger", "later") as ledger:
        for match, stream, task, runs in (("m2", "confirmation", "strokes", 3), ("m3", "reserve", "digits", 2)):
            more = {"task": task, "stream": stream}
            synthetic.match(ledger, match, {f"a-{match}": "p1"}, purpose=stream, task_id=f"t-{task}", **more)
            for run in range(runs):
                identity = f"r-{match}-{run}"
                synthetic.start(ledger, identity, match, f"a-{match}", "p1", run, **more)
                synthetic.search(
                    ledger, WORLD, identity, rng, tries=1, seed=50 + run, ideas=[("muon", True)], directives=["d-muon"]
                )
                synthetic.end(ledger, identity)
                synthetic.verify(ledger, identity, f"a-{match}", "p1", [0.4, 0.4], **more)
    told = metaloop("show", "d-muon", "-s", tried, "--json").json
    counts = ("cited_in_search", "cited_in_confirmation", "cited_on_held_out_tasks", "cited_by_experiments")
    assert [told[name] for name in counts] == [6, 3, 2, 11]
    [row] = [row for row in metaloop("credit", tried, "--json").json["items"] if row["label"] == IDEA]
    assert row["n"] == 6
    detail = metaloop("show", row["credit_id"], "-s", tried, "--json").json
    assert all(detail[name] == row[name] for name in ("estimate", "low", "high", "unit"))


def test_listed_rows_are_those_shown_and_planned_ones_win(tried: Path) -> None:
    how = views.view("credit")
    with open_study(tried) as con:
        con.execute("CREATE OR REPLACE TABLE credit AS SELECT * FROM credit WHERE method = 'directive'")
        con.execute("INSERT INTO credit SELECT * REPLACE ('edit' AS method, false AS significant) FROM credit")
        assert {row["method"] for row in how.rows(con, [None]) if row["listed"]} == {"directive"}
        con.execute(
            "INSERT INTO credit SELECT * REPLACE ('factorial' AS method, 'c-plan' AS credit_id, false AS significant) "
            "FROM credit WHERE directive_id = 'd-muon' AND method = 'directive'"
        )
        listed = [row["directive_id"] for row in how.rows(con, [None]) if row["listed"]]
    assert "d-muon" not in listed and listed == ["d-trap"] * len(listed)
