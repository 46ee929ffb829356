"""What is refused where a study of `evolve` or `improve` is resumed: it keeps its settings."""

from __future__ import annotations

from pathlib import Path

from meta.cli import resolve
from meta.cli.options import given_flags
from programs.text import word_list

#: Flags that belong to a command, not to its study, by the names of their parameters.
RUN_TIME = word_list("""
    study resume executor runs_per_device no_sandbox dry_run yes apply webhook as_json quiet debug
    max_usd max_tokens max_wall price call_timeout patience calls_at_once record replay
""")


def refuse_settings(folder: Path) -> None:
    """Raise NotComparable where this command names a setting of a study that has its own."""
    if given := given_flags(RUN_TIME):
        raise resolve.settings_differ(
            f"{resolve.shown(folder)} is resumed with its own settings; {given[0]} would change nothing", given[0]
        )
