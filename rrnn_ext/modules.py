"""The resolvent penalty of a recurrent network, as a module to put beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rrnn_ext import functional
from rrnn_ext._graphs import GivenWeights, ModuleWeights, WeightSource


class ResolventPenalty(nn.Module):
    """The :func:`rrnn_ext.resolvent_penalty` of a recurrent network, read from its weights at every call.

    ::

        penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=T, alpha=0.9)
        loss = task_loss + beta * penalty()

    With W, U, V the recurrent weight, the input weight and the read-out of the network, the value is
    ``||sum_m P_m||`` (or ``sum_m ||P_m||`` for ``per_hop``), ``P_m = alpha^2 phi(V) (alpha phi(W))^m phi(U)``: the
    walks that carry to an output what an input brought m steps before. Biases and dropout take no part.

    **What the graph is.** Each weight that a walk passes is one edge: ``rectify`` takes the absolute value of each of
    them on its own, so that no two walks cancel, and each carries one ``alpha``. Only recurrent weights take time, so
    ``hops`` counts lags 0 to hops - 1 whatever the depth.

    - *nn.RNN, nn.RNNCell*: one graph. For ``alpha=1`` and the network without its nonlinearity P_m is the response
      of the outputs to an impulse m steps before, in stacked networks as well.
    - *Stacked*: one graph over the hidden units of all layers. Its walks run from the inputs of the first layer to the
      read-out of the last; the edges between layers take no time.
    - *Bidirectional*: a walk runs in one direction in each layer. Walks with the same choice of directions form one
      graph, and the penalties of the graphs add up: one graph forwards and one backwards for a single layer, each with
      its half of the read-out, and 2^layers for a stack. Thus the past and the future of a unit cannot cancel each
      other, which they would if both directions were one graph. ``hops`` counts the steps of either direction. A
      bidirectional stack of many layers is dear.
    - *nn.GRU, nn.LSTM and their cells*: these have one recurrent weight per gate. Each gate is a graph of its own (in
      a stack: with that gate's weights of every layer), and the penalties of the 3 or 4 graphs add up.
    - *Projected nn.LSTM* (``proj_size``): the units of the graph are the projected ones, and the projection is an edge
      after each recurrent and each input edge: ``weight_hr @ weight_hh`` in place of ``weight_hh``, likewise for
      ``weight_ih``.
    - *leak*: ``h_t = (1 - leak) h_{t-1} + leak f(W h_{t-1} + U x_t)``. The recurrent weight of the graph is
      ``(1 - leak) I + leak W``, and what enters a layer is scaled too, ``leak U``: so P_m stays the impulse response.

    **What it holds.** References alone: no parameter, no submodule, nothing in the ``state_dict``, of itself or of a
    model it is an attribute of. So it follows ``.to()``, re-assigned weights, parametrizations, pruning and
    ``functional_call``; a deep copy or a pickle of a model with its penalty holds a penalty of the copied weights.

    Args:
        rnn: nn.RNN, nn.RNNCell, nn.GRU, nn.GRUCell, nn.LSTM or nn.LSTMCell. For others see :meth:`from_weights`.
        readout: what reads the last layer: an nn.Linear, a weight (o, d) or a callable that returns one, where d is
            the size of the module's output (hidden or projected size, twice that if bidirectional; the forward half
            comes first). None: the outputs are the last layer's hidden units, and a walk has one edge less.
        hops: how many lags to count, from 0. None: all of them, where that converges.
        alpha: the factor of each edge: a float, or a 0-d tensor, read at every call, which may require a gradient.
        rectify, per_hop, norm, method: see :func:`rrnn_ext.resolvent_penalty`.
        hop_weights: (hops,), a factor for each lag. It and ``pair_weights`` are constants that follow the device and
            the dtype of the weights.
        pair_weights: (o, i), a factor for each output-input pair.
        leak: lambda of a leaky (continuous-time) network, in (0, 1]. For nn.RNN, nn.RNNCell and from_weights.

    Raises:
        TypeError: ``rnn``, ``readout`` or an option is of a kind not named above.
        ValueError: a read-out that does not match the module, a ``leak`` outside (0, 1] or of a gated module, and what
            :func:`rrnn_ext.resolvent_penalty` refuses. Options are checked here, weights at every call.
    """

    hop_weights: Tensor | None
    pair_weights: Tensor | None

    def __init__(
        self,
        rnn: nn.Module | GivenWeights,
        readout: nn.Linear | WeightSource | None = None,
        *,
        hops: int | None = None,
        alpha: float | Tensor = 1.0,
        rectify: bool = False,
        per_hop: bool = False,
        norm: str = "l1",
        hop_weights: Tensor | None = None,
        pair_weights: Tensor | None = None,
        method: str = "auto",
        leak: float | None = None,
    ) -> None:
        super().__init__()
        if isinstance(rnn, GivenWeights):
            if readout is not None:
                raise TypeError("readout must be given to from_weights as weight_out")
            self._weights: GivenWeights | ModuleWeights = rnn
        else:
            self._weights = ModuleWeights(rnn, readout)
            if leak is not None and self._weights.gates > 1:
                raise ValueError(f"leak must be None for a gated module, got leak={leak} for {type(rnn).__name__}")
        if leak is not None and not 0.0 < leak <= 1.0:
            raise ValueError(f"leak must be in (0, 1], got {leak}")
        for name, constant in (("hop_weights", hop_weights), ("pair_weights", pair_weights)):
            if constant is not None and not isinstance(constant, Tensor):
                raise TypeError(f"{name} must be a tensor, got {type(constant).__name__}")
            self.register_buffer(name, None if constant is None else constant.detach(), persistent=False)
        self.hops = hops
        self._alpha = (alpha,)  # in a tuple, where nn.Module does not see a Parameter
        self.rectify = rectify
        self.per_hop = per_hop
        self.norm = norm
        self.method = method
        self.leak = leak
        self._check_options()

    @classmethod
    def from_weights(
        cls,
        weight_hh: WeightSource,
        weight_in: WeightSource | None = None,
        weight_out: WeightSource | None = None,
        **options: Any,
    ) -> ResolventPenalty:
        """The penalty of a model of one's own.

        A weight is a tensor, a Parameter or a callable that returns a tensor and is asked at every call. Use a callable
        for a weight that is computed (masked, parametrized) or re-assigned, and a bound method of the model rather than
        a lambda if the model is to be deep-copied or pickled.

        Args:
            weight_hh: (..., n, n), column = source, row = target; leading dimensions are networks whose penalties add.
            weight_in: (..., n, i), or None for the identity.
            weight_out: (..., o, n), or None for the identity.
            options: as for the class.
        """
        return cls(GivenWeights(weight_hh, weight_in, weight_out), **options)

    def forward(self) -> Tensor:
        """The penalty, a 0-d tensor with gradients for every weight of the graph and for ``alpha``."""
        (alpha,) = self._alpha
        graphs = self._weights.graphs(alpha=alpha, rectify=self.rectify, leak=self.leak)
        value = functional.resolvent_penalty(
            graphs.weight_hh,
            graphs.weight_in,
            graphs.weight_out,
            alpha=alpha,
            hops=self.hops,
            rectify=self.rectify,
            per_hop=self.per_hop,
            norm=self.norm,
            hop_weights=self._constant("hop_weights", graphs.weight_hh),
            pair_weights=self._constant("pair_weights", graphs.weight_hh),
            method=self.method,
        )
        return value.to(graphs.dtype)

    def _constant(self, name: str, weight_hh: Tensor) -> Tensor | None:
        """The buffer in the weights' dtype and on their device, where it stays: a copy at each call would wait."""
        constant = getattr(self, name)
        if constant is None:
            return None
        there = constant.to(weight_hh.device)
        if there.device != constant.device and type(there) is Tensor and not torch.compiler.is_compiling():
            setattr(self, name, there)
        return there.to(weight_hh.dtype)

    def extra_repr(self) -> str:
        (alpha,) = self._alpha
        shown_alpha = f"tensor{tuple(alpha.shape)}" if isinstance(alpha, Tensor) else alpha
        parts = [repr(self._weights), f"hops={self.hops}", f"alpha={shown_alpha}"]
        parts += [f"{name}=True" for name in ("rectify", "per_hop") if getattr(self, name)]
        parts += [f"norm={self.norm!r}"] * (self.norm != "l1")
        for name, constant in (("hop_weights", self.hop_weights), ("pair_weights", self.pair_weights)):
            parts += [] if constant is None else [f"{name}={tuple(constant.shape)}"]
        parts += [f"method={self.method!r}"] * (self.method != "auto")
        parts += [] if self.leak is None else [f"leak={self.leak}"]
        return ", ".join(parts)

    def _check_options(self) -> None:
        """Let the op refuse a bad option when the penalty is made, in its own words: ask it for an edgeless graph."""
        (alpha,) = self._alpha
        edgeless = torch.zeros(1, 1, device="cpu")
        functional.resolvent_penalty(
            edgeless,
            alpha=1.0 if isinstance(alpha, Tensor) else alpha,
            hops=self.hops,
            rectify=self.rectify,
            per_hop=self.per_hop,
            norm=self.norm,
            hop_weights=None if self.hop_weights is None else self.hop_weights.to(edgeless),
            method=self.method,
        )
