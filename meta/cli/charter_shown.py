"""The charter read from a program's prose, as rows for a terminal, a pipe, or a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.wording import many
from arena.spend import spend_of
from inner_loop.events import CallEvent
from meta.cli.output import Column, Output, Row, brief, clean
from programs.charter_wordings import no_field

if TYPE_CHECKING:
    from programs.charter_read import CharterFinding, CharterReading

MOST_SHOWN = 240  # characters of a sentence shown at a terminal

FIELD, VALUE = Column("field", style="bold"), Column("value", show=brief, wrap=True)
BEFORE = Column("before", "in front matter", show=brief, wrap=True)
LINE, SENTENCE = Column("line", right=True), Column("sentence", wrap=True)
REASON = Column("reason", wrap=True)
ALL = (Column("status"), FIELD, VALUE, BEFORE, LINE, Column("sentence"), Column("words"), REASON, Column("read_by"))
#: status: (title for a person, columns)
GROUPS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "contradiction": ("contradictory sentences (no value is written)", (FIELD, VALUE, LINE, SENTENCE)),
    "front-matter": ("set in the front matter only (kept)", (FIELD, VALUE)),
    "dropped": ("rejected readings of the model", (FIELD, VALUE, REASON)),
    "not-expressible": ("sentences about the process that no field can express", (LINE, SENTENCE, REASON)),
    "not-read": ("sentences that may be about the process, in no usual wording (-m reads them)", (LINE, SENTENCE)),
}
READ = ("new", "same", "changed")


def rows_of(reading: CharterReading, text: str) -> list[Row]:
    """A row for each sentence that sets a field, and for each that does not; ``text`` is the original program.

    ``status``: whether the prose sets a new field, one that the front matter has with the same or another value
    (same, changed), or why the field is not written.
    """
    from programs.charter_edit import charter_fields

    given, disputed = charter_fields(text), reading.contradictions
    rows = []
    for finding in reading.findings:
        status = "same" if given.get(finding.field) == finding.value else "changed" if finding.field in given else "new"
        status = "contradiction" if finding.field in disputed else status
        rows.append(_of_finding(finding, status, given))
    rows.sort(key=lambda row: row["status"] == "contradiction")
    said = {finding.field for finding in reading.findings}
    rows += [_row("front-matter", field=name, value=value) for name, value in given.items() if name not in said]
    rows += [_row("dropped", field=r.field, value=r.value, reason=r.reason) for r in reading.refusals]
    rows += [
        _row("not-expressible", line=said.line, sentence=said.text, reason=no_field(said.text))
        for said in reading.unexpressed
    ]
    rows += [_row("not-read", line=said.line, sentence=said.text) for said in reading.unread]
    return rows


def show(out: Output, rows: Sequence[Row], about: Row) -> None:
    """The table on stdout; at a terminal one table for each kind of outcome."""
    if out.mode != "person":
        out.rows(rows, ALL, extra=about)
        return
    from rich.text import Text

    read = [_marked(row) for row in rows if row["status"] in READ]
    differs = any(row["status"] == "changed" for row in read)
    out.rows(read, (FIELD, VALUE, *((BEFORE,) if differs else ()), LINE, SENTENCE))
    gap = bool(read)
    for status, (title, columns) in GROUPS.items():
        if some := [_marked(row) for row in rows if row["status"] == status]:
            out.show(Text("\n" * gap + title, style="italic"))
            out.rows(some, columns)
            gap = True


def summarize(out: Output, rows: Sequence[Row], calls: Sequence[CallEvent], old: str, new: str) -> None:
    """The number of fields and the cost in one line; then lint's messages about the new charter."""
    count = Counter(row["status"] for row in rows)
    fields = len({row["field"] for row in rows if row["status"] in READ})
    disputed = {str(row["field"]): None for row in rows if row["status"] == "contradiction"}
    said = f"{many(fields, 'field')} read" if fields else "no sentence sets a field"
    for status, words in (("changed", "different from the front matter"), ("dropped", "rejected")):
        said += f", {count[status]} {words}" if count[status] else ""
    if calls:
        spent = spend_of(calls)
        usd = "not priced" if spent.usd is None else f"${spent.usd:.4f}"
        said += f"; {many(spent.calls, 'call')}, {spent.tokens:,} tokens, {usd}"
    out.note(said)
    if disputed:
        out.warn(f"the prose contradicts itself about {', '.join(disputed)}: write one value for each")
    for message in _new_complaints(old, new):
        out.warn(message)


def bill_of(calls: Sequence[CallEvent]) -> Row:
    """The cost of all calls; ``usd`` is None where one has no price."""
    return {"models": sorted({call.model for call in calls if call.model}), **vars(spend_of(calls))}


def _new_complaints(old: str, new: str) -> list[str]:
    from programs.lint import check

    known = {(m.code, m.message) for m in check(old, "program")}
    return [m.message for m in check(new, "program") if m.level != "info" and (m.code, m.message) not in known]


def _of_finding(finding: CharterFinding, status: str, given: Row) -> Row:
    return _row(
        status,
        field=finding.field,
        value=finding.value,
        before=given.get(finding.field),
        line=finding.sentence.line,
        sentence=finding.sentence.text,
        words=finding.words,
        read_by="model" if finding.by_model else "rule",
    )


def _row(status: str, **known: Any) -> Row:
    return {column.key: known.get(column.key) for column in ALL} | {"status": status}


def _marked(row: Row) -> Row:
    """The row for a terminal: a long sentence clipped, the words that set the field underlined."""
    from rich.text import Text

    if not row["sentence"]:
        return row
    said, words = clean(row["sentence"]), row["words"]
    text = Text(said if len(said) <= MOST_SHOWN else said[: MOST_SHOWN - 1] + "…")
    if words and words != row["sentence"]:
        text.highlight_words([str(words)], style="underline")
    return {**row, "sentence": text}
