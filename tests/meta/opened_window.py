"""Studies, and the window of `metaloop ui` on them, for its tests."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import httpx
import uvicorn

from arena.serving.wire import configured, listen
from meta.ui.app import create_app
from meta.ui.studies import Studies

TOKEN = "a-token"


class Window:
    """The pages of a folder on a port of the kernel's choice, and a client that has opened the address."""

    def __init__(self, root: Path) -> None:
        self.studies, listening = Studies(root), listen("127.0.0.1", 0)
        self.port = int(listening.getsockname()[1])
        self.server = uvicorn.Server(configured(create_app(self.studies, TOKEN, self.port)))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=200, follow_redirects=True)
        while not self.server.started:
            time.sleep(0.01)
        assert self.client.get("/", params={"token": TOKEN}).status_code == 200

    def page(self, path: str, status: int = 200, **values: str) -> str:
        answer = self.client.get(path, params=values)
        assert answer.status_code == status, answer.text
        return answer.text

    def close(self) -> None:
        self.studies.close()
        self.server.should_exit = True
        self.thread.join()
        self.client.close()


def until_read(window: Window) -> None:
    end = time.monotonic() + 200
    while not all(one.whole for one in window.studies.followed.values()):
        assert time.monotonic() < end
        time.sleep(0.02)


def first(text: str, path: str) -> dict[str, str]:
    """The parameters of the first link to a page."""
    match = re.search(rf'href="{path}\?([^"#]+)[#"]', text)
    assert match is not None
    return dict(httpx.QueryParams(match[1].replace("&amp;", "&")))
