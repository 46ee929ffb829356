"""How the models of a study see the raw traces: through tools, in the prompt, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inner_loop.models.provider import litellm
from inner_loop.run_context import ModelConfig

How = Literal["tools", "prompt", "none"]
TURNS = 6  # rounds of tool calls for one proposal, before the final reply
AT_ONCE = 4  # tool calls per reply
LONG = 100_000  # tokens: least window for traces in the prompt
SHARE = 0.25  # of such a window
BYTES = 3  # per token, a safe value for English, code and numbers
LEAST, MOST = 30_000, 150_000  # bytes of traces in a prompt


@dataclass(frozen=True)
class TraceAccess:
    """``bytes``: most bytes of traces in a prompt."""

    how: How = "none"
    bytes: int = 0

    @property
    def turns(self) -> int:
        return TURNS if self.how == "tools" else 0


NO_TRACES = TraceAccess()


def trace_mode(config: ModelConfig) -> How:
    """The meaning of `auto`, from LiteLLM's map of models. Any of the models may answer, so the least capable one
    decides."""
    if config.traces != "auto":
        return config.traces
    if not config.models:
        return "none"
    if all(_calls_tools(model) for model in config.models):
        return "tools"
    return "prompt" if (window(config) or 0) >= LONG else "none"


def trace_access_of(config: ModelConfig) -> TraceAccess:
    how = trace_mode(config)
    if how != "prompt":
        return TraceAccess(how)
    return TraceAccess(how, max(LEAST, min(MOST, int(SHARE * (window(config) or 0)) * BYTES)))


def window(config: ModelConfig) -> int | None:
    """Tokens of the smallest context window among the models; None if one is unknown."""
    if config.context_tokens is not None:
        return config.context_tokens
    widths = [_width(model) for model in config.models]
    return min((w for w in widths if w), default=None) if all(widths) else None


def _calls_tools(model: str) -> bool:
    try:
        return bool(litellm().supports_function_calling(model))
    except Exception:  # the library may raise anything for an unknown model
        return False


def _width(model: str) -> int | None:
    try:
        return int(litellm().get_model_info(model).get("max_input_tokens") or 0) or None
    except Exception:  # as above
        return None
