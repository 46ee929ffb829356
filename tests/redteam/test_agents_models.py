"""What an agent may ask its models for: no network through the vendor, no other model, no text that lies elsewhere; and
every request that the known agents send. The gateway parses each body; one of each API is sent over HTTP."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from inner_loop.gateway.request import ModelRequest, parse_request
from inner_loop.gateway.server import Gateway
from inner_loop.gateway.serving import RequestRefused
from programs.common.errors import UsageError
from tests.llm.apis import ApiServer
from tests.llm.fixtures import litellm_loaded
from tests.llm.gateway import KINDS, PATHS, api, body, calling
from tests.redteam.harness import Harm

__all__ = ["api", "litellm_loaded"]
pytestmark = pytest.mark.usefixtures("litellm_loaded")
FUNCTION = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {"plugins": {}}}}
CHAT_FUNCTION = {"type": "function", "function": {"name": "shell", "parameters": {"type": "object"}}}
BARE = {"name": "Bash", "description": "d", "input_schema": {"type": "object"}}
TOOLS = {"chat": CHAT_FUNCTION, "responses": FUNCTION, "messages": BARE}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def gateway(api: ApiServer) -> Iterator[Gateway]:
    with calling(api) as caller:
        yield caller.gateway


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts] or "hello"}]


def encoded(kind: str, more: dict[str, Any]) -> bytearray:
    return bytearray(json.dumps(body(kind) | more).encode())


def forwarded(gateway: Gateway, kind: Any, more: dict[str, Any]) -> dict[str, Any]:
    """The body that is sent on."""
    found: dict[str, Any] = json.loads(gateway.parse(kind, encoded(kind, more)).content)
    return found


def refuse(gateway: Gateway, kind: Any, more: dict[str, Any]) -> str:
    """The line that the agent is told; Harm where the body is sent on."""
    try:
        gateway.parse(kind, encoded(kind, more))
    except RequestRefused as refused:
        assert refused.status == 400 and 0 < len(refused.message) < 200 and "\n" not in refused.message
        return refused.message
    raise Harm(f"passed on: {kind} {more}")


@pytest.mark.exploit(47)
@pytest.mark.parametrize("kind", [*KINDS, "openrouter"])
def test_body_over_http_is_refused_or_sent_as_parsed(api: ApiServer, kind: str) -> None:
    form, path = ("chat", "openrouter/v1/chat/completions") if kind == "openrouter" else (kind, PATHS[kind])
    with calling(api) as caller:

        def send(more: dict[str, Any]) -> Any:
            return caller.client.post(path, content=bytes(encoded(form, more)), headers=caller.key(kind))

        refused = send({"plugins": [{"id": "web"}]})
        assert refused.status_code == 400 and "plugins" in refused.json()["error"]["message"]
        if api.seen or api.paths or caller.events:
            raise Harm("passed on")
        more = {"tools": [*HOSTED, TOOLS[form]], "service_tier": "flex", "patience": "high"}
        assert send(more).status_code == 200 and len(caller.events) == 1
        assert api.seen == [forwarded(caller.gateway, form, more)] and api.seen[0]["tools"] == [TOOLS[form]]


ROUTING: dict[str, Any] = {  # https://openrouter.ai/docs/api-reference/parameters
    "plugins": [{"id": "web"}], "models": ["openai/gpt-5.4-pro"], "route": "fallback", "fallbacks": ["x"],
    "provider": {"order": ["dear"]}, "preset": "mine", "transforms": ["middle-out"], "web_search_options": {},
}  # fmt: skip
ELSEWHERE: dict[str, dict[str, Any]] = {
    "chat": ROUTING | {
        "session_id": "s", "debug": {}, "best_of": 4, "n": 4, "chat_template_kwargs": {"x": {}},
        "mcp_servers": [{"url": "http://x"}], "extra_body": {"plugins": []},
    },
    "responses": ROUTING | {
        "background": True, "previous_response_id": "resp_1", "conversation": "conv_1", "prompt": {"id": "pmpt_1"},
        "context_management": [{"type": "compaction", "compact_threshold": 1}], "moderation": {"model": "m"},
        "max_tokens": 9, "n": 4,
    },
    "messages": ROUTING | {
        "mcp_servers": [{"type": "url", "url": "http://x"}], "container": "c", "user_profile_id": "u",
        "context_management": {"edits": [{"type": "compact_20260112"}]}, "inference_geo": "us", "fallback": {},
        "compaction": {}, "n": 4,
    },
}  # fmt: skip


@pytest.mark.exploit(47)
def test_every_field_that_leads_elsewhere_is_refused_by_its_name(gateway: Gateway) -> None:
    for kind, fields in ELSEWHERE.items():
        for name, value in fields.items():
            assert name in refuse(gateway, kind, {name: value}), (kind, name)


ITEMS: list[tuple[str, Any]] = [
    ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
    ("responses", {"input": [{"id": "msg_1"}]}),  # its type is optional
    ("responses", {"input": [{"type": None, "id": "msg_1"}]}),
    ("responses", {"input": [{"type": "message", "id": "msg_1"}]}),
    ("responses", {"input": ["msg_1"]}),
    ("responses", {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}),
    ("responses", {"input": [{"type": "file_search_call", "id": "fs_1", "queries": [], "status": "completed"}]}),
    ("responses", {"input": [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}]}),
    ("responses", {"input": [{"type": "compaction_trigger"}]}),
    ("responses", {"input": [{"type": "program", "id": "p", "call_id": "c", "code": "fetch()", "fingerprint": "f"}]}),
    ("responses", {"input": user({"type": "input_image", "image_url": "https://x/?told"})}),
    ("responses", {"input": user({"type": "input_image", "file_id": "file-1"})}),
    ("responses", {"input": user({"type": "input_file", "file_url": "https://x"})}),
    ("responses", {"input": user({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf,x"})}),
    ("responses", {"input": [{"type": "function_call_output", "call_id": "c",
                              "output": [{"type": "input_image", "image_url": "http://x"}]}]}),
    ("responses", {"tools": {"0": {"type": "web_search"}}}),
    ("responses", {"tool_choice": {"type": "web_search"}}),
    ("responses", {"tool_choice": {"type": "mcp", "server_label": "x"}}),
    ("chat", {"messages": user({"type": "image_url", "image_url": {"url": "https://x/?told"}})}),
    ("chat", {"messages": user({"type": "image_url", "image_url": "https://x/?told"})}),
    ("chat", {"messages": user({"type": "image_url", "imageUrl": {"url": "https://x/?told"}})}),
    ("chat", {"messages": user({"type": "image_url", "image_url": {"url": ["https://x/?told"]}})}),
    ("chat", {"messages": user({"type": "image_url", "image_url": {"url": " https://x/?told"}})}),
    ("messages", {"messages": user({"type": "image", "url": "https://x/?told"})}),
    ("messages", {"context_management": {"edits": [], "other": 1}}),
    ("messages", {"context_management": {"edits": [{"type": "compaction"}]}}),
    ("messages", {"context_management": [{"type": "compaction", "trigger": {"type": "input_tokens"}}]}),
    ("messages", {"messages": [{"role": "user", "content": "x", "trigger": {"image_url": "http://169.254.169.254/"}}]}),
    ("messages", {"tool_choice": {"type": "document"}}),
    ("chat", {"tool_choice": [{"type": "function"}]}),
    ("chat", {"messages": [{"type": "", "role": "user", "content": "x"}]}),
    ("messages", {"context_management": {"edits": {"type": "compact_20260112"}}}),
    ("chat", {"messages": user({"type": "video_url", "video_url": {"url": "https://x"}})}),
    ("chat", {"messages": user({"type": "file", "file": {"file_data": "https://x/a.pdf"}})}),
    ("chat", {"messages": user({"type": "file", "file": {"file_id": "f"}})}),
    ("chat", {"messages": user({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}})}),
    ("chat", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ("chat", {"tools": {"type": "openrouter:web_search"}}),
    ("messages", {"messages": user({"type": "image", "source": {"type": "url", "url": "https://x/?told"}})}),
    ("messages", {"messages": user({"type": "image", "source": {"type": "file", "file_id": "f"}})}),
    ("messages", {"messages": user({"type": "document", "source": {"type": "base64", "data": "JVBERi0="}})}),
    ("messages", {"messages": user({"type": "document", "source": {"type": "url", "url": "https://x"}})}),
    ("messages", {"messages": user({"type": "container_upload", "file_id": "f"})}),
    ("messages", {"messages": user({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})}),
    ("messages", {"system": [{"type": "document", "source": {"type": "url", "url": "https://x"}}]}),
    ("messages", {"messages": user({"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://x/?told"}}]})}),
]  # fmt: skip


@pytest.mark.exploit(47)
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_has_a_type_and_no_key_beyond_those_of_its_type(kind: str, gateway: Gateway) -> None:
    """What names an address elsewhere, and a picture that nothing says is one."""
    text = {"type": "input_text" if kind == "responses" else "text", "text": "t"}
    place, far = "input" if kind == "responses" else "messages", {"url": "http://169.254.169.254/"}
    more: list[dict[str, Any]] = [
        {"audio_url": far}, {"video": far}, {"video_url": far}, {"image_embeds": "x"}, {"image_embeds": {"a": "x"}},
        {"source": far}, {"citations": [far]}, {"image_url": far}, {"image_url": far["url"]}, {"input_audio": far},
        {"text": far}, {"text": [far]}, {"url": far["url"]}, {"file": far}, {"tools": [far]}, {"cache_control": far},
        {"source": far["url"]}, {"cache_control": far["url"]}, {"caller": far["url"]},
    ]  # fmt: skip
    for keys in more:
        for part in ({**text, **keys}, keys, {"type": None, **keys}, {"type": "image", **keys}, [[{**text, **keys}]]):
            refuse(gateway, kind, {place: user(part)})
            refuse(gateway, kind, {place: [{"role": "user", "content": part}]})
        refuse(gateway, kind, {place: [{"role": "user", "content": "x", **keys}]})
    for part in ({"image_url": {"url": PICTURE}}, {"image_url": PICTURE}, {"type": ["text"], "text": "t"}, {}, "t"):
        refuse(gateway, kind, {place: user(part)})
    sent = forwarded(gateway, kind, {place: user({**text, "audio_url": None, "annotations": [far]})})
    assert sent[place][0]["content"] == [text]


@pytest.mark.exploit(47)
def test_item_that_stands_for_something_elsewhere_is_refused(gateway: Gateway) -> None:
    for kind, more in ITEMS:
        refuse(gateway, kind, more)


SEARCHING = (  # models that search or run code at the vendor by themselves, or stand for others
    "gpt-4o-search-preview", "gpt-4o-mini-search-preview", "gpt-5-search-api", "o4-mini-deep-research", "sonar-pro",
    "perplexity/sonar", "openai/gpt-4o-search-preview", "groq/compound", "switchpoint/router", "openrouter/auto",
    "m:online", "m:ONLINE", "a/m:free:online", "m@preset/mine", "@preset/mine",
)  # fmt: skip


@pytest.mark.exploit(47)
def test_a_model_that_m_does_not_name_is_refused(gateway: Gateway) -> None:
    """The agent has no network: it must not choose a model that has one, or a dearer one."""
    others = (
        "gpt-5.4-pro", "m2", "M", "a", "free", "a/m:nitro", "a/m:floor", "openrouter/a", "/m", "m/", "claude-opus-4",
    )  # fmt: skip
    for kind in KINDS:
        for model in (*SEARCHING, *others):
            assert model in refuse(gateway, kind, {"model": model})
    assert gateway.meter.problem is None
    for kind, model in (("chat", "a/m:free"), ("chat", "a/m"), ("chat", "qwen3:7b"),
        ("chat", "nousresearch/hermes-4-70b"), ("messages", "m")):  # fmt: skip
        assert forwarded(gateway, kind, {"model": model})["model"] == model


@pytest.mark.exploit(47)
@pytest.mark.parametrize("model", SEARCHING)
def test_a_searching_model_that_m_names_is_refused(model: str, api: ApiServer) -> None:
    """Its searches have a price that no usage reports, and give the agent a network."""
    with calling(api, models=(f"openai/{model}", "m")) as caller:
        assert "--set agent_direct=true" in refuse(caller.gateway, "chat", {"model": model})


def test_an_agent_whose_model_is_not_named_ends_with_the_option(api: ApiServer) -> None:
    with calling(api, models=()) as caller:
        assert "-m m" in refuse(caller.gateway, "chat", {})
        problem = caller.gateway.meter.problem
        assert isinstance(problem, UsageError) and "-m m" in problem.hint and not caller.events


RUNNING = (
    "google_search", "googleSearch", "url_context", "urlContext", "code_execution", "codeExecution", "googleMaps",
    "google_search_retrieval", "enterpriseWebSearch", "computer_use", "retrieval",
)  # fmt: skip


@pytest.mark.exploit(47)
def test_a_tool_without_a_type_that_is_no_function_is_refused(gateway: Gateway) -> None:
    """LiteLLM's proxy and Google's APIs take these for tools that they run."""
    for kind in KINDS:
        for name in RUNNING:
            for tool in ({name: {}}, {"type": None, name: {}}, {**BARE, name: {}}, {"type": "function", name: {}}):
                refuse(gateway, kind, {"tools": [tool]})
                refuse(gateway, kind, {"tools": [TOOLS[kind], tool]})
        if kind != "messages":
            refuse(gateway, kind, {"tools": [BARE]})
    space = {"type": "namespace", "name": "n", "tools": [{"googleSearch": {}}]}
    refuse(gateway, "responses", {"tools": [space]})
    item = {"type": "additional_tools", "role": "developer", "tools": [{"googleSearch": {}}]}
    refuse(gateway, "responses", {"input": [*user(), item]})
    for bare in ({"name": "Bash"}, {"input_schema": {}}, {"name": {}, "input_schema": {}}, {}):
        refuse(gateway, "messages", {"tools": [bare]})
    assert forwarded(gateway, "messages", {"tools": [BARE]})["tools"] == [BARE]


@pytest.mark.exploit(47)
def test_a_key_that_no_tool_of_that_type_has_is_refused(gateway: Gateway) -> None:
    keys: dict[str, Any] = {
        "url": "http://x", "server_url": "http://x", "allowed_callers": ["code_execution_20250825"], "googleSearch": {},
        "headers": {}, "container": "c", "mcp_server_name": "s", "cache_control": {"type": "ephemeral", "url": "x"},
        "strict": {"url": "x"},
    }  # fmt: skip
    typed = [{"type": name, "name": "n"} for name in ("function", "custom", "bash_20250124", "text_editor_20250728")]
    for kind in KINDS:
        for name, value in keys.items():
            for tool in (*typed, *([BARE] if kind == "messages" else [])):
                refuse(gateway, kind, {"tools": [{**tool, name: value}]})
    nested = {"type": "function", "function": {"name": "f", "parameters": {}, "url": "http://x"}}
    refuse(gateway, "chat", {"tools": [nested]})
    for choice in ({"type": "function", "url": "http://x"}, {"type": "tool", "name": {}}, "web_search", ["auto"]):
        refuse(gateway, "chat", {"tools": [TOOLS["chat"]], "tool_choice": choice})
    for name, value in (("functions", [{"name": "f", "parameters": {}}]), ("function_call", "auto")):
        assert name in refuse(gateway, "chat", {name: value})


@pytest.mark.exploit(47)
def test_tools_that_pass_run_nowhere_in_litellms_gemini(gateway: Gateway) -> None:
    """Behind an address that is LiteLLM's proxy, tools are translated for Google: what comes out is functions alone."""
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

    forms = [{name: {}} for name in RUNNING] + [{"type": "function", "function": {"name": name}} for name in RUNNING]
    passed = 0
    for tool in forms:
        with suppress(RequestRefused):
            tools = json.loads(gateway.parse("chat", encoded("chat", {"tools": [tool]})).content)["tools"]
            passed += 1
            mapped = VertexGeminiConfig()._map_function(value=tools, optional_params={})
            if [[*kind] for kind in mapped] != [["function_declarations"]]:
                raise Harm(f"runs at the vendor: {mapped}")
    assert passed == len(RUNNING)


