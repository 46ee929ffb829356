"""Allow-lists for the requests that the gateway forwards: fields, types of items and tools, names of models.

Anything not listed is refused with one line. Deliberately missing is everything that would give the agent a network at
the vendor, choose another model or use data outside the request: its cost could not be seen here. Sources: openai 2.54
(CompletionCreateParams, ResponseCreateParams, ResponseInputItemParam), anthropic-sdk-python (beta MessageCreateParams),
https://openrouter.ai/docs/api-reference/parameters, codex-rs (ResponsesApiRequest).
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import JsonValue

from inner_loop.gateway.route import Route

Kind = Literal["chat", "responses", "messages"]


class RequestRefused(Exception):
    """A request that the gateway answers with an error itself. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMON = "model stream temperature top_p tools tool_choice"
_OPENAI = (
    "parallel_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier "
    "stream_options top_logprobs user"
)
FIELDS: dict[Kind, frozenset[str]] = {
    # the last two lines: OpenRouter, DeepSeek, and local servers
    "chat": _words(f"""{_COMMON} {_OPENAI} messages frequency_penalty function_call functions logit_bias logprobs
        max_tokens max_completion_tokens n presence_penalty reasoning_effort response_format seed stop verbosity
        cache_control chat_template_kwargs enable_thinking include_reasoning min_p repetition_penalty thinking top_a
        top_k usage"""),
    "responses": _words(f"""{_COMMON} {_OPENAI} include input instructions max_output_tokens max_tool_calls metadata
        text truncation"""),
    "messages": _words(f"""{_COMMON} cache_control context_management max_tokens messages metadata output_config
        output_format stop_sequences system thinking top_k"""),
}
#: Removed silently: agents send them, the reply is the same without them, and some cost extra.
_TAKEN_OUT = _words("""store metadata service_tier speed prediction modalities audio client_metadata access_programs
    reasoningEffort promptCacheKey""")  # the last two: opencode's, ignored by OpenRouter
#: Where a request has text for the model, and the allowed types of its parts.
_CONTENT: dict[Kind, tuple[str, ...]] = {
    "chat": ("messages",),
    "responses": ("input", "instructions"),
    "messages": ("messages", "system"),
}
_TYPES: dict[Kind, frozenset[str]] = {
    "chat": _words("""text image_url refusal function custom ephemeral thinking redacted_thinking reasoning.text
        reasoning.summary reasoning.encrypted"""),
    "responses": _words("""message agent_message reasoning compaction additional_tools function_call
        function_call_output custom_tool_call custom_tool_call_output local_shell_call local_shell_call_output
        apply_patch_call apply_patch_call_output tool_search_call tool_search_output input_text input_image output_text
        refusal summary_text reasoning_text encrypted_content text direct"""),
    "messages": _words("""text image document base64 content tool_use tool_result tool_reference thinking
        redacted_thinking ephemeral direct"""),
}
#: Arguments of tool calls, which may be anything.
_OPAQUE = {
    ("tool_use", "input"),
    ("local_shell_call", "action"),
    ("apply_patch_call", "operation"),
    ("tool_search_call", "arguments"),
}
_IMAGES = ("image_url", "input_image", "image")
#: Types of tools that the agent runs itself; all others run at the vendor, with a network and a price.
_OWN_TOOLS = re.compile(r"function|custom|namespace|local_shell|apply_patch|(bash|text_editor|memory|computer)_\d+")
#: A list, because the value from the request may be unhashable.
_CHOICES = [*_words("auto any none required tool function custom allowed_tools local_shell apply_patch")]
_CLEARS = re.compile(r"clear_(tool_uses|thinking)_\d+")  # other edits of a context call the model
_REFERENCES = ("file_id", "file_url", "video_url", "file_data")
_MODEL = re.compile(r"[!-~]{1,200}")  # it is shown on the user's terminal
#: OpenRouter's variants of one model at one price: https://openrouter.ai/docs/guides/routing/model-variants/overview
_VARIANTS = ("", "free", "extended", "thinking", "exacto")


def model_of(body: dict[str, JsonValue], route: Route) -> str:
    """The requested model. Raises RequestRefused if its name would add tools or choose among models."""
    model = body.get("model")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise RequestRefused(400, "the body names no model")
    variant, lower = model.lower().partition(":")[2], model.lower()
    if "online" in variant.split(":") or "@preset" in lower:
        raise RequestRefused(400, f"{model}: models with web search or preset settings are not forwarded")
    if route.chooses_models and (variant not in _VARIANTS or lower.startswith("openrouter/")):
        raise RequestRefused(
            400, f"{model}: name one model with one price; allowed variants: {', '.join(_VARIANTS[1:])}"
        )
    return model


