"""One-line error messages about a ledger."""

from __future__ import annotations

import errno
from pathlib import Path

from programs.errors import EnvironmentProblem, OtherVersion

SCHEMA = 2  # of a study: its ledger and its study.toml


def schema_problem(path: Path | str, schema: object) -> OtherVersion:
    """The error for a study that another version of metaloop made."""
    text = f"{path}: another version of metaloop made this study (schema {schema}, this metaloop reads {SCHEMA})"
    if isinstance(schema, int) and schema > SCHEMA:
        return OtherVersion(text, hint="the study is newer than this metaloop: pip install --upgrade metaloop")
    hint = "the study is older than this metaloop: open it with the version in its study.toml, or start a new study"
    return OtherVersion(text, hint=hint)


def cannot_write(path: Path, error: OSError) -> EnvironmentProblem:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk is full" if full else (error.strerror or str(error))
    cure = "free some space there" if full else "make the folder writable"
    hint = f"{cure}, then run the same command again"
    return EnvironmentProblem(f"{path}: cannot write the ledger: {what}", hint=hint)
