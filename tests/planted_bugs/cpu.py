"""Bugs of the CPU kernels and their ops."""

from __future__ import annotations

from planted_bugs.bug import Bug

CPU = (
    Bug(
        name="blocks-of-columns",
        file="csrc/cpu/apply.h",
        text="const T* start = k == 0 ? add : y;",
        instead="const T* start = add;",
        breaks="of a row longer than 4 KB, only the last block of columns counts",
        tests=("native",),
    ),
    Bug(
        name="ragged-stripe-keeps-its-signs",
        file="csrc/cpu/apply.h",
        text="= Rectify && from[j] < 0 ? -from[j] : from[j];",
        instead="= from[j];",
        breaks="the last columns of a wide rectified product, fewer than a stripe, are not rectified",
        tests=("native",),
    ),
    Bug(
        name="signs-at-every-block",
        file="csrc/cpu/outer_product.h",
        text="last && sign_of ? sign_of + at : nullptr",
        instead="sign_of ? sign_of + at : nullptr",
        breaks="where the depth of the weights' gradient is more than one block, its sign is applied again and again",
        tests=("native",),
    ),
    Bug(
        name="no-barrier-before-the-product",
        file="csrc/cpu/walk_backward.cpp",
        text="    if (part.alone) team.wait();\n",
        instead="",
        breaks="a thread multiplies vectors that another one has not made yet",
        tests=("native",),
    ),
    Bug(
        name="share-past-the-end",
        file="csrc/cpu/team.h",
        text="return std::min(total, steps * item / count_ * step);",
        instead="return steps * item / count_ * step;",
        breaks="the last thread's part of rows in multiples of 8 goes past the last row",
        tests=("native",),
    ),
    Bug(
        name="short-block-last",
        file="csrc/cpu/walk_backward.cpp",
        text="(end % block ? end % block : block)",
        instead="std::min(end, block)",
        breaks="a last block of one hop is written over the vectors that it is made from",
        tests=("native",),
    ),
    Bug(
        name="sign-of-no-walk",
        file="csrc/cpu/penalty.h",
        text="walk > 0 ? T(1) : walk < 0 ? T(-1) : walk;",
        instead="walk > 0 ? T(1) : T(-1);",
        breaks="a pair without a walk gets the gradient of a negative walk, and a NaN is lost",
        tests=("numerics", "native"),
    ),
    Bug(
        name="pathway-without-a-proof",
        file="csrc/cpu/solve_pathway.cpp",
        text="return (proof || dual_proof) && ",
        instead="return ",
        breaks="a single pathway whose walks have no sum gets the solution of its equations for one",
        tests=("diagnostics",),
    ),
    Bug(
        name="proof-without-a-margin",
        file="csrc/cpu/solve_pathway.cpp",
        text="gain > margin * solution[j]",
        instead="gain > 0",
        breaks="what rounding made of a gain of zero proves that the sum converges",
        tests=("diagnostics", "native"),
    ),
    Bug(
        name="powers-of-norm-one",
        file="csrc/cpu/small_all_pairs.cpp",
        text="if (size < T(0.99)) return true;",
        instead="if (size < T(1.01)) return true;",
        breaks="a power of norm 1 counts as one that shrinks",
        tests=("diagnostics", "native"),
    ),
    Bug(
        name="elimination-without-pivots",
        file="csrc/cpu/gauss_jordan.h",
        text="const int64_t p = largest_open(n, row, open);",
        instead="const int64_t p = t;",
        breaks="the inverse of small graphs takes the diagonal for pivots, however small it is",
        tests=("native", "known_answers"),
    ),
    Bug(
        name="pair-weights-of-the-first-graph",
        file="csrc/all_walks_ops.cpp",
        text="penalty_backward<T>({squared}, at<T>(sums, index, size), 1, size, nullptr, pairs.of<T>(index),",
        instead="penalty_backward<T>({squared}, at<T>(sums, index, size), 1, size, nullptr, pairs.of<T>(0),",
        breaks="the gradient of a batch of all pairs weighs every graph with the pair weights of the first one",
        tests=("parity::test_every_combination", "native"),
    ),
)
