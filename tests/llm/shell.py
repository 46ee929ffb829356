"""A model behind the test servers that works through a list of shell commands, by whatever shell tool its agent has.

The same list goes to codex (Responses), Claude Code (Messages), opencode and mini-swe-agent (either, or chat): the tool
is recognised by its name, its parameters are filled from its schema. A request without such a tool, for a title, gets a
word. What was already called follows from the conversation, so an agent may repeat a request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.llm.server import Body, ToolCall

_NAMES = ("bash", "shell", "shell_command", "exec_command")
_CALLED = ("tool_calls", "function_call", "tool_use")
SECONDS = 600  # that a command may take, where the tool asks


def scripted(commands: Callable[[str], Sequence[str]], end: str = "I am done.") -> Callable[[Body], str]:
    """``commands``: of a conversation, given as text, the list to work through."""

    def answer(body: Body) -> str:
        tool = shell_tool(body)
        if tool is None:
            return "title"
        said = _messages(body)
        script = commands(json.dumps(said))
        done = sum(_calls(message) for message in said)
        return ToolCall.of(tool["name"], _arguments(tool, script[done])) if done < len(script) else end

    return answer


def shell_tool(body: Body) -> dict[str, Any] | None:
    """Name and schema of the tool that runs shell commands."""
    for tool in body.get("tools") or ():
        one = tool.get("function", tool)
        if str(one.get("name", "")).lower() in _NAMES:
            return {"name": one["name"], "schema": one.get("parameters") or one.get("input_schema") or {}}
    return None


def _arguments(tool: dict[str, Any], command: str) -> dict[str, Any]:
    known = tool["schema"].get("properties", {})
    name = "cmd" if "cmd" in known else "command"
    words: Any = ["bash", "-c", command] if known.get(name, {}).get("type") == "array" else command
    given = {name: words}
    if "description" in tool["schema"].get("required", ()):
        given["description"] = "the next step"
    for wait in ("timeout", "timeout_ms", "yield_time_ms"):  # milliseconds
        if wait in known:
            given[wait] = SECONDS * 1000
    return given


def _messages(body: Body) -> list[Body]:
    said = body.get("messages", body.get("input", []))
    return said if isinstance(said, list) else []


def _calls(message: Body) -> int:
    """How many tools a message of the conversation calls."""
    parts = message.get("content")
    within = sum(part.get("type") in _CALLED for part in parts) if isinstance(parts, list) else 0
    return len(message.get("tool_calls") or ()) + (message.get("type") in _CALLED) + within