def test_a_stream_that_is_no_boolean_is_refused(gateway: Gateway) -> None:
    """A lenient server streams it, and no usage was asked for."""
    for kind in KINDS:
        for stream in ("true", 1, 0, "false", [], {"a": 1}, 1.0):
            assert "stream" in refuse(gateway, kind, {"stream": stream})
    for options in ("x", [1], 1):
        assert "stream_options" in refuse(gateway, "chat", {"stream": True, "stream_options": options})
    for kind in KINDS:
        for stream in (None, False, True):
            assert forwarded(gateway, kind, {"stream": stream}).get("stream", False) is bool(stream)


@pytest.mark.exploit(47)
def test_counting_tokens_reaches_nothing_either(api: ApiServer) -> None:
    """It is free, so a picture by its address would be a way out that nothing counts."""
    far = user({"type": "image", "source": {"type": "url", "url": "https://x/?told"}})
    with calling(api) as caller:

        def count(more: dict[str, Any]) -> int:
            path, key = "anthropic/v1/messages/count_tokens", caller.key("messages")
            return caller.client.post(path, json={"model": "m", "messages": user()} | more, headers=key).status_code

        for more in ({"messages": far}, {"mcp_servers": [{"url": "http://x"}]}, {"model": "m:online"}, {"model": "m2"}):
            if count(more) == 200 or api.paths:
                raise Harm(f"passed on: {more}")
        assert count({"tools": [{"type": "web_fetch_20250910", "name": "w"}]}) == 200 and len(api.paths) == 1


