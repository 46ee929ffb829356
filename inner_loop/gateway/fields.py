"""What may be in a request that the gateway forwards: one table for each API, and the check of a body against it.

Anything not listed is refused with one line. Deliberately missing is everything that would give the agent a network at
the vendor, choose another model or use data outside the request: its cost could not be seen here. Sources: openai 2.54
(CompletionCreateParams, ResponseCreateParams, ResponseInputItemParam), anthropic-sdk-python (beta MessageCreateParams),
https://openrouter.ai/docs/api-reference/parameters, codex-rs (ResponsesApiRequest, ResponseItem).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from inner_loop.gateway.route import Route
from inner_loop.gateway.serving import RequestRefused

Kind = Literal["chat", "responses", "messages"]


@dataclass(frozen=True)
class Api:
    """``fields`` of a body; ``content``: those with text for the model; ``lengths``: those that limit a reply;
    ``parts``: the keys of each type of object in the content, with their rules (see `_api`)."""

    fields: frozenset[str]
    content: tuple[str, ...]
    lengths: tuple[str, ...]
    parts: dict[str, dict[str, str]]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _api(fields: str, content: str, lengths: str, parts: str) -> Api:
    """``parts``: ``TYPE: KEY …``. A key alone has a text or a number; ``key=a|b``: objects of these types (``a.``: an
    object without a type, listed under that name), ``key=|a|b``: or a text; ``key@``: a picture as a data URL;
    ``key^``: tools; ``key~``: anything, as arguments of the agent's own tools."""
    rules: dict[str, dict[str, str]] = {}
    for word in parts.split():
        if word.endswith(":"):
            keys = rules[word[:-1]] = {"type": ""}
        else:
            name = re.split("[=@^~]", word)[0]
            keys[name] = word[len(name) :]
    return Api(_words(f"{_COMMON} {fields}"), tuple(content.split()), tuple(lengths.split()), rules)


_COMMON = "model stream temperature top_p tools tool_choice"
_OPENAI = """parallel_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention reasoning
    safety_identifier stream_options top_logprobs user"""
APIS: dict[Kind, Api] = {
    # the last two lines of fields: OpenRouter, DeepSeek, and local servers
    "chat": _api(
        f"""{_OPENAI} messages frequency_penalty function_call functions logit_bias logprobs
        max_tokens max_completion_tokens presence_penalty reasoning_effort response_format seed stop verbosity
        cache_control enable_thinking include_reasoning min_p repetition_penalty thinking top_a top_k usage""",
        content="messages",
        lengths="max_completion_tokens max_tokens",
        parts="""
        message: role name content=|text|image_url|refusal refusal tool_calls=function|custom tool_call_id
            function_call=call. reasoning reasoning_content thinking_blocks=thinking|redacted_thinking
            reasoning_details=reasoning.text|reasoning.summary|reasoning.encrypted cache_control=ephemeral
        text: text cache_control=ephemeral
        image_url: image_url=url. cache_control=ephemeral
        url.: url@ detail
        refusal: refusal
        function: id index function=call.
        custom: id index custom=call.
        call.: name arguments input
        thinking: thinking signature cache_control=ephemeral
        redacted_thinking: data cache_control=ephemeral
        reasoning.text: text signature id format index
        reasoning.summary: summary id format index
        reasoning.encrypted: data id format index
        ephemeral: ttl""",
    ),
    "responses": _api(
        f"{_OPENAI} include input instructions max_output_tokens max_tool_calls metadata text truncation",
        content="input instructions",
        lengths="max_output_tokens",
        parts="""
        message: id status role phase content=|text|input_text|output_text|input_image|refusal
        agent_message: id author recipient content=input_text|encrypted_content
        reasoning: id status summary=summary_text content=reasoning_text|text encrypted_content
        compaction: id encrypted_content
        additional_tools: id role tools^
        function_call: id status name namespace arguments call_id caller=direct
        function_call_output: id status call_id output=|text|input_text|output_text|input_image|encrypted_content
        custom_tool_call: id status name namespace input call_id caller=direct
        custom_tool_call_output:
            id status name call_id output=|text|input_text|output_text|input_image|encrypted_content
        local_shell_call: id status call_id action~
        local_shell_call_output: id status call_id output
        apply_patch_call: id status call_id operation~
        apply_patch_call_output: id status call_id output
        tool_search_call: id status execution call_id arguments~
        tool_search_output: id status execution call_id tools^
        text: text
        input_text: text
        output_text: text
        summary_text: text
        reasoning_text: text
        refusal: refusal
        encrypted_content: encrypted_content
        input_image: image_url@ detail
        direct:""",
    ),
    "messages": _api(
        """cache_control context_management max_tokens messages metadata output_config output_format stop_sequences
        system thinking top_k""",
        content="messages system",
        lengths="max_tokens",
        parts="""
        message: role content=|text|image|document|tool_use|tool_result|thinking|redacted_thinking
        text: text media_type data cache_control=ephemeral
        image: source=base64 cache_control=ephemeral
        base64: media_type data
        document: source=text|content title context cache_control=ephemeral
        content: content=|text|image
        tool_use: id name input~ cache_control=ephemeral caller=direct
        tool_result: tool_use_id is_error content=|text|image|document|tool_reference cache_control=ephemeral
        tool_reference: tool_name cache_control=ephemeral
        thinking: thinking signature
        redacted_thinking: data
        ephemeral: ttl scope
        direct:""",
    ),
}
#: Removed silently: agents send them, the reply is the same without them, and some cost extra.
_TAKEN_OUT = _words("""store metadata service_tier speed prediction modalities audio client_metadata access_programs
    reasoningEffort promptCacheKey""")  # the last two: opencode's, ignored by OpenRouter
