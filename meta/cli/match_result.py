"""The result of ``metaloop match``: the standings, or on several tasks the gains on each."""

from __future__ import annotations

from arena.study import Study
from meta.cli import resolve, views
from meta.cli.output import Output
from meta.cli.standings import show_standings


def show_match_result(out: Output, study: Study) -> list[str]:
    """Show the matches of a study; returns the commands that go on from it."""
    matches = [match_id for match_id, match in study.state.matches.items() if match.purpose in ("race", "run")]
    if len(matches) > 1:
        with resolve.connect(study.folder, ["transfer"]) as con:
            view = views.view("transfer")
            views.show(out, view.rows(con), view, extra={"study": resolve.shown(study.folder)})
    else:
        show_standings(out, study.folder, matches[0])
    study.follow()  # what the workers wrote
    name, (run_id, *others) = resolve.typed(study.folder), study.state.runs
    alone = [] if others else [f"metaloop show {resolve.short(run_id)} -s {name}"]
    return [*alone, f"metaloop report {name}", f"metaloop credit {name}", "metaloop ui"]
