"""What the emulation of CUDA finds wrong with a kernel: kernels that are wrong, and the same as they should be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CXX = shutil.which(os.environ.get("CXX", "g++"))
PROGRAM = """
#include <cstdlib>
#include "cuda/device/barriers.h"
#include "cuda/device/device.h"

constexpr int kThreads = 64, kBlocks = 2;

__device__ int neighbour() { return (threadIdx.x + 1) % 32 + threadIdx.x / 32 * 32; }

__global__ void kernel(int which, bool waits, int* numbers) {
  int* own = reinterpret_cast<int*>(rrnn::cuda::shared_memory());
  const int thread = threadIdx.x, block = blockIdx.x, other = (block + 1) % kBlocks;
  if (which == 0) {  // a read of what another thread of the block wrote
    own[thread] = thread;
    if (waits) __syncthreads();
    numbers[block * kThreads + thread] = own[kThreads - 1 - thread];
  } else if (which == 1) {  // of what one of the warp wrote: a shuffle is no barrier
    own[thread] = thread;
    if (waits) __syncwarp();
    numbers[block * kThreads + thread] = __shfl_xor_sync(0xffffffff, thread, 1) + own[neighbour()];
  } else if (which == 2) {  // a write to what another thread reads
    const int before = numbers[block * kThreads + kThreads - 1 - thread];
    if (waits) __syncthreads();
    numbers[block * kThreads + thread] = before;
  } else if (which == 3) {  // of what another block wrote
    numbers[block * kThreads + thread] = thread;
    if (waits) rrnn::cuda::grid_barrier();
    own[thread] = numbers[other * kThreads + thread];
  } else if (which == 4) {  // of what was copied by another thread, for which that one alone has waited
    __pipeline_memcpy_async(own + thread, numbers + block * kThreads + thread, sizeof(int));
    __pipeline_commit();
    __pipeline_wait_prior(0);
    if (waits) __syncthreads();
    const int seen = own[neighbour()];
    __syncthreads();
    numbers[block * kThreads + thread] = seen;
  } else {  // of what blocks wrote that came before
    numbers[block * kThreads + thread] = thread;
    unsigned* arrived = reinterpret_cast<unsigned*>(numbers + kBlocks * kThreads);
    if (waits && !rrnn::cuda::arrives_last(arrived, kBlocks)) return;
    own[thread] = numbers[other * kThreads + thread];
  }
}

int main(int, char** given) {
  int numbers[kBlocks * kThreads + 1] = {};
  cudaLaunchAttribute cooperative{};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  const int which = std::atoi(given[1]);
  cudaLaunchConfig_t config{dim3(kBlocks), dim3(kThreads), kThreads * sizeof(int), nullptr, &cooperative, which == 3};
  return cudaLaunchKernelEx(&config, kernel, which, std::atoi(given[2]) != 0, static_cast<int*>(numbers));
}
"""

pytestmark = pytest.mark.skipif(CXX is None, reason="no compiler is installed")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emulation")
    (folder / "kernel.cpp").write_text(PROGRAM)
    compiler: list[str | Path] = [
        str(CXX),
        "-std=c++20",
        "-O1",
        "-Wno-unknown-pragmas",
        f"-I{ROOT / 'emulation'}",
        f"-I{ROOT / 'csrc'}",
    ]
    watched = [
        *compiler,
        "-fsanitize=thread",
        "-DRRNN_WATCH_ACCESSES",
        "-c",
        folder / "kernel.cpp",
        "-o",
        folder / "kernel.o",
    ]
    subprocess.run(watched, check=True)
    linked = folder / "kernel"
    subprocess.run([*compiler, folder / "kernel.o", ROOT / "emulation" / "races.cpp", "-o", linked, "-ldl"], check=True)
    return linked


@pytest.mark.parametrize(
    ("which", "memory"),
    [(0, "shared"), (1, "shared"), (2, "device"), (3, "device"), (4, "shared"), (5, "device")],
    ids=["block", "warp", "write", "grid", "copy", "fence"],
)
def test_races(program: Path, which: int, memory: str) -> None:
    def run(waits: bool) -> subprocess.CompletedProcess[str]:
        watched = {**os.environ, "EMULATED_RACES": "1"}
        return subprocess.run([program, str(which), str(int(waits))], env=watched, capture_output=True, text=True)

    right, wrong = run(waits=True), run(waits=False)
    assert (right.returncode, right.stderr) == (0, "")
    assert wrong.returncode != 0
    assert re.search(f"a data race, .* at {memory} memory", wrong.stderr)
