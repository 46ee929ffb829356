"""One attempt of one call, through LiteLLM, of a chat model: its answer, or the kind of its fault."""

from __future__ import annotations

import gc
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from inner_loop.models.contract import Message, wire_of
from inner_loop.models.scrub import scrub

#: Retrying the same model is useless after key, request and context (the prompt does not fit), else useful.
Kind = Literal["rate", "server", "connection", "timeout", "malformed", "empty", "key", "request", "context"]
#: Providers of Claude models, which cache only marked text.
MARKED = ("claude", "anthropic/", "bedrock/", "vertex_ai/", "openrouter/anthropic/")
_BY_STATUS: dict[int | None, Kind] = {
    401: "key",
    403: "key",
    408: "timeout",
    **dict.fromkeys((400, 404, 413, 422), "request"),
}
GRACE = 2.0  # seconds for the library's own timeout
_loading = threading.Lock()
_MOST = 1 << 40  # tokens of one reply, on either side
#: What servers write about a prompt that is too long, beyond what LiteLLM recognizes. llama.cpp's older versions send
#: it with status 500.
_TOO_LONG = re.compile(
    r"exceed_context_size|context_length_exceeded|exceeds? (?:the )?(?:available |maximum )?context (?:size|length)"
    r"|exceed context window|maximum context length|prompt is too long|longer than the (?:maximum )?context",
    re.IGNORECASE,
)


class Fault(Exception):
    """A failed attempt. ``billed``: tokens may have been produced without a report. ``retry_after`` in seconds.
    ``passes``: another attempt may succeed."""

    def __init__(self, kind: Kind, reason: str, *, retry_after: float | None = None, billed: bool = False) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.retry_after, self.billed = kind, reason, retry_after, billed
        self.passes = kind not in ("key", "request", "context")


@dataclass(frozen=True)
class ProviderReply:
    """A provider's answer; ``usage`` is None if it reports none."""

    text: str
    usage: TokenUsage | None
    finish: str


def litellm() -> Any:
    """The library, with its own price map, no output on stderr, and no traffic except the calls."""
    with _loading:
        return _load_litellm()


@cache
def _load_litellm() -> Any:
    import logging

    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    gc.disable()  # what is imported stays: looking through it for garbage took a quarter of the time
    try:
        with warnings.catch_warnings():  # theirs, of their own types
            warnings.simplefilter("ignore")
            import litellm as library

            library.ModelResponse()
            library.ModelResponse(stream=True)
        with suppress(ImportError):  # else imported by the first call, while it is timed
            import openai.resources  # noqa: F401
        from inner_loop.models.reply_limits import limit  # it needs httpx, which takes as long as the command itself
    finally:
        gc.freeze()
        gc.enable()
    limit(library)
    library.suppress_debug_info = True
    library.telemetry = False
    library.drop_params = True
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "httpx", "openai"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # they quote what a server sent
    return library


def ask(
    model: str, messages: Sequence[Message], *, max_tokens: int, timeout: float, form: Mapping[str, Any] | None = None
) -> ProviderReply:
    """Call once. Raises Fault for any failure of a provider. ``timeout`` in seconds.

    The library's own timeout is per read: a server that sends a byte now and then would block the call for ever. Such a
    call is left behind in its thread.
    """
    results: list[ProviderReply | Fault] = []

    def attempt() -> None:
        try:
            results.append(_complete(model, messages, max_tokens, timeout, form))
        except Fault as fault:  # for the caller's thread
            results.append(fault)

    litellm()
    thread = threading.Thread(target=attempt, name="model-call", daemon=True)
    thread.start()
    thread.join(timeout + GRACE)
    if not results:
        raise Fault("timeout", f"the reply was not complete after {timeout:.0f} s", billed=True)
    if isinstance(results[0], Fault):
        raise results[0]
    return results[0]


