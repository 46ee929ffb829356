"""The command researcher: small real agents in the real sandbox, on the tiny task. What they claim moves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from inner_loop.night import NOTHING_LEFT
from inner_loop.researchers import command
from inner_loop.run import run
from inner_loop.run_context import ModelConfig, RunContext
from programs.common.errors import EnvironmentProblem, UsageError
from programs.program import Program
from tests.events import into, of, typed
from tests.inner_loop.play import BLOBS, FULL, STREAMS_OF_TESTS, Event, Played, told
from trainer.experiment import Trainer
from trainer.sandbox import bwrap

SANDBOXED = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
pytestmark = SANDBOXED
AGENTS = Path(__file__).parent / "agents"
TEXT = Program.parse("# Research\n\nLower it.\n\n- keep what is better\n- mind the seeds\n- stop never\n", "mine")
STOCK = Program.parse("# Stock\n\nRun `uv run train.py > run.log 2>&1`, then `grep '^val_bpb:' run.log`.\n", "stock")

MakeAgent = Callable[[str], str]


@pytest.fixture
def agent(tmp_path: Path) -> MakeAgent:
    """An agent of the tests, by file name or text, installed where a sandbox can show it."""

    def install(what: str) -> str:
        place = tmp_path / "bin" / "agent"
        place.parent.mkdir(exist_ok=True)
        text = (AGENTS / what).read_text() if "\n" not in what else what
        place.write_text(text)
        place.chmod(0o755)
        return str(place)

    return install


def work(
    trainer: Trainer, agent: str, experiments: float = 8, *, folder: Path | None = None, text: Program = TEXT,
    recorded: Sequence[Mapping[str, Any]] = (), events: list[Event] | None = None,
    should_stop: Callable[[], bool] | None = None, researcher: str = "command", sandboxed: bool = True,
    beside: Sequence[Program] = (), **staff: Any,
) -> Played:  # fmt: skip
    """A run with the budget of so many full experiments, worked by that agent."""
    told_of: list[Event] = [] if events is None else events
    stop = {"should_stop": should_stop} if should_stop else {}
    context = RunContext(
        ModelConfig(agent=agent, **{"agent_network": "none", "models": ("m",), **staff}), run_id="r0", folder=folder,
        recorded=typed(recorded), emit=into(told_of), sandboxed=sandboxed, **stop,
    )  # fmt: skip
    result = run(
        text, trainer, run_id="r0", run_seed=3, streams=STREAMS_OF_TESTS, budget_seconds=experiments * FULL,
        researcher=researcher, emit=into(told_of), folder=folder, recorded=typed(recorded), context=context,
        beside=beside, **stop,
    )  # fmt: skip
    return Played(result, told_of)


Play = Callable[..., Played]


def said(folder: Path) -> str:
    """What the agent of a run has printed."""
    return "".join(path.read_text() for path in sorted((folder / "agent").glob("session-*")))


def rows_of(played: Played) -> list[tuple[str, str]]:
    return [(row["description"], row["decision"]) for row in played.experiments]


@pytest.fixture
def play(trainer: Trainer, agent: MakeAgent) -> Play:
    """A run worked by an agent of the tests, as `work` has it."""

    def worked(what: str, experiments: float = 8, trainer: Trainer = trainer, **more: Any) -> Played:
        return work(trainer, agent(what), experiments, **more)

    return worked


#: It tries a value that follows from the number of experiments so far, so that a run of it can be repeated.
COUNTING = """#!/usr/bin/env python3
import json, re, subprocess
code = 0
while code != 3:
    status = subprocess.run(["experiment", "status", "--json"], capture_output=True, text=True).stdout
    rate = 0.01 * (1 + 7 * len(json.loads(status)["experiments"]) % 23)
    text = re.sub("(?m)^LR = .*", f"LR = {rate}", open("train.py").read())
    open("train.py", "w").write(text)
    code = subprocess.run(["experiment"]).returncode
