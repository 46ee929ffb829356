"""Budgets that are too small for a search: a trial of one new program, and what is done with its result."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from analysis.decision import OPEN, decision_of
from analysis.decision_text import Caveat
from analysis.study import query
from arena.drain import drained
from arena.harvest import HARVEST
from arena.study import Study
from meta.apply import apply, committed, of_script, program_files, program_path
from meta.cli.main import run
from meta.cli.plan_words import words as plan_words
from meta.notify import notify
from meta.plan import LEAST_EXPERIMENTS, REMEASURED, smallest_search, trial, within
from programs.errors import UsageError
from programs.program import Program
from trainer.laws.planted import random_law, simulated_task
from trainer.task import Task

PROSE = "# Mine\n\nChange one thing of train.py. Keep it if the loss is lower.\n"
OTHER = "---\nmetaloop:\n  wave: 3\n---\n# Mine\n\nThree at a time.\n"
USER = ("-c", "user.name=u", "-c", "user.email=u@example.org")


@pytest.mark.parametrize("experiments", [8, 9, 20, 39, 40, 60, 96, 112, 140, 200, 300])
def test_every_budget_of_eight_experiments_has_a_plan_that_it_pays_for(experiments: int) -> None:
    task = Task.load("strokes")
    budget = experiments * task.cost_seconds
    plan = trial(budget, task)
    assert plan.device_seconds(task) <= budget + 1e-9 and plan.confirm_runs >= 1 and plan.search_runs == 0
    assert plan.device_seconds(task) >= 0.75 * budget
    assert plan.run_budget >= 2 * task.cost_seconds and plan.runs == 2 * plan.confirm_runs
    assert (plan.harvest_count > REMEASURED) == (experiments >= 60) and (plan.harvest_count > 0) == (experiments >= 15)


def test_a_night_of_96_has_three_runs_of_each_program_and_a_harvest() -> None:
    task = Task.load("strokes")
    plan = trial(96 * task.cost_seconds, task)
    assert (plan.confirm_runs, round(plan.run_budget / task.cost_seconds), plan.harvest_count) == (3, 8, 24)
    longer = trial(96 * task.cost_seconds, task, 12 * task.cost_seconds)
    assert round(longer.run_budget / task.cost_seconds) == 12 and longer.confirm_runs == 2
    with pytest.raises(UsageError, match="pays for 7 experiments"):
        trial((LEAST_EXPERIMENTS - 1) * task.cost_seconds, task)


def test_the_smallest_search_is_what_a_larger_budget_begins_with() -> None:
    task = Task.load("strokes")
    whole = within(1e6, task)
    least = smallest_search(whole, task)
    assert within(least + 1e-6, task).device_seconds(task) <= least + 1e-6
    with pytest.raises(UsageError, match="too small"):
        within(0.99 * least, task)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with a simulated task in a folder and a program at its root."""
    folder = tmp_path_factory.mktemp("trial") / "repo"
    simulated_task(random_law(7, gain=0.3, noise=0.005), folder / "work")
    (folder / "program.md").write_text(PROSE)
    (folder / "other.md").write_text(OTHER)
    for words in (["init", "-q"], ["add", "-A"], [*USER, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def report_of(study: Path) -> str:
    assert run(["report", str(study), "-o", str(study / "page.html")]) == 0
    return html.unescape((study / "page.html").read_text())


@pytest.fixture(scope="module")
def ended(repository: Path) -> Path:
    study = repository.parent / "study"
    words = ["improve", str(repository / "program.md"), "-t", str(repository / "work"), "--budget", "9.6s"]
    assert run([*words, "--seed", "2", "-s", str(study), "-y", "-q"]) == 0
    return study


def test_a_trial_is_one_match_that_chooses_nothing(ended: Path, repository: Path) -> None:
    matches = query(ended, "SELECT purpose, stream FROM matches")
    assert [(row["purpose"], row["stream"]) for row in matches] == [("confirmation", "confirmation")]
    runs = query(
        ended, "SELECT name, role, count(*) AS n, max(verified_seeds) AS seeds FROM runs GROUP BY 1, 2 ORDER BY 2"
    )
    assert [(row["name"], row["role"], row["n"], row["seeds"]) for row in runs] == [
        ("program-elite", "champion", 3, 2), ("stock", "control", 3, 2)
    ]  # fmt: skip
    [child] = query(ended, "SELECT operator, parent_ids FROM programs WHERE name = 'program-elite'")
    config = Study.open(ended).config
    assert child["operator"] == "other-search" and child["parent_ids"] == [config.plan["origin"]]
    assert config.plan["path"] == str(repository / "program.md") and config.baseline_seeds == 4
    assert (ended / "best_train.py").is_file()
    harvest = query(ended, "SELECT n, experiments FROM harvest")
    assert harvest[0]["n"] == 4 and harvest[0]["experiments"] <= 16
    spent = query(ended, "SELECT sum(device_seconds_charged) AS s FROM runs")[0]["s"]
    assert spent <= 6 * 0.8 + 1e-9


def test_the_users_program_is_an_arm_in_place_of_stock(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    words = ["improve", str(repository / "other.md"), "-t", str(repository / "work"), "--budget", "4s", "--seed", "2"]
    assert run([*words, "--dry-run"]) == 0
    planned = capsys.readouterr()
    assert "your own program (its name: other)\n" in planned.out and "stock runs too" not in planned.out
    monkeypatch.setattr("meta.cli.progress.SLOW_SECONDS", 0.0)
    monkeypatch.setattr("meta.cli.evolve.knowledge_for", lambda *_: time.sleep(0.05))
    assert run([*words, "--dry-run"]) == 0 and "planning: " in capsys.readouterr().err
    monkeypatch.undo()
    assert run([*words, "-s", str(study), "-y", "-q"]) == 0
    roles = {row["role"]: row["n"] for row in query(study, "SELECT role, count(*) AS n FROM runs GROUP BY 1")}
    assert roles == {"champion": 2, "own": 2}
    [best] = query(study, "FROM harvest")
    claims = query(study, "SELECT final_source_id, claimed_gain, verified_seeds FROM runs ORDER BY claimed_gain DESC")
    assert (best["source_id"], best["chosen_by"]) == (claims[0]["final_source_id"], claims[0]["claimed_gain"])
    assert best["n"] == REMEASURED + claims[0]["verified_seeds"] and best["experiments"] == 0 and best["low"] > 0
    assert "It is the final script of the run whose own score was best" in (study / "champion.evidence.md").read_text()
    assert (study / "best_train.py").read_text() == best["files"][0][1]
    opened = Study.open(study)
    opened.look()
    event = opened.state.champion
    assert event is not None
    decision = decision_of(event.body)
    assert decision.against_own and decision.tested.name == "other" and decision.beside is None
    assert "your program other" in str(event.body["verdict"])
    assert "was a trial, without a search for programs: it compared one program with the user's" in report_of(study)
    capsys.readouterr()
    more = {"difference": -0.1, "low": -0.2, "high": 0.1}
    less = replace(decision, state=OPEN, tested=replace(decision.tested, **more))
    monkeypatch.setattr("analysis.decision.decision_of", lambda _: less)
    own = opened.config.plan["origin"]
    assert run(["improve", "--resume", str(study)]) == 0
    shown = capsys.readouterr()
    assert (
        "changes from your program other" in shown.out and f"--for agent --program {own} -o own-prose.md" in shown.err
    )
    assert run(["export", str(study), "--for", "agent", "-o", str(tmp_path / "it.md")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "which gained more in these runs; to export yours: --program " + own in said
    monkeypatch.undo()
    for words in (["report", str(study)], ["standings", str(study)], ["credit", str(study)], ["status", str(study)]):
        assert run(words) == 0
    assert run(["improve", "--resume", str(study), "-q"]) == 0


def test_the_smallest_trial_leaves_the_best_script_of_its_runs(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    knob = next(knob for knob in Task.load(repository / "work").edits.knobs if knob.kind == "float")
    ideas = "".join(f"- Try `{knob.name.lower()}={value:g}`.\n" for value in knob.values[:3])
    phases = "---\nmetaloop:\n  phases: [{until: 0.5, proposers: {queue: 1}}, {no_repeat: true}]\n---\n# Mine\n"
    (tmp_path / "mine.md").write_text(f"{phases}\n## Ideas\n\n{ideas}")
    words = ["improve", str(tmp_path / "mine.md"), "-t", str(repository / "work"), "--budget", "1.2s", "--seed", "2"]
    assert run([*words, "-s", str(study), "-y"]) == 0
    shown, page = capsys.readouterr(), (study / "champion.evidence.md").read_text()
    [best] = query(study, "FROM harvest")
    assert (best["n"], best["low"], best["device_seconds_charged"]) == (1, None, 0)
    assert "One training cannot show that it is better than the untouched one." in shown.out
    assert (study / "best_train.py").is_file() and "--apply" not in shown.err
    assert "### mine → mine-elite" in page and ": 1 setting added.\n\n~~~diff" in page and "(1 fresh seed). " in page
    assert "These estimates use all experiments of the runs, because this study had no search" in page
    assert all(text not in page for text in ("a program of one line", " unchanged.", "interval over seeds"))
    assert f"metaloop verify {study / 'best_train.py'} -t {repository / 'work'}" in shown.err
    assert run(["improve", "--resume", str(study), "--apply"]) == 0
    shown = capsys.readouterr()
    assert "the best train.py, because its gain is not shown to be above zero" in shown.err


def test_harvest_0_measures_no_script_and_apply_says_that_it_was_not_measured(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    words = ["improve", str(repository / "other.md"), "-t", str(repository / "work"), "--budget", "1.2s", "--seed", "2"]
    assert run([*words, "--dry-run"]) == 0 and "best train.py of the runs" in capsys.readouterr().out
    assert run([*words, "--harvest", "0", "--dry-run"]) == 0 and "train.py of the" not in capsys.readouterr().out
    assert run([*words, "--harvest", "0", "-s", str(study), "-y"]) == 0
    assert not (study / "best_train.py").exists() and not query(study, "FROM harvest")
    assert "Best train.py" not in (study / "champion.evidence.md").read_text()
    assert max(row["gain"] for row in query(study, "SELECT claimed_gain AS gain FROM runs")) > 0
    capsys.readouterr()
    assert run(["improve", "--resume", str(study), "--apply"]) == 0
    assert "the best train.py, because it was not measured" in capsys.readouterr().err
    monkeypatch.setattr("meta.apply.rows", lambda _: [])
    assert run(["improve", "--resume", str(study), "--apply"]) == 0
    assert "because no run ended with a better one" in capsys.readouterr().err


def test_a_stopped_command_names_the_flags_that_take_effect_at_the_end(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(study: Study, *_: object) -> None:
        raise drained(study)

    monkeypatch.setattr("meta.evolve.evolve", stopped)
    words = ["improve", str(repository / "other.md"), "-t", str(repository / "work"), "--budget", "1.2s", "-y"]
    ends = ["--apply", "--webhook", "https://example.org/secret"]
    assert run([*words, "-s", str(tmp_path / "study"), *ends]) == 130
    said = capsys.readouterr().err
    assert f"metaloop improve --resume {tmp_path / 'study'} --apply --webhook URL # URL: the address" in said
    assert "/secret" not in said and "/secret" not in (tmp_path / "study" / "study.toml").read_text()


def test_flags_that_need_a_search_are_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["improve", str(repository / "program.md"), "-t", str(repository / "work"), "--budget", "9.6s", "--dry-run"]
    assert run([*words, "--generations", "2"]) == 2
    assert "--generations is for a study that searches for programs" in capsys.readouterr().err
    assert run([*words, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    harvest = dict(plan_words(planned))["harvest"]
    assert harvest.endswith("(fewer where trainings get longer), 8 choose and measure it")
    assert harvest.startswith(f"{planned['harvest_experiments']} experiments after the runs")
    assert planned["plan"]["trial"] == 1 and "Which of several programs is best takes a search" in planned["tells"]


def test_a_trial_screens_where_the_card_shows_that_it_pays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task.load(simulated_task(random_law(7, gain=0.3, noise=0.005), tmp_path / "task"))
    (tmp_path / "mine.md").write_text(PROSE)
    words = ["improve", str(tmp_path / "mine.md"), "-t", str(task.folder), "--budget", "9.6s", "--seed", "2"]

    def card(agreement: float) -> None:
        looks = {"fixed_share": 0.1, "looks": [{"fraction": 0.25, "agreement": agreement, "edits": 60}]}
        gains = [{"gain_sd": 30.0 * (n % 6 == 0), "resolved": True} for n in range(30)]
        known = {"task_id": task.task_id, "baseline_source": task.baseline().source_id, "resolved_share": 0.5}
        (task.folder / "card.json").write_text(json.dumps(known | {"screening": looks, "effects": gains}))

    def planned(*more: str) -> str:
        assert run([*words, "--dry-run", "--json", *more]) == 0
        return str(json.loads(capsys.readouterr().out.splitlines()[-1])["screening"])

    assert "metaloop task measure planted --write` measures it" in planned()
    card(0.1)
    assert planned().startswith("not used: a candidate that passes a short training has to gain")
    card(0.9)
    assert planned().startswith("used: of 6 candidates, each trained for 25% of the time, 1 gets a full experiment")
    assert planned("--run-budget", "0.5s") == "not used: a run of 5 experiments is too short for 2 waves"
    assert run([*words, "-s", str(tmp_path / "study"), "-y", "-q"]) == 0
    short = query(tmp_path / "study", "SELECT name, count(*) AS n FROM experiments JOIN runs USING (run_id) WHERE "
                  "fraction < 1 GROUP BY 1")  # fmt: skip
    assert [row["name"] for row in short] == ["mine-elite"] and short[0]["n"] >= 12
    (tmp_path / "mine.md").write_text(OTHER)
    assert planned() == "not used: your program sets its own waves or phases"
    (tmp_path / "mine.md").write_text(OTHER.replace("wave: 3", "wave: 3\n  screen: {fraction: 0.3, promote: 0.34}"))
    assert planned() == "as your program sets it"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_apply_commits_on_a_branch_and_leaves_the_rest_alone(
    ended: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "work" / "train.py").write_text((repository / "work" / "train.py").read_text() + "\n# mine\n")
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")
    capsys.readouterr()
    assert run(["improve", "--resume", str(ended), "--apply"]) == 0
    said = capsys.readouterr().err
    assert "branch metaloop/study" in said and "switch metaloop/study" in said and "--apply" not in said
    assert said.count("next:") == 1 and "metaloop share" in said and "format-patch -1 --stdout metaloop/study" in said
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")) == before
    changed = git(repository, "diff", "--name-only", "HEAD", "metaloop/study").split()
    study = Study.open(ended)
    study.look()
    assert study.state.champion is not None
    holds = decision_of(study.state.champion.body).holds
    assert changed == (["program.md"] if holds else []) + ["work/train.py"]
    assert git(repository, "show", "metaloop/study:work/train.py") == (ended / "best_train.py").read_text()
    message = git(repository, "log", "-1", "--format=%B", "metaloop/study")
    assert "train.py: gains " in message and " fresh seeds" in message and "\nEdits: " in message
    assert "Average training: " in message and "(untouched train.py: " in message
    assert "Average training: " in (ended / "champion.evidence.md").read_text()
    assert (study.state.champion.body["verdict"] in message) == holds
    source = study.task.baseline()
    best = study.state.harvests[study.task.name, HARVEST]
    changed_too = replace(best, source_id="other")
    assert "changes of the code" not in message
    assert of_script(study, changed_too, source).splitlines()[-1].endswith(" and changes of the code")
    no_edit = replace(changed_too, config=study.task.edits.config(study.task.baseline()))
    assert of_script(study, no_edit, source).endswith("\nEdits: changes of the code")
    assert apply(study).branch == "metaloop/study"  # the same again makes no other branch
    git(repository, "checkout", "--", "work/train.py")


def test_of_a_program_of_several_files_those_that_changed_are_applied_too(ended: Path) -> None:
    study = Study.open(ended)
    study.look()
    files = {"program.md": "See [a](roles/a.md) and [b](roles/b.md).\n", "roles/a.md": "# A\n", "roles/b.md": "# B\n"}
    entry, *others = ((path, text.encode()) for path, text in files.items())
    program = Program.parse(entry[1], "team", others=dict(others), entry="program.md")
    made = program_files(study, program, "team/program.md")
    assert [path for path, _ in made.values()] == ["team/program.md", "team/roles/a.md", "team/roles/b.md"]
    assert made["team/roles/a.md"][1] == b"# A\n"


def test_a_branch_with_other_content_is_kept(repository: Path) -> None:
    from git import Repo

    repo = Repo(repository)
    names = [committed(repo, "metaloop/x", {"new.md": text}, "one") for text in (b"a", b"b", b"a")]
    assert names == ["metaloop/x", "metaloop/x-2", "metaloop/x"]
    assert git(repository, "show", "metaloop/x:new.md") == "a"


def test_a_task_outside_a_repository_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    simulated_task(random_law(7), tmp_path / "task")
    words = ["improve", str(repository / "program.md"), "-t", str(tmp_path / "task"), "--budget", "4s", "--dry-run"]
    assert run([*words, "--apply"]) == 2
    assert "in no git repository" in capsys.readouterr().err
    assert run([*words, "--webhook", "ftp://x"]) == 2
    assert "not an http address" in capsys.readouterr().err


def test_of_a_copied_task_the_branch_is_made_where_it_was_copied_from(
    ended: Path, repository: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repository / "work", copy)
    toml = (copy / "task.toml").read_text()
    (copy / "task.toml").write_text(toml.replace("\n\n", f'\nrepository = "{repository / "work"}"\n\n', 1))
    study = Study.open(ended)
    study.look()
    original = study.task
    study.task = Task.load(copy)
    assert study.task.task_id == original.task_id
    made = apply(study)
    assert made.repository == repository and made.files["train.py"] == "work/train.py"
    study.config = study.config.model_copy(update={"plan": study.config.plan | {"path": str(copy / "sub/program.md")}})
    assert program_path(study, repository) == "work/sub/program.md"
    (repository / "work" / "train.py").write_text("print(1)\n")
    git(repository, *USER, "commit", "-qam", "changed since")
    try:
        assert "train.py has changed there since the task was copied" in str(apply(study).left_out)
    except UsageError as nothing:
        assert "train.py has changed there since the task was copied" in nothing.message
    finally:
        git(repository, *USER, "revert", "--no-edit", "HEAD")


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_result_is_sent_and_a_silent_listener_loses_nothing(
    ended: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as (url, got):
        assert run(["improve", "--resume", str(ended), "--webhook", url]) == 0
    body = json.loads(got[0])
    assert body["name"] == "program-elite" and body["verdict"] and body["study"] == ended.name
    assert str(ended.parent) not in got[0].decode()
    (script,) = body["scripts"]
    assert script["low"] <= script["gain"] <= script["high"] and script["unit"] and script["trust"]
    assert body["text"].startswith(f"{ended.name}: ") and "The best train.py gains" in body["text"]
    assert "Average training: " in body["text"] and isinstance(body["caveats"], list)
    monkeypatch.setattr("meta.notify.training_cost", lambda *_: "Part of the gain may come from longer training.")
    weak = [Caveat("mind", "Weak", "Without its list, it is no better. More."), Caveat("note", "Fine", "All is well.")]
    monkeypatch.setattr("analysis.decision_text.caveats", lambda _: [weak[1], weak[0]])
    monkeypatch.setattr("meta.notify.OPEN", "none")
    with listening() as (url, got):
        notify(url, ended, None)
    body = json.loads(got[0])
    assert body["caveats"] == ["Without its list, it is no better. More."]
    assert ". Without its list, it is no better. The best" in body["text"] and "longer training." in body["text"]
    monkeypatch.undo()
    capsys.readouterr()
    assert run(["improve", "--resume", str(ended), "--webhook", url]) == 0
    assert "could not be sent" in capsys.readouterr().err