def _complete(
    model: str, messages: Sequence[Message], max_tokens: int, timeout: float, form: Mapping[str, Any] | None
) -> ProviderReply:
    # LiteLLM's logging passes each reply to threads of its own (a quarter of a call's cost here), and the ledger is our
    # log. A version without this switch keeps logging.
    with suppress(ImportError, AttributeError):
        from litellm._internal_context import is_internal_call

        is_internal_call.set(True)
    sent = [message.wire for message in messages]
    if sent and marked(model):
        sent[0]["content"] = [{"type": "text", "text": sent[0]["content"], "cache_control": {"type": "ephemeral"}}]
    try:
        response = litellm().completion(
            model=model, messages=sent, max_tokens=max_tokens, timeout=timeout, num_retries=0, max_retries=0,
            **wire_of(form),
        )  # fmt: skip
    except Exception as error:  # boundary to a library whose providers raise any exception
        raise _fault(error) from None
    try:
        choice = response.choices[0]
        usage = reported(response.usage.model_dump() if response.usage else None)
        return ProviderReply(scrub(choice.message.content or ""), usage, str(choice.finish_reason or "stop"))
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise Fault("malformed", f"an incomplete reply: {error}", billed=True) from None


def marked(model: str) -> bool:
    """Whether its provider caches only marked text."""
    return "claude" in model and model.startswith(MARKED)


def _fault(error: Exception) -> Fault:
    status, name = getattr(error, "status_code", None), type(error).__name__
    headers = getattr(error, "litellm_response_headers", None)
    try:
        retry_after = max(0.0, float(headers.get("retry-after")))  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):  # none, or a date, which few providers send
        retry_after = None
    from inner_loop.models.reply_limits import Refused

    causes = list(_causes(error))
    if refused := next((cause for cause in causes if isinstance(cause, Refused)), None):
        return Fault("malformed", str(refused), billed=True)
    reason = scrub(f"{name}: {error}".splitlines()[0])[:300]
    if name == "ContextWindowExceededError" or _TOO_LONG.search(str(error)):
        return Fault("context", re.sub(r"^(?:[\w.]*(?:Error|Exception)(?::| -) )+", "", reason))
    if status == 429:
        return Fault("rate", reason, retry_after=retry_after)
    if kind := _BY_STATUS.get(408 if name == "Timeout" else status):
        return Fault(kind, reason, billed=kind == "timeout")
    if headers is not None:
        return Fault("server", reason, retry_after=retry_after)
    is_connected = not {"ConnectError", "ConnectTimeout"} & {type(cause).__name__ for cause in causes}
    kind = "malformed" if is_connected and "Connection error" not in reason else "connection"
    return Fault(kind, reason, billed=is_connected)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it."""
    for _ in range(20):
        if error is not None:
            yield error
            error = error.__cause__ or error.__context__


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one reply. ``tokens_in`` is the whole prompt: tokens read from a cache, written to one
    (``written_hour`` for an hour), and the others."""

    tokens_in: int
    tokens_out: int
    cached: int = 0
    written: int = 0
    written_hour: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def reported(usage: Any) -> TokenUsage | None:
    """The usage in a reply of OpenAI's chat completions or responses, or of Anthropic's messages, which counts cached
    tokens apart. None if it is missing, invalid or zero."""
    counts = as_dict(usage)
    details = as_dict(counts.get("prompt_tokens_details") or counts.get("input_tokens_details"))
    try:
        tokens_in = _count(counts, "prompt_tokens") or _count(counts, "input_tokens")
        tokens_out = _count(counts, "completion_tokens") or _count(counts, "output_tokens")
        cached = _count(details, "cached_tokens") or _count(counts, "cache_read_input_tokens")
        written = _count(details, "cache_creation_tokens") or _count(counts, "cache_creation_input_tokens")
        hour = _count(as_dict(counts.get("cache_creation")), "ephemeral_1h_input_tokens")
    except ValueError:
        return None
    if not details and "input_tokens" in counts:
        tokens_in += cached + written
    cached = min(cached, tokens_in)
    written = min(written, tokens_in - cached)
    reported_usage = TokenUsage(tokens_in, tokens_out, cached, written, min(hour, written))
    return reported_usage if reported_usage.tokens else None


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(counts: dict[str, Any], name: str) -> int:
    value = counts.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError
    return value