HOSTED = [{"type": name} for name in (
    "web_search", "web_search_preview", "file_search", "mcp", "code_interpreter", "image_generation", "shell",
    "programmatic_tool_calling", "tool_search", "computer_use_preview", "openrouter:web_search", "Function ",
    "web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset", "advisor_20260301",
    "tool_search_tool_regex_20251119",
)]  # fmt: skip


def hosted_in(value: Any) -> bool:
    """Whether a tool of the vendor's is anywhere in there."""
    if isinstance(value, dict):
        return value.get("type") in [tool["type"] for tool in HOSTED] or any(map(hosted_in, value.values()))
    return isinstance(value, list) and any(map(hosted_in, value))


@pytest.mark.exploit(47)
def test_tools_that_run_at_the_vendors_are_removed_everywhere(gateway: Gateway) -> None:
    """codex and Claude Code offer a web search by default: they go on without it."""
    space = {"type": "namespace", "name": "functions", "tools": [*HOSTED, {"type": "custom", "name": "exec"}]}
    deep = {"type": "namespace", "name": "outer", "tools": [space]}
    client = {"type": "tool_search", "execution": "client", "parameters": {}}
    items = [
        *user(), {"type": "additional_tools", "role": "developer", "tools": [*HOSTED, deep]},
        {"type": "tool_search_output", "execution": "client", "call_id": "c", "tools": [*HOSTED, FUNCTION]},
    ]  # fmt: skip
    for kind in KINDS:
        assert forwarded(gateway, kind, {"tools": [*HOSTED, TOOLS[kind]]})["tools"] == [TOOLS[kind]]
        assert not {"tools", "tool_choice"} & forwarded(gateway, kind, {"tools": HOSTED, "tool_choice": "auto"}).keys()
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [*HOSTED, FUNCTION]}}
    sent = forwarded(gateway, "chat", {"tools": [FUNCTION], "tool_choice": choice})
    assert sent["tool_choice"]["allowed_tools"]["tools"] == [FUNCTION]
    passed = forwarded(gateway, "responses", {"input": items})["input"]
    assert passed[1]["tools"][0]["tools"][0]["tools"] == [{"type": "custom", "name": "exec"}]
    if hosted_in(passed):
        raise Harm(f"passed on: {passed}")
    assert forwarded(gateway, "responses", {"tools": [client]})["tools"] == [client]


