"""The exception tree of Metaloop. Every error that a user can cause has one of these types.

MetaloopError                       kind          exit code
├── UsageError                      usage         2   bad flag, bad file, bad config
│   ├── ProgramError                usage         2   a program.md that cannot be read (file:line)
│   └── TaskError                   usage         2   a task folder that cannot be used (file:line)
├── NotFound                        not_found     2
├── Ambiguous                       ambiguous     2   an id prefix with several matches
├── NotComparable                   not_comparable 2  different budget, baseline, instance or hardware
├── CapReached                      cap_reached   3   a cap stopped the command; it can be resumed
│   └── ShareSpent                  cap_reached   3   one run has spent its share; it is not resumed
├── CredentialMissing               credential    4
├── EnvironmentProblem              environment   1   disk, worker
│   └── NoSandbox                   environment   1   the option that some commands have instead is not in its hint
├── Busy                            busy          1   another process uses the study
└── Corrupt                         corrupt       1   a ledger or study that contradicts itself
    └── OtherVersion                corrupt       1   a study of a version of metaloop that records differently
"""

from __future__ import annotations

from collections.abc import Sequence


class MetaloopError(Exception):
    """Base of all errors: a one-line message, the ids concerned and a hint with the next step."""

    kind = "internal"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.ids = tuple(ids)


class UsageError(MetaloopError):
    kind = "usage"
    exit_code = 2


class ProgramError(UsageError):
    """A program.md that cannot be read; the message starts with ``file:line:``."""


class TaskError(UsageError):
    """A task folder that cannot be used; the message starts with ``file:line:`` where a line is known."""


class NotFound(MetaloopError):
    kind = "not_found"
    exit_code = 2


class Ambiguous(MetaloopError):
    kind = "ambiguous"
    exit_code = 2


class NotComparable(MetaloopError):
    kind = "not_comparable"
    exit_code = 2


class Imported(NotComparable):
    """A study of imported logs, in which nothing can run."""


class CapReached(MetaloopError):
    kind = "cap_reached"
    exit_code = 3


class ShareSpent(CapReached):
    """One run has spent its share of the caps: it ends with its current head and is not resumed."""


class CredentialMissing(MetaloopError):
    kind = "credential"
    exit_code = 4


class EnvironmentProblem(MetaloopError):
    kind = "environment"
    exit_code = 1


class NoSandbox(EnvironmentProblem):
    """No sandbox can start here. Its hint names no option: commands that have `--no-sandbox` add it."""


class Busy(MetaloopError):
    kind = "busy"
    exit_code = 1


class Corrupt(MetaloopError):
    kind = "corrupt"
    exit_code = 1


class OtherVersion(Corrupt):
    """Another version of metaloop made the study; nothing is damaged."""
