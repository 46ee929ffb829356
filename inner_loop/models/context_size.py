"""The context size of models: as the user set it, else as the endpoint reports it, else from LiteLLM's table.

Servers of local models often have a context of 4,096 tokens. llama.cpp's reports it at ``/props``, vLLM and LM Studio
in the list of models, Ollama for models that are loaded (``/api/ps``) or whose Modelfile sets ``num_ctx``
(``/api/show``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inner_loop.models.bounds import FRAME
from inner_loop.models.contract import Message
from inner_loop.models.provider import litellm
from inner_loop.models.tools import NOTHING, Offer
from inner_loop.run_context import REPLY_SHARE, ModelConfig
from programs.errors import Corrupt, UsageError

SAFE_BYTES = 3  # per token: English has 4 to 5, code and numbers 3 to 4; what prompts that must fit should assume
MOST_BYTES = 6  # per token: hardly any text has more
SHORTENED_BYTES = 8  # per reported token: the server cannot have read the whole prompt
SETTINGS = "settings.json"  # of a recording
SECONDS = 3.0  # for a server to report its context size
ANSWER_BYTES = 4 << 20
OLLAMA = "http://127.0.0.1:11434"
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)\s*$", re.MULTILINE)


def settled(config: ModelConfig, *, replay: Path | None = None) -> ModelConfig:
    """The configuration with the context size of its models, and with replies that fit into it.

    ``replay``: the recording that answers; what it was made with counts, and no server is called.
    Raises UsageError where a reply of --set reply_tokens leaves no room for a prompt.
    """
    if not config.models:
        return config
    tokens = config.context_tokens
    if tokens is None:
        tokens = _of_recording(replay) if replay else smallest(config.models)
    if tokens is None:
        return config
    fits = max(1, tokens // REPLY_SHARE)
    changes = {"context_tokens": tokens}
    if "reply_tokens" not in config.model_fields_set:
        changes["reply_tokens"] = min(config.reply_tokens, fits)
    elif config.reply_tokens >= tokens:
        raise UsageError(
            f"--set reply_tokens={config.reply_tokens} leaves no room for a prompt in a context of {tokens} tokens",
            hint=f"--set reply_tokens={fits}, or a server with a larger context",
        )
    return config.model_copy(update=changes)


def prompt_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens a prompt has with any tokenizer in use, on the safe side."""
    return FRAME + sum(FRAME + usual_tokens(message) for message in messages)