@pytest.mark.exploit(47)
def test_what_a_reply_is_kept_under_is_nothing(gateway: Gateway) -> None:
    for store in ({}, {"store": True}):
        assert forwarded(gateway, "responses", store)["store"] is False
    assert not {"store", "metadata"} & forwarded(gateway, "chat", {"store": True, "metadata": {"a": "b"}}).keys()


@pytest.mark.exploit(47)
def test_a_picture_is_charged_what_it_may_cost(api: ApiServer) -> None:
    """By an API that reports no usage."""
    api.fault = lambda *_: "silent"
    with calling(api) as caller:
        for place in ("content", "result"):
            parts = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]
            result = [{"type": "tool_result", "tool_use_id": "t", "content": parts}]
            messages = user(*(parts if place == "content" else result))
            assert caller.ask("messages", messages=messages).status_code == 200
        assert caller.ask("messages", messages=user()).status_code == 200
    pictured, nested, bare = (event["lost_tokens"] for event in caller.events)
    assert min(pictured, nested) > 50_000 > 5_000 > bare


@pytest.mark.exploit(47)
def test_unknown_fields_and_items_by_chance(gateway: Gateway) -> None:
    """Fuzz: 600 bodies with an item of a drawn type, a field that leads elsewhere in another API, or one whose name a
    lenient server could read as another."""
    rng = random.Random(5)
    words = sorted({name for fields in ELSEWHERE.values() for name in fields} - {"context_management", "max_tokens"})
    types = sorted({str(tool["type"]) for tool in HOSTED} | {"item_reference", "file", "url", "mcp_call", "input_file"})
    for _ in range(600):
        kind = rng.choice(KINDS)
        drawn = "".join(rng.choices(string.ascii_letters + "_-. \u00e9\x00", k=rng.randint(1, 12)))
        value = rng.choice([1, True, "x", {}, [], {"type": rng.choice(types)}, [{"type": rng.choice(types)}]])
        if rng.random() < 0.5:
            place = "input" if kind == "responses" else "messages"
            refuse(gateway, kind, {place: user({"type": rng.choice([*types, drawn]), "x": value})})
        else:
            word = rng.choice([*words, "model", "messages", "tools", "stream", "max_tokens"])
            spellings = [word.upper(), word.title(), f" {word}", f"{word} ", word.replace("s", "\u017f") + "\u212a"]
            refuse(gateway, kind, {rng.choice([*spellings, *(words if word in words else [])]): value})


