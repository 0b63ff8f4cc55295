"""What nvcc says of the kernels: every one is there for every architecture, in registers and shared memory alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from rrnn_ext import _C

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for path in (ROOT / "csrc" / "cuda").rglob("*.cu") if "__global__" in path.read_text())
ARCHS = {"80", "90"}

built_for = {arch.removesuffix("+PTX").replace(".", "") for arch in _C.build_info()["cuda_archs"]}
pytestmark = pytest.mark.skipif(not built_for >= ARCHS, reason="not built for sm_80 and sm_90, as it is without a GPU")


class Kernel(NamedTuple):
    """One function for one architecture, as `ptxas -v` reports it."""

    arch: str
    name: str
    stack: int
    spilled: int
    registers: int


def kernels_of(source: Path) -> list[Kernel]:
    (report,) = (ROOT / "build").glob(f"native.*/{source.relative_to(ROOT / 'csrc')}.o.ptxas")
    found = re.findall(
        r"Compiling entry function '(\S+)' for 'sm_(\d+)a?'\n"
        r".*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
        r".*?Used (\d+) registers",
        report.read_text(),
        re.DOTALL,
    )
    return [
        Kernel(arch, name, int(stack), int(stores) + int(loads), int(registers))
        for name, arch, stack, stores, loads, registers in found
    ]


def test_there_are_kernels() -> None:
    assert SOURCES


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
class TestResources:
    def test_the_same_kernels_for_every_architecture(self, source: Path) -> None:
        kernels = kernels_of(source)
        assert kernels
        names = {arch: {kernel.name for kernel in kernels if kernel.arch == arch} for arch in ARCHS}
        assert names["80"] == names["90"]

    def test_no_spill_and_no_stack_frame(self, source: Path) -> None:
        assert [kernel for kernel in kernels_of(source) if kernel.spilled or kernel.stack] == []

    def test_nothing_is_said_besides(self, source: Path) -> None:
        """No warning of the compiler's."""
        (report,) = (ROOT / "build").glob(f"native.*/{source.relative_to(ROOT / 'csrc')}.o.ptxas")
        assert "warning" not in report.read_text()
