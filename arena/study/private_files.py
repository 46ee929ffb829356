"""Whether other users of this machine may read a study's secret, from which all its seeds and hidden splits follow."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from programs.common.errors import Corrupt
from programs.common.files import read_regular

ANNOUNCED = "announcement.json"  # of an exported contest, which tells its secret
_HOLD = ("", "study.toml", "contest.sqlite*", "ledger", "cache", "data", "rows", "runs", "runs.zip")
_OTHERS = 0o077
_NO_SECRET = b'\nsecret = "' + 32 * b"0"  # of a study that was published


def exposed(folder: Path) -> str:
    """One line, with the cure, where others have rights to the folder or to what in it is secret; empty if not.

    What belongs to another user is not ours to judge, and imported logs, published studies and contests whose secret
    was announced keep none.
    """
    if (folder / ANNOUNCED).is_file() or not _has_secret(folder / "study.toml"):
        return ""
    for path in (path for name in _HOLD for path in ([folder] if not name else sorted(folder.glob(name)))):
        state = path.lstat()
        if state.st_mode & _OTHERS and os.geteuid() in (0, state.st_uid) and not path.is_symlink():
            cure = f"chmod -R go= {shlex.quote(str(folder))}"
            return f"{path} is open to other users of this machine (mode {state.st_mode & 0o777:04o}); close it: {cure}"
    return ""


def _has_secret(config: Path) -> bool:
    try:
        text = read_regular(config)
    except (OSError, Corrupt):
        return False
    return b'\nsecret = "' in text and _NO_SECRET not in text
