"""``metaloop ui``: the studies below a folder in a browser."""

from __future__ import annotations

import secrets
import webbrowser
from pathlib import Path
from typing import Annotated

import uvicorn

from arena.serving.wire import configured, listen
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Output
from meta.ui.app import create_app
from meta.ui.studies import Studies
from programs.common.errors import NotFound

PORT = 8324


@verb(
    ("metaloop ui", "the studies below the current folder"),
    ("metaloop ui studies/NAME", "one study, live while it runs"),
    ("metaloop ui --no-open --port 9000", "on a server: forward the port, open the address that is printed"),
)
def ui(
    out: Output,
    folder: Annotated[str, argument(metavar="[FOLDER]", default=".")],
    port: Annotated[int, flag("Port on 127.0.0.1; 0 chooses one.", min=0, max=65535, default=PORT)],
    no_open: Annotated[bool, flag("Only print the address.")],
) -> None:
    """Show studies in a browser, live and read-only: verdicts, matches, runs,
    experiments with their diffs and replies, the report.
    Only this machine can reach it, and only with the token in the address."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise NotFound(f"{folder} is not a folder", hint="name the folder with your studies")
    listening, token = listen("127.0.0.1", port), secrets.token_urlsafe(24)
    port = int(listening.getsockname()[1])
    address = f"http://127.0.0.1:{port}/?token={token}"
    studies = Studies(root)
    out.text(address, item={"url": address})
    out.note("Ctrl-C ends it; the studies go on")
    if not no_open:
        webbrowser.open(address)
    try:
        server = uvicorn.Server(configured(create_app(studies, token, port, lambda: server.should_exit)))
        server.run(sockets=[listening])
    finally:
        studies.close()
        listening.close()
