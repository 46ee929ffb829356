"""Fuzzers of the boundaries at which bytes of strangers are read. Honest input is spoilt at random, with a fixed seed;
it is then read, or refused in one line by an error that is meant for it, and soon."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import socket
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.imports.columns import Stated
from analysis.imports.runs import runs_of
from analysis.imports.table import UnreadableLog, read_log
from analysis.knowledge.store import query as query_effects
from analysis.knowledge.store import read as read_effects
from analysis.knowledge.store import write as write_effects
from analysis.ledger import Ledger
from arena.home.chain import Chain
from arena.home.protocol import Proposal, parsed
from arena.serving.names import checked_name, name_key
from arena.study.run_archive import ARCHIVE, unpacked
from inner_loop.chat.reply import BadEdit, parse
from inner_loop.gateway.request import LENGTHS, parse_request
from inner_loop.gateway.serving import RequestRefused
from meta.cli.main import run
from meta.mutators.llm.reply import BadReply, build_child
from meta.mutators.llm.reply import parse_reply as reply_of
from programs.common.bounded import LARGEST
from programs.common.errors import MetaloopError, UsageError
from programs.common.text import one_line
from programs.folder import from_zip
from programs.program import Program
from programs.shelf import starter
from tests.analysis.test_knowledge import effect
from tests.arena.contest.hostile.ground import fine, ground_in
from tests.llm.gateway import body
from tests.meta.cli_study import match_event, program_event
from trainer.attempts import TemplateAttempt
from trainer.cards import check_record
from trainer.commands import named_numbers
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.inside import monitor, wire
from trainer.jobs.job import Ended, LauncherFault
from trainer.sandbox.blob import Blob
from trainer.sandbox.local import read_reply
from trainer.scorers.printed import number_in
from trainer.scoring import Failed, InvalidPredictions
from trainer.scoring.referee import ExperimentTally, Referee
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import TASKS, Task
from trainer.values import nested_values

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
SLOWEST = 2.0  # seconds of one input, on a busy machine
MORE = int(os.environ.get("METALOOP_EXAMPLES", 25)) / 25  # METALOOP_EXAMPLES=250 tries ten times as many inputs
PIECES = (
    b"\0", b"\xff\xfe\xc0", b"\x1b]0;x\x07", "\u202e\u0301\ud7ff\U0010ffff".encode(), b"[" * 3_000, b'{"a":' * 3_000,
    b"(" * 3_000, b"9" * 5_000, b"-1", b"1e999", b"NaN", b"null", b"true", b'"', b"\\", b"\r\n", b"\n\n", b"---\n",
    b"../", b"/etc/passwd", b"&a [*a, *a]", b"!!python/object:os.system", b"=cmd|' /c calc'!A1", b"<script>", b"``````",
    b"# " * 2_000, b"* " * 3_000, b"|" * 3_000, b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x80\0\0\0", b"PK\1\2",
    b"PK\5\6",
)  # fmt: skip
FORM = b'--b\r\ncontent-disposition: form-data; name="text"\r\n\r\nx\r\n--b--'
VALUES = (
    None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "x" * 5_000, "\ud800", "\0", [], {}, [[]] * 50,
    {"type": "x"}, {"$ref": "#"}, [None], "../../x", "٣",
)  # fmt: skip


def spoilt(honest: bytes, rng: random.Random) -> bytes:
    """With up to four places cut, doubled, moved or replaced."""
    for _ in range(rng.randint(1, 4)):
        start, length = rng.randint(0, len(honest)), rng.choice((0, 1, 2, 8, 60, 500))
        cut, elsewhere = honest[start : start + length], rng.randint(0, len(honest))
        new = rng.choice([b"", cut * 3, rng.randbytes(rng.randint(1, 8)), rng.choice(PIECES), honest[elsewhere:][:60]])
        honest = honest[:start] + new + honest[start + length :]
    return honest


def changed(value: Any, rng: random.Random) -> Any:
    """With one value somewhere in it replaced, one more, or one less."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not keys or rng.random() < 0.2:
        return rng.choice(VALUES)
    key, copy = rng.choice(keys), value.copy()
    if rng.random() < 0.2:
        del copy[key]
    elif rng.random() < 0.2 and isinstance(copy, dict):
        copy[rng.choice(("", "x" * 300, "type", "\ud800", str(key).upper()))] = rng.choice(VALUES)
    else:
        copy[key] = changed(copy[key], rng)
    return copy


@contextmanager
def refused(*errors: type[Exception]) -> Iterator[None]:
    """What is in it ends soon, with one of these errors, which says why in one line, or with none."""
    begun = time.process_time()
    try:
        yield
    except errors as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 1_000, error
    assert time.process_time() - begun < SLOWEST


