"""A night: its plan, what it shows, how it goes on, and what is done with its result."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from analysis.study import query
from analysis.verdict.decision import decision_of
from arena.after.harvest import HARVEST
from arena.study.setup import RunCost
from arena.study.study import Study
from bench.simulated_tasks import random_law, simulated_task
from inner_loop.run_context import ModelConfig
from meta.cli.evolve_draft import EvolveOptions, SizeFlags, size_of, study_seconds
from meta.kinds.size import night_seconds, night_size
from meta.outcome.apply import Applied, apply, commit_branch, describe_script, program_path
from meta.outcome.branch_commits import Commit
from programs.common.errors import UsageError
from programs.common.safe_git import BorrowedRepository
from programs.shelf import starter
from tests.meta.cli_study import metaloop
from trainer.laws.law import Law
from trainer.task import Task

PROSE = "# Mine\n\nChange one thing of train.py. Keep it if the loss is lower.\n"
OTHER = "---\nmetaloop:\n  wave: 3\n  proposers: {tpe: 0.7, local: 0.3}\n---\n# Mine\n\nThree at a time.\n"
QUEUE = "---\nmetaloop: {proposers: {queue: 1.0}}\n---\n"
USER = ("-c", "user.name=u", "-c", "user.email=u@example.org")


@pytest.mark.parametrize("experiments", [8, 9, 40, 140, 300])
def test_budget_of_eight_experiments_pays_for_a_night(experiments: int) -> None:
    task = Task.load("strokes")
    budget = experiments * task.cost_seconds
    run_budget, seeds = night_size(budget, task)
    assert 0.99 * budget <= night_seconds(RunCost(task, run_budget), seeds) <= budget + 1e-9
    assert run_budget >= 4 * task.cost_seconds and seeds >= 2
    with pytest.raises(UsageError, match="pays for 7 experiments"):
        night_size(7 * task.cost_seconds, task)


def test_night_without_power_of_matches_unless_a_flag_sets_them() -> None:
    task = Task.load("strokes")
    a_run = RunCost(task, task.run_budget)
    options = EvolveOptions([starter("local")], [task], [], None, None, None, False, "scripted", ModelConfig())

    def has_night(budget: float | None, generations: int | None = None, options: EvolveOptions = options) -> bool:
        return size_of(SizeFlags(None, budget, False, generations, None, None, None), options, a_run) is None

    little = 96 * task.cost_seconds
    assert has_night(little) and not has_night(None)
    for more in {"options": replace(options, own=[])}, {"generations": 1}:
        with pytest.raises(UsageError, match="too small"):
            has_night(little, **more)
    largest = size_of(SizeFlags(None, 1e6, False, None, None, None, None), options, a_run)
    assert largest and largest[0].final["own"] == largest[0].final["champion"] > 60
    enough = study_seconds(largest[0], options, a_run)
    assert not has_night(enough) and has_night(enough / 2) and not has_night(enough / 2, generations=1)


def committed(folder: Path, **programs: str) -> Path:
    """A git repository with these programs beside what is there."""
    for name, text in programs.items():
        (folder / f"{name}.md").write_text(text)
    for words in (["init", "-q"], ["add", "-A"], [*USER, "commit", "-qm", "first"]):
        git(folder, *words)
    return folder


def with_ideas(folder: Path, effects: dict[tuple[str, float], float]) -> Path:
    """A repository that is a task of this law, with a program whose ideas are the effects of the law."""
    before = {name: 1.0 for name, _ in effects}
    simulated_task(Law(before, dict(effects), {}, seed=1, noise=0.001), folder)
    ideas = "".join(f"- Use `{name.lower()}={value:g}`.\n" for name, value in effects)
    return committed(folder, program=f"{QUEUE}# Mine\n\n## Ideas\n\n{ideas}")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with a simulated task in a folder and a program at its root."""
    folder = tmp_path_factory.mktemp("night") / "repo"
    simulated_task(random_law(7, gain=0.3, noise=0.005), folder / "work")
    return committed(folder, program=PROSE, other=OTHER)


@cache
def report_of(study: Path) -> str:
    metaloop("report", study, "-o", study / "page.html")
    return html.unescape((study / "page.html").read_text())


@pytest.fixture(scope="module")
def ended(repository: Path) -> Path:
    study = repository.parent / "study"
    words = ["improve", str(repository / "program.md"), "-t", str(repository / "work"), "--budget", "9.6s"]
    metaloop(*words, "--seed", "2", "-s", study, "-y")
    return study


