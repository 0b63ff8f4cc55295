"""The README: its code runs, its commands exist, its tables and signatures are those of the library."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import typer
from torch import Tensor

import rrnn_ext
from experiments.cli import app
from rrnn_ext.reading import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("csrc/*.md")]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

MODULE_OWN = {"rnn", "readout", "hops", "leak", "gains", "detach_gains"}


class Block(NamedTuple):
    language: str
    line: int  # of its first line in the README, from 1
    code: str


def blocks() -> list[Block]:
    found = re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", README, re.MULTILINE)
    return [Block(m[1], README.count("\n", 0, m.start(2)) + 1, m[2]) for m in found]


def prose(page: str = README) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*\n(?:.*\n)*?```$", "", page, flags=re.MULTILINE)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(title: str, heading: str) -> list[list[str]]:
    """The cells of the first table of a section whose first column has that heading."""
    after = section(title).split(f"| {heading} |", 1)[1]
    lines = after.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def defaults(function: Callable[..., Any]) -> dict[str, str]:
    """Every parameter and its default as source, "" where there is none."""
    return {
        name: "" if parameter.default is parameter.empty else _source(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def _source(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


def in_table(rows: list[list[str]]) -> dict[str, str]:
    return {name.strip("`"): default.strip("`") for name, default, _ in rows}


class TestForm:
    def test_every_fence_is_a_block_of_a_language_that_is_tested(self) -> None:
        assert {block.language for block in blocks()} == {"python", "sh"}
        assert len(re.findall(r"^\s*(?:```|~~~)", README, re.MULTILINE)) == 2 * len(blocks())

    def test_no_block_hides_in_an_indent(self) -> None:
        assert not re.search(r"\n\n(?: {4}|\t)", prose())

    def test_benchmark_markers(self) -> None:
        assert re.findall("<!-- bench:.*? -->", section("How it compares")) == [
            "<!-- bench:begin -->",
            "<!-- bench:end -->",
        ]

    def test_files_and_places_that_are_linked_exist(self) -> None:
        targets = re.findall(r"\]\((?!https?:)(.*?)\)", prose())
        headings = re.findall(r"^#+ (.*)$", prose(), re.MULTILINE)
        anchors = {f"#{heading.lower().replace(' ', '-')}" for heading in headings}
        assert targets
        assert [target for target in targets if target not in anchors and not (ROOT / target).is_file()] == []

    @pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in PAGES))
    def test_files_that_another_page_links_exist(self, page: str) -> None:
        found = re.findall(r"\]\((?!https?:|#)([^)#]*)", prose((ROOT / page).read_text(encoding="utf-8")))
        assert [target for target in found if not (ROOT / page).parent.joinpath(target).is_file()] == []


@pytest.fixture(scope="module")
def session() -> Iterator[dict[str, Any]]:
    """The names that a reader has who ran every Python block in order."""
    names: dict[str, Any] = {"__name__": "readme"}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in blocks():
            if block.language == "python":
                # Blank lines before it, so that a traceback has the README's line numbers.
                exec(compile("\n" * (block.line - 1) + block.code, str(ROOT / "README.md"), "exec"), names)
    yield names
    torch.set_num_threads(threads)


class TestPython:
    def test_the_loop_is_short_and_two_lines_of_it_are_ours(self) -> None:
        first = next(block.code for block in blocks() if block.language == "python")
        loop = [line for line in first.splitlines() if line and "import" not in line]
        assert len(loop) <= 11
        assert sum("penalty" in line for line in loop) == 2

    def test_the_loop_learns_its_task(self, session: dict[str, Any]) -> None:
        # To answer nothing costs the variance of the targets, 1.
        assert session["task_loss"].item() < 0.8

    @pytest.mark.parametrize("rectify", [False, True])
    @pytest.mark.parametrize("per_hop", [False, True])
    @pytest.mark.parametrize(
        ("n", "i", "o", "hops", "alpha"), [(7, 3, 2, 1, 1.0), (12, 2, 5, 6, 0.7), (9, 1, 1, 4, 1.3)]
    )
    def test_the_definition(
        self, session: dict[str, Any], n: int, i: int, o: int, hops: int, alpha: float, per_hop: bool, rectify: bool
    ) -> None:
        generator = torch.Generator().manual_seed(n)
        weights = [
            torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()
            for shape in ((n, n), (n, i), (o, n))
        ]
        options = {"hops": hops, "alpha": alpha, "rectify": rectify, "per_hop": per_hop}
        ours: Tensor = rrnn_ext.resolvent_penalty(*weights, **options)  # type: ignore[arg-type]
        theirs: Tensor = session["definition"](*weights, **options)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0.0)
        gradients = torch.autograd.grad(ours, weights)
        expected = torch.autograd.grad(theirs, weights, materialize_grads=True)
        torch.testing.assert_close(gradients, expected, rtol=1e-11, atol=1e-11)

    def test_spared_lags_and_pathways(self, session: dict[str, Any]) -> None:
        P = rrnn_ext.hop_decomposition(session["W"], session["U"], session["V"], hops=session["T"]).detach()
        torch.testing.assert_close(session["late"].detach(), P[5:].sum(0).abs().sum())
        sizes = P.sum(0).abs()
        torch.testing.assert_close(session["rest"].detach(), sizes.sum() - sizes[0, 0], rtol=1e-4, atol=1e-5)

    def test_the_profile(self, session: dict[str, Any]) -> None:
        assert session["profile"].shape == (session["T"],)
        assert 0 < session["mean_lag"] < session["T"] - 1
        assert 0 < session["cancelled"] < 1

    def test_the_infinite_sum_is_that_of_many_hops(self, session: dict[str, Any]) -> None:
        weights = [session[name].detach().double() for name in ("W", "U", "V")]
        # A radius of 0.9: what is left out after 400 hops is below 1e-18.
        many = session["definition"](*weights, hops=400, alpha=session["alpha"], rectify=True)
        torch.testing.assert_close(session["everything"].detach().double(), many, rtol=1e-4, atol=0.0)


class TestTables:
    def test_every_option_of_the_penalty(self) -> None:
        options = defaults(rrnn_ext.resolvent_penalty)
        for weight in ("weight_hh", "weight_in", "weight_out"):
            del options[weight]
        assert in_table(table("Options", "keyword")) == options

    def test_every_option_of_the_module(self) -> None:
        shared, own = in_table(table("Options", "keyword")), in_table(table("The module", "argument"))
        del shared["reduction"]
        assert set(own) == MODULE_OWN
        assert {**shared, **own} == defaults(rrnn_ext.ResolventPenalty)

    def test_every_argument_with_a_shape(self) -> None:
        assert [row[0].strip("`") for row in table("Functions", "argument")] == ["weight_hh", "weight_in", "weight_out"]

    def test_signatures(self) -> None:
        spans = (" ".join(span.split()) for span in re.findall(r"`(rrnn_ext\.[^`]*\))`", prose()))
        written = {ast.unparse(ast.parse(f"def {span.removeprefix('rrnn_ext.')}: ...")) for span in spans}
        names = ["resolvent_penalty", "resolvent", "hop_decomposition", "resolvent_info", "ResolventPenalty"]
        assert written == {self.signature(name) for name in names}

    @staticmethod
    def signature(name: str) -> str:
        signature = inspect.signature(getattr(rrnn_ext, name))
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        stub = f"def {name}{signature.replace(parameters=bare, return_annotation=signature.empty)}: ..."
        return ast.unparse(ast.parse(stub))

    def test_every_public_name(self) -> None:
        spans = re.findall(r"`(?:rrnn_ext\.)?(\w+)[^`]*`", prose())
        assert set(rrnn_ext.__all__) <= set(spans)
        assert set(rrnn_ext.ResolventInfo._fields) <= set(spans)

    def test_build_switches(self) -> None:
        documented = re.findall(r"^    ([A-Z_]+)  ", SETUP.split('"""')[1], re.MULTILINE)
        assert sorted(row[0].strip("`") for row in table("Requirements and build", "variable")) == sorted(documented)

    def test_requirements(self) -> None:
        assert 'requires-python = ">=3.10"' in PYPROJECT
        assert 'dependencies = ["torch>=2.10"]' in PYPROJECT
        assert "-std=c++20" in SETUP
        assert "Python ≥ 3.10, PyTorch ≥ 2.10, g++ with C++20" in section("Requirements and build")


