"""The pages for readers: what they link to exists, their commands can be run, what they list is all there is."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from support import pages
from torch import Tensor

import rrnn_ext
from benchmarks import report
from benchmarks.gpu import report as gpu_report
from experiments.cli import app
from rrnn_ext.reading import commands

ROOT = pages.ROOT
PAGES = ["README.md", "CONTRIBUTING.md", *(p.relative_to(ROOT).as_posix() for p in sorted(pages.DOCS.glob("**/*.md")))]
MAKEFILE = pages.read("Makefile")
SETUP = pages.read("setup.py")
PYPROJECT = pages.read("pyproject.toml")

OPTIONS = pages.read("docs/options.md")
INSTALL = pages.read("docs/install.md")


@pytest.mark.parametrize("page", [*PAGES, "csrc/README.md"])
def test_files_that_a_page_links_exist(page: str) -> None:
    found = re.findall(r"\]\((?!https?:|#)([^)#]*)", pages.prose(pages.read(page)))
    assert [target for target in found if not (ROOT / page).parent.joinpath(target).is_file()] == []


def test_benchmarks_have_a_place_for_their_tables() -> None:
    for begin, end, page in (
        (report.BEGIN, report.END, report.PAGE),
        (gpu_report.BEGIN, gpu_report.END, gpu_report.PAGE),
    ):
        text = page.read_text(encoding="utf-8")
        assert text.count(begin) == text.count(end) == 1
        assert text.index(begin) < text.index(end)


class TestDefinition:
    @pytest.mark.parametrize("rectify", [False, True])
    @pytest.mark.parametrize("per_hop", [False, True])
    @pytest.mark.parametrize(
        ("n", "i", "o", "hops", "alpha"), [(7, 3, 2, 1, 1.0), (12, 2, 5, 6, 0.7), (9, 1, 1, 4, 1.3)]
    )
    def test_it_is_what_the_library_computes(
        self, n: int, i: int, o: int, hops: int, alpha: float, per_hop: bool, rectify: bool
    ) -> None:
        (written,) = (block.code for block in pages.blocks(OPTIONS) if "def definition" in block.code)
        names: dict[str, Any] = {}
        exec(written, names)
        generator = torch.Generator().manual_seed(n)
        weights = [
            torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()
            for shape in ((n, n), (n, i), (o, n))
        ]
        options: dict[str, Any] = {"hops": hops, "alpha": alpha, "rectify": rectify, "per_hop": per_hop}
        ours: Tensor = rrnn_ext.resolvent_penalty(*weights, **options)
        theirs: Tensor = names["definition"](*weights, **options)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0.0)
        gradients = torch.autograd.grad(ours, weights)
        expected = torch.autograd.grad(theirs, weights, materialize_grads=True)
        torch.testing.assert_close(gradients, expected, rtol=1e-11, atol=1e-11)


class TestInstall:
    def test_build_switches(self) -> None:
        documented = re.findall(r"^    ([A-Z_]+)  ", SETUP.split('"""')[1], re.MULTILINE)
        assert sorted(row[0].strip("`") for row in pages.table(INSTALL, "variable")) == sorted(documented)

    def test_requirements(self) -> None:
        assert 'requires-python = ">=3.10"' in PYPROJECT
        assert 'dependencies = ["torch>=2.10"]' in PYPROJECT
        assert "-std=c++20" in SETUP
        assert "Python ≥ 3.10, PyTorch ≥ 2.10, g++ with C++20" in INSTALL


class TestCommands:
    @pytest.mark.parametrize(
        "command", sorted({command for page in PAGES for command in pages.commands(pages.read(page))})
    )
    def test_exists(self, command: str) -> None:
        words = shlex.split(re.sub(r"^([A-Z_]+=\S* )*", "", command), comments=True)
        if words[0] == "make":
            self.check_make(words[1:])
        elif words[:3] == ["python", "-m", "experiments"]:
            self.check_typer(app, words[3:])
        elif words[:3] == ["python", "-m", "rrnn_ext"]:
            self.check_typer(commands.app, words[3:])
        elif words[:2] == ["python", "-m"]:
            self.check_module(words[2], words[3:])
        elif words[:2] == ["pip", "install"]:
            self.check_pip(words[2:])
        else:  # a program that comes with a package
            assert Path(sys.executable).with_name(words[0]).is_file()

    @staticmethod
    def check_make(words: list[str]) -> None:
        phony = " ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)).split()
        targets = [word for word in words if "=" not in word]
        assert targets
        assert set(targets) <= set(phony)
        for target in targets:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)
        for name, value in (word.split("=", 1) for word in words if "=" in word):
            assert re.search(rf"^{name} \?=", MAKEFILE, re.MULTILINE)
            assert all((ROOT / path).exists() for path in value.split())

    @staticmethod
    def check_typer(program: typer.Typer, words: list[str]) -> None:
        # Parses the options and their values; runs nothing.
        typer.main.get_command(program).commands[words[0]].make_context(words[0], words[1:])  # type: ignore[attr-defined]

    @staticmethod
    def check_module(module: str, words: list[str]) -> None:
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or path.joinpath("__main__.py").is_file()
        if options := {word for word in words if word.startswith("--")}:
            program = [sys.executable, "-m", module, "--help"]
            said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            assert options <= set(re.findall(r"--[a-z]+", said))

    @staticmethod
    def check_pip(words: list[str]) -> None:
        if words[0] == "-r":
            assert (ROOT / words[1]).is_file()
            return
        if words == ["rrnn_ext-*.whl"]:
            return
        if words[:2] == ["--find-links", "."]:
            wanted = re.fullmatch(r"rrnn_ext\[(\w+)\]", words[2])
            assert wanted
            assert re.search(rf"^{wanted[1]} = \[", PYPROJECT, re.MULTILINE)
            return
        if not words[0].startswith("-"):
            requires = re.findall(r"^requires = (\[.*\])$", PYPROJECT, re.MULTILINE)[0]
            assert words == ast.literal_eval(requires)
            return
        # An isolated build would compile against another PyTorch; setup.py gives the same advice.
        assert words[0] == "--no-build-isolation"
        assert "pip install --no-build-isolation ." in SETUP
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", words[-1])
        assert extra
        assert extra[1] is None or re.search(rf"^{extra[1]} = \[", PYPROJECT, re.MULTILINE)
        assert words[1:-1] in ([], ["-e"])