def test_fields_that_no_api_has_yet_are_forwarded(gateway: Gateway) -> None:
    """An agent of next month is not disturbed."""
    fields = {"patience": "high", "think_longer": True, "steps": 4, "style": {"tone": ["dry"]}}
    for kind in KINDS:
        assert fields.items() <= forwarded(gateway, kind, fields).items()


@pytest.mark.exploit(47)
def test_fields_that_proxies_or_local_servers_follow_are_refused(gateway: Gateway) -> None:
    """Of LiteLLM, Azure, xAI, Qwen, vLLM: addresses, keys, stored data, searches, programs; and a prompt that is in
    a field of another API."""
    names = (
        "api_base", "base_url", "api_key", "custom_llm_provider", "aws_role_name", "extra_headers",
        "organization", "data_sources", "search_parameters", "enable_search", "chat_template", "kv_transfer_params",
        "logits_processors",
        "mm_processor_kwargs", "documents", "retrieval", "use_beam_search", "num_completions", "webhook", "callbacks",
        "connector_ids", "container_id", "vector_store_ids", "file_ids", "thread_id", "functions", "webhook_url",
        "code_interpreter", "max_new_tokens", "max_completion_tokens_total", "model_list", "region_name", "tiers",
        "user_config", "cached_content", "google", "deferred", "safety_model", "image_config", "enhancements", "trace",
    )  # fmt: skip
    far = {"type": "input_image", "image_url": "https://x/?told"}
    for kind in KINDS:
        for name in names:
            assert name in refuse(gateway, kind, {name: "x"})
        for name in ("input", "instructions", "system", "messages"):
            refuse(gateway, kind, {name: user(far)})


