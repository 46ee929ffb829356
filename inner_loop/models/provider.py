"""One attempt of one call, through LiteLLM, of a chat model: its answer, or the kind of its fault."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from inner_loop.models.contract import Message
from inner_loop.models.scrub import scrub
from inner_loop.models.tools import NOTHING, Offer, ToolCall

#: Retrying the same model is useless after key, request and context (the prompt does not fit), else useful.
Kind = Literal["rate", "server", "connection", "timeout", "malformed", "empty", "key", "request", "context"]
#: Providers of Claude models, which cache only marked text.
MARKED = ("claude", "anthropic/", "bedrock/", "vertex_ai/", "openrouter/anthropic/")
MOST_TOKENS = 1 << 40  # of one reply, on either side; a report outside this range is ignored
GRACE = 2.0  # seconds for the library's own timeout
MOST_BYTES = 8 << 20  # of a reply; the longest real ones are 20 times smaller
_loading = threading.Lock()
#: What servers write about a prompt that is too long, beyond what LiteLLM recognizes. llama.cpp's older versions send
#: it with status 500.
_TOO_LONG = re.compile(
    r"exceed_context_size|context_length_exceeded|exceeds? (?:the )?(?:available |maximum )?context (?:size|length)"
    r"|exceed context window|maximum context length|prompt is too long|longer than the (?:maximum )?context",
    re.IGNORECASE,
)


class Fault(Exception):
    """A failed attempt. ``billed``: tokens may have been produced without a report. ``retry_after`` in seconds."""

    def __init__(self, kind: Kind, reason: str, *, retry_after: float | None = None, billed: bool = False) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after
        self.billed = billed

    @property
    def passes(self) -> bool:
        return self.kind not in ("key", "request", "context")


@dataclass(frozen=True)
class ProviderReply:
    """A provider's answer; ``usd`` is LiteLLM's figure, None if it knows no price.

    Of ``tokens_in``, ``tokens_cached`` were read from the provider's cache and ``tokens_written`` written to it.
    """

    text: str
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    tokens_written: int
    usd: float | None
    finish: str
    calls: tuple[ToolCall, ...] = ()


def litellm() -> Any:
    """The library, with its own price map, no output on stderr, and no traffic except the calls."""
    with _loading:
        return _litellm()


@cache
def _litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():  # theirs, of their own types
        warnings.simplefilter("ignore")
        import logging

        import litellm

        litellm.ModelResponse()
        litellm.ModelResponse(stream=True)
        with suppress(ImportError):  # else imported by the first call, while it is timed
            import openai.resources  # noqa: F401
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = True
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "httpx", "openai"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # they quote what a server sent
    return litellm


def ask(
    model: str, messages: Sequence[Message], *, max_tokens: int, timeout: float, offer: Offer = NOTHING
) -> ProviderReply:
    """Call once. Raises Fault for any failure of a provider. ``timeout`` in seconds."""
    return _within(timeout, lambda: _complete(model, messages, max_tokens, timeout, offer))


def _within(timeout: float, work: Callable[[], ProviderReply]) -> ProviderReply:
    """The library's own timeout is per read: a server that sends a byte now and then would block the call for ever.
    Such a call is left behind in its thread."""
    results: list[ProviderReply | Exception] = []

    def attempt() -> None:
        try:
            results.append(work())
        except Exception as error:  # for the caller's thread
            results.append(error)

    litellm()
    thread = threading.Thread(target=attempt, name="model-call", daemon=True)
    thread.start()
    thread.join(timeout + GRACE)
    if not results:
        raise Fault("timeout", f"the reply was not complete after {timeout:.0f} s", billed=True)
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def _complete(model: str, messages: Sequence[Message], max_tokens: int, timeout: float, offer: Offer) -> ProviderReply:
    library = litellm()
    _unlogged()
    try:
        response = library.completion(
            model=model,
            messages=_sent(model, messages),
            max_tokens=max_tokens,
            timeout=timeout,
            num_retries=0,
            max_retries=0,
            **_tools(offer),
        )
    except Exception as error:  # boundary to a library whose providers raise any exception
        raise _fault(error) from None
    return _answer(response, messages)


def _cost_of(response: Any) -> float | None:
    """LiteLLM's figure; None where it knows no price."""
    usd = (getattr(response, "_hidden_params", None) or {}).get("response_cost")
    return float(usd) if usd else None


def _unlogged() -> None:
    """Disable LiteLLM's logging in this thread: it passes each reply to threads of its own (a quarter of a call's
    cost here), and the ledger is our log. A version without this switch keeps logging."""
    with suppress(ImportError, AttributeError):
        from litellm._internal_context import is_internal_call

        is_internal_call.set(True)


def marked(model: str) -> bool:
    """Whether its provider caches only marked text."""
    return "claude" in model and model.startswith(MARKED)


