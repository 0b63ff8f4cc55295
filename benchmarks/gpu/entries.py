"""Everything that is measured on a GPU, by name, in order of worth. A name stands for one process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.gpu import dense, floors, hop_parts, networks, sparse
from benchmarks.gpu.record import Recorder

ENTRIES: dict[str, Callable[[Recorder], None]] = {
    "rates": floors.rates,
    "thin-1024": partial(dense.thin, 1024),
    "thin-512": partial(dense.thin, 512),
    "rectified-1024": dense.rectified,
    "thin-64x256": dense.thin_batch,
    "hop-parts": hop_parts.hop_parts,
    "all-pairs-64x256": partial(dense.all_pairs, 64, 256),
    "all-pairs-4096x32": partial(dense.all_pairs, 4096, 32),
    "all-pairs-1024x64": partial(dense.all_pairs, 1024, 64),
    "step-128": partial(networks.share_of_step, 128),
    "step-512": partial(networks.share_of_step, 512),
    "step-1024": partial(networks.share_of_step, 1024),
    "thin-16384": dense.thin_large,
    "memory-32768": dense.memory,
    "sparse-30000": partial(sparse.sparse, 30_000, 600_000),
    "as-it-ran": networks.as_it_ran,
    "sparse-139000": partial(sparse.sparse, 139_000, 15_100_000),
    "all-pairs-64x256-cusolver": partial(dense.all_pairs_cusolver, 64, 256),
    "all-pairs-4096x32-cusolver": partial(dense.all_pairs_cusolver, 4096, 32),
    "all-pairs-1024x64-cusolver": partial(dense.all_pairs_cusolver, 1024, 64),
    # What is compiled may take a minute, so it comes last.
    "thin-1024-compiled": partial(dense.thin_compiled, 1024),
    "rectified-1024-compiled": dense.rectified_compiled,
    "thin-64x256-compiled": dense.thin_batch_compiled,
}
HOT = ("thin-1024", "rectified-1024", "thin-64x256", "all-pairs-64x256")  # whose kernels are profiled
