"""Bugs of the CPU kernels and their ops."""

from __future__ import annotations

from support.planted_bugs.bug import Bug

CPU = (
    Bug(
        name="blocks-of-columns",
        file="csrc/cpu/kernels/product.h",
        text="const T* start = k == 0 ? add : y;",
        instead="const T* start = add;",
        breaks="of a row longer than 4 KB, only the last block of columns counts",
        tests=("native::test_sizes_for_two_threads",),
    ),
    Bug(
        name="ragged-stripe-keeps-its-signs",
        file="csrc/cpu/kernels/product.h",
        text="= rrnn::phi(from[j], Rectify);",
        instead="= from[j];",
        breaks="the last columns of a wide rectified product, fewer than a stripe, are not rectified",
        tests=("native",),
    ),
    Bug(
        name="signs-at-every-block",
        file="csrc/cpu/kernels/dense_product.h",
        text="""\
      if (sign_of) value = rrnn::times_sign(value, read(sign_of + r * of.ldsign, v));
      if (add) value += read(add + r * of.ldadd, v);
""",
        instead="""\
      if (add) value += read(add + r * of.ldadd, v);
      if (sign_of) value = rrnn::times_sign(value, read(sign_of + r * of.ldsign, v));
""",
        breaks="where the depth of the weights' gradient is more than one block, its sign is applied again and again",
        tests=("native::test_sizes_for_two_threads", "native::test_batches"),
    ),
    Bug(
        name="no-barrier-before-the-product",
        file="csrc/cpu/algorithms/walk_backward.cpp",
        text="    if (part.alone) team.wait();\n",
        instead="",
        breaks="a thread multiplies vectors that another one has not made yet",
        tests=("native::test_sizes_for_two_threads", "native::test_batches"),
    ),
    Bug(
        name="share-past-the-end",
        file="csrc/cpu/algorithms/team.h",
        text="return std::min(total, steps * item / count_ * step);",
        instead="return steps * item / count_ * step;",
        breaks="the last thread's part of rows in multiples of 8 goes past the last row",
        tests=("native",),
    ),
    Bug(
        name="short-block-last",
        file="csrc/cpu/algorithms/walk_backward.cpp",
        text="(end % block ? end % block : block)",
        instead="std::min(end, block)",
        breaks="a last block of one hop is written over the vectors that it is made from",
        tests=("native",),
    ),
    Bug(
        name="sign-of-no-walk",
        file="csrc/common/edge.h",
        text="2 * walk : times_sign(T(1), walk);",
        instead="2 * walk : walk > 0 ? T(1) : T(-1);",
        breaks="a pair without a walk gets the gradient of a negative walk, and a NaN is lost",
        tests=("gradients::test_a_pair_without_a_walk_gives_no_gradient",),
    ),
    Bug(
        name="pathway-without-a-proof",
        file="csrc/cpu/algorithms/solve_pathway.cpp",
        text="return (proof || dual_proof) && ",
        instead="return ",
        breaks="a single pathway whose walks have no sum gets the solution of its equations for one",
        tests=("diagnostics",),
    ),
    Bug(
        name="proof-without-a-margin",
        file="csrc/cpu/algorithms/solve_pathway.cpp",
        text="gain > margin * solution[j]",
        instead="gain > 0",
        breaks="what rounding made of a gain of zero proves that the sum converges",
        tests=("margins",),
    ),
    Bug(
        name="powers-of-norm-one",
        file="csrc/cpu/algorithms/shrinking_powers.cpp",
        text="    if (std::sqrt(squares) < kShrunk) return true;\n  }",
        instead="    if (std::sqrt(squares) < 1.01) return true;\n  }",
        breaks="a power of norm 1 counts as one that shrinks",
        tests=("diagnostics", "condition"),
    ),
    Bug(
        name="elimination-without-pivots",
        file="csrc/cpu/kernels/gauss_jordan.h",
        text="const int64_t p = largest_open(n, row, closed);",
        instead="const int64_t p = t;",
        breaks="the inverse of small graphs takes the diagonal for pivots, however small it is",
        tests=("native::test_infinite_sums_of_all_pairs_with_pivots_of_zero",),
    ),
    Bug(
        name="pair-weights-of-the-first-graph",
        file="csrc/cpu/ops/all_pairs.cpp",
        text="at<T>(sums, index, size), size, pairs.of<T>(index),\n                               *at",
        instead="at<T>(sums, index, size), size, pairs.of<T>(0),\n                               *at",
        breaks="the gradient of a batch of all pairs weighs every graph with the pair weights of the first one",
        tests=("parity::test_every_combination", "native::test_infinite_sums_of_all_pairs"),
    ),
    Bug(
        name="redone-without-alpha",
        file="csrc/cpu/algorithms/wide_walks.cpp",
        text="finish(alpha_ * edges() * sum[at], weight_hh_, at, grad)",
        instead="finish(edges() * sum[at], weight_hh_, at, grad)",
        breaks="the gradient of W lacks an alpha where it is made anew because float64 overflows",
        tests=("overflow",),
    ),
    Bug(
        name="one-of-two-chains-is-looked-at",
        file="csrc/cpu/algorithms/finite_walks.h",
        text="const Range part = team.share(bundle);",
        instead="const Range part = team.share(bundle / 2);",
        breaks="the gradient of a single pathway is made from a chain of the outputs that has overflowed",
        tests=("overflow",),
        why_not="the gradient of weight_in is a sum over that chain, and is looked at as well",
    ),
    Bug(
        name="the-other-chain-is-looked-at",
        file="csrc/cpu/algorithms/finite_walks.h",
        text="const Range part = team.share(bundle);",
        instead="const Range part{bundle / 2, bundle};",
        breaks="the gradient of a single pathway is made from a chain of the inputs that has overflowed",
        tests=("overflow",),
    ),
    Bug(
        name="an-inverse-nobody-looks-at",
        file="csrc/cpu/algorithms/small_all_pairs.cpp",
        text="return is_accurate(k, n, a, walks, vectors) && powers_shrink",
        instead="return powers_shrink",
        breaks="the inverse of a small graph is given where float32 has lost all its digits",
        tests=("condition",),
    ),
    Bug(
        name="a-block-of-hops-lost",
        file="csrc/cpu/algorithms/driven_backward.cpp",
        text="accumulate = true;\n      end = begin;",
        instead="end = begin;",
        breaks="the gradient of the weights of a network that runs lacks the last hops of more than one block",
        tests=("driven_walks",),
    ),
    Bug(
        name="carries-the-wrong-way",
        file="csrc/cpu/algorithms/driven_gains.h",
        text="p_.carries_at(hop, network, 0) + before * p_.n,\n             .factor_stride = p_.parts * p_.n,",
        instead="p_.carries_at(hop, network, before),\n             .factor_stride = p_.n,",
        breaks="what the c of an LSTM carries to its h goes from h to c",
        tests=("driven_walks",),
    ),
)
