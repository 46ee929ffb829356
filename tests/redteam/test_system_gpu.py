"""A helper left on the GPU (41): the attack itself needs one, and so does the profile that lets a candidate reach it.

Without a GPU two things can be tried: that a candidate of today's sandbox reaches no such device at all, and that what
stays on a card is told, whatever the leftover calls itself. docs/gpu.md says how to try the rest by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from programs.errors import EnvironmentProblem
from tests.redteam.attempts import assert_all, trying
from tests.redteam.conftest import Attack
from trainer import gpu

Smi = Callable[[str, str], Path]


@pytest.fixture
def smi(tmp_path: Path) -> Smi:
    """Stands in for nvidia-smi: what it says of processes, and of memory in use."""

    def make(apps: str, used: str) -> Path:
        (tmp_path / "apps").write_text(apps)
        (tmp_path / "used").write_text(used)
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\ncase $1 in *apps*) cat {tmp_path}/apps;; *) cat {tmp_path}/used;; esac\n")
        tool.chmod(0o755)
        return tool

    return make


@pytest.mark.exploit(41)
def test_no_device_is_there(attack: Attack) -> None:
    """41 no node, no driver's ioctl, no process that could stay: nothing to leave a helper with."""
    attempts = {
        "nodes": "[_os.open('/dev/' + name, 2) for name in ('nvidiactl', 'nvidia0', 'nvidia-uvm', 'dri/card0')]",
        "kfd": "_os.open('/dev/kfd', 2)",
        "a node of one's own": "CALL(133, b'nvidia0', 0o20666, 195 << 8)",
        "its ioctl": "CALL(16, 0, 0xC00846D6, 0)",
        "sys": "_os.listdir('/sys/class/drm')",
        "driver": "open('/proc/driver/nvidia/version').read()",
        "a daemon": "_os.fork()",
        "the control daemon": "CALL(41, 1, 1, 0)",
    }
    errors = "ENOENT", "EPERM", "EACCES"
    case = attack("points", top=trying(attempts, *errors))
    assert_all(case, attempts, *errors)
    case.assert_same()


@pytest.mark.exploit(41)
@pytest.mark.parametrize(
    "row",
    [
        "4242, 900, python",
        "4242, [N/A], [Not Found]",
        "4242, 900, \x1b[2J\u202ea\u202c",
        "1, 900, a, b, c",
        "4242, 0, -",
    ],
)
def test_a_helper_that_stays_is_told(smi: Smi, row: str) -> None:
    """41 a process on the card after the experiment: a finding with its id, in words that can be shown."""
    before, _ = gpu.clean_before(0, smi("", "3\n"))
    findings = gpu.clean_after(0, before, smi(f"{row}\n", "903\n"), patience=0.0)
    unnamed = row == "4242, 0, -"  # the 900 MB are nobody's then, and told beside it
    assert len(findings) == 1 + unnamed and f"pid {row.split(',')[0]}" in findings[0]
    assert all(finding.isprintable() for finding in findings)


@pytest.mark.exploit(41)
def test_memory_without_a_name_is_told(smi: Smi) -> None:
    """41 a helper whose process is hidden from the driver's list still holds memory."""
    before, _ = gpu.clean_before(0, smi("", "3\n"))
    (finding,) = gpu.clean_after(0, before, smi("", "903\n"), patience=0.0)
    assert "900 MB stay in use" in finding


@pytest.mark.exploit(41)
def test_a_helper_from_before_is_no_alibi(smi: Smi) -> None:
    """41 what was there before is told before; a second one beside it is told after."""
    before, told = gpu.clean_before(0, smi("77, 500, helper\n", "503\n"))
    assert len(told) == 1 and "pid 77" in told[0]
    after = gpu.clean_after(0, before, smi("77, 500, helper\n78, 500, helper\n", "1003\n"), patience=0.0)
    assert len(after) == 1 and "pid 78" in after[0]


@pytest.mark.exploit(41)
@pytest.mark.parametrize("apps", ["4242, 900\n", "4242, 9e2, x\n", "\x00\n", "0x10, 900, x\n", "9" * 30 + ", 1, x\n"])
def test_an_answer_that_is_not_understood_is_no_all_clear(smi: Smi, apps: str) -> None:
    """41 a name with line ends or a driver that changed its words: an error, not a clean card."""
    with pytest.raises(EnvironmentProblem, match="cannot read its line"):
        gpu.clean_after(0, gpu.Usage(0, ()), smi(apps, "0\n"), patience=0.0)
