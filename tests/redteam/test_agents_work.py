"""An agent that experiments by hand in its shell: what it runs there is charged to its run, whatever it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.agents import worktree as tools
from inner_loop.agents.experiment_server import AgentReply, AgentRequest, ExperimentServer
from inner_loop.agents.job import agent_job
from inner_loop.agents.session import GRACE_CPU_SECONDS
from inner_loop.gateway.serving import private_socket
from tests.inner_loop.play import FULL, Played
from tests.inner_loop.test_command import said, work
from tests.redteam.harness import Harm
from tests.trainer import foreign_repos
from trainer.commands.task_toml import Wanted
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.jobs.run import run_job
from trainer.sandbox import bwrap
from trainer.streams import Streams

pytestmark = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
BUDGET = 30.0  # device-seconds of a run
SLACK = 0.04  # s; a count may be a few ticks of the kernel late
TRAIN = """import os, sys, time
LR = 0.5
BURN = float(os.environ.get("BURN", "0.12"))
while time.process_time() < BURN:
    pass
print(f"loss: {(LR - 0.3) ** 2:.6f}")
print(f"BURNT {time.process_time():.3f}", flush=True)
"""


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    """Of a repository whose experiment is `python train.py`, which burns an eighth of a second."""
    place = tmp_path / "repo"
    place.mkdir()
    (place / "program.md").write_text("Run `python train.py` and lower the loss.\n")
    (place / "train.py").write_text(TRAIN)
    (place / "other.py").write_text("# read only\n")
    wanted = Wanted(command="python train.py", metric="loss", direction="lower", budget=0.5, editable=["train.py"])
    task = foreign_repos.made(place, replace(wanted, noise="unknown"))
    with Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data")) as started:
        yield started


@pytest.fixture
def agent(tmp_path: Path) -> Callable[[str], str]:
    def install(text: str) -> str:
        place = tmp_path / "bin" / "agent"
        place.parent.mkdir()
        place.write_text(text)
        place.chmod(0o755)
        return str(place)

    return install


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def played(trainer: Trainer, agent: str, folder: Path, budget: float = BUDGET, **more: Any) -> Played:
    return work(trainer, agent, budget / FULL, folder=folder, **more)


#: Ways to run the task's command without the door; $PY is the interpreter itself. Each prints what it has burnt.
WAYS = {
    "the command": "$PY train.py",
    "its path": "$PWD/run",
    "a module": "$PY -m train",
    "on stdin": "$PY - < train.py",
    "exec of the file": "$PY -c \"exec(open('train.py').read())\"",
    "a renamed copy": "cp train.py elsewhere.py; $PY elsewhere.py; rm elsewhere.py",
    "a copy elsewhere": "cp -r . /tmp/copy; cd /tmp/copy; $PY train.py",
    "in the background": "$PY train.py > /tmp/said & wait; cat /tmp/said",
    "a session of its own": "setsid -w nice -n 19 $PY train.py",
    "another environment": "env -i BURN=0.15 $PY train.py",
    "left to init": "(setsid $PY train.py >/tmp/l &); until grep -q BURNT /tmp/l; do sleep 0.1; done; cat /tmp/l",
    "a child that nobody waits for": "$PY -c \"\nimport os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "if os.fork() == 0: os.execv('$PY', ['$PY', 'train.py'])\ntry: os.wait()\nexcept OSError: pass\"",
    "another shell": "sh -c 'exec -a make $PY train.py' || bash -c 'exec -a make $PY train.py'",
}  # fmt: skip
AGENT = f"""#!/usr/bin/env python3
import json, os, re, subprocess, time
env = dict(os.environ, PY=os.environ["METALOOP_PYTHON"])
open("run", "w").write("#!/bin/sh\\nexec $PY train.py\\n")
os.chmod("run", 0o755)
if os.path.exists("NOTES.md"):  # it is started again while it makes progress
    raise SystemExit
open("NOTES.md", "w").write("done")
print(open("README.md").read())
def status():
    told = subprocess.run(["experiment", "status", "--json"], capture_output=True, text=True).stdout
    return json.loads(told)
def report(name, said, before):
    burnt = sum(map(float, re.findall("BURNT ([0-9.]+)", said)))
    print("WAY", json.dumps([name, burnt, before["sandbox_seconds"], status()["sandbox_seconds"]]), flush=True)
