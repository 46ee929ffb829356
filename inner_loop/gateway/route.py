"""The gateway's routes, one for each API whose key the user has, and the variables that the agent receives.

A route takes the real key from our environment, outside of the sandbox. The agent receives the same variables with the
gateway's address and a token that is useless elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from programs.common.errors import UsageError

Protocol = Literal["openai", "anthropic"]
LOCAL = ("127.0.0.1", "localhost", "::1")


class Upstream(BaseModel, frozen=True, extra="forbid"):
    """An API that an agent uses, as its recipe names it. ``url`` is its address unless a variable of ``base`` sets
    another.

    ``base``: variables with its address, ``keys``: with its key; the first one set here counts, and the agent receives
    all of them. ``tokens``: variables of ours whose value is sent as a bearer token if the protocol uses keys.
    """

    protocol: Protocol
    url: str
    base: list[str] = Field(min_length=1)
    keys: list[str] = Field(min_length=1)
    tokens: list[str] = []

    def prefix(self, name: str) -> str:
        """The path of this API at the gateway; clients of OpenAI's protocol end their base URL with the version."""
        return f"/{name}/v1/" if self.protocol == "openai" else f"/{name}/"


#: The APIs of an agent without a recipe.
COMMON = {
    "openai": Upstream(
        protocol="openai",
        url="https://api.openai.com/v1",
        base=["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        keys=["OPENAI_API_KEY"],
    ),
    "anthropic": Upstream(
        protocol="anthropic",
        url="https://api.anthropic.com",
        base=["ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"],
        keys=["ANTHROPIC_API_KEY"],
        tokens=["ANTHROPIC_AUTH_TOKEN"],
    ),
}


@dataclass(frozen=True)
class Route:
    """One API behind the gateway. ``url`` has no slash at its end; ``prefix`` is its path at the gateway;
    ``authorization`` is the header that contains the ``secret``."""

    name: str
    protocol: Protocol
    url: str
    prefix: str
    secret: str = field(repr=False)
    authorization: dict[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def routes(upstreams: Mapping[str, Upstream], ours: Mapping[str, str] = os.environ) -> tuple[Route, ...]:
    """One for each API with a key. Raises UsageError if a variable is not an address."""
    open_routes = []
    for name, upstream in upstreams.items():
        key = _first(upstream.keys, ours)
        if secret := key or _first(upstream.tokens, ours):
            variable = next((variable_ for variable_ in upstream.base if ours.get(variable_)), "")
            url = _address(ours[variable], variable) if variable else upstream.url
            is_bearer = upstream.protocol == "openai" or not key
            header = {"authorization": f"Bearer {secret}"} if is_bearer else {"x-api-key": secret}
            open_routes.append(Route(name, upstream.protocol, url, upstream.prefix(name), secret, header))
    return tuple(open_routes)


def _first(names: list[str], ours: Mapping[str, str]) -> str:
    """The first of some variables that is set; keys are often read from files, with a line end."""
    return next((text for name in names if (text := ours.get(name, "").strip())), "")


def _address(text: str, variable: str) -> str:
    parts = urlsplit(text)
    try:
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        plain = False
    if not plain or "@" in parts.netloc or parts.query or parts.fragment:
        hint = f"export {variable}=https://HOST/PATH, without user name, query or fragment"
        raise UsageError(f"{variable} is not the address of an API", hint=hint)
    return text.rstrip("/")
