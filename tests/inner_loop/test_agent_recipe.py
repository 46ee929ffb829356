"""Recipes of coding agents: what is started, with which variables and files, and what it may read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inner_loop.agents import recipe as agent_recipe
from inner_loop.run_context import ModelConfig
from programs.common.errors import UsageError

PROMPT = "Read program.md; {model} in a prompt is text"


@pytest.mark.parametrize("name", ["claude", "codex", "mini-swe-agent", "opencode"])
def test_recipe_names_its_source_and_fills_in_its_own(name: str) -> None:
    assert name in agent_recipe.names() and len(agent_recipe.names()) == 4
    text = (agent_recipe.RECIPES / f"{name}.toml").read_text()
    assert text.startswith("#") and "https://" in text.split("command =")[0]
    recipe = agent_recipe.load(name)
    words = recipe.words(PROMPT, "some/model")
    assert words[0] == recipe.command[0] == recipe.by_hand[0] and "{prompt}" in recipe.by_hand and recipe.install
    assert "some/model" in words and "some/model" not in recipe.words(PROMPT, "")
    assert words.count(PROMPT) == (not recipe.takes_stdin)
    assert not any("{" in word for word in words if word != PROMPT)


def test_line_for_a_user_is_of_an_agent_that_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    prompt, line = "Read a b.md and follow it", agent_recipe.own_agent
    assert line(prompt) == f"claude '{prompt}'" and line(prompt, "codex", "mine {prompt}") == f"codex '{prompt}'"
    (tmp_path / "opencode").write_text("#!/bin/sh\n")
    (tmp_path / "opencode").chmod(0o755)
    assert line(prompt, "scripted") == f"opencode --prompt '{prompt}'"
    assert line(prompt, "command", "mine -p {prompt}") == f"mine -p '{prompt}'"
    assert line(prompt, "command", "mine") == f"echo '{prompt}' | mine"


def test_staff_adds_to_a_recipe_and_a_command_takes_its_place() -> None:
    staff = ModelConfig(agent_env=("MY_KEY",), agent_home=(".x/y=~/z",), agent_readable=("/opt/x",))
    recipe = agent_recipe.recipe_for("codex", staff)
    assert "MY_KEY" in recipe.environment and recipe.home[".x/y"] == "~/z"
    assert recipe.command[0] == "codex" and ".codex/auth.json" not in recipe.home
    own = agent_recipe.recipe_for("", ModelConfig(agent="my-agent --do '{prompt}' --use={model}"))
    assert own.words("a {model}", "m") == ["my-agent", "--do", "a {model}", "--use=m"] and not own.takes_stdin
    assert agent_recipe.recipe_for("codex", ModelConfig(agent="codex exec -")).environment == recipe.environment[:-1]


def test_named_variables_alone_are_handed_on_and_values_refused() -> None:
    recipe = agent_recipe.recipe_for("claude", ModelConfig(agent_env=("MY_KEY",)))
    ours = {"MY_KEY": "k", "ANTHROPIC_API_KEY": "a", "OTHER_SECRET": "no", "CLAUDE_CODE_OAUTH_TOKEN": ""}
    given = recipe.passed_variables(ours)
    assert given == {**recipe.set, "MY_KEY": "k"}  # the key of a model stays with the gateway
    direct = agent_recipe.recipe_for("claude", ModelConfig(agent_env=("MY_KEY",), agent_direct=True))
    assert direct.passed_variables(ours) == {**recipe.set, "MY_KEY": "k", "ANTHROPIC_API_KEY": "a"}
    assert ".claude/.credentials.json" in direct.home and not recipe.home
    with pytest.raises(UsageError, match="MY_KEY: a name, not a value") as error:
        agent_recipe.recipe_for("claude", ModelConfig(agent_env=("MY_KEY=sk-4711",)))
    assert "4711" not in error.value.message
    with pytest.raises(UsageError, match="agent_home"):
        agent_recipe.recipe_for("claude", ModelConfig(agent_home=("nothing",)))


def executable(path: Path, first: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{first}\n")
    path.chmod(0o755)
    return path


def test_installation_is_shown_as_a_whole_and_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """npm's packages for one of them, a virtual environment with its Python for a script in one, else the file."""

    def found(recipe: agent_recipe.Recipe) -> tuple[Path, list[Path]]:
        return agent_recipe.find(recipe)

    prefix, home = tmp_path / "node", tmp_path / "home"
    cli = executable(prefix / "lib/node_modules/@acme/claude/cli.js", "/usr/bin/env node")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "claude").symlink_to(cli)
    monkeypatch.setenv("PATH", str(prefix / "bin"))
    assert found(agent_recipe.load("claude")) == (cli, [prefix / "lib/node_modules", prefix / "bin"])
    assert agent_recipe.find(agent_recipe.load("claude"), sandboxed=False)[0] == prefix / "bin" / "claude"

    mini = executable(home / "tools/mini/bin/mini", sys.executable)
    (home / "tools/mini/pyvenv.cfg").write_text(f"home = {tmp_path}/python/3.11/bin\n")
    (home / "mini").symlink_to(mini)
    single = executable(home / "single", sys.executable)
    monkeypatch.setenv("PATH", str(home))
    assert found(agent_recipe.load("mini-swe-agent"))[1] == [home / "tools/mini", tmp_path / "python" / "3.11"]
    python = agent_recipe.located(Path(sys.executable))[1]
    assert found(agent_recipe.recipe_for("", ModelConfig(agent="single"))) == (single, [single, *python])
    assert found(agent_recipe.recipe_for("", ModelConfig(agent="/usr/bin/env x"))) == (Path("/usr/bin/env"), [])


def test_python_is_shown_with_packages_and_agents_run_nothing(tmp_path: Path) -> None:
    python, linked = tmp_path / "python" / "bin" / "python3.11", tmp_path / "venv" / "bin" / "python"
    for path in (python, linked):
        path.parent.mkdir(parents=True)
    python.write_bytes(b"ELF")
    linked.symlink_to(python)
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    both = [tmp_path / "venv", tmp_path / "python"]
    shim, script = tmp_path / "python3", executable(tmp_path / "agent", f"{linked} -B")
    shim.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    expected = {linked: (linked, both), python: (python, both[1:]), shim: (Path(sys.executable), [])}
    expected[script] = script, [script, *both]
    assert {path: agent_recipe.located(path) for path in expected} == expected
    assert not (tmp_path / "executed").exists()


def test_a_word_is_a_script_unless_the_worktree_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    (worktree / "train.py").touch()
    for name in ("agent.py", "train.py", "run"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "agent.py"
    for word in ("agent.py", "./agent.py", "~/agent.py", str(script)):
        assert agent_recipe.script_of(word, worktree) == script
    for word in ("train.py", "run", "none.py", "--yes", "."):
        assert agent_recipe.script_of(word, worktree) is None