COMMANDS = [line for block in blocks() if block.language == "sh" for line in block.code.splitlines()]
COMMANDS += re.findall(r"`((?:make|python -m) [^`]+)`", prose())


class TestCommands:
    def test_there_are_all_three_ways_in(self) -> None:
        assert {"make demo", "make test", "pip install --no-build-isolation ."} <= set(COMMANDS)

    @pytest.mark.parametrize("command", sorted(set(COMMANDS)))
    def test_exists(self, command: str) -> None:
        words = shlex.split(command)
        if words[0] == "make":
            self.check_make(words[1:])
        elif words[:3] == ["python", "-m", "experiments"]:
            self.check_experiments(words[3:])
        elif words[:3] == ["python", "-m", "rrnn_ext"]:
            typer.main.get_command(commands.app).commands[words[3]].make_context(words[3], words[4:])  # type: ignore[attr-defined]
        elif words[:3] == ["python", "-m", "benchmarks"]:
            self.check_benchmarks(words[3:])
        elif words[:2] == ["pip", "install"]:
            self.check_pip(words[2:])
        else:
            pytest.fail(f"no check for this command: {command}")

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
            assert (ROOT / value).exists()

    @staticmethod
    def check_experiments(words: list[str]) -> None:
        commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        # Parses the options and their values; runs nothing.
        commands[words[0]].make_context(words[0], words[1:])

    @staticmethod
    def check_benchmarks(words: list[str]) -> None:
        program = [sys.executable, "-m", "benchmarks", "--help"]
        said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert set(words) <= set(re.findall(r"--[a-z]+", said))

    @staticmethod
    def check_pip(words: list[str]) -> None:
        if words[0] == "-r":
            assert (ROOT / words[1]).is_file()
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
