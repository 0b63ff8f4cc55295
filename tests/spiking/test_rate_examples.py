"""The examples of the functions for rates and densities, and of the section on them in docs, give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
import torch

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "spiking.md"


@pytest.mark.parametrize("module", ["coloured", "density", "rates", "shot_noise", "threshold"])
def test_docstrings(module: str) -> None:
    name = f"rrnn_ext.spiking.{module}"
    failed, tried = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert tried > 0
    assert failed == 0


def test_documentation() -> None:
    section = DOCUMENTATION.read_text().split("\n## Rates\n")[1].split("\n## ")[0]
    examples = doctest.DocTestParser().get_doctest(section, {}, "Rates", str(DOCUMENTATION), 0)
    assert len(examples.examples) > 5
    assert doctest.DocTestRunner().run(examples).failed == 0
