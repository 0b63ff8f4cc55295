"""The examples of the initialisers, and of the section on them in docs, give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
import torch

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "spiking.md"


@pytest.mark.parametrize("module", ["init", "calibrate", "propagation"])
def test_docstrings(module: str) -> None:
    names = {"torch": torch, "LIF": importlib.import_module("rrnn_ext.spiking").LIF}
    failed, tried = doctest.testmod(importlib.import_module(f"rrnn_ext.spiking.{module}"), extraglobs=names)
    assert tried > 0
    assert failed == 0


def test_documentation() -> None:
    section = DOCUMENTATION.read_text().split("\n## Initialisation\n")[1].split("\n## ")[0]
    examples = doctest.DocTestParser().get_doctest(section, {}, "Initialisation", str(DOCUMENTATION), 0)
    assert len(examples.examples) > 5
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed == 0