def times(turns: int) -> range:
    """Turns of a loop."""
    return range(max(1, round(turns * MORE)))


def test_the_text_of_a_program() -> None:
    rng = random.Random(1)
    honest = (
        b"---\nmetaloop:\n  wave: 3\n  proposers: {elite: 1, local: 2}\n---\n# P\n\nTry it [now](a.md).\n\n"
        b"| a | b |\n|---|---|\n| 1 | 2 |\n\n## Ideas\n\n- Set `lr=.1` **at once**.\n- After `lr>1` -> `batch=4`\n"
    )
    for _ in times(500):
        with refused(MetaloopError):
            Program.parse(spoilt(honest, rng))


def test_archives(tmp_path: Path) -> None:
    rng, target = random.Random(2), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("program.md", "# One\n\nTry it as `b.md` says.\n")
        archive.writestr("b.md", "# Two\n\nMore.\n")
    for _ in times(1_000):
        raw = spoilt(target.getvalue(), rng)
        with refused(MetaloopError):
            from_zip(raw, "program.md")
        (tmp_path / ARCHIVE).write_bytes(raw)
        with refused(MetaloopError), unpacked(tmp_path, "b"):
            pass


def test_lines_of_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, study = random.Random(3), tmp_path / "study"
    with Ledger(study / "ledger", "main") as ledger:
        for event in (program_event(starter("stock"), []), match_event([])):
            ledger.append(event)
        ledger.finish()
    (study / "study.toml").write_text("schema = 4\n")
    [file] = (study / "ledger").glob("main-*.jsonl")
    honest = file.read_bytes()
    for turn in times(24):
        lines = honest.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(changed(json.loads(lines[at]), rng)).encode() if turn % 2 else spoilt(lines[at], rng)
        file.write_bytes(b"\n".join(lines) + b"\n")
        with refused():
            for words in (["ls", str(tmp_path)], ["status", str(study)], ["standings", str(study)]):
                assert run(words) in (0, 1, 2)
        said = capsys.readouterr()
        assert "unexpected" not in said.err and "Traceback" not in said.err, said.err


def test_bodies_of_requests(tmp_path: Path) -> None:
    rng, json_type = random.Random(4), "application/json"
    with ground_in(tmp_path) as ground:
        before = ground.count()
        honest: list[tuple[str, str, Any]] = [
            ("/api/v1/lint", "text/markdown", b"# P\n\nTry it.\n"),
            ("/api/v1/join", json_type, {"name": "Eve", "code": ""}),
            ("/login", "application/x-www-form-urlencoded", b"proof=x&token=y"),
            (
                "/write",
                "multipart/form-data; boundary=b",
                b'--b\r\ncontent-disposition: form-data; name="text"\r\n\r\nx\r\n--b--',
            ),
        ]
        for _ in times(160):
            path, kind, body = rng.choice(honest)
            raw = json.dumps(changed(body, rng)).encode() if kind == json_type else spoilt(body, rng)
            answer = ground.browser.ask("POST", path, raw, content_type=kind)
            assert fine(answer), f"{path}: {answer.status} for {raw[:300]!r}"
        assert not ground.errors and ground.count()[1] == before[1]


def test_requests_of_agents_to_models() -> None:
    rng = random.Random(5)
    for turn in times(6_000):
        kind: Any = rng.choice(list(LENGTHS))
        honest = body(kind) | ({"tools": [TOOL], "stream": True} if kind != "messages" else {})
        value = changed(changed(honest, rng), rng)
        raw = json.dumps(value).encode() if turn % 3 else spoilt(json.dumps(value).encode(), rng)
        with refused(RequestRefused):
            request = parse_request(kind, raw)
            sent = json.loads(request.content)
            assert sent["model"] == request.model and request.tokens_in >= len(request.content)
            assert json.loads(parse_request(kind, request.content).content) == sent


def test_proposals_of_volunteers() -> None:
    rng = random.Random(6)
    honest = {"base": "0" * 40, "gain": 0.1, "error": 0.05, "files": {"train.py": "x"}}
    for turn in times(6_000):
        raw = json.dumps(changed(honest, rng)).encode()
        with refused(UsageError):
            proposal = parsed(Proposal, spoilt(raw, rng) if turn % 2 else raw)
            assert parsed(Proposal, proposal.model_dump_json()) == proposal and proposal.files


