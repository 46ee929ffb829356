"""What screens of a study may not do: leave out the verdict, judge in words of their own, state what cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from analysis.verdict.caveats import TEXTS
from analysis.verdict.claim import LEVEL
from analysis.verdict.decision import Decision
from analysis.verdict.verdict import Verdict
from analysis.wording import plain_text

#: How many of the verdict's sentences a screen has room for; others have all.
ROOM = {"card": 1, "window": 1, "status, json": 1}
NO_VERDICT = ("status", "list")
JUDGES = re.compile(
    r"\bbeats?\b|not shown to|significan\w*|better than|\bleads\b|\btied\b|[Ee]volution (?:added|found)|\bworse\b"
)
# What holds of every study and states nothing about this one; an effect of an edit; ranks; a program's text.
SAYS_NOTHING = re.compile(
    r"Which program leads to|"
    r"Shaded programs are not shown to be worse than any other[^.]*\.|"
    r"(?m:^[●◐]? ?(?:not )?significant(?: on the same data)?$)|"
    r"their gain is significantly|no gain is significantly different|[·▲▼]?not significant\b|None of the standard.*|"
    r"(?m:^.*\| (?:not )?significant.*$)|\d+ significant\. |A row counts as significant if [^.]*|"
    r"Significance is corrected over [^.]*|not shown to be worse than another|leader, significantly better than all "
    r"others|Programs selected for their high mean look better than they are|"
    r"A program with few or noisy runs can be shaded[^.]*|look better than they|(?:It|which) is better is kept[^.]*|"
    r"(?:lower|higher) is better|so the test is against|significantly worse, on average, when tried|"
    r"keeps? what (?:scores|looks) better|If it beats the kept script[^.]*|"
    r"Too few runs to separate these programs[^.]*\.|Not shown to be worse than another: [^.]*\. Shown to be worse: "
    r"[^.]*\.|(?:alone is behind no other|is better than each of the others)"
)


def flat(text: str) -> str:
    """One kind of minus, one blank; lines stay."""
    text = plain_text(text).replace("\u00a0", " ").replace("**", "").replace("\\", "")
    return "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)


def of_screen(screen: str, text: str, found: Verdict) -> Iterator[str]:
    """Sentences of the verdict that are missing, and lines in which something else is judged."""
    rest = flat(text)
    for sentence in [plain_text(one).removesuffix(".") for one in found.sentences][: ROOM.get(screen)]:
        if screen not in NO_VERDICT and sentence not in rest.replace("\n", " "):
            yield f"{screen}: does not say {sentence!r}"
    for said in (*found.sentences, *(text for *_, text in TEXTS.values()), *(one.text for one in found.caveats)):
        rest = rest.replace(flat(said).removesuffix("."), "\x00")
    for line in SAYS_NOTHING.sub("\x00", rest).split("\n"):
        if JUDGES.search(line):
            yield f"{screen}: judges in its own words: {line[:160]}"


def of_decision(d: Decision) -> Iterator[str]:
    """What a decision may not state together."""
    lead, (low, high) = d.tested.lead.or_zero, d.tested.lead.interval()
    if d.holds != (d.p is not None and d.p < LEVEL):
        yield f"{d.state} with p {d.p} at a level of {LEVEL}"
    if d.holds and (lead <= 0 or (low is not None and low <= 0)):
        yield f"{d.state} with a difference of {lead} from {low}"
    if not d.holds and low is not None and low > 0:
        yield f"{d.state} with an interval above 0, from {low}"
    if low is not None and high is not None and not low <= lead <= high:
        yield f"a difference of {lead} outside its interval from {low} to {high}"
    for on in d.held_out:
        if on.holds and not d.holds:
            yield f"{on.task}: holds, although the test that it depends on does not"


def of_study(shown: Mapping[str, str], found: Verdict) -> list[str]:
    """The contradictions of a study's screens."""
    clashes = [clash for screen, text in shown.items() for clash in of_screen(screen, text, found)]
    return [*clashes, *(of_decision(found.decision) if found.decision else ())]
