"""Under which name pip installs Metaloop, its version, and its extras."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

from programs.common.git_command import run

DISTRIBUTION = "metaloop-research"  # PyPI refuses `metaloop`, which it takes for another project's `meta-loop`
VERSION = "0.1.0"
#: package → the extra of pyproject.toml that installs it
EXTRAS = {
    "torch": "train",
    "optuna": "train",
    "pandas": "train",
    "pyseccomp": "train",
    "litellm": "models",
    "tiktoken": "models",
    "sqlalchemy": "contest",
    "python_multipart": "contest",
    "multipart": "contest",
    "ray": "ray",
}


def version() -> str:
    """The version with the commit that runs: of a checkout, or of the repository that pip installed it from."""
    commit = _commit()
    return f"{VERSION} (commit {commit[:12]})" if commit else VERSION


def _commit() -> str:
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / ".git").exists():
        done = run(["-C", str(checkout), "rev-parse", "HEAD"], environment={"GIT_DIR": ".git"})
        return done.stdout.decode().strip() if done.returncode == 0 else ""
    try:
        origin = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
    return str(json.loads(origin or "{}").get("vcs_info", {}).get("commit_id", ""))


def install_line(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
