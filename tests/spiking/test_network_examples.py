"""The examples of neurons, their surrogates and their walks, in docstrings and in docs, give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from rrnn_ext import spiking

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "spiking.md"


@pytest.mark.parametrize("module", ["neurons", "pathways", "response", "surrogate"])
def test_docstrings(module: str) -> None:
    names = {"torch": torch, "nn": nn, "LIF": spiking.LIF}
    failed, tried = doctest.testmod(importlib.import_module(f"rrnn_ext.spiking.{module}"), extraglobs=names)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(("begin", "end"), [("# Spiking networks\n", "\n## Rates\n"), ("\n## Networks\n", "\n## ")])
def test_documentation(begin: str, end: str) -> None:
    section = DOCUMENTATION.read_text().split(begin, 1)[1].split(end, 1)[0]
    examples = doctest.DocTestParser().get_doctest(section, {}, begin.strip(), str(DOCUMENTATION), 0)
    assert len(examples.examples) > 5
    assert doctest.DocTestRunner().run(examples).failed == 0
