"""Other pages of the browser and folders of strangers, against the window of `metaloop ui`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from meta.cli.main import run
from tests.meta.cli_study import write_study
from tests.meta.opened_window import TOKEN, Window, until_read

ODD = "a\u202efdp\x1b]0;x\x07"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("window")
    write_study(folder / "one")
    write_study(folder / ODD)
    return folder


@pytest.fixture(scope="module")
def window(root: Path) -> Iterator[Window]:
    opened = Window(root)
    until_read(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("site", "status"), [("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)]
)
def test_window_asked_by_page_of_another_site_refuses(site: str, status: int, window: Window) -> None:
    for path in ("/", "/study?at=one", "/events" if status == 403 else "/static/style.css"):
        assert window.client.get(path, headers={"sec-fetch-site": site}).status_code == status
    origin = {"origin": "http://127.0.0.1:9", "sec-fetch-site": site}
    assert window.client.get("/", headers=origin).status_code == 403


@pytest.mark.parametrize("path", ["//evil.example/", "///evil.example/", "//evil.example", "/\\evil.example/", "//"])
def test_window_opened_below_two_slashes_stays_here(path: str, window: Window) -> None:
    target = httpx.URL(f"{window.url}/").copy_with(raw_path=f"{path}?token={TOKEN}".encode())
    location = httpx.get(target).headers["refresh"].removeprefix("0; url=")
    assert location.startswith("/") and not location.startswith(("//", "/\\"))


def test_study_with_odd_name_is_shown_without_marks_and_opens(window: Window, root: Path) -> None:
    pages = [window.page("/")]
    name = next(name for name in window.studies.followed if name.startswith("a"))
    pages += [window.page(path, at=name) for path in ("/study", "/report")]
    assert all("fdp" in page and not set(page) & set(ODD) & set("\u202e\x1b\x07") for page in pages)


def test_report_of_study_with_odd_name_has_none_of_its_marks(root: Path, tmp_path: Path) -> None:
    assert run(["report", str(root / ODD), "-o", str(tmp_path / "r.html")]) == 0
    assert not set((tmp_path / "r.html").read_text()) & set("\u202e\x1b\x07")
