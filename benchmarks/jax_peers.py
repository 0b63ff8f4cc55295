"""The penalty as a user would write it in JAX, under jit: contenders where JAX is installed.

Every peer takes the weights that its namesake in :mod:`benchmarks.peers` takes, as JAX's arrays, and the number of
hops, None for the infinite sums. A loop of hops is unrolled or, in ``*_scan``, jax.lax's own; the faster takes part.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

INSTALLED = importlib.util.find_spec("jax") is not None
MISSING = "JAX is not installed, and takes no part: pip install -r benchmarks/requirements.txt"

if INSTALLED:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

Peer = Callable[..., Any]


def horner_from_outputs(weight_hh: Any, weight_in: Any, weight_out: Any, hops: int) -> Any:
    """Y <- V + Y W; also of a batch."""
    walks = weight_out
    for _ in range(hops - 1):
        walks = weight_out + walks @ weight_hh
    return jnp.abs(walks @ weight_in).sum()


def horner_from_outputs_scan(weight_hh: Any, weight_in: Any, weight_out: Any, hops: int) -> Any:
    walks = _repeat(lambda walks: weight_out + walks @ weight_hh, weight_out, hops - 1)
    return jnp.abs(walks @ weight_in).sum()


def horner_from_inputs_scan(weight_hh: Any, weight_in: Any, weight_out: Any, hops: int) -> Any:
    """X <- U + W X."""
    walks = _repeat(lambda walks: weight_in + weight_hh @ walks, weight_in, hops - 1)
    return jnp.abs(weight_out @ walks).sum()


def rectified_loop(weight_hh: Any, weight_in: Any, weight_out: Any, hops: int) -> Any:
    """v' (sum |W|^m) u."""
    strength, source = jnp.abs(weight_hh), jnp.abs(weight_in).sum(1)
    walks = source
    for _ in range(hops - 1):
        walks = source + strength @ walks
    return jnp.abs(weight_out).sum(0) @ walks


def rectified_loop_scan(weight_hh: Any, weight_in: Any, weight_out: Any, hops: int) -> Any:
    strength, source = jnp.abs(weight_hh), jnp.abs(weight_in).sum(1)
    return jnp.abs(weight_out).sum(0) @ _repeat(lambda walks: source + strength @ walks, source, hops - 1)


def rectified_solve(weight_hh: Any, weight_in: Any, weight_out: Any, hops: None) -> Any:
    """V (I - W)^-1 U of the absolute values."""
    weight_hh, weight_in, weight_out = jnp.abs(weight_hh), jnp.abs(weight_in), jnp.abs(weight_out)
    return (weight_out @ jnp.linalg.solve(jnp.eye(len(weight_hh)) - weight_hh, weight_in)).sum()


def inverse_all_pairs(weight_hh: Any, hops: None) -> Any:
    """(I - W)^-1 - I."""
    eye = jnp.eye(weight_hh.shape[-1])
    return jnp.abs(jnp.linalg.inv(eye - weight_hh) - eye).sum()


def value_and_gradient(name: str, weights: tuple[Tensor, ...], hops: int | None) -> Callable[[], Any]:
    """One evaluation of the peer of that name, jitted, which returns when it is done."""
    peer: Peer = globals()[name]
    arrays = [jnp.asarray(weight.detach().numpy()) for weight in weights]
    jitted = jax.jit(jax.value_and_grad(functools.partial(peer, hops=hops), argnums=tuple(range(len(arrays)))))
    return lambda: jax.block_until_ready(jitted(*arrays))


def in_torch(step: Callable[[], Any]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What a step gave."""
    value, gradients = step()
    return _tensor(value), tuple(map(_tensor, gradients))


def _repeat(hop: Callable[[Any], Any], start: Any, times: int) -> Any:
    return jax.lax.scan(lambda walks, _: (hop(walks), None), start, None, length=times)[0]


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))
