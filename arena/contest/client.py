"""The command line's client for a contest's API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NotRequired, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from analysis.ledger.json_values import first_fault
from arena.contest.ranking.views import AcceptedRow
from arena.serving.client import fetch, http_address, no_answer, refusal
from programs.common.bounded import json_value
from programs.common.errors import CredentialMissing, EnvironmentProblem, NotComparable, UsageError
from programs.common.text import one_line

API, API_HEADER = 2, "metaloop-api"  # the version of requests and replies
MOST_ANSWER = 8 << 20
T = TypeVar("T")


class Joined(TypedDict):
    """The answer to a new entrant."""

    name: str
    token: str


class LintMessage(TypedDict):
    file: NotRequired[str]
    line: int
    level: str
    message: str
    code: str


class ContestClient:
    """A client of one host, with an optional token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = http_address(url)
        if parts is None:
            raise UsageError(f"{url!r} is not the URL of a contest", hint="--to http://HOST:PORT")
        self.base, self.token = f"{parts.scheme}://{parts.netloc}", token

    def get(self, path: str, kind: type[T]) -> T:
        return self._ask(path, kind, None, {})

    def join(self, name: str, code: str) -> Joined:
        body = json.dumps({"name": name, "code": code}).encode()
        return self._ask("/api/v1/join", Joined, body, {"Content-Type": "application/json"})

    def enter(self, raw: bytes) -> AcceptedRow:
        """Send a program; on return the host has stored it. Raises RequestRejected, with lint messages in its
        detail."""
        return self._ask("/api/v1/entries", AcceptedRow, raw, {"Content-Type": "text/markdown; charset=utf-8"})

    def need_token(self) -> None:
        if not self.token:
            hint = "--token TOKEN, or METALOOP_TOKEN; metaloop contest join --to URL --name NAME gets one"
            raise CredentialMissing("this command needs your token", hint=hint)

    def _ask(self, path: str, kind: type[T], body: bytes | None, headers: dict[str, str]) -> T:
        """The JSON of an answer, once it has been checked to be of that kind."""
        headers = {**headers, API_HEADER: str(API)}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = fetch(self.base + path, body, headers, MOST_ANSWER)
        except OSError as error:
            raise no_answer(self.base, error, "is metaloop contest serve running there?") from None
        if answer.status >= 300:
            start = one_line(answer.body[:200].decode("utf-8", "replace"))
            raise refusal(answer) or EnvironmentProblem(f"the host answered {answer.status}: {start}")
        refuse_other(answer.headers.get(API_HEADER, str(API)), self.base)
        try:
            checked: T = json_value(answer.body)
            TypeAdapter(kind).validate_python(checked)
        except ValueError as error:
            fault = first_fault(error) if isinstance(error, ValidationError) else one_line(str(error))[:100]
            raise EnvironmentProblem(f"the answer of {self.base} is malformed: {fault}") from None
        return checked


def refuse_other(version: str, host: str) -> None:
    """Raise NotComparable where the host speaks another version of the API: its replies could be misread."""
    if version != str(API):
        raise NotComparable(
            f"{host} speaks version {one_line(version)[:20]} of the contest API, this metaloop version {API}",
            hint="install the version of metaloop that the contest's rules name",
        )


def lint_lines(lint: JsonValue | Sequence[LintMessage], file: str) -> list[str]:
    """Lint messages of a host, one line each; none of what is no list of them."""
    try:
        messages = TypeAdapter(list[LintMessage]).validate_python(lint)
    except ValidationError:
        return []
    return [
        one_line(f"{m.get('file') or file}:{m['line']}: {m['level']}: {m['message']} [{m['code']}]") for m in messages
    ]