def _sent(model: str, messages: Sequence[Message]) -> list[dict[str, JsonValue]]:
    """Messages as LiteLLM takes them. If the provider caches only marked text, the first message is marked."""
    sent = [_message(message) for message in messages]
    if sent and marked(model):
        sent[0]["content"] = [{"type": "text", "text": sent[0]["content"], "cache_control": {"type": "ephemeral"}}]
    return sent


def _tools(offer: Offer) -> dict[str, JsonValue]:
    """With tools, LiteLLM looks for MCP servers through a package that it does not install; we skip that."""
    if not offer.tools:
        return offer.wire
    looks = Path(litellm().__file__).parent / "responses" / "mcp" / "chat_completions_handler.py"
    return {**offer.wire, **({"_skip_mcp_handler": True} if looks.is_file() else {})}


def _message(message: Message) -> dict[str, JsonValue]:
    sent: dict[str, JsonValue] = {"role": message.role, "content": message.whole}
    if message.calls:
        sent["tool_calls"] = [call.wire for call in message.calls]
    if message.answers:
        sent["tool_call_id"] = message.answers
    return sent


def _calls(message: Any) -> tuple[ToolCall, ...]:
    """Tool calls of a reply; a call without an id gets one from its position."""
    numbered = enumerate(getattr(message, "tool_calls", None) or ())
    return tuple(
        ToolCall(scrub(str(c.id or f"call-{n}")), scrub(str(c.function.name)), scrub(str(c.function.arguments or "")))
        for n, c in numbered
    )


def _answer(response: Any, messages: Sequence[Message]) -> ProviderReply:
    try:
        choice = response.choices[0]
        text, calls = scrub(choice.message.content or ""), _calls(choice.message)
        finish = str(choice.finish_reason or "stop")
        usage = response.usage
        tokens_in, tokens_out = int(usage.prompt_tokens or 0), int(usage.completion_tokens or 0)
        usd = _cost_of(response)
        if min(tokens_in, tokens_out) < 0 or max(tokens_in, tokens_out) > MOST_TOKENS:
            tokens_in = tokens_out = 0  # treated as no usage; a negative one would refund tokens
        cached, written = _cached(usage, tokens_in)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise Fault("malformed", f"an incomplete reply: {error}", billed=True) from None
    size = sum(len(part.encode()) for part in (text, *(c.name + c.arguments for c in calls)))
    if size > MOST_BYTES:
        raise Fault("malformed", f"a reply of {size} bytes", billed=True)
    if not tokens_in + tokens_out:  # no usage reported: assume four bytes per token
        prompt_bytes = sum(len(m.whole.encode("utf-8", "replace")) for m in messages)
        tokens_in, tokens_out, usd = prompt_bytes // 4 + 1, size // 4 + 1, None
    return ProviderReply(text, tokens_in, tokens_out, cached, written, usd, finish, calls)


def _cached(usage: Any, tokens_in: int) -> tuple[int, int]:
    """Tokens read from and written to the cache, by the fields of OpenAI and Anthropic, at most those of the prompt."""
    details = getattr(usage, "prompt_tokens_details", None)
    read = getattr(details, "cached_tokens", 0) or getattr(usage, "cache_read_input_tokens", 0) or 0
    written = getattr(usage, "cache_creation_input_tokens", 0) or getattr(details, "cache_creation_tokens", 0) or 0
    read = min(max(0, int(read)), tokens_in)
    return read, min(max(0, int(written)), tokens_in - read)


def _fault(error: Exception) -> Fault:
    status = getattr(error, "status_code", None)
    headers = getattr(error, "litellm_response_headers", None)
    reason = scrub(f"{type(error).__name__}: {error}".splitlines()[0])[:300]
    name = type(error).__name__
    if name == "ContextWindowExceededError" or _TOO_LONG.search(str(error)):
        return Fault("context", _provider_words(reason))
    if status == 429:
        return Fault("rate", reason, retry_after=_retry_after(headers))
    if status in (401, 403):
        return Fault("key", reason)
    if name == "Timeout" or status == 408:
        return Fault("timeout", reason, billed=True)
    if status in (400, 404, 413, 422):
        return Fault("request", reason)
    if headers is not None:
        return Fault("server", reason, retry_after=_retry_after(headers))
    if "ConnectError" in _causes(error) or "ConnectTimeout" in _causes(error):
        return Fault("connection", reason)
    return Fault("malformed" if "Connection error" not in reason else "connection", reason, billed=True)


def _provider_words(reason: str) -> str:
    """A provider's message without the names of LiteLLM's exceptions before it."""
    return re.sub(r"^(?:[\w.]*(?:Error|Exception)(?::| -) )+", "", reason)


def _causes(error: BaseException) -> set[str]:
    """Names of the exceptions behind an exception."""
    names: set[str] = set()
    at: BaseException | None = error
    for _ in range(20):
        if at is None:
            break
        names.add(type(at).__name__)
        at = at.__cause__ or at.__context__
    return names


def _retry_after(headers: Any) -> float | None:
    """Seconds; dates, which few providers send, are ignored."""
    try:
        return max(0.0, float(headers.get("retry-after")))
    except (AttributeError, TypeError, ValueError):
        return None