def check(kind: Kind, body: dict[str, JsonValue]) -> int:
    """Bring a body into the form in which it is forwarded; returns the number of pictures. Raises RequestRefused."""
    for name in list(body):
        if name in FIELDS[kind]:
            continue
        if name not in _TAKEN_OUT and body[name] is not None:
            raise RequestRefused(
                400, f"{name[:80]}: this field is not forwarded; leave it out (docs/agents.md, Models and cost)"
            )
        del body[name]
    if "tools" in body and not own_tools(body):
        del body["tools"]
        body.pop("tool_choice", None)
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        if choice.get("type") not in _CHOICES:
            raise RequestRefused(400, "tool_choice: tools that run at the vendor are not forwarded")
        for holder in (choice, choice.get("allowed_tools")):
            if isinstance(holder, dict) and "tools" in holder:
                own_tools(holder)
    if kind == "responses":
        body["store"] = False  # stored text could be used later by its name, unseen here
    _check_edits(body.get("context_management"))
    return _check_content(kind, [body[name] for name in _CONTENT[kind] if name in body])


def own_tools(holder: dict[str, JsonValue]) -> list[JsonValue]:
    """Keep only the tools that the agent runs itself, also inside name spaces. Raises RequestRefused."""
    tools = holder["tools"] or []
    own: list[JsonValue] = []
    if not isinstance(tools, list):
        raise RequestRefused(400, "tools is not a list")
    for tool in (one for one in tools if isinstance(one, dict)):
        form = tool.get("type")
        client = form == "tool_search" and tool.get("execution") == "client"
        if form is None or client or (isinstance(form, str) and _OWN_TOOLS.fullmatch(form)):
            if "tools" in tool:
                own_tools(tool)
            own.append(tool)
    holder["tools"] = own
    return own


def _check_edits(management: JsonValue) -> None:
    if management is None:
        return
    edits = management.get("edits", []) if isinstance(management, dict) and management.keys() <= {"edits"} else None
    for edit in edits if isinstance(edits, list) else [None]:
        if not _CLEARS.fullmatch(str(_kind(edit))):
            raise RequestRefused(400, "context_management: only clearing of tool uses and thinking is forwarded")


def _check_content(kind: Kind, stack: list[JsonValue]) -> int:
    """The number of pictures. Raises RequestRefused for a part of unknown type, or one that refers to data
    elsewhere."""
    pictures = 0
    if kind == "responses" and stack and isinstance(stack[0], list):
        for item in stack[0]:
            _check_item(item)
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack += one
        elif isinstance(one, dict):
            form = one.get("type")
            if form is not None and not (isinstance(form, str) and form in _TYPES[kind]):
                raise RequestRefused(400, f"an item of type {str(form)[:60]!r} is not forwarded")
            pictures += form in _IMAGES
            _check_near(one)
            if "tools" in one:
                own_tools(one)
            stack += [value for name, value in one.items() if name != "tools" and (form, name) not in _OPAQUE]
    return pictures


def _check_item(item: JsonValue) -> None:
    """An item of Responses that is only a name refers to text at the vendor."""
    if not isinstance(item, dict) or (_kind(item) in (None, "message") and not item.keys() >= {"role", "content"}):
        raise RequestRefused(400, "an input item without role and content: text outside the request cannot be metered")
    if item.get("type") == "reasoning" and not item.get("encrypted_content"):
        if not item.get("content") and item.get("id"):
            raise RequestRefused(
                400, "reasoning by its id: ask for include=['reasoning.encrypted_content'] and send that"
            )
        item.pop("id", None)


def _kind(value: JsonValue) -> JsonValue:
    return value.get("type") if isinstance(value, dict) else None


def _check_near(one: dict[str, JsonValue]) -> None:
    """Pictures must be in the body. Files are refused: a page of a small PDF may cost thousands of tokens."""
    form, source, link = one.get("type"), one.get("source"), one.get("image_url")
    link = link.get("url") if isinstance(link, dict) else link
    near = (isinstance(link, str) and link.startswith("data:")) or (form == "image" and _kind(source) == "base64")
    if not near and (form in _IMAGES or link is not None):
        raise RequestRefused(400, "send pictures in the body: data outside the request cannot be metered")
    if any(one.get(name) is not None for name in _REFERENCES) or isinstance(one.get("audio"), dict):
        raise RequestRefused(400, "files, audio and video are not forwarded: send text or a picture")
    if form == "document" and _kind(source) not in ("text", "content"):
        raise RequestRefused(400, "documents are forwarded as text only: the pages of a file cannot be metered")
