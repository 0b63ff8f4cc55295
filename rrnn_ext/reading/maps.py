"""Maps (..., o, i) from inputs to outputs, read off the weights of a network.

Shapes as in rrnn_ext: weight_hh (..., n, n), weight_in (..., n, i), weight_out (..., o, n), any leading batch
dimensions. Nothing here keeps a gradient or changes its arguments.

    >>> import torch
    >>> from rrnn_ext import reading
    >>> reading.influence_map(torch.full((1, 1), 0.5), torch.eye(1), torch.eye(1), steps=3)  # 1 + 0.5 + 0.25
    tensor([[1.7500]])
"""

from __future__ import annotations

import torch
from torch import Tensor

import rrnn_ext


@torch.no_grad()
def influence_map(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, steps: int) -> Tensor:
    """R_io (..., o, i): all walks from an input to an output in a sequence of ``steps`` steps, sum_m V W^m U."""
    return rrnn_ext.resolvent(weight_hh, weight_in, weight_out, hops=steps)


@torch.no_grad()
def unit_radius(weight_hh: Tensor) -> Tensor:
    """``weight_hh`` divided by its spectral radius, the paper's convention when it analyses a network.

    It weighs the lags anew: one of m steps by radius^-m. Walks of the weights as they are describe the network's own
    response (:func:`lag_response_by_jacobian`). A sparse weight (n, n) stays sparse. A weight without cycles, whose
    radius is 0, comes out as NaN.
    """
    radius = rrnn_ext.resolvent_info(weight_hh).spectral_radius.to(weight_hh)
    radius = torch.where(radius == 0, torch.nan, radius)
    # Sparse ones, which have no batch, are multiplied by one number: PyTorch divides not every layout.
    return weight_hh / radius[..., None, None] if weight_hh.layout == torch.strided else weight_hh * radius.reciprocal()


@torch.no_grad()
def single_hop_maps(
    weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, module_of_input: Tensor
) -> dict[str, Tensor]:
    """Maps (..., o, i) of those who do not follow walks: each reads one hop, by name.

    - "V U": the walk at lag 0 alone.
    - "V W U": the walk at lag 1 alone.
    - "W by module": mean recurrent weight from the units of the input's module to the units of the output. A unit is
      of the module, and of the output, to which it has the largest summed ``|weight|``. 0 where there is no such pair.
    - ``"|W| by module"``: the same of ``|W|``. The sign of a recurrent weight means nothing by itself: turning the
      sign of a tanh unit, with all its weights, changes no output. Compare it with ``|optimum|``.
    - "W by module, signed": the same of W with every unit turned so that its weights to its module, and to its output,
      sum to a positive number: the most that W can say when the units' signs are known.
    """
    walks = rrnn_ext.hop_decomposition(weight_hh, weight_in, weight_out, hops=2)
    by_module = torch.nn.functional.one_hot(module_of_input.to(weight_in.device)).to(weight_in)
    module_strength = weight_in.abs() @ by_module
    from_module = _largest(module_strength)  # (..., n, modules)
    to_output = _largest(weight_out.abs().mT).mT  # (..., o, n)
    in_sign = ((weight_in @ by_module) * from_module).sum(-1).sign()
    out_sign = (weight_out * to_output).sum(-2).sign()

    def mean(weights: Tensor) -> Tensor:
        pairs = to_output.sum(-1)[..., :, None] * from_module.sum(-2)[..., None, :]
        blocks = (to_output @ weights @ from_module) / pairs.clamp(min=1)
        return blocks @ by_module.T

    return {
        "V U": walks[..., 0, :, :],
        "V W U": walks[..., 1, :, :],
        "W by module": mean(weight_hh),
        "|W| by module": mean(weight_hh.abs()),
        "W by module, signed": mean(out_sign[..., :, None] * weight_hh * in_sign[..., None, :]),
    }


def _largest(strengths: Tensor) -> Tensor:
    """One where the last dimension is largest, else zero."""
    return torch.zeros_like(strengths).scatter(-1, strengths.argmax(-1, keepdim=True), 1)
