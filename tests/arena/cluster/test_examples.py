"""The scripts that ship for a cluster say what they mean, as far as that can be told without one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

EXAMPLES = Path(__file__).parents[3] / "examples"


def parsed_by_bash(text: str) -> str:
    """What bash complains of; empty where it can read all of it."""
    return subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False).stderr


def test_the_slurm_script_is_one() -> None:
    text = (EXAMPLES / "cluster.slurm").read_text()
    assert parsed_by_bash(text) == "" and text.startswith("#!/usr/bin/env bash\n")
    lines = text.splitlines()
    options = [i for i, line in enumerate(lines) if line.startswith("#SBATCH ")]
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert len(options) >= 6 and max(options) < first  # Slurm reads them up to the first command


@pytest.mark.parametrize("part", ["setup", "run"])
def test_the_skypilot_recipe_is_yaml_with_shell_in_it(part: str) -> None:
    recipe = YAML(typ="safe").load((EXAMPLES / "cluster.sky.yaml").read_text())
    assert {"name", "num_nodes", "resources", "setup", "run"} <= recipe.keys()
    assert all(isinstance(value, str) for value in recipe["envs"].values())
    assert parsed_by_bash(recipe[part]) == "" and recipe["num_nodes"] >= 2


def test_bash_does_tell_what_is_wrong() -> None:
    assert parsed_by_bash("if true; then\n")