def offer_tokens(offer: Offer) -> int:
    """The same for the descriptions of tools."""
    return -(-sum(len(str(tool.wire)) for tool in offer.tools) // SAFE_BYTES)


def fits(messages: Sequence[Message], context_tokens: int | None, reply_tokens: int, spare: int = 0) -> bool:
    """Whether messages and the longest reply fit into a context; into one of unknown size everything does."""
    return context_tokens is None or prompt_tokens(messages) + reply_tokens + spare <= context_tokens


def usual_tokens(message: Message) -> int:
    """About how many tokens a message has with any tokenizer in use; English and code have 3.4 bytes each with
    OpenAI's."""
    return -(-bytes_of([message]) // SAFE_BYTES)


def least_tokens(messages: Sequence[Message], offer: Offer = NOTHING) -> int:
    """A prompt has hardly fewer tokens than this, whatever the tokenizer."""
    return (bytes_of(messages) + sum(len(str(tool.wire)) for tool in offer.tools)) // MOST_BYTES


def bytes_of(messages: Sequence[Message]) -> int:
    return sum(len(message.whole.encode("utf-8", "replace")) for message in messages)


def note_settings(folder: Path, config: ModelConfig) -> None:
    """Store in a recording what its prompts depend on."""
    if config.context_tokens is not None:
        (folder / SETTINGS).write_text(json.dumps({"context_tokens": config.context_tokens}) + "\n", "utf-8")


def _of_recording(folder: Path) -> int | None:
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        return _tokens(json.loads(path.read_text("utf-8"))["context_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path}: {error}", hint="record it again") from None


def smallest(models: Sequence[str]) -> int | None:
    """Of those models whose context size is known; None if none is."""
    return min((tokens for model in models if (tokens := of_model(model))), default=None)


def of_model(model: str) -> int | None:
    """What the endpoint of a model reports, else LiteLLM's table, which does not describe a user's own server."""
    base, name = _endpoint(model)
    return of_endpoint(base, name) if base else _of_table(model)


def of_endpoint(base: str, name: str) -> int | None:
    """``base`` as in OPENAI_API_BASE; None if the server reports no context size or does not answer."""
    import httpx

    key = os.environ.get("OPENAI_API_KEY", "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(headers=headers, timeout=SECONDS, follow_redirects=False, trust_env=False) as http:
            return next(_reported(http, base.rstrip("/"), name), None)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError):
        return None


def _reported(http: Any, base: str, name: str) -> Iterator[int]:
    """The context sizes that a server reports, most reliable first."""
    root = base.removesuffix("/v1")
    props = _json(http, "GET", f"{root}/props")  # llama.cpp: of one slot, which is what a request gets
    yield from _each([_at(props, "default_generation_settings", "n_ctx")])
    yield from _each(_at(one, "context_length") for one in _rows(_json(http, "GET", f"{root}/api/ps"), "models", name))
    if isinstance(shown := _json(http, "POST", f"{root}/api/show", {"model": name}), dict):
        yield from _each(_NUM_CTX.findall(str(shown.get("parameters", ""))))
    keys = ("max_model_len", "loaded_context_length", "context_length")
    for path in (f"{base}/models", f"{root}/api/v0/models"):
        for one in _rows(_json(http, "GET", path), "data", name):
            yield from _each(_at(one, key) for key in keys)


def _json(http: Any, method: str, url: str, body: Any = None) -> Any:
    """The answer to one request as JSON; None unless it is a success."""
    with http.stream(method, url, json=body) as answer:
        if answer.status_code != 200:
            return None
        data = b""
        for part in answer.iter_bytes():
            data += part
            if len(data) > ANSWER_BYTES:
                return None
    try:
        return json.loads(data)
    except ValueError:
        return None


def _rows(body: Any, key: str, name: str) -> list[Any]:
    """The entries of that model in a list of models; Ollama adds ``:latest`` to a name without a tag."""
    listed = body.get(key) if isinstance(body, dict) else None
    names = (name, f"{name}:latest")
    rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [one for one in rows if any(one.get(field) in names for field in ("id", "name", "model"))]


def _at(body: Any, *keys: str) -> Any:
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def _each(values: Any) -> Iterator[int]:
    for value in values:
        if (tokens := _tokens(value)) is not None:
            yield tokens


def _tokens(value: Any) -> int | None:
    """A plausible context size; a server may report anything."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return value if type(value) is int and 512 <= value <= 1 << 30 else None


def _endpoint(model: str) -> tuple[str, str]:
    """(address, the model's name there) of a server that is the user's own choice; no address for a provider's."""
    provider, _, name = model.partition("/")
    if provider in ("ollama", "ollama_chat"):
        return os.environ.get("OLLAMA_API_BASE") or OLLAMA, name
    if provider in ("openai", "hosted_vllm", "lm_studio", "llamafile"):
        variables = (
            ("OPENAI_BASE_URL", "OPENAI_API_BASE") if provider == "openai" else (f"{provider.upper()}_API_BASE",)
        )
        base = next((os.environ[one] for one in variables if os.environ.get(one)), "")
        return ("" if "//api.openai.com" in base else base), name
    return "", name


def _of_table(model: str) -> int | None:
    try:
        return _tokens(litellm().get_model_info(model).get("max_input_tokens"))
    except Exception:  # the library may raise anything for an unknown model
        return None
