"""The command line's HTTP client for a contest's API; standard library only."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from arena.serving.client import no_answer
from programs.errors import (
    CredentialMissing,
    EnvironmentProblem,
    MetaloopError,
    NotComparable,
    NotFound,
    UsageError,
)
from programs.text import one_line

if TYPE_CHECKING:
    from pydantic import JsonValue

API, API_HEADER = 1, "metaloop-api"  # the version of requests and replies; hosts from before said none, and were 1
SECONDS = 30.0
MOST_ANSWER = 32 << 20


class RequestRejected(UsageError):
    """The host rejected the request; ``detail``: its error."""

    def __init__(self, message: str, hint: str, detail: dict[str, JsonValue]) -> None:
        super().__init__(message, hint=hint)
        self.detail = detail


class ContestClient:
    """A client of one host, with an optional token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"{url!r} is not the URL of a contest", hint="--to http://HOST:PORT")
        self.base, self.token = f"{parts.scheme}://{parts.netloc}", token

    def get(self, path: str) -> dict[str, JsonValue]:
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: Mapping[str, str]) -> dict[str, JsonValue]:
        return self._ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def enter(self, raw: bytes, parent: str = "") -> dict[str, JsonValue]:
        """Send a program; on return the host has stored it. Raises Turned, with the lint messages in its detail."""
        path = "/api/v1/entries" + (f"?parent={quote(parent, safe='')}" if parent else "")
        return self._ask("POST", path, raw, {"Content-Type": "text/markdown; charset=utf-8"})

    def need_token(self) -> None:
        if not self.token:
            hint = "--token TOKEN, or METALOOP_TOKEN; metaloop contest join --to URL --name NAME gets one"
            raise CredentialMissing("this command needs your token", hint=hint)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> dict[str, JsonValue]:
        spoken = {**headers, API_HEADER: str(API)}
        request = urllib.request.Request(self.base + path, data=body, method=method, headers=spoken)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                refuse_other(answer.headers.get(API_HEADER, "1"), self.base)
                body_json: dict[str, JsonValue] = json.loads(answer.read(MOST_ANSWER))
                return body_json
        except urllib.error.HTTPError as error:
            raise error_of(error.code, error.read(MOST_ANSWER)) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise no_answer(self.base, error, "is metaloop contest serve running there?") from None


def refuse_other(version: str, host: str) -> None:
    """Raise NotComparable where the host speaks another version of the API: its replies could be misread."""
    if version != str(API):
        raise NotComparable(
            f"{host} speaks version {one_line(version)[:20]} of the contest API, this metaloop version {API}",
            hint="install the version of metaloop that the contest's rules name",
        )


def lint_lines(reply: Mapping[str, JsonValue], file: str) -> list[str]:
    """The lint messages in a reply, one line each."""
    lint = reply.get("lint")
    messages = [m for m in lint if isinstance(m, dict)] if isinstance(lint, list) else []
    return [f"{m.get('file') or file}:{m['line']}: {m['level']}: {m['message']} [{m['code']}]" for m in messages]


def error_of(status: int, body: bytes) -> MetaloopError:
    """The error for a response with a status of 400 or above."""
    try:
        detail = json.loads(body)["error"]
        message, hint = str(detail["message"]), str(detail.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return EnvironmentProblem(f"the host answered {status}: {body[:200].decode('utf-8', 'replace')}")
    if status == 401:
        return CredentialMissing(message, hint=hint)
    return NotFound(message, hint=hint) if status == 404 else RequestRejected(message, hint, detail)
