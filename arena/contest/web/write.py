"""How to write a program: what an entry is, the task's edits, the charter's fields; a form that checks and submits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from analysis.wording import many
from arena.contest.entering.entries import NotTaken, linted, obstacle, unpacked
from arena.contest.example import edits_of, example
from arena.contest.ranking.views import person_view
from arena.contest.tables import Person
from arena.contest.web.host import Host, Posted, body, weight_of
from arena.contest.web.pages import show
from arena.serving.limits import Chosen
from inner_loop.behaviour import resolved_ideas, with_patches
from programs.charter import Charter
from programs.common.errors import UsageError
from programs.common.text import listed
from programs.program import Program
from trainer.values import conditional

NAME = ("name", "The entry's name on the board, after your own (name: wide and deep).")
FOR_MODELS = ("history", "standups")  # settings that a scripted researcher does not use


class TextCheck(TypedDict):
    """What the host would say to a text. ``ideas``: how many of its ideas name an edit of the task; ``tried``: how many
    a scripted researcher tries; None where the text cannot be read."""

    taken: bool
    message: str
    lint: Sequence[Mapping[str, Any]]
    ideas: int | None
    of: int | None
    tried: int | None


def page_of(
    host: Host,
    request: Request,
    text: str,
    checked: TextCheck | None = None,
    start: str = "",
    status: int = 200,
) -> Response:
    scripted = host.contest.study.researcher == "scripted"
    fields = [NAME, *settings(Charter, {"version", *(FOR_MODELS if scripted else ())})]
    viewer = host.viewer(request)
    me = person_view(host.contest, viewer) if viewer else None
    return show(
        host,
        request,
        "write",
        status,
        edits=edits_of(host.task),
        trainings=round(host.contest.config.run_budget / host.task.cost_seconds),
        files=host.task.baseline().files,
        fields=fields,
        me=me,
        text=text,
        checked=checked,
        start=start,
    )


def checked_page(host: Host, request: Request, form: Posted, person: Person | None, status: int = 200) -> Response:
    """The page with the check of what was sent."""
    checked = text_check(host, form.program, person)
    return page_of(host, request, echoed(form.program), checked, status=status)


def write_routes(host: Host) -> APIRouter:
    """The page, its form, and the check of the API."""
    routes, given, sent = APIRouter(include_in_schema=False), Depends(host.posted), Depends(body)

    @routes.get("/write")
    def write(request: Request, start: Chosen = "") -> Response:
        """``start``: the id of an entry whose text the box begins with, as far as the reader may read it."""
        if not start:
            return page_of(host, request, example(host.task))
        entry = host.readable(request, start)
        if entry.state == "void":
            raise UsageError("no entry starts from one that is void", hint=entry.reason)
        return page_of(host, request, entry.raw.decode("utf-8"), None, entry.label)

    @routes.get("/me")
    def me(request: Request) -> Response:
        """The same page, which also has the entries of who is logged in."""
        return write(request) if host.viewer(request) else RedirectResponse("/join", status_code=303)

    @routes.post("/write")
    def check_form(request: Request, form: Posted = given) -> Response:
        host.limited(host.limits.lint, request, weight=weight_of(form.program))
        return checked_page(host, request, form, host.viewer(request))

    @routes.post("/enter")
    async def enter(request: Request, form: Posted = given) -> Response:
        person = await run_in_threadpool(host.viewer, request)
        if person is None:
            return RedirectResponse("/join", status_code=303)
        host.limited(host.limits.entry, request, f"person {person.person_id}", weight_of(form.program))
        try:
            accepted = await host.accept(person, form.program)
        except NotTaken:
            return await run_in_threadpool(checked_page, host, request, form, person, 422)
        suffix = "" if accepted.new else "?again=yes"
        response = RedirectResponse(f"/entry/{accepted.entry.entry_id}{suffix}", status_code=303)
        # for the entry's page: draft.js no longer keeps the text
        response.set_cookie(
            "stored", "yes", max_age=60, path="/entry", samesite="strict", secure=request.url.scheme == "https"
        )
        return response

    @routes.post("/api/v1/lint", include_in_schema=True, summary="Check a program.md without submitting it")
    def check(request: Request, raw: bytes = sent) -> Any:
        host.limited(host.limits.lint, request, weight=weight_of(raw))
        return text_check(host, raw, host.viewer(request))

    return routes


def echoed(raw: bytes) -> str:
    """The submitted text to fill the form with; empty if it is not text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def settings(part: type[BaseModel], leave_out: Collection[str], within: str = "") -> Iterator[tuple[str, str]]:
    """Name and meaning of each setting of the charter; ``keep.rule`` is written below ``keep:``."""
    for name, field_ in part.model_fields.items():
        if name in leave_out:
            continue
        yield f"{within}{name}", field_.description or ""
        if isinstance(field_.annotation, type) and issubclass(field_.annotation, BaseModel):
            yield from settings(field_.annotation, leave_out, f"{within}{name}.")


def text_check(host: Host, raw: bytes, person: Person | None) -> TextCheck:
    """The messages of lint, whether ``person`` could submit the text, and what the contest's researcher would do with
    it; nothing is stored."""
    contest = host.contest
    try:
        text, unused = unpacked(raw)
        read = linted(contest, text, host.unread, unused)
    except NotTaken as problem:
        lint = [message.record() for message in problem.lint]
        errors = sum(message.level == "error" for message in problem.lint)
        reasons = (many(errors, "error") if lint else problem.message, obstacle(contest, person, raw))
        summary = f"Cannot be submitted: {'; '.join(filter(None, dict.fromkeys(reasons)))}."
        return {"taken": False, "message": summary, "lint": lint, "ideas": None, "of": None, "tried": None}
    program, scripted = read.program, contest.study.researcher == "scripted"
    of, space = len(program.ideas), with_patches(host.task, program).edits
    read_ids = {idea.directive_id for idea in program.ideas if conditional.read(space, idea.terms, idea.conditions)}
    tried = {idea.directive_id for idea, _ in resolved_ideas(program, host.task)}
    why = obstacle(contest, person, text)
    summary = f"No errors, but it cannot be submitted: {why}." if why else "Can be submitted."
    if of:
        summary += f" Ideas that name an edit of the task: {len(read_ids)} of {of}."
    if scripted:
        summary += _use_of(program, read_ids, tried)
    lint = [message.record() for message in read.lint]
    return {"taken": not why, "message": summary, "lint": lint, "ideas": len(read_ids), "of": of, "tried": len(tried)}


def _use_of(program: Program, named: Collection[str], tried: Collection[str]) -> str:
    """What a scripted researcher does with the text, as sentences; empty if it tries all ideas that name an edit."""
    if named and not program.charter.has_queue:
        return " No idea will be tried: see the warning."
    if program.ideas and not named:
        return " No idea will be tried: the researcher of this contest is a script, and only tries named edits."
    if left := [idea.line for idea in program.ideas if idea.directive_id in named and idea.directive_id not in tried]:
        lines = f"line{'s' * (len(left) > 1)} {listed(map(str, left))}"
        return f" {len(tried)} will be tried: the others ({lines}) change groups outside focus."
    return "" if program.ideas else " It has no ideas: these are the items of a list below the heading ## Ideas."
