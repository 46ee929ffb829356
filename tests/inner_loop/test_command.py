"""The command researcher: small real agents in the real sandbox, on the tiny task. What they claim moves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from inner_loop.agents.worktree import clear
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


@pytest.fixture
def play(trainer: Trainer, agent: MakeAgent) -> Play:
    """A run worked by an agent of the tests, as `work` has it."""

    def worked(what: str, experiments: float = 8, trainer: Trainer = trainer, **more: Any) -> Played:
        return work(trainer, agent(what), experiments, **more)

    return worked


def test_a_night_whose_sessions_bring_no_experiment_says_so(play: Play, folder: Path) -> None:
    played = play("#!/bin/sh\ncat > /dev/null\n", folder=folder, beside=[STOCK])
    assert (played.result.state, played.result.reason) == ("finished", NOTHING_LEFT)


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


def test_agents_night_cut_at_an_event_goes_on_to_the_same_main(
    play: Play, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each win is trained with the second seed and decided within its turn."""
    monkeypatch.setattr("inner_loop.night.LEAST_REPEATED", 10)
    more: dict[str, Any] = {"folder": folder, "beside": [STOCK], "sandboxed": False, "agent_network": ""}
    whole = play(COUNTING, 13, **more)
    rows, turns = whole.experiments, of(whole.events, "night_turn")
    wins = [row for row in rows if row["decision"] == "keep"]
    again = [rows[row["number"] + 1] for row in wins]
    assert [(e["source_id"], e["decision"]) for e in again] == [(e["source_id"], "replicate") for e in wins] != []
    assert [sum(not row["replicate"] for row in rows[2 : turns[1]["first"]]), len(turns)] == [6, 2]
    events = [event for event in whole.events if event["kind"] != "agent"]
    for cut in range(2, len(events), 13):
        rest = play(COUNTING, 13, recorded=events[:cut], **more)
        assert rest.result.final == whole.result.final, cut
        resumed = [*events[:cut], *(event for event in rest.events if event["kind"] != "agent")]
        assert told(resumed) == told(events), cut


def said(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted((folder / "agent").glob("session-*")))


def test_an_agent_works_and_what_it_keeps_is_the_result(play: Play, folder: Path) -> None:
    played = play("steady.py", folder=folder)
    edits = [(e["edit"]["set"], e["status"], e["decision"]) for e in played.experiments]
    assert edits[0] == ({}, "ok", "baseline")
    assert ({"LR": 0.1}, "ok", "keep") in edits and ({"FAULT": "raise"}, "crash", "discard") in edits
    assert ({"LR": 0.001}, "ok", "discard") in edits and ({"MOMENTUM": 0.9}, "ok", "keep") in edits
    kept = [e for e in played.experiments if e["decision"] == "keep"]
    assert played.result.final.source_id == kept[-1]["source_id"]
    assert played.result.final_metric == kept[-1]["metric"] < played.experiments[0]["metric"]
    assert played.result.charged == pytest.approx(8 * FULL) and played.result.state == "finished"
    cited = {one for e in played.experiments for one in e["directive_ids"]}
    assert cited == {TEXT.directives[2].directive_id}
    assert not (folder / "agent" / "worktree").exists()
    log = subprocess.run(["git", "-C", folder, "log", "--format=%s"], capture_output=True, text=True).stdout
    assert log.split("\n")[-3:] == ["LR 0.1", "baseline", ""]


def test_a_stock_program_works_to_the_letter(play: Play, folder: Path) -> None:
    """Commits, run.log, grep of val_bpb and results.tsv as the original has them; the bench follows its commits."""
    played = play("stock.sh", 5, folder=folder, text=STOCK)
    table = [line.split("\t") for line in said(folder).splitlines() if line.count("\t") == 4]
    statuses = [(row[3], row[4]) for row in table[1:]]
    assert statuses[:4] == [
        ("keep", "baseline"), ("keep", "larger steps"), ("crash", "an idea that breaks"), ("discard", "smaller steps"),
    ]  # fmt: skip
    ours = [(e["decision"], e["description"]) for e in played.experiments]
    assert [d for d, _ in ours[:4]] == ["baseline", "keep", "discard", "discard"]
    assert [text for _, text in ours[1:4]] == ["larger steps", "an idea that breaks", "smaller steps"]
    values = {row[4]: float(row[1]) for row in table[1:]}
    assert values["larger steps"] == pytest.approx(played.experiments[1]["metric"], abs=1e-6)
    assert len(played.experiments) == 5  # the baseline was not paid for twice


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
    for refusal in (
        "symbolic links are not followed",
        "not a regular file",
        "No such file",
        "not UTF-8",
        "more than 65536",
    ):
        assert refusal in heard, refusal
    assert "invalid request: charged: Extra inputs" in heard and "there is no experiment 999999" in heard
    assert sum(e["device_seconds_charged"] for e in played.experiments) <= 8 * FULL + 1e-9
    assert len(played.experiments) == 8 and played.result.charged == pytest.approx(8 * FULL)
    assert all(e["metric"] is None or e["metric"] > 0.1 for e in played.experiments)
    ended = [e for e in played.events if e["kind"] == "agent" and e["what"] == "session"]
    assert ended[-1]["killed"] == "asked" and not (folder / "agent" / "worktree").exists()
    assert "0.000001" not in (folder / "results.tsv").read_text()
    assert all(isinstance(v, str | int | float) for e in played.experiments for v in e["config"].values())
    assert not owned.exists()


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_cut(trainer: Trainer, agent: MakeAgent, tmp_path: Path) -> None:
    """Cut at any event: history, charges, head and work tree are as they were, and nothing is run twice."""
    whole = work(trainer, agent("steady.py"), 8, folder=tmp_path / "whole")
    ours = [event for event in whole.events if event["kind"] != "agent"]
    look = agent("#!/bin/sh\nexperiment status; git log --format=%s; cat results.tsv train.py NOTES.md; exit 0\n")
    for cut in (2, 3, 5, 8):
        folder = tmp_path / f"cut{cut}"
        (folder / "agent").mkdir(parents=True)
        (folder / "agent" / "NOTES.md").write_text("remember this")
        before = ours[:cut]
        after = work(trainer, look, 8, folder=folder, recorded=before)
        count = len(of(before, "experiment"))
        resumed = [*before, *of(after.events, "decision")]  # of the last experiment, where it was lacking
        assert resumed == ours[: len(resumed)] and not after.experiments and after.result.experiments == count
        assert after.result.forfeited == pytest.approx((8 - count) * FULL)
        heard = said(folder)
        assert "remember this" in heard and "the untouched baseline" in heard
        assert after.result.final.text() in heard
    again = work(trainer, agent("steady.py"), 8, folder=tmp_path / "again", recorded=ours[:5])
    assert again.result.charged == pytest.approx(8 * FULL)


