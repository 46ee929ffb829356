"""A folder as a program, from the command line to the champion: run, match, improve, resume, report, and mutation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from git import Repo

from arena.study.settings import StudyConfig
from arena.study.study import Study
from bench.whole import resized
from inner_loop.agents.worktree import lay, require_free
from meta.kinds.plans import starters_of
from meta.mutators.llm.drop_file import drop_file
from programs.common.errors import UsageError
from programs.folder import load
from programs.program import Program
from tests.conformance.runs import open_bench
from tests.meta.cli_study import cli, metaloop
from tests.meta.evolved import evolved
from tests.studies import TINY, planted
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.streams import Streams
from trainer.task import Task

FILES = {
    "program.md": "---\nmetaloop:\n  proposers: {queue: 0.5, local: 0.5}\n---\n# Lab\n\n"
    "Ask [the critic](roles/critic.md) before you train. Append what you see to `log/found.md`.\n\n"
    "## Steps\n\n- Follow `skills/screen.md`.\n- Stop in time.\n\n## Ideas\n\n- Raise `ladder1=*2`.\n",
    "roles/critic.md": "---\nname: critic\ntools: Read\n---\n# Critic\n\n- Doubt.\n- Repeat.\n",
    "skills/screen.md": "# Screen\n\nLook early.\n",
    "log/found.md": "---\nliving: true\n---\n# Found\n\n- Nothing.\n",
}


def lay_out(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("programs") / "lab")


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("task") / "law", experiments=6)


@pytest.fixture(scope="module")
def study(lab: Path, law: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has improved the folder."""
    folder = tmp_path_factory.mktemp("studies") / "s"
    final = {"champion": 2, "control": 2, "without-ideas": 0}
    plan = resized(TINY, starters=2, opening_runs=1, opening_more=1, generation_more=1, final=final)
    evolved(folder, law, plan, programs=[load(lab)], run_budget=6 * law.cost_seconds, seed=5)
    return folder


def test_a_study_improves_a_folder(study: Path, lab: Path) -> None:
    own = load(lab)
    again = Study.open(study)
    assert own in starters_of(again.config) and StudyConfig.read(study / "study.toml").plan["origin"] == own.program_id
    again.look()
    assert again.program(own.program_id) == own
    champion = load(study / "champion")
    assert champion.program_id == again.state.champion.body["program_id"]  # type: ignore[union-attr]
    assert champion.files[1:] == own.files[1:] and champion.living == own.living and champion.raw != own.raw
    assert (study / "champion.md").read_bytes() == champion.labelled.raw
    assert "`roles/critic.md`" in (study / "champion.evidence.md").read_text()
    children = [p for p in again.state.programs.values() if p.generation]
    assert children and all(Program.parse(p.text).further.keys() == own.further.keys() for p in children)


def test_its_commands_name_the_files(study: Path, lab: Path, tmp_path: Path) -> None:
    shown = metaloop("show", study / "champion.md", "--json").json
    assert shown["files"] == ["program.md", "roles/critic.md", "skills/screen.md"]
    assert shown["living"] == ["log/found.md"]
    assert shown["program_id"] == load(study / "champion").program_id
    assert "==> roles/critic.md <==" in cli("show", lab).stdout
    assert "==> roles/critic.md <==" in cli("show", load(lab).program_id, "-s", study).stdout
    metaloop("export", study, "--for", "prose", "-o", tmp_path / "prose")
    assert (tmp_path / "prose" / "roles" / "critic.md").read_text() == FILES["roles/critic.md"]
    assert "How experiments are conducted" in (tmp_path / "prose" / "program.md").read_text()
    with Repo(study / "programs.git") as repo:
        listed = repo.git.ls_tree("-r", "--name-only", "main").split()
    assert listed == ["log/found.md", "program.md", "roles/critic.md", "skills/screen.md"]


def test_lint_and_diff_go_by_file(lab: Path, tmp_path: Path) -> None:
    other = lay_out(tmp_path / "other")
    (other / "roles" / "critic.md").write_text("# Critic\n\n- Doubt.\n- Repeat it twice, then [ask](gone.md).\n")
    (other / "stray.md").write_text("Nobody.\n")
    rows = [line.split("\t") for line in cli("program", "lint", other).stdout.splitlines()[1:]]
    assert [(Path(place).relative_to(other).as_posix(), code) for place, _, code, _ in rows] == [
        ("roles/critic.md:4", "no-file"), ("stray.md:1", "left-out"),
    ]  # fmt: skip
    rows = [line.split("\t") for line in cli("program", "diff", lab, other).stdout.splitlines()[1:]]
    assert {tuple(row[:2]) for row in rows} == {("removed", "roles/critic.md"), ("added", "roles/critic.md")}


def test_an_agent_gets_every_file_and_keeps_the_living_ones(lab: Path, law: Task, tmp_path: Path) -> None:
    own = load(lab)
    trainer = Trainer(law, DataStore(law, Streams.from_seed(1), tmp_path / "d"), fixed_steps=True)
    bench = open_bench(trainer)
    lay(tmp_path / "w", law, own, bench.history, bench.head, "bench\n")
    for name in ("roles/critic.md", "skills/screen.md", "log/found.md"):
        assert (tmp_path / "w" / name).read_text() == FILES[name]
    assert "How experiments are conducted" in (tmp_path / "w" / "program.md").read_text()
    assert "/log/found.md" in (tmp_path / "w" / ".git" / "info" / "exclude").read_text().splitlines()
    with pytest.raises(UsageError, match="researchers of planted edit"):
        require_free(own, replace(law, editable=("roles/critic.md",)))


def test_a_file_is_dropped_with_its_links(lab: Path) -> None:
    own = load(lab)
    less = drop_file(own, "roles/critic.md")
    assert [path for path, _ in less.files[1:]] == ["skills/screen.md"]
    assert "critic" not in less.text and "Append what you see" in less.text
    assert drop_file(own, "skills/screen.md").text == own.text.replace("- Follow `skills/screen.md`.\n", "")
