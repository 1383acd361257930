"""docs/your-data.md: its commands run as they stand, in order, in a checkout of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from core.config import ROOT
from tests.loops.checkout import copy

PAGE = (ROOT / "docs/your-data.md").read_text(encoding="utf-8")
LEFT_TO_LOOPS = "bash loops"  # `make demo` takes minutes: `make test-loops` plays generated problems


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_its_commands_lead_from_a_table_to_a_trained_candidate(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    (checkout / ".venv").symlink_to(sys.prefix)
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    told = "\n".join(run(block, checkout) for block in blocks("bash"))
    for line in blocks("text")[0].splitlines():
        assert line in " ".join(told.split())
    assert {
        name for name in re.findall(r"^(problems/\S+)", PAGE, re.MULTILINE) if not (checkout / name).exists()
    } == set()
    spec = yaml.safe_load((checkout / "problems/haze/problem.yaml").read_text())
    assert spec["question"] == "Will one see less than ten miles in this hour?"
    assert spec["columns"]["temp"]["unit"] == "°F"
    assert (checkout / "models/hgb/model.onnx").exists()


def test_only_the_demo_is_left_to_the_longer_tests() -> None:
    assert blocks(LEFT_TO_LOOPS) == ["make demo\n"]


def run(block: str, checkout: Path) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LOOP_")}
    env = own | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(["bash", "-euc", block], cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