def test_night_is_one_run_whose_main_is_measured_afresh(ended: Path, repository: Path) -> None:
    [match] = query(ended, "SELECT purpose, stream FROM matches")
    [played] = query(ended, "SELECT role, verified_seeds, experiments, final_source_id, verified_gain FROM runs")
    assert (*match.values(), played["role"], played["verified_seeds"]) == ("night", "confirmation", "night", 4)
    config = Study.open(ended).config
    assert config.plan["path"] == str(repository / "program.md") and config.baseline_seeds == 4
    [best] = query(ended, "FROM harvest")
    assert best["source_id"] == played["final_source_id"] and best["n"] == 4 and best["low"] > 0
    assert best["gain"] == pytest.approx(played["verified_gain"])
    assert (ended / "best_train.py").read_text() == best["files"][0][1]
    spent = query(ended, "SELECT sum(device_seconds_charged) AS s FROM runs")[0]["s"]
    assert spent <= 8.8 + 1e-9 and played["experiments"] >= 80
    kept = "SELECT count(*) AS n FROM experiments WHERE decision = 'keep' AND decision_gain <= 0"
    assert query(ended, kept) == [{"n": 0}]


def test_what_each_program_contributed_can_be_recomputed(ended: Path) -> None:
    rows = query(ended, "FROM contributions ORDER BY program_id")
    turns = query(ended, "FROM night_turns")
    assert {row["program_id"] for row in rows} == set(Study.open(ended).config.plan["turns"]) and len(rows) == 2
    for row in rows:
        own = [turn for turn in turns if turn["program_id"] == row["program_id"]]
        assert row["turns"] == len(own) and row["kept"] == sum(turn["kept"] is not None for turn in own)
        assert row["gain"] == pytest.approx(sum(turn["gain"] for turn in own))
        hours = sum(turn["device_seconds_charged"] for turn in own) / 3600
        assert row["gain_per_hour"] == pytest.approx(row["gain"] / hours)
        assert row["low"] < row["gain_per_hour"] < row["high"]
        assert row["gain_early"] == pytest.approx(sum(turn["gain"] for turn in own if turn["number"] < 24))
        assert row["gain_late"] == pytest.approx(sum(t["gain"] for t in own if t["number"] >= len(turns) / 2))
    assert abs(rows[0]["turns"] - rows[1]["turns"]) <= 1
    page = (ended / "champion.evidence.md").read_text()
    assert "## Turns" in page and "So short a night" not in page


def test_kept_change_of_a_night_is_trained_again_like_any(ended: Path, tmp_path: Path) -> None:
    study = shutil.copytree(ended, tmp_path / "study")
    [played] = query(study, "SELECT run_id, kept FROM runs")
    said = metaloop("ablate", played["run_id"][:8], "-s", study, "-n", "2").stderr
    assert "plan: " in said and "ended" not in said.split("plan: ")[0]  # the run of the night is none of these
    rows = query(study, "FROM credit WHERE method = 'leave-one-out'")
    replaced = re.search(r"left out: (\d+) of", said)  # values that a later one of the same setting replaces
    assert replaced and len(rows) + int(replaced[1]) == played["kept"] and {row["n"] for row in rows} == {2}
    assert query(study, "FROM contributions") == query(ended, "FROM contributions")


def test_night_shows_both_programs_and_the_unused_rest(ended: Path) -> None:
    said = metaloop("status", ended, "--json").json
    [rest] = query(ended, "SELECT name, forfeited FROM runs")
    assert said["programs"] == 2 and rest["name"] == "program-elite and tpe-local in turns" and rest["forfeited"] > 0
    assert said["device_seconds_unused"] == pytest.approx(rest["forfeited"], abs=1e-3)
    drawn = report_of(ended).split('<figure id="night-0" data-kind="none">')[1].split("</figure>")[0]
    assert drawn.count("<tr>") > 70
    shown = metaloop("standings", ended, "--json").json
    assert [row["kept"] for row in shown["turns"]] and [row["role"] for row in shown["items"]] == ["night"]
    turns, rest = metaloop("standings", ended).stdout.split("\n\n")
    assert turns.startswith("night\tname\tturns\t") and rest.startswith("program\t")


def test_script_follows_no_prose_so_others_take_the_turns(repository: Path) -> None:
    words = ["-t", str(repository / "work"), "--budget", "4s", "--dry-run", "--json"]
    planned = metaloop("improve", repository / "program.md", *words).json
    assert planned["turns"].startswith("program-elite and ") and len(planned["plan"]["turns"]) == 2
    assert planned["power"] == "so short a night does not show which program is better"
    planned = metaloop("improve", repository / "other.md", *words).json
    assert planned["turns"] == "other (yours) and other-elite"