def test_names() -> None:
    rng = random.Random(7)
    letters = "aZ09 -_.'éßﬃ\u0301\u0430\u202e\u200b\u3164\u1d00\U0001d41a\n\0=|/\\٣中"
    for _ in times(15_000):
        drawn = "".join(rng.choices(letters, k=rng.randint(0, 60)))
        assert one_line(drawn).isprintable() and "\n" not in one_line(drawn)
        with refused(UsageError):
            name = checked_name(drawn)
            assert name.isprintable() and checked_name(name) == name and name_key(name)
            assert any(map(str.isalnum, name))


def test_a_folder_of_git(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, chain, task = random.Random(8), Chain(tmp_path / "main.git"), Task.load("strokes")
    chain.create()
    chain.append(dict(task.baseline().files), f"Block 0: the baseline of {task.name}", "", "host", "")
    files = sorted(path for path in chain.folder.rglob("*") if path.is_file())
    for _ in times(30):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(chain.folder, tmp_path / "copy")
        for file in rng.sample(files, 2):
            copy = tmp_path / "copy" / file.relative_to(chain.folder)
            copy.chmod(0o600)
            copy.write_bytes(spoilt(file.read_bytes(), rng))
        assert run(["home", "audit", str(tmp_path / "copy"), "--blocks", "0"]) in (0, 1, 2)
        said = capsys.readouterr().err
        assert "unexpected" not in said and "Traceback" not in said, said


def test_task_files(tmp_path: Path) -> None:
    rng, copy = random.Random(9), tmp_path / "strokes"
    shutil.copytree(TASKS / "strokes", copy, ignore=shutil.ignore_patterns("__pycache__"))
    honest = (copy / "task.toml").read_bytes()
    for _ in times(200):
        (copy / "task.toml").write_bytes(spoilt(honest, rng))
        with refused(MetaloopError):
            Task.load(copy)


def test_what_an_experiment_that_escaped_might_say() -> None:
    """In the template's place, through its socket; and of its own error, to the monitor."""
    rng, (ours, theirs) = random.Random(10), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ended = asdict(Ended(-9, "cpu", 4.0, 5.0, 300.0, "ValueError: x", "ValueError", "é\n" * 30)) | {"descriptors": []}
    read, write = os.pipe2(os.O_NONBLOCK)
    for turn in times(1_500):
        raw = json.dumps(changed(ended, rng)).encode()
        theirs.send((spoilt(raw, rng) if turn % 2 else raw) or b"\0")
        with refused(LauncherFault, ValueError, OSError):
            answer = wire.receive(ours)
            assert answer is not None and read_reply(answer[0], raw)
        os.write(write, spoilt(b'{"kind": "ValueError", "line": "ValueError: bad"}', rng)[:4_000])
        with refused():
            monitor._read_status(read)
    for descriptor in (read, write):
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_checkpoints(tmp_path: Path) -> None:
    """A fresh process gives the predictions of each, or the referee refuses it."""
    rng, task, spec = random.Random(11), Task.load("strokes"), Spec(Task.load("strokes").baseline(), seed=1)
    data = DataStore(task, Streams.from_seed(1), tmp_path / "data")
    with Trainer(task, data, fixed_steps=True) as trainer, Blob() as blob:
        assert isinstance(trainer.attempt, TemplateAttempt)
        request = trainer.attempt.request(replace(spec, fraction=0.1))
        assert trainer.launcher.run(replace(request, descriptors={"checkpoint_out": blob.fd})).exit_code == 0
        honest, inputs = blob.read(blob.size), np.load(data.split("search") / "inputs.npy")[:50]
        for turn in times(12):
            carried_out = b"cos\nsystem\n(S'touch /tmp/out; exit 7'\ntR."
            with Blob(spoilt(honest if turn else carried_out, rng)) as checkpoint, refused(InvalidPredictions, Failed):
                referee = Referee(
                    trainer.launcher, data, request, checkpoint,
                    stream="search", seed=1, scoring=task.scoring, tally=ExperimentTally(),
                )  # fmt: skip
                assert referee.predict(inputs).shape == (50, 10)


CONFIGS = {
    "a.py": b"LR = 0.1\nBETAS = (0.9, 0.99)\nN = 2**19\ndef fit(lr=1e-3, name='adam'): pass\nfit(lr=2)\nD = {'a': 1}\n",
    "a.yaml": b"lr: 0.1\nopt:\n  name: adam\n  betas: [0.9, 0.99]\nbase: &x {a: 1}\nuse: *x\non: true\n",
    "a.toml": b"lr = 0.1\n[opt]\nname = 'adam'\nbetas = [1, 2]\na.b = 3\n[[many]]\nx = 1\n",
    "a.json": b'{"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}, "on": true}\n',
}
LITTLE = (
    b"e5", b"._", b"1_0", b"[", b"{", b": ", b"\n", b" = ", b"&a ", b"*a", b"'", b"**", b"-", b"1e400", b"#", b"\t",
)  # fmt: skip


@pytest.mark.parametrize("file", CONFIGS)
def test_what_is_written_into_a_file_is_read_again(file: str) -> None:
    rng = random.Random(12)
    for turn in times(200):
        honest = CONFIGS[file]
        at = rng.randint(0, len(honest))
        raw = honest[:at] + rng.choice(LITTLE) + honest[at:] if turn % 2 else spoilt(honest, rng)
        text = raw.decode("utf-8", "replace")
        with refused():
            values = nested_values.read(file, text)
            for address in rng.sample(sorted(values), min(2, len(values))):
                new = rng.choice([7, 0.25, -1e-7, True, "sgd", "a b: #c", "null", "1e5", values[address].value])
                if (written := nested_values.write(file, text, address, new)) is not None:
                    again = nested_values.read(file, written)
                    assert again[address].value == new and again.keys() == values.keys(), (text, address, new)


def test_logs_to_import(tmp_path: Path) -> None:
    rng = random.Random(13)
    rows = [
        (f"a{n}c", f"{1 - n / 50:.3f}", rng.choice(("keep", "discard", "crash")), f"try {n} again") for n in range(12)
    ]
    names = "commit", "val_loss", "status", "description"
    honest = {
        "results.tsv": "\n".join("\t".join(row) for row in [names, *rows]),
        "results.csv": "\n".join(",".join(row) for row in [names, *rows]),
        "log.md": "\n".join(f"|{'|'.join(row)}|" for row in [names, ("-",) * 4, *rows]),
        "log.jsonl": "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows),
    }
    for _ in times(200):
        name, text = rng.choice(list(honest.items()))
        (tmp_path / name).write_bytes(spoilt(text.encode(), rng))
        with refused(UnreadableLog):
            for run_ in runs_of(read_log(tmp_path / name), Stated()):
                assert all(row.metric is None or abs(row.metric) < LARGEST for row in run_.rows)


def test_replies_of_models() -> None:
    rng, program = random.Random(14), starter("stock")
    block = b"<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n"
    edit = b'<edit file="train.py">\n' + block + b"</edit>\n<idea>`lr=1`</idea><note>x</note>\n"
    child = {"reason": "x", "ideas": [1, "Set `lr=1`"], "charter": {"wave": 2}, "sections": [], "evidence": ["e1"]}
    for turn in times(700):
        with refused(BadEdit):
            parse(spoilt(edit, rng).decode("utf-8", "replace")).apply(Source((("train.py", "a\n"),)))
        raw = json.dumps(changed(child, rng)).encode()
        with refused(BadReply, MetaloopError):
            build_child(
                [program],
                reply_of(spoilt(raw, rng).decode("utf-8", "replace") if turn % 2 else raw.decode()),
            )


def test_knowledge_files(tmp_path: Path) -> None:
    rng = random.Random(15)
    file = write_effects(tmp_path, [effect("a", f"a{n}") for n in range(3)])
    honest = file.read_bytes()
    for _ in times(15):
        file.write_bytes(spoilt(honest, rng))
        with refused(MetaloopError):
            read_effects([tmp_path])
        with refused(MetaloopError):
            query_effects([tmp_path], "SELECT count(*) FROM effects")


def test_cards_of_tasks(tmp_path: Path) -> None:
    rng, copy = random.Random(16), tmp_path / "strokes"
    shutil.copytree(TASKS / "strokes", copy, ignore=shutil.ignore_patterns("__pycache__"))
    honest = (copy / "card.json").read_bytes()
    for turn in times(70):
        raw = json.dumps(changed(json.loads(honest), rng)).encode() if turn % 2 else spoilt(honest, rng)
        (copy / "card.json").write_bytes(raw)
        (copy / check_record.NAME).write_bytes(raw)
        with refused(MetaloopError):
            task = Task.load(copy)
            check_record.read(task)
            assert 0 < task.cost_seconds < float("inf")


def test_printed_logs() -> None:
    rng, honest = (
        random.Random(17),
        b'step 1 loss 0.5\nloss: 0.25 (nats)\n{"a": {"loss": 0.125}, "n": 3}\naccuracy=93%\n',
    )
    for _ in times(1_000):
        text = spoilt(honest, rng).decode("utf-8", "replace")
        for key in ("", "loss", "a.loss"):
            with refused(InvalidPredictions):
                assert abs(number_in(text, r"loss: (\S+)", key)) < LARGEST
        with refused():
            for one in named_numbers.read(text).values():
                with refused(InvalidPredictions):
                    one.last_in(text)
