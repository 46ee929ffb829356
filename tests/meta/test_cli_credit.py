"""``metaloop credit``: whole sentences, one unit, the rows that are shown, the conclusion."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.study import open_study, query
from meta.cli import views
from tests.analysis import synthetic
from tests.meta.cli_study import cli, config, metaloop, on_terminal
from trainer.user_files import private_folder

EDITS = [f"`@knob_{letter}={number}?`" for number, letter in enumerate("abcdefghijklmnop")]
IDEA = f"All at once, as far as the script has them, what helped most: {' '.join(EDITS)} (expected to help on letters)."
SPARE = "Apply the trap."
WORLD = synthetic.World({("muon", True): 0.4, ("trap", True): -0.3}, {"muon": False, "trap": False}, noise=0.01)
CAUSAL = re.compile(r"\b(caus\w+|earn\w*|effect|because|help\w*)\b", re.IGNORECASE)


@pytest.fixture
def study(tmp_path: Path) -> Path:
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


def shown_at(study: Path, *args: str) -> str:
    code, text = on_terminal("credit", study, *args, cwd=study.parent)
    assert code == 0, text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    assert max(map(len, plain.split("\n"))) <= 80 and plain.startswith("computing the estimates")
    return " ".join(plain.split())


def test_terminal_of_80_columns_shows_the_whole_sentence(study: Path) -> None:
    text = shown_at(study, "--method", "directive")
    assert "`@knob_a=0?`" in text and "`@knob_p=15?`" in text
    assert "in nats (observational, an association), on strokes" in text
    command = re.search(r"metaloop (show c\w+ -s \S+)", text)  # as typed, it lists the experiments
    assert command and "\nrests_on:\nexperiment_id\t" in cli(*command[1].split(), cwd=study.parent).stdout
    row = metaloop(*command[1].split(), "--json", cwd=study.parent).json
    for found in query(study, row["sql"]):  # the column that the estimate averages, relative to the script before
        (changed,) = query(
            study,
            f"SELECT e.gain - p.gain AS gain FROM experiments AS e JOIN experiments AS p ON p.run_id = e.run_id "
            f"AND p.number = e.parent_number WHERE e.experiment_id = '{found['experiment_id']}'",
        )
        assert found["over_parent"] == changed["gain"]
    assert row["mean_over_parent"] == pytest.approx(
        fmean(one["over_parent"] or 0.0 for one in query(study, row["sql"]))
    )
    assert row["estimate"] == pytest.approx(row["mean_over_parent"], abs=0.1) and "over_parent" in row["about_estimate"]


def test_pipes_get_the_whole_label_and_the_same_unit(study: Path) -> None:
    done = cli("credit", study, "--json")
    [row] = [row for row in done.json["items"] if row["label"] == IDEA]
    assert row["unit"] == "nats" and row["estimate"] == pytest.approx(0.4, abs=0.03) and row["low"] < 0.4 < row["high"]
    assert "1 row hidden" in done.stderr and "hidden" not in cli("credit", study, "--all").stderr
    assert IDEA in cli("credit", study).stdout
    unknown, none = (cli("credit", study, "--method", method) for method in ("foo", "factorial"))
    assert (unknown.returncode, unknown.stderr.splitlines()[-2]) == (2, "error: no method 'foo'")
    assert unknown.stderr.splitlines()[-1].startswith("hint: --method ") and "directive, edit" in unknown.stderr
    assert none.returncode == 0 and "no effect with q below 0.05; estimated: directive, edit" in none.stderr


def test_each_count_of_the_same_sentence_says_what_it_counts(study: Path) -> None:
    rng = np.random.default_rng(6)
    with Ledger(study / "ledger", "later") as ledger:
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
    told = metaloop("show", "d-muon", "-s", study, "--json").json
    counts = ("cited_in_search", "cited_in_confirmation", "cited_on_held_out_tasks", "cited_by_experiments")
    assert [told[name] for name in counts] == [6, 3, 2, 11]
    [row] = [row for row in metaloop("credit", study, "--json").json["items"] if row["label"] == IDEA]
    assert row["n"] == 6
    detail = metaloop("show", row["credit_id"], "-s", study, "--json").json
    assert all(detail[name] == row[name] for name in ("estimate", "low", "high", "unit"))


def test_listed_rows_are_those_shown_and_planned_ones_win(study: Path) -> None:
    how = views.view("credit")
    with open_study(study) as con:
        con.execute("CREATE OR REPLACE TABLE credit AS SELECT * FROM credit WHERE method = 'directive'")
        con.execute("INSERT INTO credit SELECT * REPLACE ('edit' AS method, false AS significant) FROM credit")
        assert {row["method"] for row in how.rows(con, [None]) if row["listed"]} == {"directive"}
        con.execute(
            "INSERT INTO credit SELECT * REPLACE ('factorial' AS method, 'c-plan' AS credit_id, false AS significant) "
            "FROM credit WHERE directive_id = 'd-muon' AND method = 'directive'"
        )
        listed = [row["directive_id"] for row in how.rows(con, [None]) if row["listed"]]
    assert "d-muon" not in listed and listed == ["d-trap"] * len(listed)
