"""The scripts that ship for a cluster say what they mean, as far as that can be told without one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

EXAMPLES = Path(__file__).parents[3] / "examples"


def parsed_by_bash(text: str) -> str:
    """What bash complains of; empty where it can read all of it."""
    return subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False).stderr


def test_the_slurm_script_has_its_options_first() -> None:
    text = (EXAMPLES / "cluster.slurm").read_text()
    head, *rest = re.split(r"(?m)^(?!#|$)", text, maxsplit=1)  # Slurm reads them up to the first command
    assert parsed_by_bash(text) == "" and head.startswith("#!/usr/bin/env bash\n")
    assert head.count("#SBATCH ") >= 6 and "#SBATCH " not in "".join(rest)


def test_the_skypilot_recipe_is_yaml_with_shell_in_it() -> None:
    recipe = YAML(typ="safe").load((EXAMPLES / "cluster.sky.yaml").read_text())
    assert {"name", "num_nodes", "resources", "setup", "run"} <= recipe.keys() and recipe["num_nodes"] >= 2
    assert all(isinstance(value, str) for value in recipe["envs"].values())
    assert parsed_by_bash(recipe["setup"]) == parsed_by_bash(recipe["run"]) == ""
    assert parsed_by_bash("if true; then\n")  # bash does tell what is wrong
