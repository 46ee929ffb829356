"""Where the gateway of model APIs leads: one route for each API whose key the user has, and what an agent is told.

A route takes the real key from our environment and stays outside of the sandbox. The agent is given the same variables
with the gateway's address and a pass that is worth nothing elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from programs.errors import UsageError

Protocol = Literal["openai", "anthropic"]
LOCAL = ("127.0.0.1", "localhost", "::1")


class Upstream(BaseModel):
    """An API that an agent talks to, as its recipe names it; ``url`` is where it is unless one of ``base`` says else.

    ``base``: variables that carry its address, ``keys``: its key; the first that is set here counts, and the agent is
    given all of them. ``tokens``: variables of ours whose value is sent as a bearer token where the protocol has keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Protocol
    url: str
    base: list[str] = Field(min_length=1)
    keys: list[str] = Field(min_length=1)
    tokens: list[str] = Field(default_factory=list)

    @property
    def variables(self) -> set[str]:
        return {*self.base, *self.keys, *self.tokens}


#: What an agent without a recipe is offered.
COMMON = {
    "openai": Upstream(
        protocol="openai", url="https://api.openai.com/v1", base=["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        keys=["OPENAI_API_KEY"],
    ),
    "anthropic": Upstream(
        protocol="anthropic", url="https://api.anthropic.com", base=["ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"],
        keys=["ANTHROPIC_API_KEY"], tokens=["ANTHROPIC_AUTH_TOKEN"],
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Route:
    """One API behind the gateway. ``url`` has no slash at its end; ``secret`` is sent as ``header``."""

    name: str
    protocol: Protocol
    url: str
    header: str
    secret: str = field(repr=False)

    @property
    def prefix(self) -> str:
        """The path that leads here."""
        return prefix(self.name, self.protocol)

    @property
    def local(self) -> bool:
        return urlsplit(self.url).hostname in LOCAL

    @property
    def chooses_models(self) -> bool:
        """Whether names of models may stand for others there: OpenRouter, under whichever name."""
        host = urlsplit(self.url).hostname or ""
        return self.name == "openrouter" or host == "openrouter.ai" or host.endswith(".openrouter.ai")

    def authorization(self) -> str:
        return f"Bearer {self.secret}" if self.header == "authorization" else self.secret


def routes(upstreams: Mapping[str, Upstream], ours: Mapping[str, str] = os.environ) -> tuple[Route, ...]:
    """One for each API that there is a key for. Raises UsageError where a variable holds no address."""
    open_routes = []
    for name, upstream in upstreams.items():
        key = _first(upstream.keys, ours)
        token = _first(upstream.tokens, ours)
        if not (key or token):
            continue
        variable = next((one for one in upstream.base if ours.get(one)), "")
        url = _address(ours[variable], variable) if variable else upstream.url
        bearer = upstream.protocol == "openai" or not key
        open_routes.append(
            Route(name, upstream.protocol, url, "authorization" if bearer else "x-api-key", key or token)
        )
    return tuple(open_routes)


def prefix(name: str, protocol: Protocol) -> str:
    """Clients of OpenAI's protocol end their base URL with the version."""
    return f"/{name}/v1/" if protocol == "openai" else f"/{name}/"


def bases(upstreams: Mapping[str, Upstream], address: str) -> dict[str, str]:
    """Name of an API → its base URL at the gateway, whether or not there is a key for it."""
    return {name: address + prefix(name, one.protocol).rstrip("/") for name, one in upstreams.items()}


def given(upstreams: Mapping[str, Upstream], open_ones: tuple[Route, ...], address: str, token: str) -> dict[str, str]:
    """The variables of the agent: the gateway's addresses, and ``token``, its pass, in the place of keys."""
    variables: dict[str, str] = {}
    for route in open_ones:
        upstream = upstreams[route.name]
        variables |= dict.fromkeys(upstream.base, bases(upstreams, address)[route.name])
        variables |= dict.fromkeys(upstream.keys, token)
    return variables


def _first(names: list[str], ours: Mapping[str, str]) -> str:
    """The first of some variables that is set; keys are often read from files, with the end of a line."""
    return next((text for name in names if (text := ours.get(name, "").strip())), "")


def _address(text: str, variable: str) -> str:
    parts = urlsplit(text)
    try:
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        plain = False
    if not plain or "@" in parts.netloc or parts.query or parts.fragment:
        hint = f"export {variable}=https://HOST/PATH, without a name, a query or a fragment"
        raise UsageError(f"{variable} holds no address of an API", hint=hint)
    return text.rstrip("/")