for name, line in {WAYS!r}.items():
    before = status()
    report(name, subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env).stdout, before)
before, start = status(), time.process_time()
os.environ["BURN"] = str(start + 0.12)
exec(open("train.py").read())
report("in its own process", f"BURNT {{time.process_time() - start}}", before)
open("train.py", "a").write("# changed\\n")
print(subprocess.run(["experiment", "-m", "one"], capture_output=True, text=True).stdout, flush=True)
print("LAST", json.dumps(status()), flush=True)
"""


@pytest.mark.exploit(49)
@pytest.mark.parametrize("counted", ["by a cgroup, where there is one", pytest.param("", marks=pytest.mark.slow)])
def test_training_by_hand_is_charged_in_every_way(
    counted: str, trainer: Trainer, agent: Callable[[str], str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """49 each way is looked at by itself: what it burnt, and by how much the agent's account grew."""
    if not counted:  # as on a machine where we may have no cgroup
        monkeypatch.setattr("trainer.sandbox.cgroup.own_group", lambda: None)
    slack = SLACK if counted else SLACK + 0.06  # what ends unseen between two looks, and nobody waits for
    found = played(trainer, agent(AGENT), folder)
    heard = said(folder)
    ways = [json.loads(line[4:]) for line in heard.splitlines() if line.startswith("WAY ")]
    assert {name for name, *_ in ways} == {*WAYS, "in its own process"}, heard
    for name, burnt, before, after in ways:
        assert burnt >= 0.1, f"{name} did not run: {heard}"
        if after - before < burnt - slack:
            raise Harm(f"{name}: {burnt} s burnt, {after - before} s counted")
    last = json.loads(next(line[5:] for line in heard.splitlines() if line.startswith("LAST ")))
    assert "All other CPU time in this sandbox is charged to the same budget" in heard
    by = {e["counted_by"] for e in found.events if e["kind"] == "agent" and e["what"] == "session"}
    assert by <= ({"cgroup", "looks"} if counted else {"looks"})
    result, trained = found.result, sum(e["device_seconds_charged"] for e in found.experiments)
    burnt = sum(way[1] for way in ways)
    if result.sandbox < burnt - SLACK:
        raise Harm(f"{burnt} s burnt, {result.sandbox} s charged")
    assert result.charged == pytest.approx(BUDGET)
    assert trained + result.sandbox + result.forfeited - result.overshoot == pytest.approx(BUDGET)
    assert last["remaining_seconds"] == pytest.approx(BUDGET - trained - last["sandbox_seconds"], abs=0.01)


BURNER = """#!/bin/bash
for _ in 1 2 3; do (trap '' TERM; while true; do :; done) & done
sleep 0.3
for n in $(seq 100); do echo "# $n" >> train.py; experiment -m "$n" || true; done
sleep 600
"""


@pytest.mark.slow
@pytest.mark.exploit(49)
def test_what_is_burnt_beside_experiments_ends_with_the_budget(
    trainer: Trainer, agent: Callable[[str], str], folder: Path
) -> None:
    """49 processes that go on while an experiment runs, and after the last one, are charged and ended."""
    budget = 6.0
    found = played(trainer, agent(BURNER), folder, budget)
    [session] = [e for e in found.events if e["kind"] == "agent" and e["what"] == "session"]
    trained = sum(e["device_seconds_charged"] for e in found.experiments)
    assert session["killed"] in ("budget", "asked") and found.result.sandbox > 1.0
    most = budget + GRACE_CPU_SECONDS + 1.0  # three processes between two looks
    if session["cpu_seconds"] + trained > most + max(e["device_seconds_charged"] for e in found.experiments):
        raise Harm(f"{session['cpu_seconds']} s burnt beside {trained} s trained of {budget} s")
    assert found.result.charged == budget and len(found.experiments) < 15


