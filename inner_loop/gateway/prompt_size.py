"""How many tokens a prompt can have at most, before it is sent: what a cap reserves for it.

No token of a text is shorter than a byte, so the bytes are a bound with any tokenizer, though of four times the tokens.
Agents send their whole conversation with each call, and the API has reported how many tokens an earlier one had. So a
prompt has at most the tokens of an earlier one and the bytes of those of its parts that the earlier one did not have.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from inner_loop.gateway.fields import Kind

_PARTS: dict[Kind, tuple[str, ...]] = {
    "chat": ("messages", "tools", "functions"),
    "responses": ("input", "instructions", "tools"),
    "messages": ("messages", "system", "tools"),
}
#: Fields that add nothing to a prompt, and may differ between calls of one conversation.
_BESIDE = {"metadata", "prompt_cache_key", "user", "stream", "stream_options", "cache_control"}
_LENGTHS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}
#: The API may leave them out of one prompt and not of the next, so they are always counted by their bytes.
_THOUGHTS = {"thinking", "redacted_thinking", "reasoning", "compaction"}
_THOUGHT_FIELDS = {"reasoning", "reasoning_content", "reasoning_details"}
_FRAME = 16  # tokens that a template adds around a part
_EARLIER = 4  # prompts of a model that are remembered

Part = tuple[str, int]  # digest and bytes


@dataclass(frozen=True)
class PromptParts:
    """The parts of a prompt, by their digest and size; ``thoughts`` are the bytes of those that are never known.
    ``settings``: digest of all that is not a part. Prompts are compared only if these are equal."""

    settings: str
    parts: Counter[Part]
    thoughts: int


class PromptSizes:
    """The sizes that the API reported, of the latest prompts."""

    def __init__(self) -> None:
        self._earlier: deque[tuple[PromptParts, int]] = deque(maxlen=_EARLIER)

    def most(self, prompt: PromptParts | None, loose: int) -> int:
        """Upper bound of a prompt's tokens. ``loose``: the bound by bytes alone."""
        if prompt is None:
            return loose
        alike = ((known, tokens) for known, tokens in self._earlier if known.settings == prompt.settings)
        return min([loose, *(tokens + _bytes_beyond(prompt, known) for known, tokens in alike)])

    def learn(self, prompt: PromptParts | None, tokens: int) -> None:
        if prompt is not None:
            self._earlier.append((prompt, tokens))


def parts_of(kind: Kind, body: dict[str, JsonValue], pictures: int) -> PromptParts | None:
    """None if the API may shorten the prompt, or if it has pictures: then its bytes, or their number, are the bound."""
    edits = json.dumps(body.get("context_management") or {})
    if pictures or "clear_tool_uses" in edits or body.get("truncation") not in (None, "disabled"):
        return None
    rest = {k: v for k, v in body.items() if k not in _BESIDE and k not in _LENGTHS and k not in _PARTS[kind]}
    parts: Counter[Part] = Counter()
    thoughts = 0
    for name in _PARTS[kind]:
        for one in _split(body.get(name)):
            text = json.dumps(one, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
            if _is_thought(one):
                thoughts += len(text) + _FRAME
            else:
                parts[hashlib.sha256(name.encode() + text).hexdigest(), len(text)] += 1
    settings = hashlib.sha256(json.dumps(rest, sort_keys=True).encode("utf-8", "replace")).hexdigest()
    return PromptParts(settings, parts, thoughts)


def _bytes_beyond(prompt: PromptParts, known: PromptParts) -> int:
    new = prompt.parts - known.parts
    return prompt.thoughts + _FRAME + sum((size + _FRAME) * count for (_, size), count in new.items())


def _split(content: JsonValue) -> Iterator[JsonValue]:
    """Blocks of messages, items, tools; without the marks of a cache, which wander from call to call."""
    if not isinstance(content, list):
        if content:
            yield content
        return
    for one in content:
        blocks = one.get("content") if isinstance(one, dict) else None
        if isinstance(one, dict) and isinstance(blocks, list) and blocks:
            yield {k: v for k, v in one.items() if k not in ("content", "cache_control")}
            yield from _split(blocks)
        elif isinstance(one, dict):
            yield {k: v for k, v in one.items() if k != "cache_control"}
        else:
            yield one


def _is_thought(one: JsonValue) -> bool:
    return isinstance(one, dict) and (one.get("type") in _THOUGHTS or bool(_THOUGHT_FIELDS & one.keys()))
