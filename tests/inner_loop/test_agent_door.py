"""The door and what stands behind it: strict requests, decisions by the run's rule, sources from diffs."""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop.agents import worktree
from inner_loop.agents.experiment_server import AgentReply, AgentRequest, ExperimentServer
from inner_loop.agents.session import AgentSession, SandboxCharge
from inner_loop.comparison import judge
from inner_loop.events import Proposal
from inner_loop.results_tsv import row
from programs.program import Program
from tests.events import into, of
from tests.inner_loop.play import open_bench
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.rows import KEPT
from trainer.source import Source

TEXT = Program.parse("# Research\n\n- keep what is better\n", "mine")


def call(path: Path, data: bytes, told: list[bytes]) -> threading.Thread:
    def speak() -> None:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(200)
            caller.connect(str(path))
            caller.sendall(data)
            told.append(b"".join(iter(lambda: caller.recv(1 << 16), b"")))

    thread = threading.Thread(target=speak)
    thread.start()
    return thread


def test_a_request_is_understood_or_refused_and_never_half() -> None:
    bad = (b"{}", b"[]", b"nonsense", b'{"verb":"run","charged":0}', b'{"verb":"run","fraction":0}',
           b'{"verb":"run","fraction":1e999}', b'{"verb":"spend"}', b'{"verb":"log","number":-1}',
           b'{"verb":"run","message":7}')  # fmt: skip
    with ExperimentServer() as door:
        for body in bad:
            told: list[bytes] = []
            thread = call(door.path, body + b"\n", told)
            assert door.wait(100) is None
            thread.join()
            assert json.loads(told[0])["code"] == 2, body
        told = []
        thread = call(door.path, b'{"verb":"run","style":"json","message":"hi"}\n', told)
        request = door.wait(100)
        assert request is not None
        door.reply(AgentReply("heard", 7, {"said": request.message}))
        thread.join()
        assert json.loads(told[0]) == {"text": '{"said": "hi"}', "code": 7}
        place = door.path
    assert not place.exists()


def test_who_is_slow_or_has_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inner_loop.agents.experiment_server._REQUEST_SECONDS", 0.3)
    with ExperimentServer() as door:
        for data, stays in ((b"{", True), (b"", False), (b'{"verb":"run"}\n', False)):
            caller = socket.socket(socket.AF_UNIX)
            caller.connect(str(door.path))
            caller.sendall(data)
            if not stays:
                caller.close()
            # returns as soon as it is settled; the last one had hung up before its experiment began
            assert door.wait(3600) is None
            caller.close()


class Stand:
    """A desk on a real bench, with the worktree as a plain folder and the agent's git as a list."""

    def __init__(self, trainer: Trainer, folder: Path, experiments: float = 8) -> None:
        self.bench, self.events = open_bench(trainer, experiments)
        self.folder, self.base = folder, self.bench.baseline.source
        folder.mkdir()
        self.lay(self.base)
        for name, data in trainer.task.read_only_files:
            (folder / name).write_bytes(data)
        charge = SandboxCharge(self.bench, into(self.events))
        self.desk = AgentSession(self.bench, TEXT, folder, charge=charge, logs=folder.parent)

    def lay(self, source: Source) -> Source:
        source.write(self.folder)
        return source

    def edit(self, **values: object) -> Source:
        text = self.base.text()
        for name, value in values.items():
            text = re.sub(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value}": line, text)  # type: ignore[misc]
        return self.lay(self.base.with_text("train.py", text))

    def ask(self, verb: str = "run", **more: object) -> AgentReply:
        """The answer to a request, whose experiment is trained and decided as in a run."""
        answering = self.desk.answer(AgentRequest.model_validate({"verb": verb, **more}))
        with pytest.raises(StopIteration) as end:
            record = self.bench.experiment(next(answering))
            self.bench.decide(record, *judge(self.bench, record, self.bench.head))
            answering.send(record)
        reply: AgentReply = end.value.value
        return reply

    @property
    def decided(self) -> list[str]:
        return [record.decision for record in self.bench.history]


@pytest.fixture
def stand(trainer: Trainer, tmp_path: Path) -> Stand:
    return Stand(trainer, tmp_path / "worktree")


def test_experiment_better_than_the_head_is_kept_at_once(stand: Stand) -> None:
    stand.edit(LR=0.1)
    base = stand.bench.baseline.metric
    answer = stand.ask()
    assert f", kept, better than the head {base:.6f} (experiment 0, the same seed) by " in answer.text
    assert answer.facts is not None and (answer.facts["decision"], answer.facts["better"]) == ("keep", True)
    again = stand.ask().text
    assert again.startswith("experiment 1 ok") and ", kept, which is the head" in again
    stand.edit(LR=0.001)
    worse = stand.ask(style="log").text
    assert ", not kept, worse than the head" in worse and "(experiment 1, the same seed)" in worse
    assert stand.decided == ["baseline", "keep", "discard"] and stand.bench.head.number == 1
    reason = stand.bench.history[2].decided.reason
    assert re.search(r"not better: -[0-9.e-]+ nats against experiment 1, with the same seed", reason)


