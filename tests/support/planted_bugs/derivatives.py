"""Bugs of rrnn_ext in derivatives and in what transforms use."""

from __future__ import annotations

from support.planted_bugs.bug import Bug

DERIVATIVES = (
    Bug(
        name="signs-of-hop-weights",
        file="rrnn_ext/ops/finite_walks.py",
        text="slope = penalty.hop_weights.unsqueeze(-1).unsqueeze(-1) * slope",
        instead="slope = penalty.hop_weights.abs().unsqueeze(-1).unsqueeze(-1) * slope",
        breaks="second derivatives and tangents of a penalty per hop count negative hop weights as positive",
        tests=("finite_walk_derivatives::TestDerivatives::test_light_path_is_the_general_one", "transforms::TestFunc"),
    ),
    Bug(
        name="tangent-of-the-upstream-gradient",
        file="rrnn_ext/ops/finite_walks.py",
        text="return tuple(a + b for a, b in zip(moved, of_grad, strict=True))",
        instead="return tuple(a - b for a, b in zip(moved, of_grad, strict=True))",
        breaks="forward mode over reverse mode: the part of a moving upstream gradient has the wrong sign",
        tests=("finite_walk_derivatives::TestDerivatives::test_walk_penalty",),
    ),
    Bug(
        name="half-of-a-doubled-graph",
        file="rrnn_ext/ops/finite_walks.py",
        text="own = grad_a[..., :n, :n] + grad_a[..., n:, n:], grad_b",
        instead="own = grad_a[..., n:, n:], grad_b",
        breaks="second derivatives by the recurrent weight lack one of its two places in the doubled graph",
        tests=("transforms::TestFunc",),
    ),
    Bug(
        name="batch-beside-the-vmapped-dimension",
        file="rrnn_ext/ops/_registration.py",
        text="own.shape[0 if in_dims[batched.index(True)] != 0 else 1]",
        instead="own.shape[0 if in_dims[batched.index(True)] is None else 1]",
        breaks="vmap over another dimension than the first takes the vmapped size for that of the batch",
        tests=("transforms::TestFunc::test_vmap_beside_a_batch",),
    ),
    Bug(
        name="ends-mistaken-for-one-another",
        file="rrnn_ext/ops/infinite_pathways.py",
        text="left, right = (of_sources.mT, x.mT) if by_inputs else (y.mT, of_targets)",
        instead="left, right = (x.mT, of_sources.mT) if by_inputs else (y.mT, of_targets)",
        breaks="where there are fewer inputs, the gradient of an infinite sum by W is that by its transpose",
        tests=("infinite_pathways", "infinite_ops"),
    ),
    Bug(
        name="adjoint-of-the-wrong-weights",
        file="rrnn_ext/ops/infinite_walks.py",
        text="adjoint = infinite_walks(a.mT, grad, weights.mT, alpha,",
        instead="adjoint = infinite_walks(a.mT, grad, weights, alpha,",
        breaks="where float32 is not enough, the gradient is solved with W in place of its transpose",
        tests=("margins",),
    ),
    Bug(
        name="slope-by-one-block",
        file="rrnn_ext/ops/finite_pairs.py",
        text="return slope[..., :n, :n] + slope[..., n:, n:], slope[..., :n, n:], None",
        instead="return slope[..., :n, :n], slope[..., :n, n:], None",
        breaks="second derivatives of finite sums between all pairs lack one of the two places of W",
        tests=("gradients::test_resolvent", "transforms::TestFunc"),
    ),
    Bug(
        name="tangent-from-the-wrong-end",
        file="rrnn_ext/ops/pathway.py",
        text="moved.append((y * d_sources).sum(-1))",
        instead="moved.append((x * d_sources).sum(-1))",
        breaks="the tangent of a pathway by its inputs weighs them as outputs",
        tests=("infinite_ops",),
    ),
    Bug(
        name="second-derivatives-without-pair-weights",
        file="rrnn_ext/ops/all_pairs.py",
        text="        grad_walks = pair_weights * grad_walks\n",
        instead="        grad_walks = grad_walks.clone()\n",
        breaks="tangents and second derivatives of all pairs count each pair once, whatever its weight",
        tests=("infinite_ops",),
    ),
)
