"""What holds of every command: a mistake is one line and a hint, its JSON is one document, no key is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.cli.errors import KINDS
from meta.cli.main import run
from meta.cli.reference import commands

LEAVES = [path[1:] for path, command in commands() if len(path) > 1 and not hasattr(command, "commands")]
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "METALOOP_API_KEY", "WANDB_API_KEY", "METALOOP_TOKEN")
CANARY = "canary-4711"
#: Words that no command accepts.
MISTAKES = (("--no-such-option",), ("--set", "no-such-setting=1"), ("-s", "\x1b[2J\n", "a", "b", "c", "d", "e", "f"))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.setenv(name, CANARY)


@pytest.mark.parametrize("mistake", MISTAKES, ids=["option", "setting", "words"])
@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_command_with_a_mistake_prints_one_line_and_a_hint(
    words: tuple[str, ...], mistake: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run([*words, *mistake]) == 2
    plain = capsys.readouterr()
    lines = plain.err.rstrip().split("\n")
    assert plain.out == "" and len(lines) <= 3 and max(map(len, lines)) < 400 and "\x1b" not in plain.err
    assert lines[0].startswith("error: ") and lines[-1].startswith("hint: ")
    assert run([*words, *mistake, "--json"]) == 2
    printed = capsys.readouterr()
    error = json.loads(printed.err)["error"]
    assert printed.out == "" and error["kind"] in KINDS and error["message"] and error["hint"]
    assert CANARY not in plain.err + printed.err and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_of_a_command_contains_no_key(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--help"]) == 0
    assert CANARY not in "".join(capsys.readouterr())
