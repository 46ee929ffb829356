"""The finished study whose report most tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.report import studies

SECRET = "0123456789abcdef"


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    folder = studies.finished(tmp_path_factory.mktemp("finished"))
    (folder / "study.toml").write_text(f'secret = "{SECRET}"\n')
    return folder


@pytest.fixture(scope="session")
def html(ended: Path) -> str:
    return studies.written(ended)
