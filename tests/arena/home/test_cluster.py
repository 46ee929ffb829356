"""A host that verifies with more of its own machines: on real Ray nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import astuple
from pathlib import Path

import pytest

from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.verifying import Verifier
from arena.study.study import Study
from arena.work.choice import VARIABLE
from arena.work.executors import executor_of
from tests.arena.home.clients import Client, better, new_project, states, work
from tests.arena.home.test_verifying import pairs_of
from tests.meta.cli_study import metaloop
from tests.serving import wait_for
from tests.studies import silent


def propose(project: Project) -> None:
    host = ProjectHost(project)
    Client(host, "Ann").propose(better(project, MOMENTUM=0.9), 0.5)
    Client(host, "Bob").propose(better(project, LR=0.2), 0.4)


def pairs(project: Project) -> set[tuple[object, ...]]:
    return {(*astuple(pair)[:-1],) for pair in pairs_of(project)}  # without how long they took


def test_executor_of_serve_is_its_verifiers_or_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "slurm")
    assert "no executor 'slurm'" in metaloop("home", "serve", project.folder, code=2).stderr
    monkeypatch.setenv(VARIABLE, "in-process")  # which refuses a task that trains
    command = [sys.executable, "-m", "meta.cli.main", "home", "serve", str(project.folder), "--port", "0"]
    log = project.folder / "log" / "contest.log"
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        wait_for(lambda: log.is_file() and bool(log.read_text()))
        process.send_signal(signal.SIGINT)
    assert "trains for real (use METALOOP_EXECUTOR=local)" in log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(580)
def test_ray_nodes_verify_as_many_proposals_as_devices(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'metaloop-research[ray]'")
    from arena.cluster.executor import RayExecutor
    from bench.cluster import two_nodes

    monkeypatch.setenv("RAY_AUTH_MODE", os.environ.get("RAY_AUTH_MODE", "disabled"))
    monkeypatch.setattr("arena.home.verifying.BATCH", 1)
    here = new_project(tmp_path / "here")
    for each in (project, here):
        propose(each)
    with two_nodes(cpus=2), Study.open(project.folder) as study, executor_of(study, silent) as executor:
        assert isinstance(executor, RayExecutor) and study.config.workers == 1
        verifier = Verifier(project, study, lambda _: None)
        assert verifier.slots(executor) == 2 and verifier.step(executor)
        left = Path(tempfile.gettempdir()).glob
        name = f"metaloop-{os.getuid()}-{executor._session}-*/data/*"
        assert list(left(name))
        wait_for(lambda: not list(left(f"{name}/confirmation-*")))  # a split is used once, and then deleted
        while verifier.step(executor):
            pass
    assert {state for state, _ in states(project).values()} == {"merged"}
    assert not list((project.folder / "log").glob("worker-*"))  # no worker of this machine
    monkeypatch.setenv(VARIABLE, "local")
    monkeypatch.setattr(Verifier, "slots", lambda *_: 2)
    work(here, steps=1)
    assert len(pairs(here)) == 2 and pairs(here) <= pairs(project)
