"""mini-swe-agent from PyPI as a researcher, by its recipe, through the gateway to a server of the OpenAI protocol."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import shared
from tests.inner_loop.play import Event
from tests.inner_loop.test_command import STOCK, said, work
from tests.llm.server import LlmServer
from tests.llm.shell import scripted
from trainer.experiment import Trainer
from trainer.sandbox import bwrap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # an installation over the network
    pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe())),
]
COMMANDS = (
    "cat program.md README.md",
    "sed -i 's/^LR = .*/LR = 0.1/' train.py && git commit -qam 'larger steps'",
    "uv run train.py > run.log 2>&1; grep '^nll:' run.log",
    "sed -i 's/^LR = .*/LR = 0.001/' train.py && git commit -qam 'smaller steps' && experiment",
    "git reset -q --hard HEAD~1",
    "sed -i 's/^MOMENTUM = .*/MOMENTUM = 0.9/' train.py && git commit -qam 'momentum' && experiment",
    "experiment status",
    "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
)
KEY = "sk-of-the-tests"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its program, in a virtual environment of its own that is made once for all processes of this run of the tests;
    METALOOP_TEST_MINI names one that is there already.

    With mcp, which LiteLLM 1.106 imports at its first call without requiring it. What is installed here, LiteLLM
    first of all, is not installed once more.
    """
    if given := os.environ.get("METALOOP_TEST_MINI"):
        return Path(given)
    place = shared(tmp_path_factory) / "mini"
    with place.with_suffix(".made").open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        if not made.tell():
            made.write(install(place))
    return place / "bin" / "mini"


def install(place: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    (packages,) = place.glob("lib/*/site-packages")
    (packages / "here.pth").write_text(sysconfig.get_path("purelib"))
    pip = [place / "bin" / "pip", "install", "-q", "mini-swe-agent==2.4.6", "mcp"]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip("mini-swe-agent cannot be installed here")
    return "installed"


def test_mini_swe_agent_follows_one(
    trainer: Trainer, mini: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LlmServer(scripted(lambda _: COMMANDS)) as server:
        monkeypatch.setenv("PATH", f"{mini.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        events: list[Event] = []
        played = work(
            trainer, "", 4, folder=folder, text=STOCK, events=events, researcher="command:mini-swe-agent",
            agent_network="", max_wall=200.0, max_usd=1.0, models=("openai/m",), prices={"openai/m": (1.0, 2.0)},
        )  # fmt: skip
        asked = [str(body["messages"]) for body in server.seen]
    decided = ["baseline baseline", "larger steps keep", "smaller steps discard", "momentum keep"]
    assert [f"{e['description']} {e['decision']}" for e in played.experiments] == decided
    assert played.result.final.source_id == played.experiments[3]["source_id"]
    assert any(f"nll:              {played.experiments[1]['metric']:.6f}" in text for text in asked)
    assert any("The budget is spent" in text for text in asked) and set(server.keys) == {KEY}
    calls = [event for event in events if event["kind"] == "call"]  # it has no network: all of them were metered
    assert [sum(call[name] for call in calls) for name in ("tokens_in", "tokens_out")] == server.billed
    assert sum(call["usd"] for call in calls) == pytest.approx(server.billed[0] * 1e-6 + server.billed[1] * 2e-6)
    assert not any(KEY in text for text in (said(folder), str(events), *asked))
