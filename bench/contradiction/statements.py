"""What a screen states: every sentence with a word of judgement is read by a pattern below or reported as unread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

N = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
WHO = r"(?:stock|your program(?: (?!too\b|by\b)[\w-]+)?)"
JUDGES = re.compile(
    r"\bbeats?\b|not shown to|significan\w*|better than|\bleads\b|\btied\b|A/A (?:check|on)|A/A:|\bbehind\b|"
    r"may be the best|shows? that (?:these|they|those)|showed that|[Ee]volution changed|evolved from|"
    r"No verdict|no lead|No clear|No result is announced|\bworse\b"
)


@dataclass(frozen=True)
class Statement:
    """``about``: what is compared, ``what``: which quantity of it; ``value``: its text, a number or a word."""

    screen: str
    about: str
    what: str
    value: str


HELD_OUT = (
    ("held-out {t}", "verdict", "{v}"), ("held-out {t}", "reference", "{r}"), ("held-out {t}", "gain", "{g}"),
    ("held-out {t}", "p", "{p}"), ("held-out {t}", "ratio", "{x}"), ("held-out {t}", "why", "{why}"),
    ("held-out {t}", "ratio to", "{q}"),
)  # fmt: skip
# Pattern → (about, what, value), templates over its groups. They are tried in this order on what is still unread.
READ: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    # held-out tasks: they come first, as they have the verdict's own words
    (rf"On the held-out task (?P<t>\w+), the champion (?P<v>also beats|is not shown to beat) (?P<r>{WHO})"
     rf"(?P<why>, because[^:]*)?: gain (?P<g>{N}) [^;]*?(?:, (?P<x>{N}) times (?P<q>stock|your program(?: \w+)?)'s "
     rf"gain \([^)]*\))?; one-sided p (?P<p>[=<] {N}) after\s+Holm", HELD_OUT),
    (rf"On the held-out task (?P<t>\w+), the champion (?P<v>also beats|is not shown to beat) (?P<r>{WHO})"
     rf"(?P<why>, because[^:]*)?: (?P<g>{N}) \S+ against {N}\.(?: That is (?P<x>{N}) times (?P<q>stock|your "
     rf"program(?: \w+)?)'s gain \((?:(?!; p)"
     rf"[^)])*(?:; p (?P<p>[=<] {N}) after\s+Holm)?\))?", HELD_OUT),
    (rf"On the held-out task (?P<t>\w+), it (?P<v>beats|is not shown to beat) (?P<r>{WHO})"
     rf"(?P<why>, because[^(]*)?(?: too)?(?: and gains (?P<x>{N}) times as much \([^)]*\))? \(gain (?P<g>{N})[^;]*; "
     rf"p (?P<p>[=<] {N}) after\s+Holm\)",
     tuple(one for one in HELD_OUT if one[1] != "ratio to")),
    (rf"\| (?P<t>\w+) \| (?P<g>{N}) \[[^\]]*\] \| {N} \[[^\]]*\] \|[^|]*\|[^|]*\| (?P<p>{N}) \| (?P<v>yes|not shown) "
     r"\|", (("held-out {t}", "verdict", "{v}"), ("held-out {t}", "gain", "{g}"), ("held-out {t}", "p", "{p}"))),
    (r"[Aa] test on a held-out task counts only if the verdict holds|Their tests count only if the test above holds",
     (("ranks", "explained", "yes"),)),
    # the announced comparison
    (rf"[\w-]+ (?P<v>beats|is not shown to beat) (?P<r>{WHO})",
     (("main", "verdict", "{v}"), ("main", "reference", "{r}"))),
    (rf"(?:\b[Bb]y|\bDifference) (?P<d>{N}) [^\[.;]+ \[(?P<l>{N}) to (?P<h>{N})\](?: and gains (?P<x>{N}) times as "
     rf"much as {WHO} \((?P<b>at least {N}))?",
     (("main", "difference", "{d}"), ("main", "low", "{l}"), ("main", "high", "{h}"), ("main", "ratio", "{x}"),
      ("main", "ratio at least", "{b}"))),
    (rf"(?P<d>{N})(?: [A-Za-z][^\s\[,]*){{1,3}} \[(?P<l>{N}) to (?P<h>{N})\](?=, (?:\d+ (?:runs?|new)|one-sided))",
     (("main", "difference", "{d}"), ("main", "low", "{l}"), ("main", "high", "{h}"))),
    # what evolution changed
    (r"The champion is [^.]*, (?:as the study began with it|which this study did not change)",
     (("change", "made", "no"),)),
    (r"evolved from [^.]*\. (?P<v>The announced test compares the two|The confirmation did not test these changes)"
     r"(?:,\sand\sthe\ssearch\s(?P<c>did\snot\smeasure\sthem\salone|(?:showed|did\snot\sshow)\sthat\s[\w\s]+?\s(?:help|hurt)))?",
     (("change", "tested", "{v}"), ("change", "credit", "{c}"))),
    (r"The planned test found no significant lead of \S+ over", (("main", "verdict", "open"),)),
    (r"; evolution made [^;.]* (?P<v>worse)", (("change", "of the start", "{v}"),)),
    (r"; evolution found nothing better than [\w-]+", (("change", "made", "no"),)),
    (r"The difference is not statistically significant", (("main", "verdict", "open"),)),
    (r"(?m)^[●◐○] (?P<v>significant|not significant|not tested)$", (("main", "label", "{v}"),)),
    (rf"one-sided p (?P<p>[=<] {N})", (("main", "p", "{p}"),)),
    (rf"Difference: (?P<d>{N}) [^,]*, 95% interval (?P<l>{N}) to (?P<h>{N})",
     (("main", "difference", "{d}"), ("main", "low", "{l}"), ("main", "high", "{h}"))),
    (rf"Champion minus [^:|]*: (?P<d>{N}) \[(?P<l>{N}), (?P<h>{N})\]",
     (("main", "difference", "{d}"), ("main", "low", "{l}"), ("main", "high", "{h}"))),
    (rf"(?:Verified|Retrained) gain(?: [^:]*)?: (?P<g>{N}) [^\[]*\[[^\]]*\] "
     rf"for [^,]*, (?P<s>{N}) \[(?P<sl>{N}) to (?P<sh>{N})\]",
     (("main", "gain", "{g}"), ("main", "reference's gain", "{s}"), ("main", "reference's high", "{sh}"))),
    (rf"(?<!Verified )(?<!Retrained )Gain (?P<g>{N})(?: \[[^\]]*\])? \S+(?: \S+)? against (?P<s>{N})"
     rf"(?: \[(?P<sl>{N}) to (?P<sh>{N})\])?",
     (("main", "gain", "{g}"), ("main", "reference's gain", "{s}"), ("main", "reference's high", "{sh}"))),
    (r"(?P<n>\d+) runs? against (?P<m>\d+)", (("main", "n", "{n}"), ("main", "reference's n", "{m}"))),
    (rf"The champion gains (?P<x>{N}) times as much as (?P<r>{WHO}) \((?P<l>at least {N})",
     (("main", "ratio", "{x}"), ("main", "ratio at least", "{l}"))),
    (r"it would take about (?P<n>[\d,]+) runs of each program", (("main", "runs needed", "{n}"),)),
    (r"It was not significant, so a smaller true difference", (("main", "verdict", "open"),)),
    (rf"The measured difference is (?P<d>{N})", (("main", "difference", "{d}"),)),
    (r"(?m)^champion \((?:not shown to be better|stock gained more|your program gained more: keep it)\): \S+$",
     (("main", "verdict", "open"),)),
    (r"(?m)^champion: (?P<v>not shown to beat|beats)", (("main", "verdict", "{v}"),)),
    (r"(?m)^champion: (?P<x>\S+) times \w+$", (("main", "ratio", "{x}"), ("main", "listed as", "a ratio"))),
    (r"(?m)^holds: (?P<v>true|false|none)$", (("main", "holds", "{v}"),)),
    # the champion without its ideas
    (rf"Without its idea list, the champion (?:is not significantly better|gains less) than {WHO}(?:, though not "
     rf"significantly)? \(gain (?P<g>{N})",
     (("without ideas", "verdict", "open"), ("without ideas", "gain", "{g}"))),
    (rf"Without its ideas, the champion gains (?P<g>{N})", (("without ideas", "gain", "{g}"),)),
    (rf"\| [\w-]+ \| without-ideas \| (?P<g>{N}) \[(?P<l>{N}), (?P<h>{N})\]",
     (("without ideas", "gain", "{g}"), ("without ideas", "low", "{l}"))),
    (rf"\| \S+ \| [\w-]+ \| (?P<g>{N}) \| (?P<l>{N}) to (?P<h>{N}) \| {N} \| \d+ \| without-ideas",
     (("without ideas", "gain", "{g}"), ("without ideas", "low", "{l}"))),
    # stock's two arms
    (rf"A/A: two arms of stock(?: on (?P<t>\S+))? differ by (?P<d>{N})[^(]*"
     rf"\((?:95% interval (?P<l>{N}) to (?P<h>{N})|too few runs for an interval)\)",
     (("A/A {t} {d}", "low", "{l}"), ("A/A {t} {d}", "high", "{h}"))),
    (rf"A/A: (?P<d>{N})(?: \[(?P<l>{N}) to (?P<h>{N})\])?(?P<t>)",
     (("A/A {t} {d}", "low", "{l}"), ("A/A {t} {d}", "high", "{h}"))),
    # ranks of a match
    (r"leader, significantly better than all others", (("ranks", "one leads", "yes"),)),
    (r"(?m)^(?:· ?)?not shown to be worse than another$", (("ranks", "one leads", "tie"),)),
    (r"(?m)^(?P<n>.+?) (?:is better than each of the others|alone is behind no other)", (("match", "leads", "{n}"),)),
    (r"(?m)(?P<n>[\w-]+) leads(?=$| Its)", (("match", "leads", "{n}"),)),
    (r"; every other program is significantly worse", (("match", "leads", "one"),)),
    (r"Too few runs to separate these programs|"
     r"Not shown to be worse than another: .* Shown to be worse: |No clear winner|"
     r"No significant difference between these programs|but the "
     r"difference from .* is not statistically significant", (("match", "leads", "nobody"),)),
    (r"It is (?P<v>not )?significantly better than stock", (("match", "over stock", "{v}better"),)),
    (r"(?m)^\s*(?P<a>\d+)(?:-(?P<b>\d+))? champion \S+",
     (("terminal rank", "low", "{a}"), ("terminal rank", "high", "{b}"))),
    (r"(?m)^\s*(?P<a>\d+)(?:-(?P<b>\d+))? stock \(control\)", (("terminal rank of stock", "low", "{a}"),)),
    # what the gains were measured on
    (r"no hidden split|not used to choose it, but on the same data|scored on data that the researchers used|"
     r"on the same data, with no seed", (("data", "are", "seen"),)),
    (r"not used to choose it|that no researcher saw|newer seeds and hidden data", (("data", "are", "unseen"),)),
    (r"is shown to gain more than stock on (?P<n>\d+) of", (("main", "tasks shown", "{n}"),)),
)  # fmt: skip
# What holds of every study and states nothing about this one; an effect of an edit; and the text of a program.
SAYS_NOTHING = re.compile(
    r"Shaded programs are not shown to be worse than any other|Which program leads to|stock again "
    r"\(A/A\)|Stock ran twice \(A/A\)|runs of stock's A/A twin|stock \(A/A\)|[·▲▼]?not significant\b|"
    r"(?m:^significant$)|no gain is significantly different|their gain is significantly|"
    r"significantly better than stock at 5%|"
    r"\d+ significant\. (?:The effect|Design)|estimate on the other tasks is significantly smaller|"
    r"look better than they|"
    r"stock has no significant gain|No champion is confirmed yet|\| beats " + WHO + r"|"
    r"The control with a program of one line|"
    r"behaves like another one|If it beats the kept script|the input embedding|"
    r"A/A difference|"
    r"which of the first two programs is better|No program was entered twice|"
    r"ideas? of the champion made scripts significantly worse, on average, when tried|"
    r"A program with few or noisy runs can be shaded[^.]*|(?:stock is|are) significan\w*|"
    r"The search found no program better than|A row counts as significant if [^.]*|Significance is corrected over [^.]*"
)  # fmt: skip


def flat(text: str) -> str:
    """One kind of minus and dash, one blank; lines stay."""
    text = text.replace("\u2212", "-").replace("\u2013", "-").replace("\u00a0", " ").replace("**", "")
    return "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)


def statements(screen: str, text: str) -> tuple[list[Statement], list[str]]:
    """What the screen states, and the lines in which something is judged that no pattern reads."""
    if screen == "json":
        return list(of_json(json.loads(text))), []
    rest, stated = flat(text), list[Statement]()
    for pattern, makes in READ:
        for match in re.finditer(pattern, rest):
            groups = {key: value or "" for key, value in match.groupdict().items()}
            for about, what, value in makes:
                if said := " ".join(value.format(**groups).split()):
                    stated.append(Statement(screen, about.format(**groups).strip(), what, WORDS.get(said, said)))
        rest = re.sub(pattern, lambda m: "\x00" + re.sub(r"[^\n]", "", m.group()), rest)
    rest = SAYS_NOTHING.sub("\x00", rest)
    return stated, [line[:200] for line in rest.split("\n") if JUDGES.search(line)]


WORDS = {
    "beats": "better", "it also beats": "better", "also beats": "better", "is not shown to beat": "open",
    "it is not shown to beat": "open", "not shown to beat": "open",
    "yes": "better", "not shown": "open",
}  # fmt: skip


def of_json(event: dict[str, object]) -> Iterator[Statement]:
    """Of the object that a command prints: the event's own figures and those of the decision in it."""
    decision = event["decision"]
    assert isinstance(decision, dict)
    tested, own = decision["tested"], decision["own"]
    for what, value in (
        ("verdict", decision["state"]),
        ("holds", str(event["holds"]).lower()), ("p", f"= {event['p']}"), ("p", f"= {decision['p']}"),
        ("difference", event["difference"]), ("difference", tested["difference"]), ("low", event["low"]),
        ("high", event["high"]), ("n", decision["champion"]["n"]), ("reference's n", tested["gain"]["n"]),
        ("gain", decision["champion"]["mean"]), ("reference's gain", tested["gain"]["mean"]),
        ("ratio", tested["ratio"]["ratio"]), ("reference", f"your program {own}" if tested["name"] == own else "stock"),
    ):  # fmt: skip
        if value is not None:
            yield Statement("json", "main", what, str(value))
    for statement in statements("verdict", str(event["verdict"]))[0]:
        yield Statement("json", statement.about, statement.what, statement.value)
