"""A match ends with the difference of the two programs that were named; programs of one behaviour are one arm."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from scipy.stats import ttest_ind

from analysis.study import query
from analysis.verdict.contrast import contrast
from analysis.verdict.decision import ArmRuns
from analysis.verdict.verdict import Verdict, _with_sentences
from analysis.wording import p_text
from tests.gallery import Gallery
from tests.meta.cli_study import metaloop, on_terminal
from tests.studies import drawn_law

BUDGET = ("-b", "0.4s")
QUIET = ("-n", "3", "-y", "--json", *BUDGET)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contrast")
    drawn_law(folder / "law", 3)
    drawn_law(folder / "other", 8)
    (folder / "mine.md").write_text("# Mine\n\nTake care.\n")
    (folder / "b.md").write_text("# B\n\n## Ideas\n\n- Try `LADDER1=0.5`.\n")
    return folder


def played(*words: str) -> Any:
    return metaloop("match", *words, *QUIET).json


def gains(folder: Path, name: str) -> list[float]:
    sql = f"SELECT verified_gain FROM runs WHERE name = '{name}' ORDER BY run_id"
    return [row["verified_gain"] for row in query(folder, sql)]


def test_two_programs_are_compared_and_an_old_study_adds_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    words = ["local", "b.md", "-t", "law", "--no-controls"]
    told = played(*words, "-s", "one", "--seed", "5")
    first, second = gains(here / "one", "local"), gains(here / "one", "b")
    welch = ttest_ind(first, second, equal_var=False)
    found = told["contrast"]
    assert (found["first"], found["second"], found["n"]) == ("local", "b", 3)
    assert (found["difference"], found["p"]) == pytest.approx((fmean(first) - fmean(second), welch.pvalue))
    low, high = welch.confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert (found["needed"] is None) == (not low <= 0 <= high)
    added = played(*words, "-s", "two", "--seed", "9", "--add", "one")
    alone = fmean(gains(here / "two", "local")) - fmean(gains(here / "two", "b"))
    assert added["contrast"]["n"] == 6
    assert added["contrast"]["difference"] == pytest.approx((found["difference"] + alone) / 2)
    reason = "the match that decides in one has no runs of local, b with this task, run budget, hardware and researcher"
    agent = ("-r", "command", "--set", "agent=true")
    for more, problem in (("-b", "9s"), reason), (agent, reason), (("--add", "one"), "names a study twice"):
        command = ["match", *words, "-s", "three", *BUDGET, *more, "-y", "--add", "one"]
        assert problem in metaloop(*command, code=2).stderr
        assert not (here / "three").exists()  # refused before anything ran
    command = ["match", "local", "-t", "law", *BUDGET, "--dry-run", "--add", "one"]  # against stock, which has two arms
    assert "has no runs of stock with" in " ".join(metaloop(*command, code=2).stderr.split())
    rows = {row["program"]: row for row in metaloop("standings", "one", "two", "--json").json["items"]}
    assert rows.keys() == {"local", "b"} and rows["local"]["runs"] == "3 / 3"
    plan = played(*words, "--add", "one", "-s", "late", "--dry-run")
    assert plan["power"].startswith("with 6 runs of each of the two, 3 of them in one, ")
    (here / "one").rename(here / "moved")  # a study needs no other one
    [sentence] = [one for one in added["found"] if "6 runs against 6, 3 and 3 of them in one" in one]
    assert f"two-sided p {p_text(added['contrast']['p'])}" in sentence
    assert metaloop("standings", "two", "--json").json["contrast"] == added["contrast"]


def test_several_tasks_have_a_match_each_and_a_joint_table(here: Path, gallery: Gallery, tmp_path: Path) -> None:
    """Which arms these are, and their cells: tests/arena/test_match.py."""
    plan = metaloop("match", "local", "b.md", "-t", "law,other", *QUIET, "--dry-run", cwd=here).json
    works = [(work["task"], work["runs"]) for work in plan["works"]]
    assert (plan["runs"], works) == (18, [("law", 9), ("other", 9)]) and plan["power"].startswith("on each task: ")
    study = shutil.copytree(gallery("several"), tmp_path / "study", symlinks=True)
    code, shown = on_terminal("resume", study, cwd=tmp_path)
    assert code == 0 and "law (training task), gain in nats" in shown and "other (other task)" in shown


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [
        ((0.1, 0.12, 0.11), (0.6, 0.62, 0.64), "(two-sided p < 0.0001, 3 runs against 3): b is better."),
        ((0.0, 0.2, 0.6), (0.5, 0.7, 0.9), "3 runs against 3): which is better is not shown."),
        ((0.5,), (0.4,), "(1 run against 1): which is better is not shown."),
    ],
    ids=("second", "touches zero", "one run"),
)
def test_a_difference_says_which_program_is_better(
    first: tuple[float, ...], second: tuple[float, ...], ends: str
) -> None:
    found = contrast((ArmRuns("p1", "a", "nats", first), ArmRuns("p2", "b", "nats", second)))
    verdict = Verdict("open", "nats", 2, "", (), None, contrast=found)
    [sentence, *_] = _with_sentences(verdict, contrast=found, facts={"searches": False}).sentences
    assert sentence.endswith(ends)
    assert found.better == ("b" if "b is better" in ends else "")
