"""What the parts of a hop cost: the kernel of chains whole, and compiled with a part left out.

Variants are compiled with the commands of the library's own build and linked without PyTorch's ops. A hop's time is the
difference of two launches of unequal length, so that what a launch costs is not in it. ``python -m
benchmarks.gpu.hop_parts`` compiles them and measures nothing.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
import subprocess
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import problems
from benchmarks.gpu.record import BOTH, GATHER, PRODUCTS, WHOLE, Recorder
from benchmarks.gpu.timing import measure
from benchmarks.gpu.where import DEVICE, EMULATED, leaves, profiled, sized

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
# What is left out, and what the kernel's source is compiled with.
VARIANTS: dict[str, tuple[str, ...]] = {
    WHOLE: (),
    GATHER: ("RRNN_HOP_GATHERS",),
    PRODUCTS: ("RRNN_HOP_MULTIPLIES",),
    BOTH: ("RRNN_HOP_GATHERS", "RRNN_HOP_MULTIPLIES"),
}
SIZES, WIDTHS = sized((1024, 512), (40,)), ((1, 1), (16, 8))
SHORT, LONG = sized((20, 120), (2, 4))  # hops


def hop_parts(recorder: Recorder) -> None:
    libraries = build()
    for n in SIZES:
        for i, o in WIDTHS:
            shape = {"n": n, "i": i, "o": o}
            for left_out, library in libraries.items():
                if recorder.profiling and left_out != WHOLE:
                    continue
                try:
                    chains = Chains(library, n, i, o)
                    if left_out == WHOLE:
                        chains.check()
                    if recorder.profiling:
                        with profiled():
                            chains.advance(SHORT)
                        continue
                    seconds = chains.seconds_of_a_hop()
                except (AssertionError, RuntimeError) as error:
                    recorder.failed(left_out, error)
                else:
                    recorder.line("hop part", shape=shape, left_out=left_out, seconds=seconds)


class Chains:
    """One graph, and a variant of the kernel that carries both sides through it."""

    def __init__(self, library: ctypes.CDLL, n: int, i: int, o: int) -> None:
        self._library, self._sizes = library, (n, i, o)
        weights = leaves(*problems.thin(n, i, o))
        library.hop_parts_exchange_size.restype = ctypes.c_int64
        numbers = library.hop_parts_exchange_size(n, i, o, LONG)
        memory = torch.empty(LONG * (i + o) * n, device=DEVICE), torch.zeros(numbers, device=DEVICE)
        self._tensors: tuple[Tensor, ...] = (*weights, *memory)
        self._pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in self._tensors]

    def advance(self, hops: int) -> None:
        stream = ctypes.c_void_p(None if EMULATED else torch.cuda.current_stream().cuda_stream)
        if self._library.hop_parts_advance(*self._sizes, hops, *self._pointers, stream):
            raise RuntimeError("CUDA refused the launch")

    def check(self) -> None:
        """That the last vectors of a short chain are W^m U and V W^m."""
        (n, i, o), m = self._sizes, SHORT - 1
        self.advance(SHORT)
        weight_hh, weight_in, weight_out, chain, _ = (tensor.detach().double() for tensor in self._tensors)
        last = chain[m * (i + o) * n : SHORT * (i + o) * n].view(i + o, n)
        power = torch.linalg.matrix_power(weight_hh, m)
        torch.testing.assert_close(last, torch.cat([(power @ weight_in).mT, weight_out @ power]), rtol=1e-4, atol=1e-5)

    def seconds_of_a_hop(self) -> float:
        self.advance(LONG)
        short, long = (measure(functools.partial(self.advance, hops)).device for hops in (SHORT, LONG))
        return (long - short) / (LONG - SHORT)


def build() -> dict[str, ctypes.CDLL]:
    """The variants, compiled where the library was, with its rules and its other objects."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0].removesuffix(".so")
    folder = ROOT / "build" / f"native{'-emulate' if EMULATED else ''}{suffix}"
    variants = folder / "hop_parts"
    variants.mkdir(exist_ok=True)
    lines = ["include build.ninja", f"build hop_parts/hop_parts.cu.o: cuda {HERE / 'hop_parts.cu'}"]
    found = {}
    for index, (left_out, macros) in enumerate(VARIANTS.items()):
        source = variants / f"chains_{index}.cu"
        text = "".join(f"#define {macro} false\n" for macro in macros) + '#include "cuda/kernels/chains.cu"\n'
        if not source.exists() or source.read_text() != text:  # a file that is written again is compiled again
            source.write_text(text)
        found[left_out] = folder / f"hop_parts/chains_{index}.so"
        objects = f"hop_parts/hop_parts.cu.o {source}.o cuda/kernels/chain_plan.cu.o cuda/device/launch.cpp.o"
        if EMULATED:
            objects += " emulation/races.cpp.o"
        lines += [f"build {source}.o: cuda {source}", f"build {found[left_out]}: link {objects}"]
    lines.append("default " + " ".join(map(str, found.values())))
    (folder / "hop_parts.ninja").write_text("\n".join([*lines, ""]))
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    subprocess.run(["ninja", "-f", "hop_parts.ninja"], cwd=folder, env={**os.environ, "PATH": path}, check=True)
    return {left_out: ctypes.CDLL(str(library)) for left_out, library in found.items()}


if __name__ == "__main__":
    build()
