"""Sends the result of a command to an address, as JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from analysis import decision_text
from analysis.decision import OPEN, decision_of
from analysis.decision_text import sentences_of
from analysis.run_state import StudyState
from analysis.script_text import script_gain
from analysis.wording import plain_text
from meta.begin import champion_of
from meta.harvest_page import training_cost
from programs.errors import UsageError

SECONDS = 10.0
FIELDS = ("name", "program_id", "verdict", "holds", "trust")
SCRIPT = ("task", "gain", "low", "high", "n", "unit", "trust")  # of a best train.py


def refuse_bad(url: str) -> None:
    """Raise UsageError for what is no http address, before anything is spent."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--webhook {url}: not an http address", hint="--webhook https://example.org/hook")


def notify(url: str, folder: Path, branch: str | None) -> str:
    """Post the verdict and the best train.py's gain; returns what came of it, because the result itself is safe."""
    champion = champion_of(folder) or {}
    decision = decision_of(champion) if champion else None
    harvested = decision.scripts if decision else ()
    weak = [each.text for each in decision_text.caveats(decision) if each.level != "note"] if decision else []
    state, said = StudyState.read(folder / "ledger"), list[str]()
    names = [program.name for program in state.programs.values()]
    if decision is not None:
        said += [f"{folder.name}: {decision_text.headline(decision)}"]
        # the first caveat of an open verdict repeats the headline
        said += [sentences_of(text, names)[0] for text in weak[decision.state == OPEN :]]
    else:
        said += [f"{folder.name}: no champion"]
    for each in harvested:
        said += [f"The best train.py{f' on {each.task}' * (len(harvested) > 1)} gains {script_gain(each)}"]
        said += sentences_of(training_cost(state, each.task))
    said += [f"Branch {branch}"] if branch else []
    scripts = [{name: getattr(each, name) for name in SCRIPT} for each in harvested]
    fields: dict[str, Any] = {name: champion.get(name) for name in FIELDS}
    text = plain_text(". ".join(said) + ".")
    return send(
        url,
        {
            "text": text,
            "study": folder.name,
            **fields,
            "caveats": [*map(plain_text, weak)],
            "scripts": scripts,
            "branch": branch,
        },
    )


def send(url: str, body: Mapping[str, Any]) -> str:
    """Post ``body``; returns what came of it."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    host = urlsplit(url).hostname
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return f"sent the result to {host}: {answer.status}"
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"the result could not be sent to {host}: {error}"
