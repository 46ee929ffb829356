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

from inner_loop.gateway.serving import RequestRefused

Kind = Literal["chat", "responses", "messages"]


@dataclass(frozen=True)
class Api:
    """``fields`` of a body; ``content``: those with text for the model; ``lengths``: those that limit a reply;
    ``parts``: the keys of each type of object in the content, and of tools, with their rules (see `_rules`)."""

    fields: frozenset[str]
    content: tuple[str, ...]
    lengths: tuple[str, ...]
    parts: dict[str, dict[str, str]]
    tools: dict[str, dict[str, str]]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _rules(text: str) -> dict[str, dict[str, str]]:
    """``TYPE: KEY …``. A key alone has a text or a number; ``key=a|b``: objects of these types (``a.``: an object
    without a type, listed under that name), ``key=|a|b``: or a text; ``key@``: a picture as a data URL; ``key%``: as
    base64; ``key^``: tools; ``key~``: anything, as arguments of the agent's own tools."""
    rules: dict[str, dict[str, str]] = {}
    for word in text.split():
        if word.endswith(":"):
            keys = rules[word[:-1]] = {"type": ""}
        else:
            name = re.split("[=@%^~]", word)[0]
            keys[name] = word[len(name) :]
    return rules


def _api(fields: str, content: str, lengths: str, parts: str, tools: str = "") -> Api:
    names = (_words(f"{_COMMON} {fields}"), tuple(content.split()), tuple(lengths.split()))
    return Api(*names, _rules(parts), _rules(_TOOLS + tools))


_COMMON = "model stream temperature top_p tools tool_choice"
#: The tools that the agent runs itself; all other types run at the vendor, with a network and a price. A 0 at the end
#: of a type stands for any date.
_TOOLS = """
    function: name description parameters~ strict function=definition. cache_control=ephemeral. defer_loading
    definition.: name description parameters~ strict
    custom: name description format~ custom=definition. input_schema~ strict cache_control=ephemeral. defer_loading
    namespace: name description tools^
    tool_search: execution description parameters~
    local_shell: apply_patch:
    bash_0: name cache_control=ephemeral.
    text_editor_0: name max_characters cache_control=ephemeral.
    memory_0: name cache_control=ephemeral.
    computer_0: name display_width_px display_height_px display_number enable_zoom cache_control=ephemeral.
    ephemeral.: ttl scope
    choice.: name mode tools^ function=choice. custom=choice. allowed_tools=choice. disable_parallel_tool_use """
_OPENAI = """parallel_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention reasoning
    safety_identifier stream_options top_logprobs user"""
APIS: dict[Kind, Api] = {
    # the last two lines of fields: OpenRouter, DeepSeek, and local servers
    "chat": _api(
        f"""{_OPENAI} messages frequency_penalty logit_bias logprobs
        max_tokens max_completion_tokens presence_penalty reasoning_effort response_format seed stop verbosity
        cache_control enable_thinking include_reasoning min_p repetition_penalty thinking top_a top_k usage""",
        content="messages",
        lengths="max_completion_tokens max_tokens",
        parts="""
        message: role name content=|text|image_url|refusal refusal tool_calls=function|custom tool_call_id
            reasoning reasoning_content thinking_blocks=thinking|redacted_thinking
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
        base64: media_type data%
        document: source=text|content title context cache_control=ephemeral
        content: content=|text|image
        tool_use: id name input~ cache_control=ephemeral caller=direct
        tool_result: tool_use_id is_error content=|text|image|document|tool_reference cache_control=ephemeral
        tool_reference: tool_name cache_control=ephemeral
        thinking: thinking signature
        redacted_thinking: data
        ephemeral: ttl scope
        direct:""",
        tools="""
        tool.: name description input_schema~ strict defer_loading eager_input_streaming cache_control=ephemeral.""",
    ),
}
#: Removed silently: agents send them, the reply is the same without them, and some cost extra.
_TAKEN_OUT = _words("""store metadata service_tier speed prediction modalities audio client_metadata access_programs
    reasoningEffort promptCacheKey""")  # the last two: opencode's, ignored by OpenRouter
_TAKEN_OUT_OF_PARTS = _words("annotations logprobs provider_specific_fields internal_chat_message_metadata_passthrough")
#: Tokens of the dearest picture: 2,833 + 8 tiles of 5,667, https://platform.openai.com/docs/guides/images-vision
_PICTURE = 50_000
#: A list, because the value from the request may be unhashable.
_CHOICES = [*_words("auto any none required tool function custom allowed_tools local_shell apply_patch")]
_CLEARS = re.compile(r"clear_(tool_uses|thinking)_\d+")  # other edits of a context call the model
_MODEL = re.compile(r"[!-~]{1,200}")  # it is shown on the user's terminal
#: Models that search or run code at the vendor by themselves, at a price that no usage reports, or stand for others.
_SEARCHES = re.compile(r"(?i)(?<!re)search|deep-?research|sonar|perplexity|compound|:online|@preset|router$|/auto$")
_MORE = "this field is not forwarded; leave it out (docs/agents.md, Models and cost)"


