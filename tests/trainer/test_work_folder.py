"""What a launcher that is killed, or never starts, leaves behind: nothing that the next one does not remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from programs.errors import EnvironmentProblem
from trainer.sandbox import bwrap
from trainer.sandbox.local import LocalLauncher, WorkFolder, sweep

HOLDER = """import time; from trainer.sandbox.local import WorkFolder
print(WorkFolder().path, flush=True); time.sleep(600)"""


def test_the_folder_of_a_killed_owner_goes_with_the_next_start_and_a_living_ones_stays() -> None:
    command = [sys.executable, "-c", HOLDER]
    owners = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        places = [Path(owner.stdout.readline().strip()) for owner in owners if owner.stdout]
        (places[0] / "template.log").write_text("of a template\n")
        owners[0].send_signal(signal.SIGKILL)
        owners[0].wait()
        own = WorkFolder()
        assert not places[0].exists() and places[1].is_dir() and own.path.is_dir()
        own.remove()
        assert not own.path.exists()
    finally:
        for owner in owners:
            owner.kill()
            owner.communicate()


def test_a_folder_that_was_removed_is_made_and_held_again() -> None:
    folder = WorkFolder()
    (folder.path / "held").unlink()
    folder.path.rmdir()
    assert folder.ensure().is_dir()
    sweep(folder.path.parent)
    assert folder.path.is_dir()
    folder.remove()


def test_a_folder_that_nobody_ever_held_waits_its_hour(tmp_path: Path) -> None:
    new, old, living = (tmp_path / f"metaloop-{owner}-x" for owner in (2**22 + 1, 2**22 + 2, os.getpid()))
    for folder in (new, old, living):
        folder.mkdir()
    for folder in (old, living):
        os.utime(folder, (time.time() - 4000, time.time() - 4000))
    sweep(tmp_path)
    assert new.is_dir() and living.is_dir() and not old.exists()


def test_a_launcher_that_does_not_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bwrap, "_candidates", list)
    launcher = LocalLauncher()
    before = set(Path("/dev/shm").glob(f"metaloop-{os.getpid()}-*"))
    with pytest.raises(EnvironmentProblem):
        launcher.start()
    assert launcher._root is None and set(Path("/dev/shm").glob(f"metaloop-{os.getpid()}-*")) == before
