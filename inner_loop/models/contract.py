"""The request to a language model and its reply, independent of providers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import JsonValue

from inner_loop.models.scrub import scrub
from programs.common.errors import EnvironmentProblem

SAFE_BYTES = 3  # per token: English has 4 to 5, code and numbers 3 to 4
FRAME = 16  # tokens that a chat template adds around each message and around all of them; OpenAI's adds 3 or 4


@dataclass(frozen=True)
class Message:
    """``volatile`` is sent after ``text`` but is no part of the request's identity: logs contain wall times, which
    differ between executions."""

    role: Literal["system", "user", "assistant"]
    text: str
    volatile: str = ""

    @property
    def whole(self) -> str:
        return self.text + self.volatile

    @property
    def wire(self) -> dict[str, JsonValue]:
        """In the OpenAI chat protocol."""
        return {"role": self.role, "content": self.whole}

    @property
    def clean(self) -> Message:
        """Without secrets."""
        return replace(self, text=scrub(self.text), volatile=scrub(self.volatile))


class PromptTooLong(EnvironmentProblem):
    """A prompt exceeds the context of every model that may answer; another prompt may fit. Its message contains
    ``WORDS``, by which a recording of it is recognized."""

    WORDS = "the prompt is too long"


def request_id(
    models: Sequence[str], messages: Sequence[Message], max_tokens: int, form: Mapping[str, Any] | None = None
) -> str:
    """SHA-256 of a request: the models that may answer, the messages without volatile text, the length, the form."""
    body = [list(models), [[message.role, message.text] for message in messages], max_tokens]
    if form:
        body.append(wire_of(form))
    return hashlib.sha256(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()


def wire_of(form: Mapping[str, Any] | None) -> dict[str, Any]:
    """What goes with the messages: the JSON schema of the reply, if it has one."""
    return {"response_format": dict(form)} if form else {}


def prompt_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens a prompt has with any tokenizer in use, on the safe side."""
    return FRAME + sum(FRAME - (-bytes_of([message]) // SAFE_BYTES) for message in messages)


def fits(messages: Sequence[Message], context_tokens: int | None, reply_tokens: int, spare: int = 0) -> bool:
    """Whether messages and the longest reply fit into a context; into one of unknown size everything does."""
    return context_tokens is None or prompt_tokens(messages) + reply_tokens + spare <= context_tokens


def bytes_of(messages: Sequence[Message]) -> int:
    return sum(len(message.whole.encode("utf-8", "replace")) for message in messages)
