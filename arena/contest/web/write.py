"""How to write a program: what an entry is, the task's edits, the charter's fields, and a box that checks a text."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from arena.contest.contest import Contest
from arena.contest.entries import NotTaken, linted, unpacked
from arena.contest.web.forms import echoed, posted
from arena.contest.web.host import Host
from arena.contest.web.limits import HEAVY
from arena.contest.web.pages import show
from inner_loop.behaviour import resolved_ideas, with_patches
from programs.charter import Charter
from programs.charter_edit import settings_of
from programs.edit import add_directive, set_charter
from programs.program import Program
from programs.shelf import starter
from trainer import conditional
from trainer.task import Task

FOR_MODELS = ("history", "standups")  # settings that a scripted researcher does not use


class TextCheck(TypedDict):
    """What the host would say to a text. ``ideas``: how many of its ideas name an edit of a task; ``tried``: how many a
    scripted researcher tries; None where the text cannot be read."""

    taken: bool
    message: str
    lint: Sequence[Mapping[str, Any]]
    ideas: int | None
    of: int | None
    tried: int | None


def write_routes(host: Host) -> APIRouter:
    """The page, its check without JavaScript, and the check of the API."""
    routes = APIRouter(include_in_schema=False)

    def page_of(request: Request, text: str, checked: TextCheck | None) -> Response:
        tasks = [{"name": task.name, "edits": edits_of(task)} for task in host.contest.tasks]
        scripted = host.contest.study.researcher == "scripted"
        fields = list(settings(Charter, {"version", *(FOR_MODELS if scripted else ())}))
        return show(host, request, "write", tasks=tasks, fields=fields, text=text, checked=checked)

    @routes.get("/write")
    @routes.get("/write.md")
    def write(request: Request) -> Response:
        return page_of(request, example(host.task), None)

    @routes.post("/write")
    async def check_form(request: Request) -> Response:
        form = await posted(host, request)
        host.limited(host.limits.lint, request, weight=1 + len(form.program) // HEAVY)
        checked = await run_in_threadpool(text_check, host.contest, form.program, host)
        return await run_in_threadpool(page_of, request, echoed(form.program), checked)

    @routes.post("/api/v1/lint", include_in_schema=True, summary="Check a program.md without submitting it")
    async def check(request: Request) -> Any:
        raw = await request.body()
        host.limited(host.limits.lint, request, weight=1 + len(raw) // HEAVY)
        return await run_in_threadpool(text_check, host.contest, raw, host)

    return routes


def settings(part: type[BaseModel], leave_out: Collection[str], within: str = "") -> Iterator[tuple[str, str]]:
    """Name and meaning of each setting of the charter; ``keep.rule`` is written below ``keep:``."""
    for name, one in part.model_fields.items():
        if name in leave_out:
            continue
        yield f"{within}{name}", one.description or ""
        if isinstance(one.annotation, type) and issubclass(one.annotation, BaseModel):
            yield from settings(one.annotation, leave_out, f"{within}{name}.")


class TaskEdit(TypedDict):
    """A row of the table of edits. ``now``: what it is in the untouched script; ``example``: how an idea names it."""

    name: str
    group: str
    now: str
    values: str
    example: str


def edits_of(task: Task) -> list[TaskEdit]:
    """The edits that ideas can name, in the task's order."""
    baseline = task.baseline()
    rows: list[TaskEdit] = []
    for knob in task.edits.knobs:
        patch = knob.kind == "patch"
        now = "not applied" if patch else str(knob.read(baseline.text(knob.file)))
        rows.append(
            {
                "name": knob.name,
                "group": knob.group,
                "now": now,
                "values": knob.note or "an edit of several lines" if patch else ", ".join(map(str, knob.values)),
                "example": knob.name if patch else f"{knob.name}={other_value(knob.values, now)}",
            }
        )
    return rows


def other_value(values: Sequence[object], now: str) -> object:
    """A value to begin with: of numbers the one that is closest to twice or half the present one."""
    others = [value for value in values if str(value) != now] or list(values)
    numbers = [v for v in others if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    try:
        present = float(now)
    except ValueError:
        present = 0.0
    if not numbers or present <= 0:
        return others[0]
    return min(numbers, key=lambda v: (abs(abs(math.log2(v / present)) - 1), -v))


def text_check(contest: Contest, raw: bytes, host: Host) -> TextCheck:
    """The messages of lint, and what the contest's researcher would do with the text; nothing is stored."""
    try:
        text, unused = unpacked(raw)
        read = linted(contest, text, host.knows, unused)
    except NotTaken as problem:
        lint = [message.record() for message in problem.lint]
        said = "Cannot be submitted." if lint else f"Cannot be submitted: {problem.message}."
        return {"taken": False, "message": said, "lint": lint, "ideas": None, "of": None, "tried": None}
    program, scripted = read.program, contest.study.researcher == "scripted"
    named, tried, of = set[str](), set[str](), len(program.ideas)
    for task in contest.tasks:
        space = with_patches(task, program).edits
        named |= {idea.directive_id for idea in program.ideas if conditional.read(space, idea.terms, idea.conditions)}
        tried |= {idea.directive_id for idea, _ in resolved_ideas(program, task)}
    said = "Can be submitted."
    if of:
        said += f" Ideas that name an edit of the task: {len(named)} of {of}."
    if scripted:
        said += _use_of(program, len(named), len(tried))
    told = {"ideas-not-queued"} if scripted else set[str]()  # the message says it
    lint = [message.record() for message in read.lint if message.code not in told]
    return {"taken": True, "message": said, "lint": lint, "ideas": len(named), "of": of, "tried": len(tried)}


def _use_of(program: Program, named: int, tried: int) -> str:
    """What a scripted researcher does with the text, as sentences; empty if it tries all ideas that name an edit."""
    if not program.ideas and not settings_of(program.text).set_fields:
        return " It has no settings and no ideas: it runs like stock, with the default settings (random edits)."
    if named and not any("queue" in charter.proposers for _, charter in program.charter.by_phase()):
        return " No idea will be tried: no phase's proposers contain queue."
    if tried < named:
        return f" {tried} will be tried: the others change groups outside focus."
    return "" if program.ideas else " It has no ideas."


def example(task: Task) -> str:
    """A program to begin with: small steps, and one idea that names an edit of the task."""
    text = set_charter(starter("local").text, "proposers", {"queue": 0.5, "local": 0.5})
    edits = edits_of(task)
    return add_directive(text, "Ideas", f"Try `{edits[0]['example']}`.") if edits else text
