"""Sends the result of a command to an address, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from analysis.study import read_study
from analysis.verdict.verdict import VIEWS, verdict_of
from analysis.wording import plain_text
from arena.serving.client import fetch, http_address
from meta.study.begin import champion_of
from programs.errors import UsageError

FIELDS = ("name", "program_id", "holds", "trust")
SCRIPT = ("task", "gain", "low", "high", "n", "unit", "trust", "noise", "metric", "start", "end")  # of a best train.py


def refuse_bad(url: str) -> None:
    """Raise UsageError for what is no http address, before anything is spent."""
    if http_address(url) is None:
        raise UsageError(f"--webhook {url}: not an http address", hint="--webhook https://example.org/hook")


def notify(url: str, folder: Path, branch: str | None) -> str:
    """Post the verdict and the best train.py's gain; returns what came of it, because the result itself is safe."""
    champion = champion_of(folder) or {}
    with read_study(folder, views=VIEWS) as con:
        found = verdict_of(con)
    scripts = found.decision.scripts if found.decision else ()
    headline = plain_text(found.headline) if found.decision else "no champion"
    weak = found.doubts
    text = f"{folder.name}: {'. '.join([headline, *weak, *[f'Branch {branch}'] * bool(branch)])}."
    fields: dict[str, Any] = {name: champion.get(name) for name in FIELDS}
    fields |= {"verdict": [plain_text(one) for one in found.sentences], "table": found.table, "caveats": weak}
    sent = {"text": text, "study": folder.name, **fields, "branch": branch}
    return send(url, sent | {"scripts": [{name: getattr(one, name) for name in SCRIPT} for one in scripts]})


def send(url: str, body: Mapping[str, Any]) -> str:
    """Post ``body``; returns what came of it."""
    host = urlsplit(url).hostname
    try:
        answer = fetch(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, 0)
    except OSError as error:
        return f"the result could not be sent to {host}: {error}"
    if answer.status < 300:
        return f"sent the result to {host}: {answer.status}"
    return f"the result could not be sent to {host}: HTTP {answer.status}"
