"""The list of planted bugs fits the sources as they are now: `python tests/plant_bugs.py` can plant each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.planted_bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_text_occurs_once_and_is_changed(bug: Bug) -> None:
    source = (ROOT / bug.file).read_text()
    assert bug.planted(source) != source


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_tests_that_it_names_are_there(bug: Bug) -> None:
    for test in bug.likely_tests():
        path, *names = test.split("::")
        source = (ROOT / path).read_text()
        assert all(re.search(rf"(def|class) {name}\b", source) for name in names), test


def test_names_are_told_apart() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
