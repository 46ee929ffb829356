"""A real HTTP server that speaks Anthropic's messages protocol, with its prompt cache: what is marked is written once,
and read from then on."""

from __future__ import annotations

from typing import Any

from tests.llm.server import Handler, Served


class _Handler(Handler):
    def do_POST(self) -> None:
        claude, body = self.server.llm, self.body()
        usage = claude.usage(body)
        claude.seen.append(body)
        claude.usages.append(usage)
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}
        said = {"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"}
        self._json(200, head | said | {"usage": usage})


class ClaudeServer(Served):
    """``seen`` holds the requests, ``usages`` what each was told to have taken."""

    handler = _Handler

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self.usages: list[dict[str, int]] = []
        self.cached: set[str] = set()

    @property
    def url(self) -> str:
        return self.root

    def usage(self, body: dict[str, Any]) -> dict[str, int]:
        """Anthropic counts what its cache read and took up beside ``input_tokens``, not within."""
        head = "".join(part["text"] for part in body.get("system", ()) if "cache_control" in part)
        size, known = len(head) // 4, head in self.cached
        self.cached.add(head)
        read, written = (size, 0) if known else (0, size)
        cache = {"cache_read_input_tokens": read, "cache_creation_input_tokens": written}
        return {"input_tokens": 40, "output_tokens": 7} | cache