"""


def test_night_of_an_agent_that_is_cut_goes_on(play: Play, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each win is trained with the second seed and decided within its turn."""
    monkeypatch.setattr("inner_loop.night.LEAST_REPEATED", 10)
    more: dict[str, Any] = {"folder": folder, "beside": [STOCK], "sandboxed": False, "agent_network": ""}
    whole = play(COUNTING, 11, **more)
    rows, turns = whole.experiments, of(whole.events, "night_turn")
    wins = [row for row in rows if row["decision"] == "keep"]
    again = [rows[row["number"] + 1] for row in wins]
    assert [(e["source_id"], e["decision"]) for e in again] == [(e["source_id"], "replicate") for e in wins] != []
    assert len(turns) == 2
    events = [event for event in whole.events if event["kind"] != "agent"]
    for cut in (5, len(events) - 6):
        rest = play(COUNTING, 11, recorded=events[:cut], **more)
        resumed = [*events[:cut], *(event for event in rest.events if event["kind"] != "agent")]
        assert told(resumed) == told(events) and rest.result.final == whole.result.final, cut
    idle = play("#!/bin/sh\ncat > /dev/null\n", folder=folder / "idle", beside=[STOCK])
    assert (idle.result.state, idle.result.reason) == ("finished", NOTHING_LEFT)


def test_agent_whose_change_is_kept_has_it_as_result(play: Play, folder: Path) -> None:
    played = play("steady.py", folder=folder)
    edits = [(e["edit"]["set"], e["status"], e["decision"]) for e in played.experiments]
    assert edits[0] == ({}, "ok", "baseline")
    for edit in (
        ({"LR": 0.1}, "ok", "keep"),
        ({"FAULT": "raise"}, "crash", "discard"),
        ({"LR": 0.001}, "ok", "discard"),
    ):
        assert edit in edits
    kept, result = played.decided("keep"), played.result
    assert [e["edit"]["set"] for e in kept] == [{"LR": 0.1}, {"MOMENTUM": 0.9}] or len(kept) > 2
    assert (result.state, result.final.source_id) == ("finished", kept[-1]["source_id"])
    assert result.final_metric == kept[-1]["metric"] < played.experiments[0]["metric"]
    assert result.charged == pytest.approx(8 * FULL)
    assert {one for e in played.experiments for one in e["directive_ids"]} == {TEXT.directives[2].directive_id}
    assert not (folder / "agent" / "worktree").exists()
    log = subprocess.run(["git", "-C", folder, "log", "--format=%s"], capture_output=True, text=True).stdout
    assert log.split("\n")[-3:] == ["LR 0.1", "baseline", ""]


def test_agent_that_follows_stock_to_the_letter_works(play: Play, folder: Path) -> None:
    """Commits, run.log, grep of val_bpb and results.tsv as the original has them; the bench follows its commits."""
    played = play("stock.sh", 5, folder=folder, text=STOCK)
    table = [line.split("\t") for line in said(folder).splitlines() if line.count("\t") == 4]
    statuses = [(row[4], row[3]) for row in table[1:5]]
    assert statuses == [
        ("baseline", "keep"), ("larger steps", "keep"), ("an idea that breaks", "crash"), ("smaller steps", "discard"),
    ]  # fmt: skip
    ours = [(text, "discard" if status == "crash" else status) for text, status in statuses[1:]]
    assert rows_of(played)[1:4] == ours and len(played.experiments) == 5, "the baseline is not paid for twice"
    assert float(table[2][1]) == pytest.approx(played.experiments[1]["metric"], abs=1e-6)


