"""The test server as a server of local models: a small context, reported and enforced as by llama.cpp, Ollama, vLLM."""

from __future__ import annotations

from typing import Any

from tests.llm import researcher, writer
from tests.llm import server as chat
from tests.llm.server import Body, LlmServer, tokens_of

KINDS = ("llama.cpp", "llama.cpp-2024", "ollama", "ollama-silent", "vllm", "llama-cpp-python")


def answer(body: Body) -> str:
    """As the researcher or as the writer of programs, whichever is addressed."""
    return writer.answer(body) if "# What to do" in researcher.prompt_of(body) else researcher.answer(body)


class LocalServer(LlmServer):
    """``context``: tokens of a prompt and its reply together; ``refused``: the prompts that were too long."""

    def __init__(self, kind: str = "llama.cpp", context: int = 4096, **how: Any) -> None:
        super().__init__(how.pop("answer", answer), **how)
        assert kind in KINDS
        self._http.RequestHandlerClass = _Handler
        self.kind, self.context = kind, context
        self.refused: list[Body] = []


class _Handler(chat._Handler):
    def do_GET(self) -> None:
        llm = self._local
        size = llm.context
        pages: dict[str, Body] = {}
        if llm.kind == "llama.cpp":
            pages["/props"] = {"default_generation_settings": {"id": 0, "n_ctx": size}, "total_slots": 1}
            pages["/v1/models"] = {"data": [{"id": "test", "meta": {"n_ctx_train": 131072}}]}
        elif llm.kind.startswith("ollama"):
            pages["/api/ps"] = {"models": [{"name": "test:latest", "context_length": size}]}
        elif llm.kind == "vllm":
            pages["/v1/models"] = {"data": [{"id": "other", "max_model_len": 9}, {"id": "test", "max_model_len": size}]}
        if self.path in pages:
            self._json(200, pages[self.path])
        else:
            self._error(404, "no such path")

    def _reply(self, llm: LlmServer, body: Body, kind: str | None) -> None:
        local = self._local
        asked = sum(tokens_of(chat._text(message)) + 4 for message in body["messages"])
        reply = int(body.get("max_tokens") or 0) if local.kind == "vllm" else 0
        if asked + reply <= local.context - (local.kind != "vllm") or local.kind == "ollama-silent":
            super()._reply(llm, body, kind)
            return
        local.refused.append(body)
        status, error = _refusal(local.kind, asked, reply, local.context)
        self._json(status, {"error": error})

    def _usage(self, body: Body, text: str) -> dict[str, Any]:
        usage = super()._usage(body, text)
        local = self._local
        if local.kind == "ollama-silent" and usage["prompt_tokens"] > local.context:
            usage["prompt_tokens"] = local.context // 2 + 2  # what Ollama 0.32 reports of a shortened prompt
        return usage

    @property
    def _local(self) -> LocalServer:
        llm = self.server.llm
        assert isinstance(llm, LocalServer)
        return llm


def _refusal(kind: str, asked: int, reply: int, size: int) -> tuple[int, Body]:
    """The status and the error of a prompt that is too long, as these servers send them."""
    if kind == "llama.cpp":
        message = f"request ({asked} tokens) exceeds the available context size ({size} tokens), try increasing it"
        counts = {"n_prompt_tokens": asked, "n_ctx": size}
        return 400, {"code": 400, "message": message, "type": "exceed_context_size_error"} | counts
    if kind == "llama.cpp-2024":
        message = (
            "the request exceeds the available context size. try increasing the context size or enable context shift"
        )
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
