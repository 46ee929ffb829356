"""Other users of the machine cannot read what a study keeps secret; a study that they can read is told of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.study import query
from arena.arms import Entry
from arena.standalone import play_entries
from arena.study.private_files import exposed
from arena.study.settings import StudyConfig
from tests.arena.contest.hosting import founded
from tests.meta.cli_study import metaloop
from tests.studies import make_study, program, silent
from trainer.data import DataStore

READ = """
import os, sys
os.setgroups([]); os.setresgid(*3 * [65534]); os.setresuid(*3 * [65534])
for path in sys.argv[1:]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read()
    except OSError:
        continue
    print("read", path)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may walk to, under the umask that most machines have."""
    folder = Path("/tmp") / f"metaloop-private-{os.getpid()}"
    folder.mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        yield folder
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def modes(folder: Path) -> dict[str, int]:
    """Every file and folder of it, itself too, with rights that others have."""
    found = {str(path.relative_to(folder)): path.lstat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    return {name: mode for name, mode in found.items() if mode & 0o077}


def read_by_another_user(paths: list[Path]) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    done = subprocess.run([sys.executable, "-c", READ, *map(str, paths)], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.exploit(50)
def test_what_a_study_keeps_secret_is_closed_to_others(public: Path) -> None:
    study = make_study(public / "s")
    with study:
        DataStore(study.task, study.streams, study.folder / "data").split("confirmation")
    open_to_others = {name for name in modes(study.folder) if not name.startswith("data/")}
    assert open_to_others <= {"lock"}, "an empty file that holds nothing"
    everything = [study.folder, *study.folder.rglob("*")]
    assert any(path.name == "targets.npy" for path in everything)
    assert read_by_another_user(everything) == ""
    assert exposed(study.folder) == ""


def test_study_in_an_open_folder_or_beside_open_files_is_closed(public: Path) -> None:
    """`contest host DIR caps` writes study.toml anew; a half-written file beside it may be open."""
    (public / "s").mkdir(mode=0o777)
    partial = public / "s" / "study.partial"
    partial.write_text("of a creation that was cut off")
    study = make_study(public / "s")
    assert not modes(study.folder)
    partial.write_text("half")
    partial.chmod(0o644)
    study.config.dump(study.folder / "study.toml")
    assert not modes(study.folder)
    assert StudyConfig.read(study.folder / "study.toml") == study.config


@pytest.mark.exploit(50)
def test_what_a_contest_keeps_secret_is_closed_to_others(public: Path) -> None:
    contest = founded(public).contest
    with contest.database.write():  # so that SQLite has its other files open beside the first
        beside = list(contest.folder.glob("contest.sqlite*"))
        assert {path.name for path in beside} == {"contest.sqlite", "contest.sqlite-wal", "contest.sqlite-shm"}
        assert {path.stat().st_mode & 0o777 for path in beside} == {0o600}
        assert read_by_another_user([contest.folder, contest.folder / "study.toml", *beside]) == ""
    assert exposed(contest.folder) == ""
    (contest.folder / "contest.sqlite").chmod(0o644)
    assert "contest.sqlite is open to other users" in metaloop("contest", "status", contest.folder).stderr


@pytest.mark.parametrize("mode", [0o750, 0o711])
def test_an_open_study_is_told_of_with_a_cure_that_works(public: Path, mode: int) -> None:
    study = make_study(public / "an open study")
    with study:
        pass
    study.folder.chmod(mode)
    (study.folder / "study.toml").chmod(0o644)
    (told,) = [line for line in metaloop("status", study.folder).stderr.splitlines() if line.startswith("warning: ")]
    assert told.startswith(f"warning: {study.folder} is open to other users of this machine (mode {mode:04o})")
    cure = told.rsplit("close it: ", 1)[1]
    subprocess.run(cure, shell=True, check=True)
    assert exposed(study.folder) == "" and not modes(study.folder)
    assert "warning" not in metaloop("status", study.folder).stderr


def test_each_secret_part_is_looked_at(public: Path) -> None:
    study = make_study(public / "s")
    for name in ("study.toml", "ledger", "data", "cache"):
        part, before = study.folder / name, (study.folder / name).stat().st_mode
        part.chmod(0o755)
        assert exposed(study.folder).startswith(f"{part} is open")
        part.chmod(before)
    (public / "imported").mkdir(mode=0o755)  # what keeps no secret may be open
    (public / "imported" / "study.toml").write_text('schema = 1\ncommand = "import"\n')
    assert exposed(public / "imported") == exposed(public / "nothing is here") == ""


def test_a_published_study_without_its_secret_may_be_open(public: Path) -> None:
    study, config = make_study(public / "s"), public / "s" / "study.toml"
    for secret, is_told in ((study.config.secret, True), ("0" * 31 + "1", True), ("0" * 32, False)):
        study.config.model_copy(update={"secret": secret}).dump(config)
        config.chmod(0o644)
        study.folder.chmod(0o755)
        assert bool(exposed(study.folder)) is is_told


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives experiments another user's id")
def test_experiments_of_root_go_on_below_a_closed_folder(public: Path) -> None:
    """They run as another user, in sandboxes: what they need reaches them all the same, and nothing is left open."""
    study = make_study(public / "s", workers=1)
    play_entries(study, [Entry(program("stock"), "control")], 1, silent)
    rows = query(study.folder, "SELECT DISTINCT status FROM experiments")
    assert rows == [{"status": "ok"}]
    held = ("study.toml", "ledger", "cache", "data")
    assert not [name for name in modes(study.folder) if name.startswith(held) and name.count("/") < 2]
    assert read_by_another_user([study.folder, *study.folder.rglob("*")]) == ""
