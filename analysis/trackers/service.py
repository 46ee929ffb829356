"""A tool's server: whether it answers, within seconds, and its client's errors in one line."""

from __future__ import annotations

import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from programs.errors import CredentialMissing, EnvironmentProblem, MetaloopError, UsageError

SECONDS = 5.0
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
CLIENTS = ("mlflow", "wandb", "trackio", "requests", "urllib3", "httpx", "gradio_client", "sqlalchemy")


def bare(address: str) -> str:
    """The address without a user's name and password."""
    head, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else address


def one_line(error: Exception) -> str:
    """Its first line, without the page that a web server answered."""
    return str(error).strip().partition("\n")[0].partition(" Response body:")[0].rstrip(" .,:")


def named(variable: str, address: str) -> str:
    return f"{variable}{': ' if '=' in variable else '='}{bare(address)}"


def require_address(address: str, variable: str, kinds: Sequence[str], use: str = "http://HOST:PORT") -> None:
    """Raises UsageError, which says what to ``use``, where an address begins with none of ``kinds``."""
    what, start = named(variable, address), address.partition(":")[0].partition("+")[0]
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", address):
        raise UsageError(f"{what} is not an address: http:// is missing", hint=f"{variable}=http://{address}")
    if start.lower() not in kinds:
        raise UsageError(f"{what} is not an address; use {use}", hint=f"correct {variable}")


def require_answer(address: str, variable: str) -> None:
    """Raises EnvironmentProblem where no server answers at an address that ``variable`` names, UsageError where it is
    not an address."""
    what, url = named(variable, address), urlsplit(bare(address))
    kind = url.scheme.partition("+")[0]
    try:
        host, port = url.hostname, url.port
        if kind in ("http", "https") and not host:
            raise ValueError("it names no host")
        if kind in ("http", "https"):
            urlopen(bare(address), timeout=SECONDS).close()
        elif kind in PORTS and host:
            socket.create_connection((host, port or PORTS[kind]), SECONDS).close()
    except HTTPError:
        return  # a server answers, and the client has the credentials
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # the client has certificates of its own
        hint = f"start the server, or correct {variable}"
        raise EnvironmentProblem(f"no server answers at {what}: {reason}", hint=hint) from None
    except ValueError as error:
        raise UsageError(f"{what} is not an address: {error}", hint=f"correct {variable}") from None


@contextmanager
def client_errors(what: str, kind: type[MetaloopError] = EnvironmentProblem) -> Iterator[None]:
    """Reports an error of a tool's client in one line; ``what``: the tool with its variable and address."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        line = one_line(error)
        status: Any = getattr(error, "get_http_status_code", lambda: None)()
        if "credential configuration failed" in line:  # MLflow's, of Databricks
            cure = "set DATABRICKS_HOST and DATABRICKS_TOKEN, or log in with databricks auth login"
            raise CredentialMissing(f"{what}: there are no credentials", hint=cure) from error
        if status in (401, 403) or type(error).__name__ == "AuthenticationError":
            raise CredentialMissing(f"{what} refuses the credentials: {line}", hint="docs/trackers.md") from error
        if status == 404:
            raise UsageError(f"{what} answers, but not as this tool's server: {line}", hint="correct it") from error
        if "Max retries exceeded" in line or isinstance(error, OSError):
            hint = "start it, then type the same command again: runs that it has are updated"
            raise EnvironmentProblem(f"{what}: the server no longer answers", hint=hint) from error
        raise kind(f"{what}: {line or type(error).__name__}", hint="correct it and export again") from error


@contextmanager
def retries_said(note: Callable[[str], None]) -> Iterator[None]:
    """Notes once that a server does not answer, while its client tries again for half a minute."""

    def first(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("Retrying") and not said:
            said.append("the server does not answer; trying again for half a minute")
            note(said[0])
        return True

    said = list[str]()
    client = logging.getLogger("urllib3.connectionpool")
    client.addFilter(first)
    try:
        yield
    finally:
        client.removeFilter(first)