FORMS: list[tuple[str, dict[str, Any]]] = [
    *(("chat", {"model": name}) for name in ("\ud800", "\x1b[2J", "a b", "a\nb", "", "x" * 201, 5, None, "é")),
    ("chat", {"max_tokens": -1}), ("chat", {"max_tokens": "9"}), ("chat", {"n": 0}),
]  # fmt: skip


def test_field_of_another_form_is_refused(gateway: Gateway) -> None:
    for kind, more in FORMS:
        refuse(gateway, kind, more)
    assert gateway.meter.problem is None


def test_body_that_is_nested_too_deeply_is_refused(gateway: Gateway) -> None:
    bodies = [b"[1]", b"[" * 100_000]
    for opened in (
        b'"tools":[{"type":"namespace","name":"n","tools":[',
        b'"messages":[{"type":"tool_result","content":[',
    ):
        name, _, inner = opened.partition(b":[")
        ends = bytes(b"]}"[b"[{".index(mark)] for mark in reversed(inner) if mark in b"[{")
        for depth in (600, 3_000, 50_000):
            bodies.append(bytes(encoded("chat", {}))[:-1] + b",%s:[%s%s]}" % (name, inner * depth, ends * depth))
    for data in bodies:
        with pytest.raises(RequestRefused) as refused:
            gateway.parse("chat", bytearray(data))
        assert refused.value.status in (400, 413) and "\n" not in refused.value.message


