"""The flags of models: what is refused before anything is founded, what a plan says, and recordings by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import table_cells, wording
from analysis.ledger.events import StudyEvent
from analysis.study import query
from arena.study.settings import StudyConfig
from inner_loop.events import CallEvent
from meta.cli.output import ESCAPES
from meta.cli.screen import header
from meta.ui.live import LiveStudy, ModelUsage, model_usage
from meta.ui.status import StudyStatus
from tests.events import example
from tests.llm.fixtures import close_connections, dropped, litellm_loaded, server
from tests.llm.kits import KEY, environment
from tests.llm.local import LocalServer
from tests.llm.server import LlmServer
from tests.llm.studies import planted

from .cli_study import ALONE, cli, metaloop, on_terminal

__all__ = ["litellm_loaded", "server"]
pytestmark = dropped


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, litellm_loaded: None) -> Path:
    planted(tmp_path / "task")
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL", "METALOOP_RECORD", "METALOOP_REPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def refused(*flags: str) -> tuple[int, dict[str, Any]]:
    done = cli("match", "stock", *ALONE, "-t", "task", "-s", "s", "--json", *flags)
    return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]


def test_what_cannot_work_is_refused_before_anything_is_founded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, error = refused("-m", "openai/x")
    assert (code, error["kind"]) == (4, "credential") and "OPENAI_API_KEY" in error["message"]
    assert refused("-m", "openai/x", "--dry-run") == (code, error)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    code, error = refused("-m", "openai/x")
    assert (code, error["kind"]) == (2, "usage") and "cost money" in error["message"]
    for flags, told in (
        ("-m openai/x --max-usd 1", "no price is known for openai/x"), ("-m gtp-4o-mini", "no provider is known"),
        ("-m openai/x --set prices=x=1/2", "--set prices=x: no model of that name"), ("-r chat", "needs a model"),
        ("-m openai/x --set prices=openai/x=1/2/-3", "not a price"),
    ):  # fmt: skip
        code, error = refused(*flags.split(), "--dry-run")
        assert code == 2 and told in error["message"], flags
    assert not (here / "s").exists()


def test_refused_key_or_model_name_costs_no_training(here: Path, server: LlmServer) -> None:
    for fault, code, told in (("401", 4, "the key is refused"), ("404", 1, "the request is refused")):
        server.fault = lambda number, body, fault=fault: fault  # type: ignore[misc]
        assert (answer := refused("-m", "openai/test", "--yes"))[0] == code and told in answer[1]["message"]
    assert len(server.seen) == 2 and not (here / "s").exists()
    server.fault = lambda number, body: "404" if body["model"] == "gone" else None
    metaloop("match", "stock", *ALONE, "-t", "task", "-s", "s", "-m", "openai/gone,openai/test", "--yes")


def test_user_agrees_to_the_cost_once_for_all_tasks(
    here: Path, server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", server.url.replace("127.0.0.1", "127.1"))  # not known to be free
    (here / "file").write_text("")
    words = ("-m", "openai/x", "-t", "task,strokes", "-s", "file/s")  # where no study can be, so nothing is trained
    for command in (("match", "stock", "-n", "2"), ("evolve", "--quick", "--reserve", "letters")):
        code, shown = on_terminal(*command, *words, cwd=here, typed=b"y\ny\ny\n")
        assert code == 1 and shown.count("this calls models, which may cost money; continue?") == 1
    assert len(server.seen) == 2


def planned(*flags: str) -> dict[str, Any]:
    plan: dict[str, Any] = metaloop("match", "stock", *ALONE, "-t", "task", "--dry-run", "--json", *flags).json
    return plan


def test_plan_names_tokens_and_dollars_or_that_there_is_no_price(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    plan = planned("-m", "gpt-4o-mini", "--max-usd", "2")
    assert plan["models"] == "gpt-4o-mini" and plan["tokens"] > 8000 and 0 < plan["usd"] < 1
    assert plan["price"].endswith("at most $2")
    assert "it stops there" in planned("-m", "gpt-4o-mini", "--max-usd", "0.0001")["price"]
    plan = planned("-m", "openai/x")
    assert plan["usd"] is None and "not priced" in plan["price"]


LIMITS = ("--set", "reply_tokens=900", "--set", "call_timeout=40s", "--set", "patience=1h", "--set", "calls_at_once=3")


def test_limits_of_calls_are_flags_variables_and_in_the_plan(
    here: Path, server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("-m", "openai/test")
    asked = {"reply_tokens": 900, "call_timeout_s": 40.0, "patience_s": 3600.0, "calls_at_once": 3, "max_wall_s": 1200}
    assert asked.items() <= planned(*model, *LIMITS, "--set", "max_wall=20m").items()
    monkeypatch.setenv("METALOOP_SET", " ".join([*LIMITS[1::2], "max_wall=20m"]))
    assert asked.items() <= planned(*model).items()
    metaloop("match", "stock", *ALONE, "-t", "task", *model, "-s", "s")
    staff = StudyConfig.read(here / "s" / "study.toml").llm
    kept = (staff.reply_tokens, staff.call_timeout, staff.patience, staff.calls_at_once, staff.max_wall)
    assert kept == (900, 40.0, 3600.0, 3, 1200.0) and all(body["max_tokens"] == 900 for body in server.seen[1:])


def test_a_study_stores_the_context_size_that_it_is_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalServer("llama.cpp", 4096) as server:
        environment(monkeypatch, server.url)
        made = ["match", "stock", *ALONE, "-t", "task", "-m", "openai/test"]
        assert "context_tokens unknown" in " ".join(metaloop(*made, "-s", "s", "--dry-run").stdout.split())
        metaloop(*made, "-s", "s", "--set", "context_tokens=4096")
        staff = StudyConfig.read(here / "s" / "study.toml").llm
        assert (staff.context_tokens, staff.reply_tokens) == (4096, 819)
        assert all(body["max_tokens"] == 819 for body in server.seen[1:])
        close_connections()


def lines_of(study: LiveStudy) -> list[str]:
    return list(header(StudyStatus(study, at_work=False), "s", 80))


def test_spend_is_shown_live_beside_its_caps(tmp_path: Path) -> None:
    study = LiveStudy(tmp_path)
    study.take(example(StudyEvent, config={"llm": {"max_usd": 5.0}}))
    for tokens_, usd in ((1200, 0.25), (300, 0.5)):
        study.take(example(CallEvent, tokens=tokens_, usd=usd))
    assert "models 2 calls, 1,500 tokens, $0.75 of $5.00" in lines_of(study)
    (tmp_path / "study.toml").write_text("[llm]\nmax_usd = 9.0\nmax_tokens = 20000\n")
    del study.settings  # as a process that resumes it with larger limits reads them
    assert "models 2 calls, 1,500 of 20,000 tokens, $0.75 of $9.00" in lines_of(study)
    study.take(example(CallEvent, tokens=300))
    assert any("not priced" in line for line in lines_of(study))


def test_spend_is_shown_where_a_model_took_part(here: Path, server: LlmServer) -> None:
    task = ("-t", "task", "--set", "fixed_steps=true", "--no-controls", "-n", "1", "-j", "1", "--seed", "1")
    said = metaloop("match", "stock", "one-line", *task, "-m", "openai/test", "-s", "m").stderr
    logged = [line for line in said.splitlines() if line.startswith("run ")]
    assert len(logged) == 2 and all("tokens, not priced, device used" in line for line in logged)
    metaloop("match", "stock", *task, "-s", "none")
    (calls,) = query(here / "m", "SELECT count(*) AS calls, sum(tokens)::BIGINT AS tokens FROM calls")
    status = metaloop("status", "m", "--json").json  # as scripts are told
    assert calls["calls"] >= 14 and calls.items() <= status.items() and status["usd"] is None
    assert 0 < status["utilization"] < 1 and 0.5 < status["token_utilization"] <= 1.0
    assert sum(arm["tokens"] for arm in status["arms"]) == calls["tokens"]
    assert not {"calls", "tokens", "usd", "utilization"} & metaloop("status", "none", "--json").json.keys()
    for study, spent in (("m", True), ("none", False)):  # as a person is
        shown = " ".join(ESCAPES.sub("", on_terminal(verb, study, cwd=here)[1]) for verb in ("standings", "status"))
        assert all((word in shown) == spent for word in ("not priced", "device used", "token"))
        assert (f"models {calls['calls']} calls" in shown) == spent and "$" not in shown


def test_tokens_that_came_to_nothing_are_not_used() -> None:
    calls = [
        example(CallEvent, run_id="r", number=4, purpose="repair", status="ok", tokens=100, usd=0.001),
        example(CallEvent, run_id="r", number=3, purpose="turn", status="ok", tokens=100, usd=0.001),
        example(CallEvent, run_id="s", number=3, purpose="turn", status="ok", tokens=100, usd=0.001),
        example(CallEvent, run_id="s", number=6, purpose="turn", status="truncated", tokens=50, lost_tokens=50),
    ]
    shares = [model_usage(calls[:count]).token_utilization for count in (0, 2, 4)]
    assert shares == [None, 0.5, 0.5]  # a reply that was repaired, and lost tokens
    assert model_usage(calls) == ModelUsage(4, 350, None, 0.5)
    assert [table_cells.usd(amount) for amount in (None, 0.0, 0.001)] == ["not priced", "$0.00", "<$0.01"]
    assert [wording.share(part) for part in (None, 0.001, 0.5)] == ["–", "<1%", "50%"]


def test_the_plan_says_what_mutation_may_cost(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, "http://127.0.0.1:9/v1")
    words = ("evolve", "--quick", "-r", "scripted", "--dry-run", "--json")
    model = ("-m", "openai/test", "--set", "prices=openai/test=2/4")
    plan = metaloop(*words, *model).json
    assert (
        plan["mutation_calls"] == 24 and plan["models"] == "openai/test" and "at most 24 calls" in plan["new_programs"]
    )
    assert plan["mutation_usd"] == pytest.approx(24 * 2 * (90_000 + 2 * 8192) / 1e6)
    assert metaloop(*words, *model, "--max-usd", "0.5").json["mutation_usd"] == 0.5
    told = metaloop(*words).stdout
    assert "no model is called" in told and "mutation" not in told


def test_an_instruction_needs_a_model_to_follow_it(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("# Mine\n\n- Be bold.\n")
    words = ("evolve", "--quick", "--dry-run", "--set")
    assert "-m NAME" in metaloop(*words, f"meta_program={tmp_path}/own.md", code=2).stderr
    metaloop(*words, f"meta_program={tmp_path}/none.md", code=2)
