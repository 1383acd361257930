"""The documentation says what is true: links, commands, paths and examples are looked up in the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from core.config import ROOT
from pipeline.cli import app
from problems import load

PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make (?:[A-Z_]+=\S+ )?([a-z0-9-]+)", page.read_text()))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_loop_commands_that_are_named_exist(page: Path) -> None:
    known = get_command(app)
    assert isinstance(known, TyperGroup)
    for word, next_word in re.findall(r"(?:`|bin/)loop ([a-z]+)(?: ([a-z]+))?", page.read_text()):
        assert word in known.commands
        command = known.commands[word]
        assert not isinstance(command, TyperGroup) or next_word in command.commands, f"loop {word} {next_word}"


def test_the_tree_in_the_readme_exists() -> None:
    tree = re.search(r"## The tree\n\n```text\n(.*?)```", README, re.DOTALL)
    assert tree
    for line in tree[1].splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_three_commands_stand_within_the_first_25_lines() -> None:
    assert len(re.findall(r"^\$ make \w+", "\n".join(README.splitlines()[:25]), re.MULTILINE)) >= 3


def test_the_example_request_is_valid() -> None:
    from serving.parsing import RowParser

    body = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert body
    assert RowParser(load("flights").spec).one(body[1].encode())["carrier"] == "UA"


def test_decisions_are_short() -> None:
    for page in sorted((ROOT / "docs" / "adr").glob("*.md")):
        assert len(page.read_text().splitlines()) <= 30, page.name


def test_loop_starts_without_the_heavy_packages() -> None:
    heavy = "('mlflow', 'torch', 'evidently', 'airflow', 'pandas')"
    code = f"import sys, pipeline.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
