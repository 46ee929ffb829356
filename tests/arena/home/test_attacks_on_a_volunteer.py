"""Hosts, and proxies before them, that would make a volunteer run what it did not agree to, or end its search."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from arena.home import volunteer
from arena.home.bundle import MOST_PARSED, unpack
from arena.home.client import JoinedProject, LeaseFile
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import RunResult, RunWork, parsed
from arena.home.tables import Volunteer
from programs.common.errors import EnvironmentProblem, UsageError
from tests.arena.home.clients import RESULT
from tests.arena.home.serving import serving
from tests.arena.home.test_attacks import bundle_of, session_in, toml_with, work_of


@pytest.mark.parametrize("name", ["task.toml", "train.py", "prepare.py"])
def test_what_a_bundle_gives_to_parse_is_small(project: Project, tmp_path: Path, name: str) -> None:
    bundle = bundle_of(project, name, b"#" * (MOST_PARSED + 1))
    with pytest.raises(UsageError, match=f"{name} of the task bundle is larger than"):
        unpack(bundle.body, bundle.digest, tmp_path / "task", {})
    assert not (tmp_path / "task").exists()


def test_main_cannot_change_the_task_that_was_agreed_to(project: Project, tmp_path: Path) -> None:
    """Its task.toml would name itself as editable, and so fit whatever files main has."""
    own = toml_with(project, lambda read: read.update(editable=["train.py", "task.toml"])).decode()
    with pytest.raises(UsageError, match="could change the task that was agreed to"):
        unpack(project.bundle.body, project.bundle.digest, tmp_path / "task", {"train.py": "x = 1\n", "task.toml": own})
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(".".join(["a"] * 120_000) + " = 1\n", "takes too long", marks=pytest.mark.slow, id="dotted"),
        pytest.param("x = " + "[" * 100_000, "is damaged: RecursionError", id="nested"),
    ],
)
def test_a_bundle_that_is_slow_to_parse_costs_a_volunteer_little(
    project: Project, tmp_path: Path, content: str, why: str
) -> None:
    """Another process reads it first, and is ended; this one waits."""
    bundle, began = bundle_of(project, "task.toml", content.encode()), time.thread_time()
    with pytest.raises(UsageError, match=why):
        unpack(bundle.body, bundle.digest, tmp_path / "task", {})
    assert time.thread_time() - began < 1.0


def test_a_lease_for_another_task_than_the_one_agreed_to_is_not_run(project: Project, tmp_path: Path) -> None:
    session = session_in(tmp_path / "v")
    joined = JoinedProject(url="http://127.0.0.1:9", project=project.project_id, task=project.bundle.digest, token="t")
    session.folder.put("project", joined)
    session.run = lambda _: pytest.fail("it was run")  # type: ignore[method-assign]
    raw = json.dumps(work_of({"task": "1" * 64})).encode()
    session.reach = lambda *_: raw  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="another task than the one that you agreed to"):
        session.step()
    assert session.folder.get("lease", LeaseFile) is None


def test_the_task_that_is_joined_is_the_one_that_was_shown(project: Project, tmp_path: Path) -> None:
    other = bundle_of(project, "task.toml", toml_with(project, lambda t: t["budget"].update(memory_mb=999)))
    session = session_in(tmp_path / "v")
    with serving(project) as url:
        session = session_in(tmp_path / "v", url)
        session.preview()
        vars(project)["bundle"] = other  # shown one task, asked to run another
        with pytest.raises(UsageError, match="not the one that was shown"):
            session.join()
    assert session.folder.get("project", JoinedProject) is None


def test_the_last_refused_results_are_kept(tmp_path: Path) -> None:
    folder = session_in(tmp_path / "v").folder
    result = parsed(RunResult, json.dumps({**RESULT, "files": {}}))
    names = []
    for k in range(9):
        work = parsed(RunWork, json.dumps(work_of({"lease": f"r{k:012x}"})))
        names.append(folder.refuse(LeaseFile(work=work, result=result)))
        time.sleep(0.01)
    assert sorted(path.name for path in folder.folder.glob("refused-*")) == names[-5:]


def test_an_error_in_one_slot_ends_the_others(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second slot may not run anything yet, and would wait for ever."""
    with serving(project) as url:
        session = session_in(tmp_path / "v", url)
        session.join(2)
        monkeypatch.setattr(session, "step", lambda *_: (_ for _ in ()).throw(EnvironmentProblem("no disk")))
        ended: Future[None] = Future()

        def serve() -> None:
            try:
                session.serve(None, ["", ""])
            except EnvironmentProblem as error:
                ended.set_exception(error)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(EnvironmentProblem, match="no disk"):
            ended.result(60)


def test_a_quota_falls_and_a_file_changes_in_turn_alone(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volunteer, "PAUSES", (0.01,))
    with serving(project) as url:
        session = session_in(tmp_path / "v", url)
        session.join(2)
        session.run = lambda _: parsed(RunResult, json.dumps({**RESULT, "files": {}}))  # type: ignore[method-assign]
        put, alone = session.folder.put, []
        monkeypatch.setattr(
            session.folder, "put", lambda name, value: (alone.append(session.turn.locked()), put(name, value))
        )
        for confirmed, granted in ((1, 2), (0, 1)):
            with project.database.write() as connection:
                connection.query(Volunteer).one().confirmed = confirmed
            session.step()
            assert session.quota == granted
    assert alone == [True, False, True] * 2  # a result is stored under the name of its own slot


def test_a_lease_too_many_is_asked_for_again(project: Project, host: ProjectHost, tmp_path: Path) -> None:
    """A volunteer whose block became void may have more runs out than it may now; its search goes on."""
    with serving(project) as url:
        session = session_in(tmp_path / "v", url)
        session.join(2)
        with project.database.write() as connection:
            connection.query(Volunteer).one().confirmed = 1
        leases = [session.ask("/api/v1/leases", RunWork, volunteer.protocol.LeaseRequest(have=have)) for have in ([],)]
        with project.database.write() as connection:
            connection.query(Volunteer).one().confirmed = 0
        session.folder.put("lease-1", LeaseFile(work=leases[0]))
        said: list[str] = []
        session.say = lambda line: (said.append(line), session.stopping.set())  # type: ignore[func-returns-value]
        with pytest.raises(KeyboardInterrupt):
            session.step()
    assert "HTTP 503" in said[0] and "trying again" in said[0]


def test_a_program_has_a_name_on_one_line(tmp_path: Path) -> None:
    session = session_in(tmp_path / "v")
    for name in ("", "a\nb", "\x1b[2J", "a\u202eb"):
        given = {**work_of({})["program"], "name": name}
        raw = json.dumps(work_of({"program": given})).encode()
        session.reach = lambda *_, raw=raw: raw  # type: ignore[method-assign,misc]
        with pytest.raises(EnvironmentProblem, match=r"program\.name"):
            session.step()
