"""What is wrong with a tool's server, login or flags is one line."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from analysis.trackers import TRACKERS, TrackedStudy
from meta.cli.main import run
from tests.serving import serving
from trainer.laws.planted import random_law, simulated_task


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Where nobody listens, nor can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.mark.parametrize(
    ("tool", "names", "code", "said"),
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://me:pw@127.0.0.1:CLOSED"}, 1, "no server answers at"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "htp://127.0.0.1"}, 2, "use http://HOST:PORT or sqlite:///FILE"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "foo"}, 2, "is not an address; use"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "file:///tmp/none"}, 2, "is not an address; use"),
        ("mlflow", {"DATABRICKS_CONFIG_FILE": "/none", "MLFLOW_TRACKING_URI": "databricks"}, 4, "no credentials"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:no"}, 2, "is not an address"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "127.0.0.1:CLOSED"}, 2, "http:// is missing"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "sqlite:////nowhere/a.db"}, 2, "there is no folder /nowhere"),
        ("wandb", {"WANDB_MODE": "online", "WANDB_BASE_URL": "http://127.0.0.1:CLOSED"}, 1, "no server answers at"),
        ("wandb", {"WANDB_MODE": "online", "WANDB_BASE_URL": "127.0.0.1:CLOSED"}, 2, "http:// is missing"),
        ("wandb", {"WANDB_MODE": "disabled"}, 2, "neither offline nor online"),
    ],
)
def test_what_is_wrong_with_a_server_is_one_line(
    tool: str,
    names: dict[str, str],
    code: int,
    said: str,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in names.items():
        monkeypatch.setenv(name, value.replace("CLOSED", str(closed_port)))
    if tool == "wandb":
        pytest.importorskip("wandb").teardown()  # settings are read once
    pytest.importorskip(tool)  # takes as long as the machine needs
    began = time.monotonic()
    assert run(["export", "studies/none-yet", "--to", tool, "-o", "/tmp/none"]) == code
    told = capsys.readouterr().err
    assert said in told and f"{list(names)[-1]}=" in told and "unexpected" not in told and "pw" not in told
    assert time.monotonic() - began < 200


def test_wandb_without_a_login_is_a_missing_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("analysis.trackers.wandb.require_answer", lambda address, variable: None)
    for name, value in (("HOME", str(tmp_path)), ("NETRC", str(tmp_path / "netrc")), ("WANDB_MODE", "online")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    pytest.importorskip("wandb").teardown()
    assert run(["export", "studies/none-yet", "--to", "wandb"]) == 4
    assert "no login for W&B at http" in capsys.readouterr().err


class Answers(BaseHTTPRequestHandler):
    """An MLflow server that has the experiment 7; below /wrong another server; a silent one after /lost was asked."""

    lost = False

    def do_GET(self) -> None:
        if Answers.lost or "/lost/api" in self.path:
            Answers.lost = True
            self.connection.close()
            return
        known = {"experiment": {"experiment_id": "7", "name": "a", "lifecycle_stage": "active"}}
        made = known if "get-by-name" in self.path else {"experiment_id": "7"} if "create" in self.path else {}
        body = json.dumps(made).encode()
        self.send_response(404 if "/wrong" in self.path else 200)
        self.send_header("Content-Type", "text/html" if "/wrong" in self.path else "application/json")
        self.end_headers()
        self.wfile.write(b"<html>\nno such page" if "/wrong" in self.path else body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Answers.lost = False
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Answers)) as address:
        yield f"http://{address}"


def test_the_last_line_links_to_the_experiment(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker = TRACKERS.get("mlflow")(tmp_path)
    tracker.begin("a", TrackedStudy("a", "0123456789ab", (), "", {}))
    assert tracker.where == f"open {server}/#/experiments/7"


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [("/wrong", 2, "answers, but not as this tool's server"), ("/lost", 1, "the server no longer answers")],
)
def test_another_server_and_a_lost_one_are_told_apart(
    server: str,
    path: str,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server + path)
    task = simulated_task(random_law(2), tmp_path / "law", experiments=2)
    words = ["match", "stock", "idea-queue", "-t", str(task), "-s", str(tmp_path / "s"), "-n", "1", "--yes", "-q"]
    assert run(words) == 0
    assert run(["export", str(tmp_path / "s"), "--to", "mlflow"]) == code
    shown = capsys.readouterr().err
    assert said in shown and "<html>" not in shown