def test_sources_that_a_diff_does_not_tell_are_recalled_too(play: Play, tmp_path: Path) -> None:
    script = """#!/usr/bin/env python3
import subprocess
from pathlib import Path
text = Path("train.py").read_bytes()
Path("train.py").write_bytes(text.replace(b"LR = 0.01", b"LR = 0.1").rstrip(b"\\n"))  # no newline at its end
subprocess.run(["experiment"])
subprocess.run(["git", "commit", "-qam", "x"])
Path("train.py").write_bytes(text.replace(b"\\n", b"\\r\\n"))
subprocess.run(["experiment"])
subprocess.run(["git", "commit", "-qam", "x"])
Path("train.py").write_bytes(text.replace(b"BATCH = 32", b"BATCH = 16  # a\\x0cb --- a/train.py"))
subprocess.run(["experiment"])
subprocess.run(["git", "reset", "-q", "--hard", "HEAD~1"])  # back to an earlier one
"""
    whole = play(script, 4, folder=tmp_path / "a")
    assert [e["status"] for e in whole.experiments] == ["ok"] * 4
    assert whole.result.final.source_id == whole.experiments[1]["source_id"]
    after = play("#!/bin/sh\ntrue\n", 4, folder=tmp_path / "a", recorded=whole.events)
    assert after.result.final == whole.result.final and not after.experiments


def test_agent_that_ends_early_starts_again_while_it_progresses(play: Play, folder: Path) -> None:
    script = """#!/bin/bash
echo "note $RANDOM" >> NOTES.md
[ $(wc -l < NOTES.md) -gt 3 ] && exit 0
sed -i "s/^LR = .*/LR = 0.0$(wc -l < NOTES.md)5/" train.py
experiment && git commit -qam "one more"
"""
    played = play(script, 9, folder=folder)
    sessions = of(played.events, "agent", what="session")
    assert [s["experiments"] for s in sessions] == [1, 1, 1, 0]
    assert played.result.state == "finished" and played.result.forfeited == pytest.approx(5 * FULL)


def test_notes_of_a_killed_run_are_in_the_next_worktree(play: Play, folder: Path) -> None:
    (folder / "agent" / "worktree").mkdir(parents=True)
    (folder / "agent" / "worktree" / "NOTES.md").write_text("left behind")
    play("#!/bin/sh\ncat NOTES.md\n", folder=folder)
    assert "left behind" in said(folder) and (folder / "agent" / "NOTES.md").read_text() == "left behind"


def test_living_files_survive_a_reset_and_a_new_session(play: Play, folder: Path) -> None:
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
    assert (folder / "agent" / "living" / "log" / "found.md").read_text() == "begun\nseen\nseen\nseen\n"
    cited = [e["directive_ids"] for e in played.experiments[1:]]
    assert cited == [[text.directives[1].directive_id]] * 2


def test_an_agent_that_fails_before_it_ran_anything_is_an_error(play: Play, trainer: Trainer) -> None:
    result = play("#!/bin/sh\necho no key >&2; exit 3\n").result
    assert result.state == "stopped" and "exit code 3: no key" in result.reason
    result = play("#!/bin/sh\nexec /not/shown/here\n").result  # a shim whose target is elsewhere
    assert result.problem and "exit code 127" in result.reason
    assert result.problem.hint and "--set agent_readable=PATH" in result.problem.hint
    with pytest.raises(EnvironmentProblem, match="'no-such-agent' is not installed"):
        work(trainer, "no-such-agent --yes")
    with pytest.raises(UsageError, match="names no agent"):
        work(trainer, "")


