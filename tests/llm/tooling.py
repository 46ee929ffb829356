"""Tool calls for the test server, and a writer that searches the traces before it writes.

An answer that is a list of (name, arguments) becomes a reply that calls these tools; a text becomes what it always was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, cast

from tests.llm import researcher, writer
from tests.llm.server import Answer, Body, LlmServer, _Handler, _head

Calls = Sequence[tuple[str, dict[str, Any] | str]]
_FILE = re.compile(r"^(runs/\S+\.txt): ", re.MULTILINE)


class ToolServer(LlmServer):
    """A server whose answers may be tool calls. ``tooled`` counts the requests that offered tools."""

    def __init__(self, answer: Any = None, **how: Any) -> None:
        super().__init__(cast("Answer", answer or searcher), **how)
        self._http.RequestHandlerClass = _Calling

    @property
    def tooled(self) -> int:
        return sum("tools" in body for body in self.seen)


class _Calling(_Handler):
    def _reply(self, llm: LlmServer, body: Body, kind: str | None) -> None:
        said: Any = llm.answer(body) if kind in (None, "truncated", "drop") else ""
        if isinstance(said, str):
            super()._reply(llm, body, kind)
            return
        number = len(body["messages"])
        calls = [
            {"id": f"call_{number}_{n}", "type": "function", "function": {"name": name, "arguments": _text(arguments)}}
            for n, (name, arguments) in enumerate(said)
        ]
        usage = self._usage(body, json.dumps(calls))
        llm.bill(usage)
        choice = {
            "index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls},
            "finish_reason": "tool_calls",
        }  # fmt: skip
        whole = _head(body, "chat.completion") | {"choices": [choice], "usage": usage}
        self._send(200, json.dumps(whole).encode(), "json", cut=kind == "drop")


def _text(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def results(body: Body) -> list[str]:
    """What the tools have answered so far."""
    return [str(message["content"]) for message in body["messages"] if message["role"] == "tool"]


def rounds(body: Body) -> int:
    return sum(message["role"] == "assistant" for message in body["messages"])


def searcher(body: Body) -> Any:
    """Where it has tools: searches what was kept, reads the first run's trace, then writes.

    What it writes follows from the prompt and from what it has found, as a model's would.
    """
    if not body.get("tools") or body.get("tool_choice") == "none":
        return writer.answer(body)
    asked = rounds(body)
    if asked == 0:
        return [("search", {"pattern": r"keep$"}), ("search", {"pattern": "generation"})]
    if asked == 1:
        files = _FILE.findall(researcher.prompt_of(body))
        return [("read", {"path": files[0], "first_line": 2})] if files else writer.answer(body)
    return writer.answer(body)


def everybody(body: Body) -> Any:
    """The writer where programs are written, else the researcher."""
    return (
        searcher(body) if "You write research programs" in researcher.prompt_of(body)[:200] else researcher.answer(body)
    )