@pytest.mark.slow
def test_an_agent_that_misbehaves_gains_nothing_and_is_ended(
    trainer: Trainer, agent: MakeAgent, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GRACE_SECONDS", 1.0)
    rude, owned = agent("rude.py"), tmp_path / "owned"
    Path(rude).write_text(Path(rude).read_text().replace("/tmp/owned", str(owned)))
    played = work(trainer, rude, 8, folder=folder)
    heard = said(folder)
    first, second = played.experiments[1], played.experiments[2]
    assert first["metric"] > played.experiments[0]["metric"] and first["status"] == "ok"
    assert "\x1b" not in first["description"] and "\n" not in first["description"]
    assert first["directive_ids"] == [] and "no directive" in heard and "prepare.py was changed here" in heard
    # the bench's figure is the only one under the metric's name, and the lie is marked
    assert "# nll: 0.000001" in heard and f"nll:              {second['metric']:.6f}" in heard
    for refusal in ("symbolic links are not followed", "not a regular file", "No such file", "not UTF-8",
                    "more than 65536", "invalid request: charged: Extra inputs", "no experiment 999999"):  # fmt: skip
        assert refusal in heard, refusal
    assert sum(e["device_seconds_charged"] for e in played.experiments) <= 8 * FULL + 1e-9
    assert len(played.experiments) == 8 and played.result.charged == pytest.approx(8 * FULL)
    assert all(e["metric"] is None or e["metric"] > 0.1 for e in played.experiments)
    ended = [e for e in played.events if e["kind"] == "agent" and e["what"] == "session"]
    assert ended[-1]["killed"] == "asked" and not (folder / "agent" / "worktree").exists()
    assert "0.000001" not in (folder / "results.tsv").read_text()
    assert all(isinstance(v, str | int | float) for e in played.experiments for v in e["config"].values())
    assert not owned.exists()


@pytest.mark.slow
def test_run_of_an_agent_that_is_cut_goes_on_as_before(trainer: Trainer, agent: MakeAgent, tmp_path: Path) -> None:
    """Cut at any event: history, charges, head, notes and work tree are as they were, and nothing is run twice."""
    whole = work(trainer, agent("steady.py"), 8, folder=tmp_path / "whole")
    ours = [event for event in whole.events if event["kind"] != "agent"]
    look = agent("#!/bin/sh\nexperiment status; git log --format=%s; cat results.tsv train.py NOTES.md; exit 0\n")
    for cut, notes in ((3, "agent/NOTES.md"), (8, "agent/worktree/NOTES.md")):  # the second was killed
        folder, before = tmp_path / f"cut{cut}", ours[:cut]
        (folder / notes).parent.mkdir(parents=True)
        (folder / notes).write_text("remember this")
        after = work(trainer, look, 8, folder=folder, recorded=before)
        count = len(of(before, "experiment"))
        resumed = [*before, *of(after.events, "decision")]  # of the last experiment, where it was lacking
        assert resumed == ours[: len(resumed)] and not after.experiments and after.result.experiments == count
        assert after.result.forfeited == pytest.approx((8 - count) * FULL)
        heard = said(folder)
        assert "remember this" in heard and "the untouched baseline" in heard and after.result.final.text() in heard
        assert (folder / "agent" / "NOTES.md").read_text() == "remember this"
    again = work(trainer, agent("steady.py"), 8, folder=tmp_path / "again", recorded=ours[:5])
    assert again.result.charged == pytest.approx(8 * FULL)


def test_agent_that_progresses_starts_again_with_its_files(play: Play, folder: Path) -> None:
    script = """#!/bin/bash
cat roles/critic.md
echo "seen" >> log/found.md
[ $(wc -l < log/found.md) -gt 3 ] && exit 0
sed -i "s/^LR = .*/LR = 0.0$(wc -l < log/found.md)5/" train.py
experiment --because "roles/critic.md › 1"
git reset -q --hard
"""
    text = Program.parse(
        "Ask roles/critic.md.\n", others={"roles/critic.md": "- Doubt it.\n"}, living={"log/found.md": "begun\n"}
    )
    played = play(script, 9, folder=folder, text=text)
    sessions = of(played.events, "agent", what="session")
    assert [s["experiments"] for s in sessions] == [1, 1, 0] and "- Doubt it." in said(folder)
    assert played.result.state == "finished" and played.result.forfeited == pytest.approx(6 * FULL)
    assert (folder / "agent" / "living" / "log" / "found.md").read_text() == "begun\nseen\nseen\nseen\n"
    assert [e["directive_ids"] for e in played.experiments[1:]] == [[text.directives[1].directive_id]] * 2


@pytest.mark.parametrize(
    ("script", "reason", "hint"),
    [
        ("#!/bin/sh\necho no key >&2; exit 3\n", "exit code 3: no key", ""),
        ("#!/bin/sh\nexec /not/shown/here\n", "exit code 127", "--set agent_readable=PATH"),  # a shim
        (
            f"#!{os.path.realpath(sys.executable)}\nimport beside\n",
            "No module named 'beside'",
            "--set agent_readable=PATH",
        ),
    ],
)
def test_agent_that_fails_at_once_is_an_error(play: Play, tmp_path: Path, script: str, reason: str, hint: str) -> None:
    result = play(script).result
    assert result.state == "stopped" and reason in result.reason and result.problem
    assert hint in (result.problem.hint or "")
    if "beside" in reason:
        (tmp_path / "bin" / "beside.py").write_text("raise SystemExit(5)\n")
        assert "exit code 5" in play(script, agent_readable=(str(tmp_path / "bin"),)).result.reason


@pytest.mark.parametrize(
    ("command", "error", "why"),
    [
        ("no-such-agent --yes", EnvironmentProblem, "'no-such-agent' is not installed"),
        ("", UsageError, "names no agent"),
        (f"cat {BLOBS}/data.py", UsageError, "which agents must not see"),
        ("cat {folder}/.env", UsageError, "may contain keys"),
    ],
)
def test_command_without_agent_is_refused(
    trainer: Trainer, tmp_path: Path, command: str, error: type[Exception], why: str
) -> None:
    (tmp_path / ".env").write_text("KEY=4711")
    with pytest.raises(error, match=why):
        work(trainer, command.format(folder=tmp_path))


OWN_SCRIPT = """#!/usr/bin/env python3
import re, subprocess, sys
sys.stdin.read()
text = open("train.py").read()
open("train.py", "w").write(re.sub("(?m)^LR = .*", "LR = 0.1", text))
subprocess.run(["experiment"])
"""


@pytest.mark.parametrize(
    ("command", "sandboxed"),
    [
        ("./experiment", True),  # a name that the sandbox has itself
        (f"{sys.executable} my-agent.py", True),
        ("bin/linked", True),
        ("~/my-agent.py", False),
        ("linked", False),  # in PATH
    ],
)
def test_script_of_the_user_works_by_its_name_alone(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, sandboxed: bool
) -> None:
    """In a home that is closed to others, as is the script."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    script = home / ("experiment" if "experiment" in command else "my-agent.py")
    script.write_text(OWN_SCRIPT)
    for closed in (script, home):
        closed.chmod(0o700)
    (home / "bin" / "linked").symlink_to(script)
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    played = work(trainer, command, 3, sandboxed=sandboxed, agent_network="none" if sandboxed else "")
    assert [e["decision"] for e in played.experiments] == ["baseline", "keep"]


def test_run_ends_at_its_wall_time_and_may_be_stopped(play: Play) -> None:
    sleeper = "#!/bin/sh\nsed -i 's/^LR = .*/LR = 0.1/' train.py; experiment; sleep 3600\n"
    played = play(sleeper, max_wall=4.0)
    decided = [e["decision"] for e in played.experiments]  # a busy machine gets no further in that time
    assert played.result.state == "finished" and decided in (["baseline", "keep"], ["baseline"])
    events: list[Event] = []
    stopped = play(sleeper, events=events, should_stop=lambda: len(events) > 2)
    assert stopped.result.state == "stopped" and stopped.result.experiments == 2
    assert [e["kind"] for e in events] == ["experiment", "decision", "experiment", "decision"]


def test_agent_sees_no_study_task_and_variables(play: Play, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary-4711")
    monkeypatch.setenv("MY_KEY", "given-to-it")
    (folder / "ledger").mkdir(parents=True)
    (folder / "ledger" / "worker.jsonl").write_text("canary-4711")
    seen = f"{folder}/ledger/* ../../ledger/* {BLOBS}/data.py prepare.py README.md"
    play(f"#!/bin/sh\nenv; ls {BLOBS}; cat {seen}\n", folder=folder, agent_env=("MY_KEY",))
    heard = said(folder)
    assert "canary-4711" not in heard and "MY_KEY=given-to-it" in heard
    assert "METALOOP_DOOR=" in heard and "def make(" not in heard and "You are the researcher" in heard
