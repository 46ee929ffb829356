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
from meta.cli.output import Output
from meta.cli.screen import header, screen
from meta.cli.standings import show_standings
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
        (("-m", "openai/x", "--max-usd", "1"), "no price is known for openai/x"),
        (("-m", "gtp-4o-mini"), "no provider is known"), (("-m", "nobody-knows"), "no provider is known"),
        (("-m", "openai/x", "--set", "prices=x=1/2"), "--set prices=x: no model of that name"),
        (("-r", "chat"), "needs a model"), (("-r", "oracle"), "no researcher 'oracle'"),
        *((("-m", "openai/x", "--set", f"prices=openai/x={bad}"), "not a price") for bad in ("1", "1/2/3/4", "1/2/-3")),
    ):  # fmt: skip
        code, error = refused(*flags)
        assert code == 2 and told in error["message"], flags
        assert refused(*flags, "--dry-run") == (code, error)
        assert ("did you mean gpt-4o-mini" in error["hint"]) == ("gtp-4o-mini" in flags)
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
    limits = {"reply_tokens": 8192, "call_timeout_s": 300.0, "patience_s": 900.0, "calls_at_once": 8}
    assert limits.items() <= planned(*model).items()
    asked = {"reply_tokens": 900, "call_timeout_s": 40.0, "patience_s": 3600.0, "calls_at_once": 3, "max_wall_s": 1200}
    assert asked.items() <= planned(*model, *LIMITS, "--set", "max_wall=20m").items()
    assert planned(*model, *LIMITS, "-r", "scripted")["patience_s"] == 3600.0  # for whoever writes programs
    monkeypatch.setenv("METALOOP_SET", " ".join([*LIMITS[1::2], "max_wall=20m"]))
    assert asked.items() <= planned(*model).items()


def test_limits_are_kept_by_the_study(here: Path, server: LlmServer) -> None:
    made = ["match", "stock", *ALONE, "-t", "task", "-m", "openai/test", "-s", "s", *LIMITS, "--set", "max_wall=20m"]
    metaloop(*made)
    staff = StudyConfig.read(here / "s" / "study.toml").llm
    limits = (staff.reply_tokens, staff.call_timeout, staff.patience, staff.calls_at_once, staff.max_wall)
    assert limits == (900, 40.0, 3600.0, 3, 1200.0)
    assert all(body["max_tokens"] == 900 for body in server.seen[1:])


def test_a_study_stores_the_context_size_that_it_is_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalServer("llama.cpp", 4096) as server:
        environment(monkeypatch, server.url)
        made = ["match", "stock", *ALONE, "-t", "task", "-m", "openai/test"]
        assert "context_tokens unknown" in " ".join(metaloop(*made, "-s", "s", "--dry-run").stdout.split())
        metaloop(*made, "-s", "s", "--set", "context_tokens=4096")
        staff = StudyConfig.read(here / "s" / "study.toml").llm
        assert (staff.context_tokens, staff.reply_tokens) == (4096, 819)
        assert all(body["max_tokens"] == 819 for body in server.seen[1:])
        metaloop("resume", "s")
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


def test_spend_is_shown_at_80_columns_where_a_model_took_part(
    here: Path, server: LlmServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ("-t", "task", "--set", "fixed_steps=true", "--no-controls", "-n", "1", "-j", "1", "--seed", "1")
    with_model = ("match", "stock", "one-line", *task, "-m", "openai/test")
    monkeypatch.setenv("COLUMNS", "80")
    logged = [line for line in metaloop(*with_model, "-s", "m").stderr.splitlines() if line.startswith("run ")]
    assert len(logged) == 2 and all("tokens, not priced, device used" in line for line in logged)
    said = metaloop(*with_model, "-s", "p", "--set", "prices=openai/test=1/2").stderr
    assert all("tokens, $0.0" in line for line in said.splitlines() if line.startswith("run "))
    metaloop("match", "stock", "one-line", *task, "-s", "none")
    pages = {}
    for study in ("m", "p", "none"):  # what standings and status show to a person
        capsys.readouterr()
        show_standings(Output(person=True), here / study, every=True)
        status = StudyStatus(LiveStudy.read(here / study), at_work=False, with_arms=True)
        Output(person=True).show(screen(status, study))
        pages[study] = capsys.readouterr().out
    assert all(len(line) <= 80 for page in pages.values() for line in page.splitlines())
    assert pages["m"].count("not priced") == 3 and "$" not in pages["m"]
    assert "not priced" not in pages["p"] and pages["p"].count("$0.0") == 3
    for study in ("m", "p"):
        (made,) = query(here / study, "SELECT count(*) AS calls FROM calls")
        assert made["calls"] >= 14 and "device used" in pages[study] and f"models {made['calls']} calls" in pages[study]
    assert not any(word in pages["none"] for word in ("token", "priced", "$", "device used", "models", "used "))
    status = metaloop("status", "m", "--json").json  # as scripts are told
    (calls,) = query(here / "m", "SELECT count(*) AS calls, sum(tokens)::BIGINT AS tokens FROM calls")
    assert calls.items() <= status.items() and status["usd"] is None
    assert 0 < status["utilization"] < 1 and 0.5 < status["token_utilization"] <= 1.0
    assert sum(arm["tokens"] for arm in status["arms"]) == calls["tokens"]
    without = metaloop("status", "none", "--json").json
    assert not {"calls", "tokens", "usd", "utilization"} & without.keys()
    plain = [metaloop("standings", study).stdout.splitlines() for study in ("m", "none")]
    tables = [[line.split("\t") for line in lines if line.count("\t") > 3] for lines in plain]
    spent, none = ([dict(zip(table[0], cells, strict=True)) for cells in table[1:]] for table in tables)
    assert sum(int(row["tokens"]) for row in spent) == calls["tokens"]
    assert {row["price"] for row in spent} == {"not priced"} and {row["tokens"] for row in none} == {""}


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
    amounts = [table_cells.usd(amount) for amount in (None, 0.0, 0.001, 0.25)]
    assert amounts == ["not priced", "$0.00", "<$0.01", "$0.25"]
    assert [wording.share(part) for part in (None, 0.0, 0.001, 0.5)] == ["–", "0%", "<1%", "50%"]
