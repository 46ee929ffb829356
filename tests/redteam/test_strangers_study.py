"""`metaloop verify` of a study that a stranger sent: its study.toml names a task whose data.py wants more than data."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.ledger.events import ChampionEvent
from arena.audit.scratch import scratch
from arena.study.settings import StudyConfig
from arena.study.setup import StudySetup
from arena.study.study import Study
from arena.work.trainers import Trainers
from inner_loop.events import RunEndedEvent, RunStartedEvent
from meta.cli.consent import consent
from meta.cli.main import run
from programs.common.errors import TaskError, UsageError
from programs.shelf import starter
from tests.events import example, typed
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import match_event, program_event, write_run
from tests.studies import TINY
from tests.trainer.foreign_repos import command_task
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task

CANARY = "canary-7f3a91"
HOSTILE = """
import os, pathlib, socket, subprocess
import numpy as np
import honest

MINE = %r
PORT = %d

def make(split, seed, out):
    got = []
    for path in [*MINE, os.path.expanduser("~/canary"), "/proc/1/environ", "/proc/1/root" + MINE[0]]:
        try:
            got.append(open(path).read())
        except OSError:
            pass
    for path in [*MINE, os.path.expanduser("~/written"), os.path.dirname(__file__) + "/written", "/tmp/written"]:
        try:
            with open(path, "a") as file:
                file.write("written by data.py")
        except OSError:
            pass
    got.append(" ".join(f"{name}={text}" for name, text in os.environ.items()))
    for name in os.listdir("/proc"):
        try:
            got.append(open(f"/proc/{name}/cmdline").read())
        except OSError:
            pass
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=2).sendall(b"here I am")
        got.append("connected")
    except OSError:
        pass
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    honest.make(split, seed, out)
    (out / "got.txt").write_text("\\n".join(got))
    os.symlink(MINE[0], out / "link.txt")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a canary, a key in the environment, a cache of its own, and somebody who listens."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "canary").write_text(CANARY)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("METALOOP_API_KEY", CANARY)
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))
    yield tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(0.2)
        yield found


