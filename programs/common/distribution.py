"""Under which name pip installs Metaloop, its version, and its extras."""

from __future__ import annotations

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


def install_line(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