_TAKEN_OUT_OF_PARTS = _words("annotations logprobs provider_specific_fields internal_chat_message_metadata_passthrough")
_IMAGES = ("image_url", "input_image", "image")
#: Types of tools that the agent runs itself; all others run at the vendor, with a network and a price.
_OWN_TOOLS = re.compile(r"function|custom|namespace|local_shell|apply_patch|(bash|text_editor|memory|computer)_\d+")
#: A list, because the value from the request may be unhashable.
_CHOICES = [*_words("auto any none required tool function custom allowed_tools local_shell apply_patch")]
_CLEARS = re.compile(r"clear_(tool_uses|thinking)_\d+")  # other edits of a context call the model
_MODEL = re.compile(r"[!-~]{1,200}")  # it is shown on the user's terminal
#: OpenRouter's variants of one model at one price: https://openrouter.ai/docs/guides/routing/model-variants/overview
_VARIANTS = ("", "free", "extended", "thinking", "exacto")
_MORE = "this field is not forwarded; leave it out (docs/agents.md, Models and cost)"


def model_of(body: dict[str, JsonValue], route: Route) -> str:
    """The requested model. Raises RequestRefused if its name would add tools or choose among models."""
    model = body.get("model")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise RequestRefused(400, "the body names no model")
    variant, lower = model.lower().partition(":")[2], model.lower()
    if "online" in variant.split(":") or "@preset" in lower:
        raise RequestRefused(400, f"{model}: models with web search or preset settings are not forwarded")
    if route.chooses_models and (variant not in _VARIANTS or lower.startswith("openrouter/")):
        variants = ", ".join(_VARIANTS[1:])
        raise RequestRefused(400, f"{model}: name one model with one price; allowed variants: {variants}")
    return model


def check(kind: Kind, body: dict[str, JsonValue]) -> int:
    """Bring a body into the form in which it is forwarded; returns the number of pictures. Raises RequestRefused."""
    api = APIS[kind]
    for name in list(body):
        if name in api.fields:
            continue
        if name not in _TAKEN_OUT and body[name] is not None:
            raise RequestRefused(400, f"{name[:80]}: {_MORE}")
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
        items = body.get("input")
        for item in items if isinstance(items, list) else ():
            _check_item(item)
    _check_edits(body.get("context_management"))
    first = ["", *api.parts] if kind == "responses" else ["", "message", "text"]  # the second: a system prompt in parts
    return sum(_check_parts(api, body.get(name), first) for name in api.content)


def _check_parts(api: Api, value: JsonValue, allowed: Sequence[str]) -> int:
    """The number of pictures in a text, an object or a list of objects of the allowed types. Raises RequestRefused."""
    if value is None or (isinstance(value, str) and "" in allowed):
        return 0
    pictures = 0
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise RequestRefused(400, "content of a request is text or objects with a type")
        form = allowed[0] if allowed[0].endswith(".") else one.get("type", "message")
        if not form or form not in allowed:
            raise RequestRefused(400, f"an item of type {str(form)[:60]!r} is not forwarded here")
        pictures += form in _IMAGES
        for key in list(one):
            rule = api.parts[str(form)].get(key)
            if rule is None and (one[key] is None or key in _TAKEN_OUT_OF_PARTS):
                del one[key]
            else:
                pictures += _check_value(api, one, key, rule, f"{form} {key[:60]}")
    return pictures


def _check_value(api: Api, one: dict[str, JsonValue], key: str, rule: str | None, name: str) -> int:
    value = one[key]
    if rule is None:
        raise RequestRefused(400, f"{name}: {_MORE}")
    if rule == "^":
        own_tools(one)
    elif rule.startswith("="):
        return _check_parts(api, value, rule[1:].split("|"))
    elif rule == "@" and not (isinstance(value, str) and value.startswith("data:image/")):
        raise RequestRefused(400, f"{name}: send pictures in the body: data outside the request cannot be metered")
    elif rule == "" and isinstance(value, dict | list):
        raise RequestRefused(400, f"{name}: a text or a number is expected")
    return 0


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
        if not (isinstance(edit, dict) and _CLEARS.fullmatch(str(edit.get("type")))):
            raise RequestRefused(400, "context_management: only clearing of tool uses and thinking is forwarded")


def _check_item(item: JsonValue) -> None:
    """An item of Responses that is only a name refers to text at the vendor."""
    named = item.get("type") if isinstance(item, dict) else None
    if not isinstance(item, dict) or (named in (None, "message") and not item.keys() >= {"role", "content"}):
        raise RequestRefused(400, "an input item without role and content: text outside the request cannot be metered")
    if named == "reasoning" and not item.get("encrypted_content"):
        if not item.get("content") and item.get("id"):
            raise RequestRefused(
                400, "reasoning by its id: ask for include=['reasoning.encrypted_content'] and send that"
            )
        item.pop("id", None)