OWN_SCRIPT = """#!/usr/bin/env python3
import re, subprocess, sys
sys.stdin.read()
text = open("train.py").read()
open("train.py", "w").write(re.sub("(?m)^LR = .*", "LR = 0.1", text))
subprocess.run(["experiment"])
"""


@pytest.mark.parametrize("sandboxed", [pytest.param(True, marks=SANDBOXED), False], ids=["sandbox", "no sandbox"])
@pytest.mark.parametrize("how", ["relative", "interpreter", "link", "home", "PATH"])
def test_a_script_of_the_users_own_works_by_its_name_alone(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, sandboxed: bool
) -> None:
    """In a home that is closed to others, as is the script."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    script = home / ("experiment" if how == "relative" else "my-agent.py")  # a name that the sandbox has itself
    script.write_text(OWN_SCRIPT)
    script.chmod(0o700)
    home.chmod(0o700)
    (home / "bin" / "linked").symlink_to(script)
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    command = {
        "relative": "./experiment",
        "interpreter": f"{sys.executable} my-agent.py",
        "link": "bin/linked",
        "home": "~/my-agent.py",
        "PATH": "linked",
    }[how]
    more: dict[str, Any] = {} if sandboxed else {"agent_network": ""}
    played = work(trainer, command, 3, sandboxed=sandboxed, **more)
    assert [e["decision"] for e in played.experiments] == ["baseline", "keep"]


def test_a_script_that_agents_must_not_see_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    key = tmp_path / ".env"
    key.write_text("KEY=4711")
    for word, why in ((f"{BLOBS}/data.py", "which agents must not see"), (key, "may contain keys")):
        with pytest.raises(UsageError, match=why):
            work(trainer, f"cat {word}")


def test_what_lies_beside_a_script_needs_its_folder(trainer: Trainer, tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "agent.py"
    script.parent.mkdir()
    script.write_text("import beside\nraise SystemExit(5)\n")
    (script.parent / "beside.py").touch()
    command = f"{sys.executable} {script}"
    problem = work(trainer, command).result.problem
    assert problem and problem.message.endswith("No module named 'beside'")
    assert problem.hint and "--set agent_readable=PATH" in problem.hint
    problem = work(trainer, command, agent_readable=(str(script.parent),)).result.problem
    assert problem and "exit code 5" in problem.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's folders are closed to the agent's uid")
def test_a_readable_folder_may_hold_a_closed_study(play: Play, folder: Path, tmp_path: Path) -> None:
    (folder / "agent").mkdir(parents=True)
    folder.chmod(0o700)
    folder.parent.chmod(0o755)
    played = play(OWN_SCRIPT, 3, folder=folder, agent_readable=(str(folder.parent),))
    assert [e["decision"] for e in played.experiments] == ["baseline", "keep"]


def test_wall_time_ends_a_run_and_a_stop_leaves_it_to_be_resumed(play: Play) -> None:
    sleeper = "#!/bin/sh\nsed -i 's/^LR = .*/LR = 0.1/' train.py; experiment; sleep 3600\n"
    played = play(sleeper, max_wall=4.0)
    assert played.result.state == "finished"
    decided = [e["decision"] for e in played.experiments]
    assert decided in (["baseline", "keep"], ["baseline"])  # a busy machine gets no further in that time
    events: list[Event] = []
    stopped = play(sleeper, events=events, should_stop=lambda: len(events) > 2)
    assert stopped.result.state == "stopped" and stopped.result.experiments == 2
    assert [e["kind"] for e in events] == ["experiment", "decision", "experiment", "decision"]


def test_agent_sees_no_study_no_task_and_no_environment_of_ours(
    play: Play, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary-4711")
    monkeypatch.setenv("MY_KEY", "given-to-it")
    (folder / "ledger").mkdir(parents=True)
    (folder / "ledger" / "worker.jsonl").write_text("canary-4711")
    script = (
        f"#!/bin/sh\nenv; cat {folder}/ledger/* ../../ledger/* {BLOBS}/data.py; ls {BLOBS}; cat prepare.py README.md\n"
    )
    play(script, folder=folder, agent_env=("MY_KEY",))
    heard = said(folder)
    assert "canary-4711" not in heard and "MY_KEY=given-to-it" in heard
    assert "METALOOP_DOOR=" in heard and "def make(" not in heard and "You are the researcher" in heard


def test_a_strangers_worktree_is_removed_whatever_it_holds(tmp_path: Path) -> None:
    deep = tmp_path / "worktree"
    deep.mkdir()
    (deep / "closed").mkdir()
    (deep / "closed" / "file").touch()
    (deep / "closed").chmod(0)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "stays").touch()
    (deep / "link").symlink_to(tmp_path / "outside")
    made = subprocess.run(
        [sys.executable, "-c", "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"], cwd=deep, check=False
    )
    assert made.returncode == 0
    clear(deep)
    assert not os.path.lexists(deep) and (tmp_path / "outside" / "stays").exists()
    shutil.rmtree(tmp_path / "outside")
