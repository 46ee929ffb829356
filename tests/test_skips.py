"""Where METALOOP_NO_SKIP is set, as in .ci/run, a test that wants a sandbox, a browser or Ray is not passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SKIPS = {
    "test_browser": "@pytest.mark.skipif(True, reason='no Chromium here: apt-get install chromium')\n",
    "test_sandbox": "@pytest.mark.usefixtures('sandbox')\n",
    "test_ray": "pytest.importorskip('no_such_module', reason='Ray is not installed')\n",
    "test_gpu": "@pytest.mark.skipif(True, reason='needs a GPU')\n",
}
SANDBOX = """
@pytest.fixture
def sandbox():
    pytest.skip("no sandbox: root may not mount here")
"""


def test_skip_is_a_failure_but_for_what_a_machine_may_lack(tmp_path: Path) -> None:
    for name, text in SKIPS.items():
        (tmp_path / f"{name}.py").write_text(f"import pytest\n{text}def test(): ...\n")
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text() + SANDBOX)
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | {"METALOOP_NO_SKIP": "1"}
    words = ["-m", "pytest", "-p", "no:cacheprovider", "-rs", "--continue-on-collection-errors", str(tmp_path)]
    ended = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 skipped" in ended.stdout.splitlines()[-1]
