"""The required form of a model's reply. Text outside it is ignored."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from programs.text import one_line

_PAYLOADS = ("program", "section", "merge")
_REASON = re.compile(r"^<reason>(.*?)</reason>[ \t]*$", re.MULTILINE | re.DOTALL)
_EVIDENCE = re.compile(r"^<evidence>(.*?)</evidence>[ \t]*$", re.MULTILINE | re.DOTALL)
_PAYLOAD = re.compile(rf"^<({'|'.join(_PAYLOADS)})\b([^>\n]*)>[ \t]*$", re.MULTILINE)
_NAME = re.compile(r' name="([^"]{1,160})"')
MOST_REASON = 300  # characters


class BadReply(Exception):
    """The reply does not have the required form; the message is one line and says why."""


@dataclass(frozen=True)
class MutationReply:
    """``name``: the section that the body replaces; empty for whole programs and merges."""

    reason: str
    evidence_ids: tuple[str, ...]
    name: str
    body: str


def parse(text: str, payload: str, offered: Collection[str]) -> MutationReply:
    """The parts of a reply: a reason of one line, the cited rows (among ``offered``), one payload of the requested
    kind.

    Raises BadReply.
    """
    text = text.replace("\r\n", "\n")
    opened = list(_PAYLOAD.finditer(text))
    if not opened:
        raise BadReply(f"the reply has no <{payload}>")
    first = opened[0]
    if first[1] != payload:
        raise BadReply(f"the reply has a <{first[1]}> instead of a <{payload}>")
    end = text.rfind(f"\n</{payload}>", first.end())
    if end < 0:
        raise BadReply(f"<{payload}> is never closed")
    body = text[first.end() + 1 : end + 1]
    if re.search(rf"^</?{payload}\b", body, re.MULTILINE):
        raise BadReply(f"the reply has more than one <{payload}>")
    around = text[: first.start()] + text[end + 1 :]
    name = _NAME.fullmatch(first[2].rstrip())
    if payload == "section" and name is None:
        raise BadReply('<section> lacks its name="…"')
    return MutationReply(_reason(around), _cited(around, offered), one_line(name[1]) if name else "", body)


def _reason(text: str) -> str:
    reasons = _REASON.findall(text)
    if len(reasons) != 1:
        raise BadReply(f"one <reason> is required, the reply has {len(reasons)}")
    reason = one_line(reasons[0])
    if not reason:
        raise BadReply("the reason is empty")
    return reason if len(reason) <= MOST_REASON else reason[: MOST_REASON - 1] + "…"


def _cited(text: str, offered: Collection[str]) -> tuple[str, ...]:
    blocks = _EVIDENCE.findall(text)
    if len(blocks) != 1:
        raise BadReply(f"one <evidence> is required, the reply has {len(blocks)}")
    words = [word.strip("[]`") for word in re.split(r"[\s,;]+", blocks[0].strip()) if word]
    if [word.casefold().rstrip(".") for word in words] == ["none"]:
        return ()
    unknown = [word for word in words if word not in offered]
    if unknown:
        raise BadReply(f"cites {one_line(unknown[0])[:40]}, which is not a row of the shown evidence")
    return tuple(dict.fromkeys(words))