def parsed(kind: Any, **more: Any) -> ModelRequest:
    return parse_request(kind, json.dumps(body(kind, **more)).encode())


def test_the_longest_of_several_limits_of_a_reply_is_reserved() -> None:
    assert parsed("chat", max_tokens=50, max_completion_tokens=900).length == 900
    assert parsed("chat", max_tokens=900, max_completion_tokens=50).length == 900
    assert parsed("messages", max_tokens=None).length is None


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_each_api_are_charged_50_000_tokens(kind: str) -> None:
    picture: dict[str, Any] = {
        "chat": {"type": "image_url", "image_url": {"url": PICTURE}},
        "responses": {"type": "input_image", "image_url": PICTURE},
        "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
    }[kind]
    place = "input" if kind == "responses" else "messages"
    plain = parsed(kind).tokens_in
    pictured = parsed(kind, **{place: [{"role": "user", "content": [picture, picture]}]}).tokens_in
    assert 100_000 < pictured - plain < 100_500


def test_a_document_as_base64_is_refused_and_its_text_is_not() -> None:
    """Each page of a PDF is a picture, too, and a packed one has many."""
    for media_type in ("application/pdf", None, "text/plain"):
        source = {"type": "base64", "media_type": media_type, "data": "JVBERi0="}
        with pytest.raises(RequestRefused, match="only pictures"):
            parsed("messages", messages=[{"role": "user", "content": [{"type": "document", "source": source}]}])
    source = {"type": "text", "media_type": "text/plain", "data": "a page"}
    parsed("messages", messages=[{"role": "user", "content": [{"type": "document", "source": source}]}])


def test_of_a_key_that_is_there_twice_what_was_checked_is_sent() -> None:
    data = json.dumps(body("chat")).encode()[:-1] + b', "model": "m2", "tools": [{"type": "web_search"}], "tools": []}'
    request = parse_request("chat", data)
    sent = json.loads(request.content)
    assert request.model == sent["model"] == "m2" and "tools" not in sent and request.content.count(b'"model"') == 1


AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mini-swe-agent": ("chat", {  # LiteLLM: the fields of completion()
        "temperature": 0.0, "parallel_tool_calls": True, "modalities": ["audio"], "audio": {"voice": "a"},
        "prediction": {"type": "content", "content": "x"},
        "tools": [{"type": "function", "function": {"name": "bash"}}],
        "messages": [
            {"role": "system", "content": "s"}, *user(),
            {"role": "assistant", "content": None, "reasoning_content": "r", "thinking_blocks": [{"type": "thinking"}],
             "tool_calls": [{"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "done", "cache_control": {"type": "ephemeral"}},
        ]}),
    "litellm": ("chat", {"temperature": 0, "stream": True, "reasoning_effort": "high", "stop": ["x"], "user": "u"}),
    "opencode": ("chat", {  # @openrouter/ai-sdk-provider
        "usage": {"include": True}, "reasoning": {"effort": "high"}, "prompt_cache_key": "s", "stream": True,
        "stream_options": {"include_usage": True}, "tool_choice": "auto", "top_p": 1, "reasoningEffort": "low",
        "messages": [{"role": "assistant", "content": "a", "reasoning_details": [
            {"type": "reasoning.text", "text": "t"}, {"type": "reasoning.encrypted", "data": "d"}]}, *user()]}),
    "codex": ("responses", {  # codex-rs/codex-api/src/common.rs, ResponsesApiRequest; items: protocol/src/models.rs
        "instructions": "i", "tools": [
            FUNCTION, {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}},
            {"type": "web_search", "external_web_access": False}],
        "tool_choice": "auto", "parallel_tool_calls": True, "reasoning": {"effort": "high", "summary": "auto"},
        "store": False, "stream": True, "include": ["reasoning.encrypted_content"], "service_tier": "flex",
        "prompt_cache_key": "k", "text": {"verbosity": "low", "format": {"type": "json_schema", "schema": {}}},
        "client_metadata": {"x": "y"}, "stream_options": {"include_obfuscation": False},
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "s"}],
             "encrypted_content": "gAAAA"},
            {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": "done"},
            {"type": "custom_tool_call", "call_id": "d", "name": "apply_patch", "input": "*** Begin Patch"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "ok"}]},
            {"type": "local_shell_call", "call_id": "e", "status": "completed", "action": {"type": "exec"}},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t"}]},
        ]}),
    "Claude Code": ("messages", {  # a request of 2.1 with thinking, tools, caching and context management
        "stream": True, "metadata": {"user_id": "u"}, "thinking": {"type": "adaptive"}, "max_tokens": 32000,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}], "temperature": 1,
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "speed": "fast",
        "output_config": {"effort": "high"}, "tool_choice": {"type": "auto"},
        "tools": [{"name": "Bash", "input_schema": {"type": "object"}, "eager_input_streaming": True},
                  {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
        "messages": [
            *user({"type": "text", "text": "t"}), {"role": "system", "content": "s"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "t", "name": "Bash", "input": {"type": "url", "url": "http://x"},
                 "caller": {"type": "direct"}}]},
            *user({"type": "tool_result", "tool_use_id": "t", "is_error": False, "content": [
                {"type": "text", "text": "ok"}, {"type": "tool_reference", "tool_name": "Read"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]}),
        ]}),
}  # fmt: skip
TAKEN_OUT = {"reasoningEffort", "service_tier", "client_metadata", "speed", "prediction", "modalities", "audio"}


@pytest.mark.parametrize("agent", AGENTS)
def test_the_known_agents_are_not_disturbed(agent: str, gateway: Gateway) -> None:
    kind, more = AGENTS[agent]
    sent = forwarded(gateway, kind, more)
    for name, value in more.items():
        if name == "tools":
            value = [tool for tool in value if not str(tool.get("type")).startswith("web_search")]
        assert name in TAKEN_OUT or sent[name] == value, name
    assert not TAKEN_OUT & sent.keys()