def test_the_next_night_goes_on_from_main_with_a_program_more(ended: Path, repository: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    words = ["improve", str(repository / "program.md"), "-t", str(repository / "work"), "--budget", "6s", "--seed", "3"]
    metaloop(*words, "--from", ended, "-s", study, "-y")
    config = Study.open(study).config
    assert config.start == [("train.py", (ended / "best_train.py").read_text())] and len(config.plan["turns"]) == 3
    assert config.plan["turns"][:2] == Study.open(ended).config.plan["turns"]
    [begun] = query(study, "SELECT source_id, decision FROM experiments WHERE number = 2")
    [main] = query(ended, "SELECT source_id FROM harvest")
    assert (begun["source_id"], begun["decision"]) == (main["source_id"], "keep")
    said = metaloop("standings", ended, study, "--json").json
    assert said["nights"] == 2 and 0 < said["p"] <= 1
    assert {row["night"] for row in said["items"]} == {str(ended), str(study)}
    assert "named twice" in metaloop("standings", ended, ended, code=2).stderr
    other = ["improve", str(repository / "other.md"), *words[2:4], "--budget", "1.2s", "-s", str(tmp_path / "other")]
    metaloop(*other, "-y")
    assert "not nights of the same two programs" in metaloop("standings", ended, tmp_path / "other", code=2).stderr
    metaloop(*other[:-1], str(tmp_path / "third"), "-y")
    short = metaloop("standings", tmp_path / "other", tmp_path / "third", "--json").json
    assert 0 < short["p"] <= 1  # both programs have a turn in each block of a short night, too
    page = (tmp_path / "other" / "champion.evidence.md").read_text()  # of a night of 12 experiments
    assert "So short a night does not show which program is better (planned test of " in page


def test_the_plan_of_the_next_night_counts_with_the_cost_of_main(ended: Path, repository: Path, tmp_path: Path) -> None:
    before = shutil.copytree(ended, tmp_path / "before")  # its `main` took 0.1 s, and then 0.9 s
    study = Study.open(before)
    with study:
        study.look()
        for one in [*study.state.verifications()]:
            study.record(replace(one, seed=one.seed + 1, device_seconds_spent=0.9))
    words = ["improve", repository / "program.md", "-t", repository / "work", "--budget", "6s", "--dry-run"]
    untouched, following = (metaloop(*words, *more, "--json").json for more in ([], ["--from", before]))
    budget, seeds = untouched["charged_seconds"], night_size(6.0, study.task)[1]
    assert (untouched["experiments"], following["experiments"]) == (round(budget / 0.1), int(budget / 0.5))
    assert following["device_seconds"] == pytest.approx(untouched["device_seconds"] + seeds * 0.4, abs=0.1)
    assert f"main of {before}; a training of it takes 0.5 s" in following["start"]


def test_night_that_adds_nothing_says_so_and_makes_no_branch(tmp_path: Path) -> None:
    """The program has one idea, which is in `main` already."""
    task = with_ideas(tmp_path / "repo", {("A", 2.0): 0.4})
    words = ["improve", task / "program.md", "-t", task, "--budget", "2s", "--seed", "2", "-y", "--apply"]
    first, second = tmp_path / "first", tmp_path / "second"
    said = metaloop(*words, "-s", first).stderr
    assert "kept 1 of" in said and "branch metaloop/first" in said and "--apply" not in said
    again = metaloop(*words, "--from", first, "-s", second).stderr
    assert "kept 0 of" in again and f"this night added nothing to main of {first}" in again
    assert git(task, "branch", "--list", "metaloop/*").split() == ["metaloop/first"]


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def applied(study: Study) -> Applied:
    return apply(study, study.config.plan["origin"], study.config.plan["path"])


def test_apply_commits_on_a_branch_and_leaves_the_rest_alone(ended: Path, repository: Path) -> None:
    (repository / "work" / "train.py").write_text((repository / "work" / "train.py").read_text() + "\n# mine\n")
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")
    said = metaloop("resume", ended, "--apply").stderr
    assert "switch metaloop/study" in said and "--apply" not in said and said.count("next:") == 1
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")) == before
    changed = git(repository, "diff", "--name-only", "HEAD", "metaloop/study").split()
    study = Study.open(ended)
    study.look()
    assert study.state.champion is not None
    holds = decision_of(study.state.champion.body).holds
    exported = metaloop("export", ended, "--for", "agent").stderr
    assert ("warning: champion.md is a proposal for the next night, and untested" in exported) == (not holds)
    assert changed == (["program.md"] if holds else []) + ["work/train.py"]
    assert git(repository, "show", "metaloop/study:work/train.py") == (ended / "best_train.py").read_text()
    message = git(repository, "log", "-1", "--format=%B", "metaloop/study")
    assert "train.py is better than the untouched one on fresh data by " in message and "\nEdits: " in message
    assert ("planned test of their turns" in message) == holds and "changes of the code" not in message
    best = study.state.harvests[study.task.name, HARVEST]
    changed_too = replace(best, source_id="other")
    assert describe_script(study, changed_too, study.task.baseline()).endswith(" and changes of the code")
    assert applied(study).branch == "metaloop/study"  # the same again makes no other branch
    study.state.harvests[study.task.name, HARVEST] = replace(best, low=-0.1)
    with suppress(UsageError):  # there may be nothing to apply
        assert "train.py" not in applied(study).files
    git(repository, "checkout", "--", "work/train.py")


KEPT = """
SELECT e.description AS label, before.metric AS before, e.metric AS after FROM experiments AS e
JOIN experiments AS before ON before.run_id = e.run_id AND before.number = e.parent_number WHERE e.decision = 'keep'
"""


def test_applied_branch_has_a_commit_for_each_kept_change(ended: Path, repository: Path) -> None:
    metaloop("resume", ended, "--apply")
    kept = {row["label"]: row for row in query(ended, KEPT)}
    subjects = git(repository, "log", "--reverse", "--format=%s", "HEAD..metaloop/study", "--", "work").splitlines()
    assert 1 < len(subjects) <= len(kept)
    for subject in subjects:
        label, _, metrics = subject.removeprefix("metaloop: ").partition(" (loss ")
        assert [float(one) for one in metrics.rstrip(")").split(" → ")] == pytest.approx(
            [kept[label]["before"], kept[label]["after"]], abs=0.05
        )
    whole = git(repository, "log", "-1", "--format=%B", "metaloop/study")
    assert f"All {len(subjects)} changes together: train.py (" in whole


def test_night_with_a_share_for_it_leaves_out_each_change(tmp_path: Path) -> None:
    """The law of the task gives each change's gain."""
    task, study = with_ideas(tmp_path / "repo", {("A", 2.0): 0.4, ("B", 2.0): 0.2}), tmp_path / "night"
    words = ["improve", task / "program.md", "-t", task, "--budget", "4s", "--seed", "2", "-y", "--apply"]
    plan = metaloop(*words, "--set", "ablate=30%", "--dry-run", "--json").json
    assert plan["stages"][-1]["runs of each"] == "1.2 s" and plan["device_seconds"] == pytest.approx(4.0, abs=0.2)
    metaloop(*words, "--set", "ablate=30%", "-s", study)
    left_out = query(study, "SELECT label, estimate, n FROM credit WHERE method = 'leave-one-out' ORDER BY estimate")
    assert [row["label"] for row in left_out] == ["b=2", "a=2"]
    assert [row["estimate"] for row in left_out] == pytest.approx([0.2, 0.4], abs=0.01)
    assert [row["n"] for row in left_out] == [3, 3]  # 12 trainings: main, the untouched script, and without each change
    messages = git(task, "log", "-2", "--format=%b", "metaloop/night")
    assert messages.count("Gain on fresh data, over the final script without it: +0.") == 2
    assert "ablate" in metaloop(*words[:4], "--set", "ablate=60%", code=2).stderr


def test_a_branch_with_other_content_is_kept(repository: Path) -> None:
    with BorrowedRepository.open(repository, follow=True) as theirs:
        commits = [[Commit({"new.md": text}, "one")] for text in (b"a", b"b", b"a")]
        names = [commit_branch(theirs, "metaloop/x", each) for each in commits]
    assert names == ["metaloop/x", "metaloop/x-2", "metaloop/x"]
    assert git(repository, "show", "metaloop/x:new.md") == "a"


def test_task_outside_a_repository_is_refused_before_it_runs(tmp_path: Path, repository: Path) -> None:
    simulated_task(random_law(7), tmp_path / "task")
    words = ["improve", str(repository / "program.md"), "-t", str(tmp_path / "task"), "--budget", "4s", "--dry-run"]
    assert "in no git repository" in metaloop(*words, "--apply", code=2).stderr


def test_branch_of_a_copied_task_is_made_at_its_origin(ended: Path, repository: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(repository / "work", tmp_path / "copy"))
    toml = (copy / "task.toml").read_text()
    (copy / "task.toml").write_text(toml.replace("\n\n", f'\nrepository = "{repository / "work"}"\n\n', 1))
    study = Study.open(ended)
    study.look()
    original = study.task
    study.task = Task.load(copy)
    assert study.task.task_id == original.task_id
    made = applied(study)
    assert made.repository == repository and made.files["train.py"] == "work/train.py"
    assert program_path(study.task, str(copy / "sub/program.md"), repository) == "work/sub/program.md"
    (repository / "work" / "train.py").write_text("print(1)\n")
    git(repository, *USER, "commit", "-qam", "changed since")
    try:
        left_out = str(applied(study).left_out)
    except UsageError as nothing:
        left_out = nothing.message
    git(repository, *USER, "revert", "--no-edit", "HEAD")
    assert "train.py has changed there since the task was copied" in left_out
