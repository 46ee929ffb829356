"""The required form of a model's reply. Text outside it is ignored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from programs.text import one_line

_PAYLOADS = ("program", "section", "merge")
_REASON = re.compile(r"^<reason>(.*?)</reason>[ \t]*$", re.MULTILINE | re.DOTALL)
_EVIDENCE = re.compile(r"^<evidence>(.*?)</evidence>[ \t]*$", re.MULTILINE | re.DOTALL)
_PASS = re.compile(r"^<pass>(.*?)</pass>[ \t]*$", re.MULTILINE | re.DOTALL)
_PAYLOAD = re.compile(rf"^<({'|'.join(_PAYLOADS)})\b([^>\n]*)>[ \t]*$", re.MULTILINE)
_EMPTY = re.compile(rf"^(<({'|'.join(_PAYLOADS)})\b[^>\n]*>)[ \t]*(</\2>)[ \t]*$", re.MULTILINE)
_NAME = re.compile(r' name="([^"]{1,160})"')
_CHANGE = re.compile(r'(?: after="(\d{1,3})")?(?: delete="([\d,\s-]{1,200})")?')
MOST_REASON = 300  # characters


class BadReply(Exception):
    """The reply does not have the required form; the message is one line and says why.

    ``kept``: the part of it that has the form, which a repaired reply may leave out.
    """

    def __init__(self, problem: str, kept: MutationReply | None = None) -> None:
        super().__init__(problem)
        self.kept = kept


@dataclass(frozen=True)
class ListChange:
    """Of the items of a section, numbered from 1: the body stands after item ``after`` (0: before the first; None: no
    body), and those in ``deleted`` are taken away."""

    after: int | None = None
    deleted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class MutationReply:
    """``name``: the section that the body replaces; empty for whole programs and merges. ``further``: names and texts
    of more sections. ``changes``: sections of which only some items change. ``remark``: what of the reply was left out.
    A ``passed`` reply has nothing but a reason."""

    reason: str
    evidence_ids: tuple[str, ...]
    name: str
    body: str
    further: tuple[tuple[str, str], ...] = ()
    changes: Mapping[str, ListChange] = field(default_factory=dict)
    remark: str = ""
    passed: bool = False

    @property
    def sections(self) -> dict[str, str]:
        return dict([(self.name, self.body), *self.further])


def parse(
    text: str, payload: str, offered: Mapping[str, str] | Collection[str], before: MutationReply | None = None
) -> MutationReply:
    """The parts of a reply: a reason of one line, the cited rows, one payload of the requested kind; or a pass.

    ``offered``: the rows that it may cite, by short id if they have one. A row that was not shown is left out with a
    remark. ``before``: the reply that this one repairs, whose parts hold where it has none.

    Raises BadReply.
    """
    text = _EMPTY.sub(r"\1\n\3", text.replace("\r\n", "\n"))
    opened = list(_PAYLOAD.finditer(text))
    passes = _PASS.findall(text)
    if passes and not opened:
        return MutationReply(_short(one_line(passes[0]) or "no reason given"), (), "", "", passed=True)
    try:
        if not opened and (before is None or not (before.body or before.name)):
            raise BadReply(f"the reply has no <{payload}>")
        parts, around = _sections(text, opened, payload) if opened else ([], text)
    except BadReply as bad:
        raise BadReply(str(bad), _without_payload(text, offered) or before) from None
    kept = before.sections if before and payload == "section" else {}
    said = {name: body for name, body, _ in parts}
    merged = {**kept, **said} if opened or before is None else before.sections
    merged.pop("", None) if payload == "section" else None
    (name, body), *further = merged.items()
    earlier = {name: change for name, change in before.changes.items() if name not in said} if before else {}
    changes = earlier | {name: change for name, _, change in parts if change}
    known = MutationReply("", (), name, body, tuple(further), changes)
    if before is not None:
        known = replace(known, reason=before.reason, evidence_ids=before.evidence_ids)
    reason = _reason(around, known)
    cited, remark = _cited(around, offered, replace(known, reason=reason), is_repair=bool(known.reason))
    return replace(known, reason=reason, evidence_ids=cited, remark=remark)


def _without_payload(text: str, offered: Mapping[str, str] | Collection[str]) -> MutationReply | None:
    """Reason and rows of a reply whose payload has not the form; None where these have not either."""
    nothing = MutationReply("", (), "", "")
    try:
        cited, remark = _cited(text, offered, nothing, is_repair=False)
        return replace(nothing, reason=_reason(text, nothing), evidence_ids=cited, remark=remark)
    except BadReply:
        return None


def _sections(
    text: str, opened: list[re.Match[str]], payload: str
) -> tuple[list[tuple[str, str, ListChange | None]], str]:
    """(name, text and change of each payload, the text outside). Only sections may be several, each with its own
    name."""
    wrong = next((each[1] for each in opened if each[1] != payload), None)
    if wrong:
        raise BadReply(f"the reply has a <{wrong}> instead of a <{payload}>")
    if len(opened) > 1 and payload != "section":
        raise BadReply(f"the reply has more than one <{payload}>")
    parts: list[tuple[str, str, ListChange | None]] = []
    around, last = "", 0
    for first, after in zip(opened, [*opened[1:], None], strict=True):
        limit = after.start() if after else len(text)
        end = text.rfind(f"\n</{payload}>", first.end(), limit)
        if end < 0:
            raise BadReply(f"<{payload}> is never closed")
        body = text[first.end() + 1 : end + 1]
        if re.search(rf"^</?{payload}\b", body, re.MULTILINE):
            raise BadReply(f"the reply has more than one <{payload}>")
        name, change = _attributes(first[2].rstrip())
        if payload == "section" and not name:
            raise BadReply('<section> needs name="…"; after="N" and delete="N, N-M" may follow, and nothing else')
        if change and change.after is None and body.strip():
            raise BadReply(f'section {name} has new text: say after which item, after="N"')
        parts.append((name, body, change))
        around += text[last : first.start()]
        last = end + 1
    if len({name.casefold() for name, *_ in parts}) < len(parts):
        raise BadReply("the reply has the same section twice")
    return parts, around + text[last:]


def _attributes(text: str) -> tuple[str, ListChange | None]:
    """The name of a payload, empty if it has none or more than it may have, and which items of the section change."""
    name = _NAME.match(text)
    more = _CHANGE.fullmatch(text, name.end()) if name else None
    if name is None or more is None:
        return "", None
    after, deleted = more.groups()
    if after is None and deleted is None:
        return one_line(name[1]), None
    numbers: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", deleted or ""):
        numbers |= set(range(int(first), min(int(last or first), 999) + 1))
    return one_line(name[1]), ListChange(None if after is None else int(after), frozenset(numbers))


def _reason(text: str, known: MutationReply) -> str:
    reasons = _REASON.findall(text)
    if not reasons and known.reason:
        return known.reason
    if len(reasons) != 1:
        raise BadReply(f"one <reason> is required, the reply has {len(reasons)}", known)
    reason = one_line(reasons[0])
    if not reason:
        raise BadReply("the reason is empty", known)
    return _short(reason)


def _short(reason: str) -> str:
    return reason if len(reason) <= MOST_REASON else reason[: MOST_REASON - 1] + "…"


def _cited(
    text: str, offered: Mapping[str, str] | Collection[str], known: MutationReply, *, is_repair: bool
) -> tuple[tuple[str, ...], str]:
    """The rows by their long ids, and a remark on those that were not shown."""
    blocks = _EVIDENCE.findall(text)
    if not blocks and is_repair:
        return known.evidence_ids, ""
    if len(blocks) != 1:
        raise BadReply(f"one <evidence> is required, the reply has {len(blocks)}", known)
    words = [word.strip("[]`.") for word in re.split(r"[\s,;]+", blocks[0].strip()) if word]
    rows = offered if isinstance(offered, Mapping) else {row: row for row in offered}
    long = {*rows.values()}
    cited = [rows.get(word) or word for word in words if word in rows or word in long]
    unknown = [word for word in words if word not in rows and word not in long and word.casefold() != "none"]
    shown = ", ".join(one_line(word)[:40] for word in unknown[:5])
    return tuple(dict.fromkeys(cited)), f"cites {shown}, which the evidence does not have" if unknown else ""