@pytest.mark.exploit(49)
def test_an_interruption_gives_nothing_back(
    trainer: Trainer, agent: Callable[[str], str], folder: Path, tmp_path: Path
) -> None:
    """49 a resumed run knows what was used, and charges it once; a ledger without such events opens as it was."""
    script = '#!/bin/bash\necho "# 1" >> train.py; experiment; BURN=1.2 $METALOOP_PYTHON train.py\n'
    whole = played(trainer, agent(script), folder)
    told = [e for e in whole.events if e["kind"] == "agent" and e["what"] == "sandbox"]
    assert told[-1]["charged_seconds"] == pytest.approx(whole.result.sandbox) and whole.result.sandbox > 0.5
    (tmp_path / "bin" / "agent").write_text("#!/bin/sh\nexperiment status\n")
    again = played(trainer, str(tmp_path / "bin" / "agent"), folder, recorded=whole.events)
    assert whole.result.sandbox <= again.result.sandbox < whole.result.sandbox + 1.0 and not again.experiments
    older = [event for event in whole.events if event.get("what") != "sandbox"]
    before = played(trainer, str(tmp_path / "bin" / "agent"), folder, recorded=older)
    assert before.result.sandbox < 0.5 and before.result.experiments == again.result.experiments


TRACE = """
import ctypes, errno, os, signal
libc = ctypes.CDLL(None, use_errno=True)
def attempt(pid):
    found = []
    for name in ("mem", "environ"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            found.append("read")
        except OSError as error:
            found.append(errno.errorcode[error.errno])
    traced = libc.ptrace(16, pid, 0, 0)
    found.append("traced" if traced == 0 else errno.errorcode[ctypes.get_errno()])
    return " ".join(found)
child = os.fork()
if child == 0:
    signal.pause()
print("relay", attempt(os.getppid()))
print("child", attempt(child).split(" ")[0])
os.kill(child, 9)
"""


@pytest.mark.exploit(16)
def test_an_agent_cannot_trace_its_relay(tmp_path: Path) -> None:
    """16 the process that relays to the gateway has the agent's uid; a child of its own can be looked into."""
    (tmp_path / "worktree").mkdir()
    path, gateway = private_socket()
    with gateway:
        words = [os.path.realpath(sys.executable), "-I", "-S", "-c", TRACE]
        ended = run_job(agent_job(words, tmp_path / "worktree", gateway=path), sandboxed=True)
    shutil.rmtree(path.parent)
    assert ended.log.splitlines() == ["relay EACCES EACCES EPERM", "child read"], ended.errors


def through(name: str, words: list[str], command: str, place: Path) -> tuple[list[AgentRequest], str]:
    """What the door is asked when a program of that name is called in the work tree."""
    asked: list[AgentRequest] = []

    program = place / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_bytes(
        f"#!{sys.executable} -ISB\n".encode() + (Path(tools.__file__).parent / "client.py").read_bytes()
    )
    program.chmod(0o755)
    with ExperimentServer() as door:
        env = {
            "METALOOP_DOOR": str(door.path), "METALOOP_COMMAND": command, "METALOOP_WORKTREE": str(place),
            "METALOOP_PYTHON": "/bin/echo", "PATH": f"{program.parent}:/usr/bin:/bin", "METALOOP_ENTRY": "train.py",
        }  # fmt: skip
        with subprocess.Popen([program, *words], env=env, cwd=place, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                if request := door.wait(0.05):
                    asked.append(request)
                    door.reply(AgentReply("asked"))
            assert process.stdout is not None
            return asked, process.stdout.read()


@pytest.mark.parametrize(
    ("command", "name", "words", "routed"),
    [
        ("echo bench", "echo", ["bench"], True),
        ("echo bench", "echo", ["other"], False),
        ("uv run bench.py --seed {seed}", "python", ["-u", "./bench.py", "--seed", "7"], True),
        ("python bench.py", "uv", ["run", "--no-sync", "bench.py"], True),
        ("python3 bench.py", "python", ["bench.py"], True),
        ("python bench.py", "python", ["bench.py", "--help"], False),
        ("SEED={seed} python bench.py", "python3", ["bench.py"], True),
        ("", "python", ["train.py"], True),
        ("", "python", ["other.py"], False),
    ],
)
def test_the_tasks_own_command_goes_through_the_door(
    command: str, name: str, words: list[str], routed: bool, tmp_path: Path
) -> None:
    asked, told = through(name, words, command, tmp_path)
    assert [(one.verb, one.style) for one in asked] == ([("run", "log")] if routed else [])
    assert (told == "asked\n") is routed


def test_the_program_of_a_tasks_command_is_on_the_path(trainer: Trainer) -> None:
    assert tools.own_command(trainer.task) == "python train.py"
    assert tools.commands(trainer.task).keys() == set(tools.NAMES)
