"""A hostile host's replies at the user's terminal: no escape sequence, no mark of direction reaches it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from meta.cli.main import run
from meta.cli.output import json_line
from tests.meta import cli_study
from tests.meta.cli_study import experiment, metaloop, write_study
from tests.serving import serving
from tests.studies import drawn_law

EVIL = "\x1b]0;owned\x07 \x1b[2Jcleared \x9b31m \u202egnp.exe\u2066 \u200b\r\x08over \udc80 end"
STRANGE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
BODIES = {
    "error": (400, {"error": {"message": EVIL, "hint": EVIL}}),
    "error of the host": (503, EVIL),
    "not found": (404, {"error": {"message": EVIL, "hint": EVIL}}),
    "unauthorized": (401, {"error": {"message": EVIL, "hint": EVIL}}),
    "answer": (200, {"title": EVIL, "phase": EVIL, "name": EVIL, "token": EVIL, "project": EVIL, "key": EVIL}),
}


class _Hostile(BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=sorted(set(BODIES) - {"error of the host"}))
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a host that gives this answer to everything."""
    status, body = BODIES[request.param]
    handler = type("Hostile", (_Hostile,), {"status": status, "body": json.dumps(body).encode()})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield f"http://{address}"


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(
    "words",
    [["contest", "status", "--to"], ["contest", "join", "--name", "Ann", "--to"], ["home", "join"]],
    ids=["status", "join", "home"],
)
def test_a_hosts_words_have_no_power_over_a_terminal(
    host: str, words: list[str], more: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:  # fmt: skip
    monkeypatch.chdir(str(tmp_path))
    run([*words, host, *more])
    seen = "".join(capfd.readouterr())
    assert seen and not STRANGE.search(seen), ascii(seen)


def test_json_for_a_script_keeps_its_values() -> None:
    assert json.loads(json_line({"said": EVIL, "é": "日本語 🎉"})) == {"said": EVIL, "é": "日本語 🎉"}
    assert json_line({"é": "日本語 🎉"}) == '{"é": "日本語 🎉"}' and not STRANGE.search(json_line(EVIL))


def test_idea_with_escapes_leaves_none_in_table_and_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn_law(tmp_path / "law", 7)
    ideas = "".join(f"- Set `{edit}` {EVIL[:-8]}.\n" for edit in ("LADDER1=0.5", "LADDER2=5", "LADDER4=10"))
    text = f"---\nmetaloop: {{proposers: {{queue: 1}}}}\n---\n# A\n\n## Ideas\n\n{ideas}"
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    metaloop("match", "a.md", "-t", "law", "-n", "1", "--no-controls", "-b", "0.4s", "-y")
    tables = [*tmp_path.glob("studies/*/runs/*/results.tsv")]
    subjects = [
        subprocess.run(["git", "log", "--all", "--format=%B"], cwd=path.parent, capture_output=True, check=True).stdout
        for path in tables
    ]
    texts = [path.read_text() for path in tables] + [each.decode() for each in subjects]
    assert tables and "gnp.exe" in "".join(texts) and not any(STRANGE.search(text) for text in texts)


@pytest.mark.parametrize("to", ["tsv", "csv", "jsonl"])
def test_export_to_stdout_of_foreign_text_has_no_escapes(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(*args: object, **fields: object) -> None:
        experiment(*args, **fields | {"description": "\x9b31m\u202e\x1b]0;pwn\x07"})  # type: ignore[arg-type]

    monkeypatch.setattr(cli_study, "experiment", foreign)
    study = write_study(tmp_path / "study")
    for view in ("experiments", "edits", "events", "programs"):
        shown = metaloop("export", study, "--view", view, "--to", to).stdout
        assert shown and not STRANGE.search(shown), (view, ascii(STRANGE.findall(shown)))
    if to == "jsonl":
        lines = metaloop("export", study, "--view", "experiments", "--to", to).stdout.splitlines()
        rows = [json.loads(line) for line in lines]
        assert any("\x9b31m\u202e" in row["description"] for row in rows)
