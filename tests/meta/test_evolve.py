"""The whole circle: race, evidence, children, confirmation, champion; and the same study by the same seed."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from git import Repo

from analysis.ledger import read
from analysis.ledger.events import LEDGER_KEYS, DocumentEvent, read_event
from analysis.study import query
from analysis.verdict.claim import Claim
from analysis.verdict.decision import decision_of
from arena.arms import Entry, enter
from arena.match import play
from arena.race import Allocation
from arena.study.setup import CONFIRM_SEEDS
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.local import LocalExecutor
from bench.common import champion_of
from bench.simulated_tasks import null_law, simulated_task
from bench.whole import QUICK, begin_study, evolve_plan, play_study, resized, search_here
from bench.whole import whole_study as whole_study_of
from meta.evolve import Evolution
from meta.lineage import write_programs_git
from programs.folder import load
from programs.program import Program
from programs.shelf import starter
from tests.gallery import Gallery
from tests.meta.evolved import SHORT, evolved
from tests.studies import TINY, Snapshot, planted, silent
from trainer.task import Task

from .cli_study import metaloop

PLAN = resized(TINY, opening_more=2, final={"without-ideas": 0})


@pytest.fixture(scope="module")
def ended(gallery: Gallery) -> Path:
    return gallery("trained")


@pytest.fixture(scope="module")
def ask(ended: Path) -> Snapshot:
    return Snapshot(ended)


def test_claim_follows_from_the_runs(ended: Path, ask: Snapshot) -> None:
    decision = decision_of(champion_of(ended) or {})
    sql = "SELECT role, avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE stream = 'confirmation' GROUP BY 1"
    gains = {row["role"]: (row["gain"], row["n"]) for row in ask(sql)}
    assert gains["champion"] == pytest.approx((decision.champion.value, TINY.final["champion"]))
    (first, n), (second, other) = gains["control"], gains["a/a"]  # one sample: they are the same program
    pooled = (first * n + second * other) / (n + other)
    tested, (aa,) = decision.tested.gain, decision.aa
    assert (tested.value, tested.n) == (pytest.approx(pooled), n + other)
    assert (aa.lead.value, aa.lead.n) == (pytest.approx(second - first), n + other)


def test_record_read_as_event_is_written_the_same(ended: Path) -> None:
    kinds = set()
    for record in read(ended / "ledger"):
        event = read_event(record)
        if event is not None and not isinstance(event, DocumentEvent):
            kinds.add(event.kind)
            told = {key: value for key, value in record.items() if key not in LEDGER_KEYS - {"kind"} | {"at"}}
            assert json.dumps(event.to_record()) == json.dumps(told)
    assert kinds >= {"study", "program", "match", "run_started", "experiment", "decision", "run_ended", "verification"}


def test_confirmation_shares_no_seed_with_the_search(ask: Snapshot) -> None:
    for column, view in (("run_seed", "runs"), ("seed", "verifications")):
        seeds = f"SELECT {column} AS seed FROM {view} WHERE stream ="
        search, confirmation = ({row["seed"] for row in ask(f"{seeds} '{s}'")} for s in ("selection", "confirmation"))
        assert search and confirmation and not search & confirmation


def test_child_is_a_commit_on_its_parents(ended: Path, ask: Snapshot) -> None:
    git = ["git", "-C", str(ended / "programs.git")]

    def show(*words: str) -> str:
        return subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout

    children = ask("SELECT child_id, parent_ids FROM mutations WHERE accepted")
    assert 0 < len(children) <= TINY.children
    for child in children:
        parents = show("log", "-1", "--format=%P", child["child_id"]).split()
        assert parents == [show("rev-parse", p).strip() for p in child["parent_ids"]]
    assert show("show", "main:program.md").encode() == load(ended / "champion.md").raw
    assert show("fsck", "--strict") == "" and "`lr" in (ended / "evidence" / "generation-1.md").read_text()


def test_lineage_that_a_kill_left_is_written_as_before(ended: Path, tmp_path: Path) -> None:
    study = Study.open(Path(shutil.copytree(ended, tmp_path / "study", symlinks=True)))
    with study:
        (study.folder / "programs.git" / "HEAD").unlink()
        (study.folder / "programs.git.partial").mkdir()
        write_programs_git(study, load(ended / "champion.md").program_id)
    places = (ended / "programs.git", study.folder / "programs.git")
    heads = ({head.name: head.commit.hexsha for head in Repo(place).heads} for place in places)
    assert next(heads) == next(heads) and not (study.folder / "programs.git.partial").exists()


def test_controls_are_in_the_table_of_the_champion(ask: Snapshot) -> None:
    """Stock, and stock (A/A); one-line behaves like stock for a scripted researcher and costs nothing."""
    rows = ask("SELECT role, name, n FROM standings WHERE purpose = 'confirmation'")
    counts = {row["role"]: row["n"] for row in rows}
    assert counts["champion"] == counts["control"] == TINY.final["champion"] and counts["a/a"] == TINY.final["a/a"]
    assert "one-line" not in counts and len(rows) == len(counts)
    seeds = ask("SELECT role, list(run_seed) AS seeds FROM runs WHERE purpose = 'confirmation' GROUP BY 1")
    drawn = {row["role"]: set(row["seeds"]) for row in seeds}
    assert drawn["champion"] == drawn["control"] and not drawn["a/a"] & drawn["control"]


def test_child_plays_beside_its_parents_and_the_incumbent(ask: Snapshot) -> None:
    """So that each is compared with parents that were run again in its own block, on the same seeds."""
    played = {row["program_id"] for row in ask("SELECT program_id FROM runs WHERE purpose = 'generation'")}
    children = ask("SELECT child_id, parent_ids FROM mutations WHERE accepted")
    assert children and all({row["child_id"], *row["parent_ids"]} <= played for row in children)
    assert len(played) == len(children) + TINY.elites
    designs = ask("SELECT DISTINCT design FROM credit WHERE method = 'mutation'")
    assert designs == [{"design": "paired"}]
    best = "SELECT program_id FROM standings WHERE purpose = 'race' AND name <> 'stock'"
    assert ask(f"{best} ORDER BY shrunk_gain DESC LIMIT 1")[0]["program_id"] in played


def test_first_child_cites_its_evidence(ask: Snapshot) -> None:
    (first,) = ask("SELECT operator, evidence_ids FROM mutations WHERE accepted ORDER BY attempt LIMIT 1")
    known = {row["credit_id"] for row in ask("SELECT credit_id FROM credit")}
    assert first["operator"] == "write-ideas"
    assert first["evidence_ids"] and set(first["evidence_ids"]) <= known


def test_ended_study_taken_up_again_adds_no_event(ended: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ended, tmp_path / "study", symlinks=True))
    champion = play_study(Study.open(folder))
    assert champion.program.raw == load(ended / "champion.md").raw
    assert champion.decision == decision_of(champion_of(ended) or {})
    before, after = ([event for event in read(place / "ledger") if event["kind"] != "segment"]
                     for place in (ended, folder))  # fmt: skip
    assert before == after


def test_improve_has_a_champion_of_the_users_lineage(tmp_path: Path) -> None:
    """Where it is prose alone, which a scripted researcher follows like stock."""
    own = Program.parse("# Mine\n\nTake care.\n", "mine")
    task = planted(tmp_path / "task")
    champion = evolved(tmp_path / "study", task, resized(PLAN, final={"own": 3}), seed=1, programs=[own])
    assert champion.decision.same_as == "stock" and not champion.decision.against_own
    assert "Your program acts like stock" in (tmp_path / "study" / "champion.evidence.md").read_text()
    rows = query(tmp_path / "study", "SELECT program_id, parent_ids FROM programs")
    parents = {row["program_id"]: row["parent_ids"] for row in rows}
    line, front = set(), [champion.program.program_id]
    while front:
        line.update(front)
        front = [p for child in front for p in parents[child]]
    assert own.program_id in line
    played = query(tmp_path / "study", "SELECT DISTINCT program_id FROM runs WHERE stream = 'selection'")
    assert own.program_id not in {row["program_id"] for row in played}  # a twin costs none


@pytest.mark.slow
def test_champion_stays_once_its_confirmation_has_begun(ended: Path, tmp_path: Path) -> None:
    champion = load(ended / "champion.md")
    study = Study.open(Path(shutil.copytree(ended, tmp_path / "study", symlinks=True)))
    other = next(p for p in ("idea-queue", "local-screen") if p != champion.name)
    with study, LocalExecutor(study.folder, 2, silent) as workers:
        late = enter(TaskStudy(study), "late", [Entry(starter(other))], purpose="race", stream="selection")
        for row in play(TaskStudy(study), workers, late, Allocation({late.arms[0].arm_id: 2}), silent):
            assert row.gains
        assert Evolution(study, evolve_plan(study), workers, silent).best().program_id == champion.program_id


def test_study_cut_before_its_last_file_goes_on(tmp_path: Path) -> None:
    task = planted(tmp_path / "law", experiments=6)
    plan = resized(TINY, generations=0)
    study = begin_study(tmp_path / "s", task, plan, run_budget=task.run_budget, seed=3)
    page = study.folder / "champion.evidence.md"
    page.mkdir()  # what stands there cannot be replaced by a file
    with pytest.raises(OSError):
        play_study(study)
    assert champion_of(study.folder) is None
    page.rmdir()
    champion = play_study(Study.open(study.folder))
    assert page.read_text().startswith(f"# Evidence for {champion.program.name}")
    assert load(study.folder / "champion.md").raw == champion.program.raw
    told = champion_of(study.folder)
    assert told is not None and decision_of(told) == champion.decision
    assert not list(study.folder.glob(".*.partial"))


whole_study = partial(whole_study_of, run_budget=SHORT)
AGAIN = resized(TINY, opening_more=2, final={"champion": 2, "control": 2, "without-ideas": 0})


def test_the_same_seed_gives_the_same_study(tmp_path: Path) -> None:
    task = planted(tmp_path / "task")
    first, again = (whole_study(task, AGAIN, 1, folder) for folder in (tmp_path / "study", None))
    assert first == again and isinstance(first[1], Claim)


def test_where_nothing_pays_gains_are_noise(tmp_path: Path) -> None:
    task = Task.load(simulated_task(null_law(2), tmp_path / "task", experiments=8))
    _, claim = whole_study(task, resized(TINY, generations=0), 3)
    assert abs(claim.champion.or_zero) < 0.15 and abs(claim.stock.or_zero) < 0.15


@pytest.mark.slow
def test_the_command_gives_the_same_study(tmp_path: Path) -> None:
    """With worker processes, pages and repositories: every figure of the champion's claim is the same."""
    task = planted(tmp_path / "task")
    words = ("evolve", "--quick", "-t", "task", "--seed", "5", "-b", "0.8", "-s", "s", "--json")
    told = metaloop(*words, cwd=tmp_path).json
    study = begin_study(tmp_path / "here", task, QUICK, run_budget=0.8, seed=5, confirm_seeds=CONFIRM_SEEDS)
    champion, claim = search_here(study)
    assert told["program_id"] == champion.program_id and told["decision"]["p"] == claim.p
    assert told["decision"]["champion"]["value"] == claim.champion.value and told["trust"] == "verified"
    assert all((tmp_path / told["files"][name]).is_file() for name in ("champion", "evidence"))
    assert metaloop("resume", "s", "--json", cwd=tmp_path).json["sentences"] == told["sentences"]
