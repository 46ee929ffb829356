"""``metaloop credit``: whole sentences, one unit, the rows that are shown, the conclusion."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.study import query
from meta.cli.credit_rows import as_contrasts, conclusions, hidden, ordered, sentence, shown, significant
from tests.analysis import synthetic
from tests.meta.cli_study import cli, config, on_terminal
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
    code, text = on_terminal("credit", str(study), *args, cwd=study.parent)
    assert code == 0, text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    assert max(map(len, plain.split("\n"))) <= 80 and plain.startswith("computing the estimates")
    return " ".join(plain.split())


def test_a_terminal_of_80_columns_shows_the_whole_sentence_and_ends_with_the_largest_gain(study: Path) -> None:
    text = shown_at(study, "--method", "directive")
    assert "what helped most: `@knob_a=0?` `@knob_b=1?` `@knob_c=2?` and 13 more edits (expected to help on" in text
    assert "in nats (observational, an association)" in text
    command = re.search(r"metaloop (show c\w+ -s \S+)", text)  # as typed, it lists the experiments
    assert command and "\nrests_on:\nexperiment_id\t" in cli(*command[1].split(), cwd=study.parent).stdout
    row = json.loads(cli(*command[1].split(), "--json", cwd=study.parent).stdout)
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
    assert list(row)[:7] == ["kind", "label", "estimate", "se", "low", "high", "unit"]
    last = text[text.rindex("The sentence") :]
    found = re.match(
        r'The sentence "All at once.*\.\.\." was associated with the largest gain: \+(0\.\d+) nats \[0\.\d+ to ',
        last,
    )
    assert found and float(found[1]) == pytest.approx(0.4, abs=0.03), last
    assert "per experiment that cites it (6 in 6 runs of the search). Observational" in last
    assert not CAUSAL.search(last.replace("All at once, as far as the script has them, what helped", "")[:-30])


def test_pipes_get_the_whole_label_and_the_same_unit(study: Path) -> None:
    done = cli("credit", str(study), "--json")
    [row] = [row for row in json.loads(done.stdout)["items"] if row["label"] == IDEA]
    assert row["unit"] == "nats" and row["estimate"] == pytest.approx(0.4, abs=0.03) and row["low"] < 0.4 < row["high"]
    assert "The sentence" in done.stderr and "hidden" not in cli("credit", str(study), "--all").stderr
    assert IDEA in cli("credit", str(study)).stdout
    unknown, none = (cli("credit", str(study), "--method", method) for method in ("foo", "factorial"))
    assert (unknown.returncode, unknown.stderr.splitlines()[-2]) == (2, "error: no method 'foo'")
    assert unknown.stderr.splitlines()[-1].startswith("hint: --method ") and "directive, edit" in unknown.stderr
    assert none.returncode == 0 and "no effects estimated by factorial; this study has: " in none.stderr


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
    told = json.loads(cli("show", "d-muon", "-s", str(study), "--json").stdout)
    counts = ("cited_in_search", "cited_in_confirmation", "cited_on_held_out_tasks", "cited_by_experiments")
    assert [told[name] for name in counts] == [6, 3, 2, 11]
    [row] = [row for row in json.loads(cli("credit", str(study), "--json").stdout)["items"] if row["label"] == IDEA]
    assert row["n"] == 6
    detail = json.loads(cli("show", row["credit_id"], "-s", str(study), "--json").stdout)
    assert all(detail[name] == row[name] for name in ("estimate", "low", "high", "unit"))


def line(method: str, estimate: float, n: int = 9, **more: Any) -> Any:
    row = {
        "credit_id": f"c{estimate}", "task": "t", "method": method, "design": "paired", "causal": True, "unit": "nats",
        "label": f"row {estimate}", "directive_id": None, "child_id": None, "estimate": estimate, "se": 0.01,
        "low": estimate - 0.02, "high": estimate + 0.02, "n": n, "q": 0.001, "runs": n,
    }  # fmt: skip
    return {**row, **more}


def test_every_significant_row_is_shown_and_only_the_others_are_counted_as_hidden(study: Path) -> None:
    gains = [line("edit", 0.1 * k) for k in range(1, 13)]
    losses = [line("edit", -0.1 * k) for k in range(1, 9)]
    weak = [line("edit", 5.0, q=None), line("edit", 6.0, q=0.2), line("edit", 7.0, low=-1.0)]
    every = ordered([*weak, *losses, *gains])
    rows = [row for row in every if significant(row)]
    assert len(rows) == 20
    why = "not significantly different from zero, or a planned ablation is shown instead (--all shows them)"
    assert hidden(every, rows) == f"3 rows hidden: {why}"
    assert hidden(every, every) == ""
    done = cli("credit", str(study), "--json")
    listed, known = (json.loads(one.stdout)["items"] for one in (done, cli("credit", str(study), "--all", "--json")))
    assert [row["credit_id"] for row in listed] == [row["credit_id"] for row in known if significant(row)]
    assert f"{len(known) - len(listed)} row" in done.stderr or len(known) == len(listed)
    same = [line("factorial", g, label=name) for g, name in ((0.17, "A"), (0.2, "B"), (-0.17, "C"))]
    one, other = as_contrasts(same)
    assert one["label"] == "2 sentences that were always changed together, some the opposite way: A | opposite: C"
    assert one["estimate"] == 0.17 and other["label"] == "B" and len(as_contrasts(gains)) == len(gains)


def test_what_is_only_observed_of_a_sentence_is_not_shown_beside_its_ablation() -> None:
    observed, other = line("directive", 0.5, directive_id="d1"), line("directive", 0.4, directive_id="d2")
    planned = line("factorial", 0.1, directive_id="d1", q=0.9)
    assert shown([observed, other, planned]) == [other]
    assert shown([observed, {**planned, "task": "another"}]) == [observed]


def test_the_conclusion_prefers_the_stronger_method_and_says_if_nothing_is_significant() -> None:
    seen = line("directive", 2.0 / 3.0, causal=False)
    [text] = conclusions([seen, line("factorial", 0.4)])
    assert text.startswith(
        'The sentence "row 0.4" is estimated to cause the largest gain: +0.400 nats [0.380 to 0.420]'
    )
    assert text.endswith("of a run's gain.")
    [text] = conclusions([seen, line("factorial", -0.4)])
    assert "was associated with the largest gain: +0.667 nats" in text
    sentences, programs = conclusions([line("directive", -1.0), line("mutation", 0.3, q=0.4), line("edit", 0.3)])
    assert sentences == (
        "No sentence has a significant gain by the method directive (false discovery rate 5%); 1 has a significant "
        'loss: "row -1.0" (-1.000 nats [-1.020 to -0.980]).'
    )
    assert programs == "No change between programs has a significant gain (false discovery rate 5%)."
    [text] = conclusions([line("mutation", -0.3), line("mutation", -0.5)])
    assert '; 2 have significant losses: "row -0.5" (-0.500 nats [-0.520 to -0.480]) and' in text
    [text] = conclusions([line("mutation", 0.3)])
    assert text.endswith("of a run's gain in the search, over its (better) parent.")
    assert conclusions([line("edit", 0.3)])[0].startswith('The single edit "row 0.3"')
    several = conclusions([line("edit", 0.3, task=task) for task in "abcde"])
    assert several[0].startswith("On a: The single edit") and several[3] == "2 more tasks: --json"


def test_a_sentence_keeps_its_words_and_short_lists_of_edits() -> None:
    assert sentence('proposers: {"queue": 0.9, "local": 0.1}') == "proposers: queue 0.9, local 0.1"
    assert sentence("Use `a=1` `b=2`\n `c=3` `d=4` now.") == "Use `a=1` `b=2` `c=3` `d=4` now."
    assert sentence("Use `a=1` `b=2` `c=3` `d=4` `e=5` now.") == "Use `a=1` `b=2` `c=3` and 2 more edits now."
    assert sentence("a\x1b[31mred\u202e b") == "ared b"
