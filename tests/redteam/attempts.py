"""Attempts from inside a train.py: system calls by number, and how each of them ended."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.redteam.harness import Case

MARK = "ATTEMPTS "

# ATTEMPT(what): "done" with what came of it, or the name of the error. CALL(number, …): a system call as it is.
PRELUDE = """
import ctypes as _ctypes, errno as _errno, json as _json, os as _os
_libc = _ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = _ctypes.c_long
def CALL(*numbers):
    words = [_ctypes.c_char_p(n) if isinstance(n, bytes) else _ctypes.c_long(n) for n in (*numbers, *[0] * 6)[:7]]
    found = _libc.syscall(*words)
    if found < 0:
        raise OSError(_ctypes.get_errno(), "")
    return found
def ATTEMPT(what):
    try:
        return f"done: {what()!r}"[:200]
    except OSError as error:
        return _errno.errorcode.get(error.errno, str(error))
    except Exception as error:
        return type(error).__name__
"""


def trying(attempts: Mapping[str, str], *wanted: str, setup: str = "") -> str:
    """Code that carries out each attempt, an expression, and prints how all of them ended.

    Nobody hears a process that predicts: one in which an answer is not among the ``wanted`` errors leaves with an exit
    code of its own, and its row is invalid.
    """
    table = ", ".join(f"{name!r}: ATTEMPT(lambda: {code})" for name, code in attempts.items())
    return f"""{PRELUDE}{setup}
_answers = {{{table}}}
print({MARK!r} + _json.dumps(_answers), flush=True)
if __name__ == "candidate" and {wanted!r} and set(_answers.values()) - set({wanted!r}):
    _os._exit(77)
"""


def answers(case: Case) -> list[dict[str, str]]:
    """How the attempts of the trainings ended, those of the search stream first."""
    found = [line[len(MARK) :] for line in case.log.splitlines() if line.startswith(MARK)]
    assert found, case.log
    return [json.loads(line) for line in found]


def assert_all(case: Case, attempts: Mapping[str, str], *wanted: str) -> None:
    """Every attempt of every process ended with one of the ``wanted`` errors."""
    for found in answers(case):
        assert found.keys() == attempts.keys()
        assert {name: answer for name, answer in found.items() if answer not in wanted} == {}
    for row in (case.scored, case.verified):
        assert "exit code 77" not in row.reason
