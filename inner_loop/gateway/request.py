"""Which requests of an agent the gateway forwards, and in which form.

A body is parsed once and written again, so that exactly what was checked is sent. Nothing in it may make a server
search, run code, fetch an address, read what the account has stored, call another model, or charge what no usage
reports. Fields that `_REFUSED` and `_REMOVED` do not name are forwarded; messages and tools, which can name addresses
at any depth, have only the types and keys listed here. Not covered: a server that gives a field a meaning of its own.
Sources: openai 2.54, anthropic-sdk-python, codex-rs, https://openrouter.ai/docs/api-reference/parameters, vLLM.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from inner_loop.gateway.serving import RequestRefused
from programs.common.bounded import BeyondLimits, json_value

Kind = Literal["chat", "responses", "messages"]
JsonObject = dict[str, JsonValue]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: The fields that limit a reply.
LENGTHS: dict[Kind, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
#: The fields that can name addresses at any depth, beside tools.
_CHECKED = ("messages", "input", "instructions", "system", "tool_choice", "context_management")
_FIELD = re.compile("[a-z][a-z0-9_]{0,79}")  # some servers read MODEL as model
_REFUSED = re.compile(
    # more or longer replies than are reserved
    r"n|best_of|num_\w+|max_\w*tokens\w*|\w*beam\w*"
    # another model, price, account or address
    r"|(?!model$)\w*model\w*|\w*(fallback|rout(e|ing)|provider|preset|deployment|profile|geo|region|tier|moderation)\w*"
    r"|\w*(api_|url|header|host|proxy|aws_|azure|vertex|google|litellm|extra_|account|organi[sz]ation|credential)\w*"
    r"|user_\w+|\w*(debug|trace|enhancement)\w*"
    # a network or a machine at the vendor
    r"|\w*(search|web|fetch|mcp|plugin|server|connector|container|environment|agent|skill|function|code)\w*"
    # stored text, and replies that arrive later
    r"|prompt|previous_\w+|context_management|\w*(conversation|session|thread|vector|source|retriev|cached|batch)\w*"
    r"|\w*(file|document|image|audio|video|background|compaction|callback|defer)\w*"
    # a prompt that is not the one in the body
    r"|\w*(template|kwargs|params|processor|transform|embed)\w*"
)
#: The reply is the same without them, and some cost more or are stored. The last two are opencode's.
_REMOVED = _words("""store service_tier speed prediction modalities audio client_metadata access_programs
    reasoningEffort promptCacheKey""")
_REMOVED_KEYS = _words("annotations logprobs provider_specific_fields internal_chat_message_metadata_passthrough")
#: Objects in messages: what the three APIs call a text, a picture in the body, a call of an own tool and its result.
_TYPES = re.compile(
    r"""message|agent_message|text|input_text|output_text|summary_text|reasoning_text|encrypted_content|refusal
    |image|image_url|input_image|base64|document|content|ephemeral|direct|compaction|thinking
    |redacted_thinking|reasoning|reasoning\.text|reasoning\.summary|reasoning\.encrypted|function
    |function_call|function_call_output|custom|custom_tool_call|custom_tool_call_output|tool_use|tool_result
    |tool_reference|tool_search_call|tool_search_output|additional_tools|local_shell_call
    |local_shell_call_output|apply_patch_call|apply_patch_call_output""",
    re.VERBOSE,
)
_CHOICES = _words("auto any none required tool allowed_tools function custom local_shell apply_patch")
_CLEARS = re.compile(r"clear_(tool_uses|thinking)_\d+")  # edits of a context that call no model
#: Keys of messages and tools whose value is a text or a number.
_SCALARS = _words("""type role name text id index status phase author recipient context title description ttl scope mode
    refusal reasoning reasoning_content thinking signature data media_type encrypted_content detail is_error
    tool_call_id tool_use_id tool_name call_id namespace execution strict defer_loading disable_parallel_tool_use
    eager_input_streaming max_characters display_width_px display_height_px display_number enable_zoom""")
#: Keys with an object or a list of objects; with some the objects need no type, or a text stands in their place.
_OBJECTS = _words("""content output summary source tool_calls thinking_blocks reasoning_details cache_control caller
    function custom allowed_tools image_url""")
_UNTYPED = _words("function custom allowed_tools image_url messages input instructions system")
_TEXTS = _words("content output summary messages input instructions system")
_ARGUMENTS = _words("arguments input parameters input_schema format action operation")  # whatever own tools take
#: The tools that the agent runs itself; all other types run at the vendor, with a network and a price.
_OWN_TOOLS = re.compile(
    r"function|custom|namespace|tool_search|local_shell|apply_patch|(bash|text_editor|memory|computer)_\d+"
)
_MODEL = re.compile(r"[!-~]{1,200}")  # it is shown on the user's terminal
#: Models that search or run code at the vendor by themselves, at a price that no usage reports, or stand for others.
_SEARCHING = re.compile(r"(?i)(?<!re)search|deep-?research|sonar|perplexity|compound|:online|@preset|router$|/auto$")
#: Tokens of the dearest picture: 2,833 + 8 tiles of 5,667, https://platform.openai.com/docs/guides/images-vision
_PICTURE = 50_000
_HIDDEN = 2048  # tokens that vendors add to a prompt: templates, descriptions of tools
_LONGEST = 10_000_000  # tokens; most that a request may set
_HINT = "this field is not forwarded; leave it out (docs/agents.md, Models and cost)"


@dataclass(frozen=True)
class ModelRequest:
    """A request that costs money. ``content``: the body to send; ``tokens_in``: the most tokens that its prompt can
    have; ``length``: the longest reply, None if the body sets none; ``hides_usage``: whether the agent has not asked
    for usage in a stream."""

    model: str
    content: bytes
    tokens_in: int
    length: int | None
    hides_usage: bool

    @property
    def caches_for_an_hour(self) -> bool:
        """Whether the prompt may be written to a cache at the price of an hour. In a text the marks are escaped."""
        return b'"1h"' in self.content


def parse_request(kind: Kind, data: bytes | bytearray) -> ModelRequest:
    """The request in a body, in the form in which it is forwarded. Raises RequestRefused."""
    try:
        fields = json_value(data)
        if not isinstance(fields, dict):
            raise RequestRefused(400, "the body is not a JSON object")
        body = _forwarded_fields(kind, fields)
        pictures = sum(_check_field(name, body[name]) for name in _CHECKED if name in body)
        lengths = [_read_length(body, name) for name in LENGTHS[kind] if name in body]
        hides_usage = kind == "chat" and body.get("stream") is True and _ask_for_usage(body)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except BeyondLimits as error:
        raise RequestRefused(413, f"the body is too large: {error}") from None
    except (ValueError, RecursionError):
        raise RequestRefused(400, "the body is not JSON, or nested too deeply") from None
    sent = content.encode("utf-8", "replace")
    tokens_in = len(sent) + _HIDDEN + pictures
    return ModelRequest(str(body["model"]), sent, tokens_in, max(lengths, default=None), hides_usage)


def _forwarded_fields(kind: Kind, fields: JsonObject) -> JsonObject:
    """The fields of a body that are forwarded, with the tools that the agent runs itself. Raises RequestRefused."""
    removed = _REMOVED | {"metadata"} if kind == "chat" else _REMOVED
    body: JsonObject = {name: value for name, value in fields.items() if value is not None and name not in removed}
    allowed = {*LENGTHS[kind], "context_management"} if kind == "messages" else {*LENGTHS[kind]}
    for name in body:
        if not _FIELD.fullmatch(name) or (name not in allowed and _REFUSED.fullmatch(name)):
            raise RequestRefused(400, f"{name[:80]}: {_HINT}")
    model = body.get("model")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise RequestRefused(400, "the body names no model")
    if _SEARCHING.search(model):
        hint = "--set agent_direct=true calls it, without a limit of its cost"
        raise RequestRefused(400, f"{model[:80]}: models that search the web are not forwarded; {hint}")
    if not isinstance(body.get("stream", False), bool):
        raise RequestRefused(400, "stream: true or false is expected")
    if "tools" in body and not _keep_own_tools(body["tools"], bare=kind == "messages"):
        del body["tools"]
        body.pop("tool_choice", None)
    if kind == "responses":
        body["store"] = False  # stored text could be used later by its name, unseen here
    return body


def _check_field(name: str, value: JsonValue) -> int:
    """As `_check_parts`, for a field of the body."""
    try:
        if name == "tool_choice":
            choice: JsonObject = value if isinstance(value, dict) else {"type": value}
            if str(choice.get("type")) not in _CHOICES:
                raise RequestRefused(400, "tools that run at the vendor are not forwarded")
            return _check_keys(choice)
        if name == "context_management":
            edits = value.get("edits") if isinstance(value, dict) and value.keys() == {"edits"} else None
            for edit in edits if isinstance(edits, list) else [None]:
                if not (isinstance(edit, dict) and _CLEARS.fullmatch(str(edit.get("type")))):
                    raise RequestRefused(400, "only clearing of tool uses and thinking is forwarded")
            return 0
        return _check_parts(name, value)
    except RequestRefused as refused:
        raise RequestRefused(400, f"{name}: {refused.message}") from None


def _check_parts(key: str, value: JsonValue) -> int:
    """Check the objects, or the text, at a key. Returns what their pictures cost in tokens beyond one for each of their
    bytes. Raises RequestRefused."""
    if value is None or (key in _TEXTS and isinstance(value, str)):
        return 0
    tokens = 0
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, dict):
            raise RequestRefused(400, "text, or objects with a type, are expected")
        form = str(part.get("type", ""))
        if not (_TYPES.fullmatch(form) or (key in _UNTYPED and "type" not in part)):
            raise RequestRefused(400, f"an item of type {form[:60]!r} is not forwarded here")
        if key == "input" and form in ("", "message") and not part.keys() >= {"role", "content"}:
            raise RequestRefused(400, "an item without role and content: text outside the request cannot be metered")
        if form == "reasoning" and not (part.get("encrypted_content") or part.get("content")) and part.get("id"):
            hint = "ask for include=['reasoning.encrypted_content'] and send that"
            raise RequestRefused(400, f"reasoning by its id: {hint}")
        if form == "reasoning" and not part.get("encrypted_content"):
            part.pop("id", None)
        tokens += _check_keys(part)
    return tokens


def _check_keys(part: JsonObject) -> int:
    """As `_check_parts`, for the keys of one object."""
    tokens = 0
    for key, value in list(part.items()):
        if key in _REMOVED_KEYS or (value is None and key != "content"):
            del part[key]
        elif key == "tools":
            _keep_own_tools(value)
        elif key in ("image_url", "url") and isinstance(value, str):
            if not value.startswith("data:image/"):
                raise RequestRefused(400, f"{key}: send pictures in the body: other data cannot be metered")
            tokens += _PICTURE - len(value)
        elif key in _OBJECTS:
            tokens += _check_parts(key, value)
        elif key not in _ARGUMENTS and (key not in _SCALARS or isinstance(value, dict | list)):
            raise RequestRefused(400, f"{key[:60]}: {_HINT}")
    if part.get("type") == "base64":
        if not str(part.get("media_type")).startswith("image/"):
            raise RequestRefused(400, "base64: only pictures are forwarded")
        tokens += _PICTURE - len(str(part.get("data")))
    return tokens


def _keep_own_tools(tools: JsonValue, *, bare: bool = False) -> list[JsonValue]:
    """Keep in the list only the tools that the agent runs itself, also inside name spaces: codex and Claude Code offer
    a web search by default. ``bare``: a tool with a name and a schema needs no type; other APIs run what such an object
    names. Returns the list. Raises RequestRefused for a tool with other keys."""
    if not isinstance(tools, list):
        raise RequestRefused(400, "tools is not a list")
    own_tools = []
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        form = tool.get("type")
        if form is None and not (bare and tool.get("name") and isinstance(tool.get("input_schema"), dict)):
            raise RequestRefused(400, "tools: one without a type, or without a name and a schema, is not forwarded")
        at_vendor = form == "tool_search" and tool.get("execution") != "client"
        if form is None or (_OWN_TOOLS.fullmatch(str(form)) and not at_vendor):
            _check_keys(tool)
            own_tools.append(tool)
    tools[:] = own_tools
    return tools


def _read_length(body: JsonObject, name: str) -> int:
    length = body[name]
    if not isinstance(length, int) or isinstance(length, bool) or not 0 < length <= _LONGEST:
        raise RequestRefused(400, f"{name}: not a valid number")
    return length


def _ask_for_usage(body: JsonObject) -> bool:
    """Make a stream of chat completions report its usage. Returns whether the agent has not asked for it."""
    options = body.get("stream_options", {})
    if not isinstance(options, dict):
        raise RequestRefused(400, "stream_options: an object is expected")
    body["stream_options"] = options | {"include_usage": True}
    return options.get("include_usage") is not True
