"""The walks of a recurrent spiking network: the linear network that it is near a working point."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from rrnn_ext.modules import ResolventPenalty
from rrnn_ext.spiking.neurons import LIF
from rrnn_ext.spiking.rates import firing_rate
from rrnn_ext.spiking.response import kick_response

_ROUNDS = 2000
_TOLERANCE = 1e-10  # spikes per step

Decay = Literal["response", "membrane"]


class SpikingPathways:
    """A recurrent layer of :class:`LIF` neurons as a graph whose walks are responses of spikes to an input spike.

    Near a working point, where unit i fires at a rate of its own, an input spike of weight u adds ``gain[i] u
    leak[i]^k`` spikes k steps later, each of which is an input spike of weight ``weight_rec[j, i]`` to every unit j a
    step on. So

    .. code-block:: text

        weight_hh = diag(leak) + weight_rec diag(gain)      weight_out = weight_out diag(gain)

    and hop m of the walks from ``weight_in`` to ``weight_out`` is the change of the read-out m steps after an input
    spike. All lags together a unit's own response is ``dt d firing_rate / d mean / (1 - exp(-dt / tau))``, exact for
    weak input (the ``total`` below); ``decay`` says how it is spread over the lags, ``gain = total (1 - leak)``:

    - ``"response"``: such that the spikes at lag 0 are right too, which :func:`kick_response` knows. They are many, as
      whoever is near the threshold spikes at once, and the rest is gone sooner than the membrane forgets.
    - ``"membrane"``: ``leak = exp(-dt / tau)``, which is where a rate unit of this time constant would be.

    The working point is the self-consistent one of the weights at hand, with the variance that recurrent spikes bring;
    it stays until :meth:`update`, while the weights are read anew at every call, so that a penalty has gradients.

    ::

        >>> layer = LIF(tau=20e-3, dt=1e-3, recurrent=50)
        >>> readin, readout = nn.Linear(10, 50), nn.Linear(50, 3)
        >>> pathways = SpikingPathways(layer, readin, readout, mean=0.5, std=0.4)
        >>> penalty = pathways.penalty(hops=20, rectify=True)
        >>> penalty().backward()

    Args:
        layer: with recurrent weights, and neither ``tau_syn`` nor ``reset="subtract"``.
        weight_in: (n, i), an ``nn.Linear`` or None, each unit by itself.
        weight_out: (o, n), an ``nn.Linear`` or None.
        mean, std: of the free membrane potential as input alone makes it, without recurrent spikes; numbers or (n,).
        decay: see above.

    Attributes:
        rate: (n,) in Hz, at the working point; and ``mean``, ``std`` of the free potential there.
        gain, leak, total: (n,).
    """

    def __init__(
        self,
        layer: LIF,
        weight_in: Tensor | nn.Linear | None = None,
        weight_out: Tensor | nn.Linear | None = None,
        *,
        mean: float | Tensor,
        std: float | Tensor,
        decay: Decay = "response",
    ) -> None:
        if layer.weight_rec is None:
            raise ValueError("layer must have recurrent weights: LIF(recurrent=n, ...)")
        if layer.tau_syn is not None:
            raise ValueError(f"layer must have no tau_syn, got {layer.tau_syn}: a walk has one leak a unit")
        if isinstance(layer.reset, str):
            raise ValueError("layer must have a reset potential, got reset='subtract', whose rate is not known")
        if decay not in ("response", "membrane"):
            raise ValueError(f"decay must be 'response' or 'membrane', got {decay!r}")
        self.layer, self._in, self._out, self.decay = layer, weight_in, weight_out, decay
        self._drive = mean, std
        self.update()

    @classmethod
    def from_current(
        cls,
        layer: LIF,
        current: Tensor,
        weight_in: Tensor | nn.Linear | None = None,
        weight_out: Tensor | nn.Linear | None = None,
        *,
        decay: Decay = "response",
    ) -> SpikingPathways:
        """Around what ``current`` (T, ..., n), the layer's input, does to it: its mean and its variance over samples
        and time make those of the free potential, as input does that has no correlations in time."""
        values = current.detach().double().flatten(0, -2)
        leak = torch.exp(-layer.dt / torch.as_tensor(layer.tau, dtype=values.dtype))
        std = values.std(0, unbiased=False) / (1 - leak.square()).sqrt()
        return cls(layer, weight_in, weight_out, mean=values.mean(0) / (1 - leak), std=std, decay=decay)

    def update(self) -> None:
        """Finds the working point of the weights as they are now."""
        with torch.no_grad():
            self._find_rates()
        at = self.mean.clone().requires_grad_()
        with torch.enable_grad():
            slope = torch.autograd.grad(firing_rate(at, self.std, **self._neuron()).sum(), at)[0]
        forget = 1 - torch.exp(-self.layer.dt / torch.as_tensor(self.layer.tau, dtype=at.dtype))
        self.total = self.layer.dt * slope / forget
        if self.decay == "membrane":
            self.leak = (1 - forget).expand_as(at)
        else:
            self.leak = 1 - kick_response(self.mean, self.std, lags=1, **self._neuron()).squeeze(-1) / self.total
        self.gain = self.total * (1 - self.leak)

    def weight_hh(self) -> Tensor:
        """(n, n): what a step does."""
        weight = self._weight_rec()
        return torch.diag(self.leak.to(weight)) + weight * self.gain.to(weight)

    def weight_in(self) -> Tensor | None:
        """(n, i): what an input spike adds to the potentials."""
        return self._in.weight if isinstance(self._in, nn.Linear) else self._in

    def weight_out(self) -> Tensor:
        """(o, n): what the potentials' change is worth in the read-out."""
        gain = self.gain.to(self._weight_rec())
        weight = self._out.weight if isinstance(self._out, nn.Linear) else self._out
        return torch.diag(gain) if weight is None else weight * gain

    def penalty(self, *, hops: int | None, **options: Any) -> ResolventPenalty:
        """The :class:`rrnn_ext.ResolventPenalty` of these walks, with its options."""
        weight_in = None if self._in is None else self.weight_in
        return ResolventPenalty.from_weights(self.weight_hh, weight_in, self.weight_out, hops=hops, **options)

    def _weight_rec(self) -> Tensor:
        assert self.layer.weight_rec is not None
        return self.layer.weight_rec

    def _neuron(self) -> dict[str, Any]:
        layer = self.layer
        return {
            "tau": layer.tau,
            "dt": layer.dt,
            "threshold": layer.threshold,
            "reset": layer.reset,
            "refractory": round(layer.refractory / layer.dt) * layer.dt,
        }

    def _find_rates(self) -> None:
        weight = self._weight_rec().double()
        mean, std = (torch.as_tensor(each, dtype=torch.float64).expand(len(weight)) for each in self._drive)
        leak = torch.exp(-self.layer.dt / torch.as_tensor(self.layer.tau, dtype=torch.float64))
        chance = firing_rate(mean, std, **self._neuron()) * self.layer.dt
        for _ in range(_ROUNDS):
            self.mean = mean + weight @ chance / (1 - leak)
            variance = weight.square() @ (chance * (1 - chance)) / (1 - leak.square())
            self.std = (std.square() + variance).sqrt()
            self.rate = firing_rate(self.mean, self.std, **self._neuron())
            change = self.rate * self.layer.dt - chance
            if change.abs().max() < _TOLERANCE:
                return
            chance = chance + change / 2
        raise RuntimeError(
            f"no working point was found in {_ROUNDS} rounds: the rates of layer's recurrent weights, at most "
            f"{self.rate.max():.3g} Hz now, do not settle"
        )
