"""The test server as a server of local models: a small context, enforced as by llama.cpp, Ollama, vLLM."""

from __future__ import annotations

from typing import Any

from tests.llm import researcher, writer
from tests.llm import server as chat
from tests.llm.server import Body, LlmServer, tokens_of

KINDS = ("llama.cpp", "llama.cpp-2024", "ollama", "vllm", "llama-cpp-python")


def answer(body: Body) -> str:
    """As the researcher or as the writer of programs, whichever is addressed."""
    return writer.answer(body) if "# What to do" in researcher.prompt_of(body) else researcher.answer(body)


class _Handler(chat._ChatHandler):
    def _reply(self, llm: LlmServer, body: Body, kind: str | None) -> None:
        assert isinstance(llm, LocalServer)
        asked = sum(tokens_of(chat._text(message)) + 4 for message in body["messages"])
        reply = int(body.get("max_tokens") or 0) if llm.kind == "vllm" else 0
        if asked + reply <= llm.context - (llm.kind != "vllm"):
            super()._reply(llm, body, kind)
            return
        llm.refused.append(body)
        status, error = _refusal(llm.kind, asked, reply, llm.context)
        self._json(status, {"error": error})


class LocalServer(LlmServer):
    """``context``: tokens of a prompt and its reply together; ``refused``: the prompts that were too long."""

    handler = _Handler

    def __init__(self, kind: str = "llama.cpp", context: int = 4096, **how: Any) -> None:
        super().__init__(how.pop("answer", answer), **how)
        assert kind in KINDS
        self.kind, self.context = kind, context
        self.refused: list[Body] = []


def _refusal(kind: str, asked: int, reply: int, size: int) -> tuple[int, Body]:
    """The status and the error of a prompt that is too long, as these servers send them."""
    if kind == "llama.cpp":
        message = f"request ({asked} tokens) exceeds the available context size ({size} tokens), try increasing it"
        counts = {"n_prompt_tokens": asked, "n_ctx": size}
        return 400, {"code": 400, "message": message, "type": "exceed_context_size_error"} | counts
    if kind == "llama.cpp-2024":
        message = "the request exceeds the available context size. "
        message += "try increasing the context size or enable context shift"
        return 500, {"code": 500, "message": message, "type": "server_error"}
    if kind == "ollama":
        message = "the input length exceeds the context length"
        return 400, {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    if kind == "vllm":
        parts = f"{asked + reply} tokens ({asked} in the messages, {reply} in the completion)"
        message = f"This model's maximum context length is {size} tokens. However, you requested {parts}."
        return 400, {"message": message, "type": "BadRequestError", "param": None, "code": 400}
    message = f"Requested tokens ({asked}) exceed context window of {size}"
    return 400, {"message": message, "type": "invalid_request_error", "code": "context_length_exceeded"}
