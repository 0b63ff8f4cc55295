"""The names of cases and contenders, as results and tables have them."""

from __future__ import annotations

THIN = "thin signed total"
THIN_BATCH = "thin signed total, batched"
THIN_LARGE = "thin signed total, large"
THIN_INFINITE = "thin signed, infinite"
RECTIFIED = "rectified total"
RECTIFIED_INFINITE = "rectified, infinite"
ALL_PAIRS_INFINITE = "all pairs, infinite"
TRAINING_STEP = "training step"
SPARSE = "sparse signed total"
AS_IT_RAN = "the network as it ran"

OURS = "rrnn_ext"  # through the loss: a value and autograd's gradients
DIRECT = "accumulate_grad"
COMPILED, JAX = "compiled ", "jax "  # prefixes of a peer's name

# Of a training step.
STEP = "the step alone"
ON_A_SIDE_STREAM = DIRECT + " on a side stream"
COMPILED_WITH = COMPILED + "step with the penalty in it"
