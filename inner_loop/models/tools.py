"""Tools that a model may call: the offer, the calls, and both in the OpenAI chat protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue


@dataclass(frozen=True)
class Tool:
    """``parameters`` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def wire(self) -> dict[str, JsonValue]:
        about: dict[str, JsonValue] = {"name": self.name, "description": self.description}
        return {"type": "function", "function": about | {"parameters": dict(self.parameters)}}


@dataclass(frozen=True)
class ToolCall:
    """``arguments`` is the model's text, which may be anything; ``id`` is what its result is sent under."""

    id: str
    name: str
    arguments: str

    @property
    def wire(self) -> dict[str, JsonValue]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True)
class Offer:
    """What goes with a call: tools, only named where ``closed``, for providers that want them named; or the JSON schema
    of the reply, as OpenAI's ``response_format``."""

    tools: Sequence[Tool] = ()
    closed: bool = False
    form: Mapping[str, Any] | None = None

    @property
    def wire(self) -> dict[str, JsonValue]:
        """Nothing where there is neither."""
        if not self.tools:
            return {"response_format": dict(self.form)} if self.form else {}
        return {"tools": [tool.wire for tool in self.tools], "tool_choice": "none" if self.closed else "auto"}


NOTHING = Offer()
