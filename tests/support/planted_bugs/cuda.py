"""Bugs of the CUDA kernels, which the tests have to notice where the kernels are emulated."""

from __future__ import annotations

from support.planted_bugs.bug import Bug

CUDA = (
    Bug(
        name="streamed-tiles-keep-their-signs",
        file="csrc/cuda/kernels/chain_tiles.h",
        text="if (chains_.rectify) rectify_tile(arrived);",
        instead="",
        breaks="the tiles of a matrix that do not stay on chip are not rectified",
        tests=("walk_kernels",),
    ),
    Bug(
        name="earlier-strips-are-lost",
        file="csrc/cuda/kernels/chains.cu",
        text="T sum = strip > 0 ? *total : T(0);",
        instead="T sum = 0;",
        breaks="of the backward products of a region, only the last strip of rows counts",
        tests=("walk_kernels",),
    ),
    Bug(
        name="a-lane-gathers-its-neighbours-share",
        file="csrc/cuda/kernels/chains.cu",
        text="const int part = first + load * shares.lanes;",
        instead="const int part = first + load;",
        breaks="where lanes share the parts of a sum, some parts count twice and others never",
        tests=("walk_kernels",),
    ),
    Bug(
        name="a-lane-keeps-its-share",
        file="csrc/cuda/kernels/chains.cu",
        text="for (int with = kWarp / shares.lanes; with < kWarp; with *= 2)",
        instead="for (int with = kWarp / shares.lanes; with < kWarp / 2; with *= 2)",
        breaks="where lanes share the parts of a sum, half of them are not added",
        tests=("walk_kernels",),
    ),
    Bug(
        name="vectors-are-multiplied-before-all-are-there",
        file="csrc/cuda/kernels/chain_tiles.h",
        text="    if (index < plan_.resident) {\n      __syncthreads();",
        instead="    if (index < plan_.resident) {",
        breaks="a warp multiplies a tile on chip by vectors that others have yet to gather",
        tests=("walk_kernels",),
    ),
    Bug(
        name="no-barrier-before-it-is-staged",
        file="csrc/cuda/algorithms/walk_backward.cu",
        text="    __syncthreads();\n    staged[warp * kUnits + lane] = z;",
        instead="    staged[warp * kUnits + lane] = z;",
        breaks="a warp writes over vectors that others still read",
        tests=("walk_kernels", "native"),
    ),
    Bug(
        name="columns-without-alpha",
        file="csrc/cuda/kernels/pathway_solver.h",
        text="if (lane == 0) at.column_image[i] = alpha * sum;",
        instead="if (lane == 0) at.column_image[i] = sum;",
        breaks="where several blocks solve for one pathway, the transposed product lacks alpha",
        tests=("all_walks_kernels",),
    ),
    Bug(
        name="norm-one-is-dominant",
        file="csrc/cuda/algorithms/small_all_pairs.cu",
        text="const bool dominant = norm < 1 - n * Powers<T>::kRounding;",
        instead="const bool dominant = norm < 1 + n * Powers<T>::kRounding;",
        breaks="a matrix of norm 1 counts as one whose walks have a sum",
        tests=("all_walks_kernels",),
    ),
    Bug(
        name="pair-weights-shared-by-the-gradient",
        file="csrc/cuda/algorithms/all_pairs.cu",
        text="graphs.own_pair_weights ? e : e % size",
        instead="e % size",
        breaks="the gradient of a batch of all pairs weighs every graph with the pair weights of the first one",
        tests=("all_walks_kernels",),
    ),
    Bug(
        name="walks-counted-by-every-block",
        file="csrc/cuda/algorithms/walk_penalty.cu",
        text="at < count; at += gridDim.y * kThreads",
        instead="at < count; at += kThreads",
        breaks="where several blocks share a norm, they count walks more than once",
        tests=("walk_kernels",),
    ),
)