def hostile_task(place: Path, listener: socket.socket, kind: str = "classification") -> Task:
    folder = place / "sent" / "task"
    shutil.copytree(BLOBS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data.py").rename(folder / "honest.py")
    (folder / "data.py").write_text(HOSTILE % ([str(place / "home" / "canary")], listener.getsockname()[1]))
    toml = folder / "task.toml"
    toml.write_text(toml.read_text().replace('kind = "classification"', f'kind = "{kind}"', 1))
    return Task.load(str(folder))


def strangers_study(place: Path, task: Task) -> Study:
    """With one finished run, as its ledger has it, made by another user."""
    program, plan = starter("local"), {"runs": 1, "roles": ["program"]}
    setup = StudySetup("match", task, 1.2, workers=1, seed=1, fixed_steps=True, plan=plan, programs=[program])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_CACHE", str(place / "theirs"))
        study = Study.create(place / "sent" / "study", setup.config())
    with study:
        assert study._ledger is not None
        for event in (
            program_event(program, []),
            match_event([{"arm_id": "a1", "program_id": program.program_id, "role": "program"}]),
        ):
            study.record(*typed([event]))
        write_run(study._ledger, "a1", program, 0, 0.1)
    return study


def harmed(place: Path) -> list[str]:
    """What data.py has written where it should not."""
    found = [str(path) for path in (place / "home").rglob("*") if path.is_file() and path.name != "canary"]
    found += [str(path) for path in (place / "sent" / "task").iterdir() if path.name == "written"]
    return found + ([] if (place / "home" / "canary").read_text() == CANARY else ["canary"])


COMMANDS = {
    "verify": ["verify", "ra10", "-s", "STUDY", "-n", "2"],
    "resume": ["resume", "STUDY"],
    "ablate": ["ablate", "PROGRAM", "-s", "STUDY"],
    "from": ["improve", "PROGRAM", "--from", "STUDY", "-s", "new"],
}


@pytest.mark.exploit(51)
@pytest.mark.parametrize("command", COMMANDS)
def test_unasked_nothing_of_it_is_executed(
    command: str, place: Path, listener: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    study = strangers_study(place, hostile_task(place, listener))
    if command == "from":  # it has a champion
        study.config.model_copy(update={"kind": "evolve", "plan": TINY.table()}).dump(study.folder / "study.toml")
        with study:
            study.record(ChampionEvent(body={"program_id": starter("local").program_id}))
    (place / "program.md").write_text(starter("local").document)
    words = {"STUDY": str(study.folder), "PROGRAM": str(place / "program.md"), "new": str(place / "new")}
    assert run([words.get(word, word) for word in COMMANDS[command]]) == 2
    said, code = capsys.readouterr().err, study.task.folder / "data.py"
    how = "in a sandbox without network" if command == "verify" else "without a sandbox"
    assert f"this runs {code} {how}" in said and "--yes" in said
    assert harmed(place) == [] and not list((place / "cache").rglob("*.npy"))
    with pytest.raises(TimeoutError):
        listener.accept()


def test_study_made_here_does_not_ask(place: Path, listener: socket.socket) -> None:
    task = hostile_task(place, listener)
    Study.create(place / "mine", StudySetup(task=task, run_budget=1.2, kind="match").config())
    study = strangers_study(place, task)
    consent(study.folder, study.config, False, sandboxed=True, confined=True)


def test_at_a_terminal_it_is_asked_and_no_means_no(place: Path, listener: socket.socket) -> None:
    study = strangers_study(place, hostile_task(place, listener))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "meta.cli.main", "verify", "ra10", "-s", str(study.folder), "-n", "2"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while b"continue?" not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"n\n")
        assert process.wait() != 0
    os.close(ours)
    assert b"names its own task: this runs " in said.replace(b"\r\n", b" ")
    assert harmed(place) == [] and not list((place / "cache").rglob("*.npy"))


@pytest.mark.exploit(51)
def test_in_its_sandbox_it_makes_data_and_nothing_else(place: Path, listener: socket.socket) -> None:
    """It reads no file of the user, writes nowhere, connects to nobody, sees no key, and leaves no process."""
    task = hostile_task(place, listener)
    streams = Streams.fresh()
    store = DataStore(task, streams, place / "splits", confined=True)
    with pytest.raises(TaskError, match=r"data\.py: make.* symbolic links"):
        store.split("confirmation")  # a link among what it leaves is not followed, and nothing else is taken
    source = task.folder / "data.py"
    source.write_text(source.read_text().replace("    os.symlink", "    # os.symlink"))
    folder = store.split("confirmation")
    got = (folder / "got.txt").read_text()
    assert CANARY not in got and "connected" not in got and "OMP_NUM_THREADS=1" in got
    assert "METALOOP" not in got and str(store.split_seed("confirmation")) not in got
    assert harmed(place) == []
    with pytest.raises(TimeoutError):
        listener.accept()


def test_honest_data_are_the_same_to_the_bit(place: Path) -> None:
    task, streams = Task.load(BLOBS), Streams.from_seed(3)
    ours = DataStore(task, streams, place / "ours").split("confirmation")
    confined = DataStore(task, streams, place / "confined", confined=True).split("confirmation")
    names = sorted(path.name for path in ours.iterdir())
    assert names == sorted(path.name for path in confined.iterdir())
    assert all((ours / name).read_bytes() == (confined / name).read_bytes() for name in names)
    assert np.load(confined / "inputs.npy", allow_pickle=False).shape[0] > 0


@pytest.mark.parametrize(
    ("name", "sandbox", "confined"), [(BLOBS, True, True), (BLOBS, False, False), ("strokes", True, False)]
)
def test_worker_of_a_check_confines_what_is_not_metaloops(name: str, sandbox: bool, confined: bool) -> None:
    task = Task.load(name)
    with (
        scratch(task, Streams.fresh(), workers=1, fixed_steps=True, sandbox=sandbox) as (folder, _),
        Trainers(folder, StudyConfig.read(folder / "study.toml")) as trainers,  # as a worker opens them
    ):
        assert trainers.at("").trainer.data.confined is confined


def test_a_study_of_ones_own_says_nothing_of_it(place: Path, listener: socket.socket) -> None:
    study = strangers_study(place, hostile_task(place, listener))
    assert "confined" not in (study.folder / "study.toml").read_text()


def test_command_strangers_task_is_asked_for_with_what_it_sees(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """F16: unasked, it does not run; asked, the question names the command and all folders that it may read."""
    (place / "private").mkdir()
    (place / "linked").mkdir()
    train = f"open({str(place / 'ran')!r}, 'w').write('ran')\nprint('loss: 1')\n"
    shown = f'readable = ["{place / "private"}"]\nlinks = {{ "in" = "{place / "linked"}" }}'
    study = strangers_study(place, command_task(place / "sent" / "task", {"train.py": train}, shown))
    assert run(["verify", "ra10", "-s", str(study.folder), "-n", "2"]) == 2
    message = capsys.readouterr().err
    assert "--yes" in message and "python train.py" in message and "unexpected" not in message
    assert str(place / "private") in message and str(place / "linked") in message


def test_scoring_code_is_not_run_on_a_studys_word(
    place: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = strangers_study(place, hostile_task(place, listener))
    monkeypatch.setattr("meta.cli.consent.SCORED_WITHOUT_ITS_CODE", ())
    with pytest.raises(UsageError, match=r"takes part in scoring \(kind = 'classification'") as caught:
        consent(study.folder, study.config, True, sandboxed=True, confined=True)
    assert "-t" in caught.value.hint


@pytest.mark.slow
def test_with_consent_it_is_verified_and_nothing_is_harmed(
    place: Path, listener: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    task = hostile_task(place, listener)
    source = task.folder / "data.py"
    source.write_text(source.read_text().replace("    os.symlink", "    # os.symlink"))
    task = Task.load(str(task.folder))
    study = strangers_study(place, task)
    baseline = task.baseline()
    with study:
        program_id = starter("local").program_id
        named = {"run_id": "rown", "match_id": "m1", "arm_id": "a1", "program_id": program_id, "task": task.name}
        study.record(example(RunStartedEvent, **named, stream="selection", researcher="scripted"))
        ended = {"state": "finished", "charged": 1.2, "claimed_gain": 0.0, "final_source_id": baseline.source_id}
        study.record(example(RunEndedEvent, run_id="rown", **ended))
    assert run(["verify", "rown", "-s", str(study.folder), "-n", "2", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run_id"] == "rown" and told["trust"] == "verified"
    assert harmed(place) == []
    with pytest.raises(TimeoutError):
        listener.accept()