def test_head_that_an_agent_reads_is_the_source_of_comparison(stand: Stand) -> None:
    """On the same seed, also where the head was trained with a second one, as in a night."""
    bench = stand.bench
    bench.experiment(Proposal(Edit(), replicate=1))
    text, head = stand.ask("status").text, f"{bench.baseline.metric:.6f}"
    assert f"baseline {head}, head {head} (experiment 0), best {head}" in text
    prompt = worktree.prompt(bench, TEXT, metered=False, sandboxed=True, most=8)
    assert f"experiment 0, {bench.task.metric} {head}." in prompt
    stand.edit(LR=0.1)
    text = stand.ask().text
    assert f"better than the head {head} (experiment 0, the same seed) by " in text and "±" not in text
    assert stand.ask(again=True).text.split("\n")[0].endswith(", which is the head")
    worse, kept = stand.edit(LR=0.001), bench.head.metric
    stand.ask()
    first, again = bench.history[-1].metric, stand.ask(again=True).text
    assert bench.history[-1].source == worse and bench.history[-1].replicate == 3
    assert f"; {first:.6f} on the same seed, worse than the head {kept:.6f} (experiment 2, the same seed)" in again


def test_new_file_beside_the_editable_ones_is_not_in_experiments(stand: Stand) -> None:
    """So nothing that is kept can rest on it."""
    (stand.folder / "labels.py").write_text("LR = 0.1\n")
    stand.lay(stand.base.with_text("train.py", f"from labels import LR as rate\n{stand.base.text()}"))
    assert "No module named 'labels'" in stand.ask().text
    assert [name for name, _ in stand.bench.history[-1].source.files] == list(stand.bench.task.editable)


def test_experiment_within_its_error_is_not_kept(stand: Stand) -> None:
    bench, task = stand.bench, stand.bench.task
    card = {"task_id": task.task_id, "baseline_source": stand.base.source_id, "baseline": {"sd": 10.0}}
    bench.task, bench.kept_errors = replace(task, card=card), KEPT
    stand.edit(LR=0.1)
    reply = stand.ask()
    assert ", undecided, not resolved against the head" in reply.text and "± 14" in reply.text
    assert reply.facts is not None and (reply.facts["better"], reply.facts["resolved"]) == (False, False)
    assert reply.facts["gain_se"] == pytest.approx(10 * 2**0.5)
    assert stand.decided == ["baseline", "undecided"] and bench.head.number == 0
    assert (bench.history[1].gain, bench.history[1].gain_se) == (reply.facts["gain_over_head"], reply.facts["gain_se"])
    assert re.search(r"undecided +\(not resolved: \+[0-9.]+ ± 14\)", stand.ask("status").text)
    assert row(bench.history[1]).split("\t")[3] == "undecided"


def test_experiment_failed_or_short_is_never_kept(stand: Stand) -> None:
    stand.edit(FAULT='"raise"')
    answer = stand.ask()
    assert answer.code == 1 and "this source is broken" in answer.text
    stand.edit(LR=0.1)
    stand.ask(fraction=0.25)
    assert stand.decided == ["baseline", "discard", "screen"] and stand.bench.head.number == 0
    assert "there is no experiment 99" in stand.ask("log", number=99).text
    (stand.folder.parent / "0000.log").write_text("step 1 of long ago\n")  # of an earlier attempt
    stand.bench.history[0] = replace(stand.bench.baseline, log="")
    assert stand.ask("log", number=0).text.startswith("step 1 of long ago\n")


def test_experiment_again_has_a_new_seed_until_all_is_spent(trainer: Trainer, tmp_path: Path) -> None:
    stand = Stand(trainer, tmp_path / "worktree", 3)
    stand.edit(LR=0.1)
    stand.ask()
    stand.ask(again=True)
    assert stand.decided[2] == "replicate" and stand.bench.history[2].replicate == 1
    stand.edit(LR=0.7)
    refused, status = stand.ask(), stand.ask("status").facts
    assert refused.code == 3 and "budget of this run is spent" in refused.text and len(stand.bench.history) == 3
    assert status is not None and status["affordable"] == 0


def test_directives_are_cited_by_id_beginning_or_number(stand: Stand) -> None:
    (directive,) = TEXT.directives
    for at, cited in enumerate((directive.directive_id, directive.directive_id[:6], "0")):
        stand.edit(LR=0.1 + at)
        stand.ask(because=[cited, "nonsense"])
        assert stand.bench.history[-1].directive_ids == (directive.directive_id,)
    assert directive.directive_id in stand.ask("directives").text


def test_literal_that_no_row_can_hold_is_left_out_of_the_config(stand: Stand) -> None:
    for value in ("1e999", "{1}", "b'x'", "'" + "x" * 300 + "'", "1" + "0" * 40, '"a\\ud800"'):
        stand.edit(LR=value)
        stand.ask()
        assert "LR" not in stand.bench.history[-1].config, value
    json.dumps(of(stand.events, "experiment"), allow_nan=False).encode()
