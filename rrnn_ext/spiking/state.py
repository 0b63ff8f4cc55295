"""Where a layer of spiking neurons stands between two stretches of time."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LIFState(NamedTuple):
    """The state of leaky integrate-and-fire neurons after a step: what :func:`rrnn_ext.spiking.lif` returns beside the
    spikes, and takes to go on from there. Each tensor has the shape of one step of the current, (..., n)."""

    potential: Tensor  #: membrane potential, after the reset
    synaptic: Tensor | None  #: synaptic current; None where there is no tau_syn
    spikes: Tensor  #: of the last step, which recurrent weights bring to the next one
    waiting: Tensor  #: steps that the neuron is refractory for yet

    def detach(self) -> LIFState:
        """The same numbers, from which no gradient flows back: for truncated back-propagation through time."""
        synaptic = None if self.synaptic is None else self.synaptic.detach()
        return LIFState(self.potential.detach(), synaptic, self.spikes.detach(), self.waiting.detach())
