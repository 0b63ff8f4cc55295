"""The README: it is short, and its code runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import pages

import rrnn_ext

README = pages.read("README.md")
BLOCKS = pages.blocks(README)


class TestForm:
    def test_it_is_short(self) -> None:
        assert len(README.encode()) <= 8192

    def test_every_fence_is_a_block_of_a_known_language(self) -> None:
        assert {block.language for block in BLOCKS} == {"python", "sh", "bibtex"}
        assert len(re.findall(r"^\s*(?:```|~~~)", README, re.MULTILINE)) == 2 * len(BLOCKS)

    def test_no_block_hides_in_an_indent(self) -> None:
        assert not re.search(r"\n\n(?: {4}|\t)", pages.prose(README))

    def test_all_ways_in_are_there(self) -> None:
        assert {"make demo", "make test", "pip install --no-build-isolation ."} <= set(pages.commands(README))


@pytest.fixture(scope="module")
def session() -> Iterator[dict[str, Any]]:
    """The names that a reader has who ran every Python block in order."""
    names: dict[str, Any] = {"__name__": "readme"}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in BLOCKS:
            if block.language == "python":
                # Blank lines before it, so that a traceback has the README's line numbers.
                exec(compile("\n" * (block.line - 1) + block.code, str(pages.ROOT / "README.md"), "exec"), names)
    yield names
    torch.set_num_threads(threads)


class TestPython:
    def test_the_loop_is_short_and_two_lines_of_it_are_ours(self) -> None:
        (loop,) = (block.code for block in BLOCKS if "optimiser.step" in block.code)
        assert len(loop.splitlines()) <= 9
        assert sum("penalty" in line for line in loop.splitlines()) == 2

    def test_the_loop_learns_its_task(self, session: dict[str, Any]) -> None:
        # To answer nothing costs the variance of the targets, 1.
        assert session["task_loss"].item() < 0.8

    def test_what_is_read_is_there(self, session: dict[str, Any]) -> None:
        rnn, readout, T = session["rnn"], session["readout"], session["T"]
        assert session["by_lag"].shape == (T,)
        weights = rnn.weight_hh_l0, rnn.weight_ih_l0, readout.weight
        walks = rrnn_ext.hop_decomposition(*weights, hops=T)
        torch.testing.assert_close(session["penalty"](), walks.abs().sum())
