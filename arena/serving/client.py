"""HTTP of our clients: one request to one host, without redirects, with limits of time and size."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from pydantic import JsonValue

from programs.common.bounded import json_value
from programs.common.errors import CredentialMissing, EnvironmentProblem, MetaloopError, NotFound, UsageError
from programs.common.text import one_line

SECONDS = 30.0  # of silence
MOST_SECONDS = 120.0  # of a whole answer
MOST_WORDS = 500  # characters of a host's message


@dataclass(frozen=True)
class Answer:
    """A host's answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RequestRejected(UsageError):
    """The host rejected the request; ``detail``: its error."""

    def __init__(self, message: str, hint: str, detail: dict[str, JsonValue] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.detail = detail or {}


def http_address(url: str) -> SplitResult | None:
    """The parts of an http address; None for anything else, and with a password, blanks or control characters."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
        return parts if usable and url.isprintable() and " " not in url else None
    except ValueError:
        return None


def is_private(url: str) -> bool:
    """Whether what is sent is safe from readers between client and host: https, or http to this machine."""
    parts = http_address(url)
    return parts is not None and (parts.scheme == "https" or _is_loopback(parts))


def fetch(url: str, body: bytes | None, headers: Mapping[str, str], most: int) -> Answer:
    """Ask a host once: POST with a body, else GET. Redirects are not followed: they could lead a token, or a request
    from inside a network, elsewhere. Of a refusal the first ``most`` bytes are read; with 0 no body is.

    Raises OSError without a whole answer, EnvironmentProblem for one of more than ``most`` bytes.
    """
    import httpx

    try:
        return asyncio.run(_fetch(url, body, headers, most))
    except TimeoutError:
        raise TimeoutError(f"no whole answer within {MOST_SECONDS:.0f} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:  # of a proxy's package
        raise ConnectionError(one_line(str(error), 200) or type(error).__name__) from error


async def _fetch(url: str, body: bytes | None, headers: Mapping[str, str], most: int) -> Answer:
    import httpx

    client = httpx.AsyncClient(
        verify=ssl.create_default_context(),
        trust_env=not _is_loopback(urlsplit(url)),  # no proxy stands between this machine and itself
        timeout=SECONDS,
        follow_redirects=False,
    )
    every = {"Accept-Encoding": "identity", **headers}
    request = client.build_request("GET" if body is None else "POST", url, content=body, headers=every)
    async with asyncio.timeout(MOST_SECONDS), client:
        answer, raw = await client.send(request, stream=True), bytearray()
        if most:
            async for piece in answer.aiter_raw():  # not unpacked
                raw += piece
                if len(raw) > most:
                    break
        if len(raw) > most and answer.is_success:
            raise EnvironmentProblem(f"the answer of {one_line(url, 200)} is larger than {most >> 10} KB")
        return Answer(answer.status_code, dict(answer.headers), bytes(raw[:most]))


def refusal(answer: Answer) -> MetaloopError | None:
    """The host's own refusal. None where something between it and here answered: a proxy may be configured anew."""
    if 300 <= answer.status < 400:
        return UsageError(f"HTTP {answer.status}", hint="redirects are not followed")
    try:
        detail = json_value(answer.body)["error"]
        message, hint = (one_line(str(detail.get(name, "")), MOST_WORDS) for name in ("message", "hint"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if answer.status in (401, 404):
        return {401: CredentialMissing, 404: NotFound}[answer.status](message, hint=hint)
    return RequestRejected(message, hint, detail)


def bad_certificate(error: BaseException) -> bool:
    """Whether the host's certificate was refused, so that the same request fails again."""
    cause: BaseException | None = error
    while isinstance(cause, Exception) and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def no_answer(host: str, error: Exception, hint: str) -> EnvironmentProblem:
    if bad_certificate(error):
        hint = "for a certificate that the host has signed itself, get its file and set SSL_CERT_FILE=FILE"
    return EnvironmentProblem(f"no answer from {host}: {error}", hint=hint)


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name
        return False
