"""The server of `tests.llm.server` with two more protocols, Anthropic messages and OpenAI responses, and odd manners.

``heard`` holds the headers of each request. Faults beside those of the chat protocol: ``redirect``, ``echo`` (the key
is told back), ``silent`` (no usage is told), ``slow`` (a stream that waits for ``release`` before its second half).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from tests.llm import server as chat
from tests.llm.server import Body, LlmServer, ToolCall, call_id, tokens_of


class _Handler(chat._ChatHandler):
    def do_GET(self) -> None:
        self._note()
        super().do_GET()

    def do_POST(self) -> None:
        self._note()
        kind = self.path.partition("?")[0]
        if not kind.endswith(("/messages", "/responses", "/count_tokens")):
            super().do_POST()
            return
        llm, body = self.server.llm, self.body()
        if kind.endswith("/count_tokens"):
            self._json(200, {"input_tokens": tokens_of(json.dumps(body))})
            return
        fault = llm.take(body, self.headers.get("x-api-key") or self.headers.get("Authorization", ""))
        if fault in ("429", "500", "503", "401", "400", "hang", "malformed"):
            self._reply(llm, body, fault)
            return
        text = llm.answer(body)
        usage = {"in": tokens_of(json.dumps(body)), "out": tokens_of(text)}
        llm.bill({"prompt_tokens": usage["in"], "completion_tokens": usage["out"]})
        form = _message if kind.endswith("/messages") else _response
        whole, events = form(body, text, usage, 0 if fault == "silent" else llm.cached, silent=fault == "silent")
        if body.get("stream"):
            self._events(list(events), fault)
        else:
            self._send(200, json.dumps(whole).encode(), "json", cut=fault == "drop")

    def _reply(self, llm: LlmServer, body: Body, kind: str | None) -> None:
        if kind == "redirect":
            self.send_response(307)
            self.send_header("Location", f"{llm.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif kind == "echo":
            said = self.headers.get("Authorization") or self.headers.get("x-api-key")
            self._json(400, {"error": {"message": f"what is {said}?", "type": "error"}})
        elif kind in ("silent", "slow", "drop") and body.get("stream"):
            text = llm.answer(body)
            usage = self._usage(body, text)
            llm.bill(usage)
            told = [c for c in chat._chunks(body, text, "stop", usage) if kind != "silent" or "usage" not in c]
            self._events([("", chunk) for chunk in told], kind)
        else:
            super()._reply(llm, body, None if kind == "slow" else kind)

    def _events(self, events: list[tuple[str, Body]], fault: str | None) -> None:
        self.begin_events()
        half = len(events) // 2
        for at, (name, event) in enumerate(events[:half] if fault == "drop" else events):
            if fault == "slow" and at == half:
                self.server.llm.release.wait(30)
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {json.dumps(event)}\n\n".encode())
        if not events[0][0] and fault != "drop":
            self.wfile.write(b"data: [DONE]\n\n")

    def _note(self) -> None:
        llm: ApiServer = self.server.llm
        with llm.lock:
            llm.heard.append({name.lower(): value for name, value in self.headers.items()})
            llm.paths.append(f"{self.command} {self.path}")


class ApiServer(LlmServer):
    """``cached``: tokens of each prompt that Anthropic's protocol says were read from a cache."""

    handler = _Handler

    def __init__(self, *args: Any, cached: int = 0, **how: Any) -> None:
        super().__init__(*args, **how)
        self.cached = cached
        self.heard: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.release = threading.Event()


def _id(kind: str, body: Body) -> str:
    """Agents take replies of one id for one message."""
    return f"{kind}_{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:16]}"


Events = Iterator[tuple[str, Body]]


def _message(body: Body, text: str, usage: dict[str, int], cached: int, *, silent: bool) -> tuple[Body, Events]:
    """Anthropic's: https://docs.anthropic.com/en/docs/build-with-claude/streaming"""
    asked = {"input_tokens": usage["in"] - cached, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0}
    about = {"id": _id("msg", body), "type": "message", "role": "assistant"}
    head = about | {"model": body["model"], "stop_sequence": None}
    told = {} if silent else {"usage": asked | {"output_tokens": usage["out"]}}
    call = {"type": "tool_use", "id": call_id(text), "name": text.name} if isinstance(text, ToolCall) else None
    content = call | {"input": json.loads(text)} if call else {"type": "text", "text": text}
    why = "tool_use" if call else "end_turn"
    whole = head | {"content": [content], "stop_reason": why} | told

    def events() -> Events:
        started = {} if silent else {"usage": asked | {"output_tokens": 1}}
        message = head | {"content": [], "stop_reason": None} | started
        yield "message_start", {"type": "message_start", "message": message}
        block: Body = call | {"input": {}} if call else {"type": "text", "text": ""}
        yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
        for start in range(0, len(text), 20):
            piece = text[start : start + 20]
            delta = {"partial_json": piece} if call else {"text": piece}
            delta["type"] = "input_json_delta" if call else "text_delta"
            yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": 0}
        ended = {} if silent else {"usage": {"output_tokens": usage["out"]}}
        yield "message_delta", {"type": "message_delta", "delta": {"stop_reason": why}} | ended
        yield "message_stop", {"type": "message_stop"}

    return whole, events()


def _response(body: Body, text: str, usage: dict[str, int], _cached: int, *, silent: bool) -> tuple[Body, Events]:
    """OpenAI's: https://platform.openai.com/docs/api-reference/responses-streaming"""
    told = {
        "input_tokens": usage["in"], "output_tokens": usage["out"], "total_tokens": usage["in"] + usage["out"],
        "input_tokens_details": {"cached_tokens": 0},
    }  # fmt: skip
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item: Body = {"id": _id("msg", body), "type": "message", "role": "assistant"}
    item |= {"status": "completed", "content": content}
    empty: Body = {"content": []}
    if isinstance(text, ToolCall):
        item = {"id": _id("fc", body), "type": "function_call", "status": "completed", "call_id": call_id(text)}
        item |= {"name": text.name, "arguments": str(text)}
        empty = {"arguments": ""}
    head = {"id": _id("resp", body), "object": "response", "model": body["model"]}
    whole = head | {"status": "completed", "output": [item], "usage": None if silent else told}

    def events() -> Events:
        yield "response.created", {"type": "response.created", "response": head | {"status": "in_progress"}}
        at = {"output_index": 0, "content_index": 0}
        begun = item | {"status": "in_progress"} | empty
        yield "response.output_item.added", {"type": "response.output_item.added", "item": begun} | at
        for start in range(0, len(text), 20):
            kind = f"response.{'output_text' if 'content' in item else 'function_call_arguments'}.delta"
            yield kind, {"type": kind, "item_id": item["id"], "delta": text[start : start + 20]} | at
        yield "response.output_item.done", {"type": "response.output_item.done", "item": item} | at
        yield "response.completed", {"type": "response.completed", "response": whole}

    return whole, events()
