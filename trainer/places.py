"""Where things are kept that outlive a study."""

from __future__ import annotations

import os
from pathlib import Path

from programs.errors import EnvironmentProblem


def user_cache() -> Path:
    """Where training splits are kept between studies: ``$METALOOP_CACHE`` or ``~/.cache/metaloop``."""
    named = os.environ.get("METALOOP_CACHE")
    try:
        return Path(named or Path.home() / ".cache" / "metaloop").resolve()
    except RuntimeError:
        raise EnvironmentProblem("there is no home folder to keep data in", hint="METALOOP_CACHE=DIR") from None
