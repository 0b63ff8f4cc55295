"""Markdown pages as the tests read them: blocks of code, prose, sections, tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Block(NamedTuple):
    language: str
    line: int  # of its first line in the page, from 1
    code: str


def read(name: str) -> str:
    """A page by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    found = re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE)
    return [Block(m[1], page.count("\n", 0, m.start(2)) + 1, m[2]) for m in found]


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*\n(?:.*\n)*?```$", "", page, flags=re.MULTILINE)


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table whose first column has that heading."""
    after = page.split(f"| {heading} |", 1)[1]
    lines = after.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def commands(page: str) -> list[str]:
    """What it tells its reader to run in a shell."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.code.splitlines()]
    in_blocks = [line for line in lines if not line.startswith("export ")]
    return in_blocks + re.findall(r"`((?:make|python -m) [^`]+)`", prose(page))