def model_of(body: dict[str, JsonValue]) -> str:
    """The requested model. Raises RequestRefused if it is no name that can be shown."""
    model = body.get("model")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise RequestRefused(400, "the body names no model")
    return model


def searches(model: str) -> bool:
    """Whether a model of that name has a network of its own."""
    return bool(_SEARCHES.search(model))


def check(kind: Kind, body: dict[str, JsonValue]) -> int:
    """Bring a body into the form in which it is forwarded; returns what its pictures cost in tokens beyond one for each
    of their bytes. Raises RequestRefused."""
    api = APIS[kind]
    for name in list(body):
        if name in api.fields and not (name == "stream" and body[name] is None):
            continue
        if name not in _TAKEN_OUT and body[name] is not None:
            raise RequestRefused(400, f"{name[:80]}: {_MORE}")
        del body[name]
    if not isinstance(body.get("stream", False), bool):
        raise RequestRefused(400, "stream: true or false is expected")
    if "tools" in body and not _own_tools(api, body):
        del body["tools"]
        body.pop("tool_choice", None)
    _check_choice(api, body.get("tool_choice"))
    if kind == "responses":
        body["store"] = False  # stored text could be used later by its name, unseen here
        items = body.get("input")
        for item in items if isinstance(items, list) else ():
            _check_item(item)
    _check_edits(body.get("context_management"))
    first = ["", *api.parts] if kind == "responses" else ["", "message", "text"]  # the second: a system prompt in parts
    return sum(_check_parts(api, api.parts, body.get(name), first) for name in api.content)


Table = dict[str, dict[str, str]]


def _check_parts(api: Api, table: Table, value: JsonValue, allowed: Sequence[str]) -> int:
    """The tokens of pictures, as in `check`, in a text, an object or a list of objects of the allowed types of a table.
    Raises RequestRefused."""
    if value is None or (isinstance(value, str) and "" in allowed):
        return 0
    tokens = 0
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, dict):
            raise RequestRefused(400, "content of a request is text or objects with a type")
        form = allowed[0] if allowed[0].endswith(".") else part.get("type", "message")
        if not form or form not in allowed:
            raise RequestRefused(400, f"an item of type {str(form)[:60]!r} is not forwarded here")
        tokens += _check_keys(api, table, part, str(form))
    return tokens


def _check_keys(api: Api, table: Table, part: dict[str, JsonValue], form: str) -> int:
    """The tokens of pictures, as in `check`, in an object of that type. Raises RequestRefused."""
    tokens = 0
    for key in list(part):
        value, rule, name = part[key], table[form].get(key), f"{form} {key[:60]}"
        if rule is None:
            if value is not None and key not in _TAKEN_OUT_OF_PARTS:
                raise RequestRefused(400, f"{name}: {_MORE}")
            del part[key]
        elif rule == "^":
            _own_tools(api, part)
        elif rule.startswith("="):
            tokens += _check_parts(api, table, value, rule[1:].split("|"))
        elif rule != "~" and isinstance(value, dict | list):
            raise RequestRefused(400, f"{name}: a text or a number is expected")
        elif rule == "@" and not str(value).startswith("data:image/"):
            raise RequestRefused(400, f"{name}: send pictures in the body: data outside the request cannot be metered")
        elif rule in ("@", "%"):
            tokens += _PICTURE - len(str(value))
    return tokens


def _own_tools(api: Api, holder: dict[str, JsonValue]) -> list[JsonValue]:
    """Keep only the tools that the agent runs itself, also inside name spaces: codex and Claude Code offer a web search
    by default. Raises RequestRefused for anything that is no tool with a known type and its keys; a tool without a type
    is one of Anthropic's own kind alone, with a name and a schema: other APIs run what such an object names."""
    tools = holder["tools"] or []
    own: list[JsonValue] = []
    if not isinstance(tools, list):
        raise RequestRefused(400, "tools is not a list")
    for tool in (one for one in tools if isinstance(one, dict)):
        form = tool.get("type")
        name = "tool." if form is None else re.sub(r"\d+$", "0", str(form))
        if form is None and not (name in api.tools and tool.get("name") and isinstance(tool.get("input_schema"), dict)):
            raise RequestRefused(400, "tools: one without a type, or without a name and a schema, is not forwarded")
        at_vendor = name == "tool_search" and tool.get("execution") != "client"
        if name in api.tools and not at_vendor and (form is None or not name.endswith(".")):
            _check_keys(api, api.tools, tool, name)
            own.append(tool)
    holder["tools"] = own
    return own


def _check_choice(api: Api, choice: JsonValue) -> None:
    form = choice.get("type") if isinstance(choice, dict) else choice
    if choice is not None and form not in _CHOICES:
        raise RequestRefused(400, "tool_choice: tools that run at the vendor are not forwarded")
    if isinstance(choice, dict):
        _check_keys(api, api.tools, choice, "choice.")


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
