"""Leaky integrate-and-fire neurons: the function, natively over all of time, and the module."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rrnn_ext._modes import may_be_batched, without_autocast
from rrnn_ext.ops import lif as _op
from rrnn_ext.spiking import lif_arguments as arguments
from rrnn_ext.spiking.bridge import crossing_levels
from rrnn_ext.spiking.state import LIFState
from rrnn_ext.spiking.surrogate import DEFAULT_SLOPE, SURROGATES, Surrogate, check_surrogate


def lif(
    current: Tensor,
    weight_rec: Tensor | None = None,
    *,
    tau: float | Tensor,
    dt: float,
    tau_syn: float | Tensor | None = None,
    threshold: float | Tensor = 1.0,
    reset: float | Tensor | Literal["subtract"] = 0.0,
    refractory: float = 0.0,
    surrogate: Surrogate = "fast_sigmoid",
    slope: float = DEFAULT_SLOPE,
    bridge: bool | float | Tensor = False,
    generator: torch.Generator | None = None,
    state: LIFState | None = None,
) -> tuple[Tensor, LIFState]:
    r"""Runs leaky integrate-and-fire neurons through time.

    With ``x`` a step's input, ``current[t] + weight_rec @ spikes[t - 1]``, each step does

    .. code-block:: text

        i = exp(-dt / tau_syn) i + x        with tau_syn; else i = x
        v = exp(-dt / tau) v + i
        spike where v >= threshold; then v = reset, or v - threshold for reset="subtract"

    as time-stepped simulations have it. For ``round(refractory / dt)`` steps after a spike v stays as it is and what
    reaches it is lost (synaptic currents go on), so that intervals are longer by as much.

    **Gradient.** Back-propagation through time, with the :func:`surrogate_derivative` in place of a spike's; through
    the spikes and the potential, but not through the choice between reset and no reset, which training is better off
    without (Zenke & Vogels 2021, "The remarkable robustness of surrogate gradient learning"). It is one native op
    forwards and one back, which keep the potentials and nothing else for each step. It flows to ``current``,
    ``weight_rec``, ``tau``, ``tau_syn``, ``threshold``, ``reset`` and ``state``; there are no second derivatives and
    no forward-mode ones.

    ::

        >>> spikes, state = lif(torch.full((6, 1, 1), 0.4), tau=20e-3, dt=1e-3)
        >>> spikes.flatten()
        tensor([0., 0., 1., 0., 0., 1.])

    Args:
        current: (T, ..., n), time first, float32 or float64: what each step adds to the potential (with ``tau_syn``: to
            the synaptic current), in units of the threshold where that is 1. float16 and bfloat16 are computed in
            float32; the spikes have the dtype of ``current``.
        weight_rec: (n, n), row = target, column = source: recurrent weights, which a spike passes in one step.
        tau: membrane time constant in seconds, at least ``dt``; a number, or (n,), one for each neuron.
        dt: time step in seconds.
        tau_syn: time constant of exponential synapses in seconds, a number or (n,); None: a spike's effect is at once.
        threshold: a number or (n,); ``math.inf`` makes an integrator that never spikes.
        reset: the potential after a spike, below the threshold, a number or (n,); or ``"subtract"``.
        refractory: seconds.
        surrogate: ``"fast_sigmoid"``, ``"atan"`` or ``"triangle"``.
        slope: how fast the surrogate falls with the potential's distance from the threshold.
        bridge: spikes between two looks as well, without which a coarse ``dt`` lowers the rate: with the probability
            that a Brownian motion from one potential to the next passes the threshold. The standard deviation of the
            free membrane potential (a number or (n,)), or True: from the variance of ``current`` over time. For
            input without correlations in time.
        generator: for ``bridge``.
        state: where the neurons stand before the first step; None: at potential 0, at rest.

    Returns:
        The spikes, zeros and ones of the shape of ``current``, and the :class:`LIFState` after the last step. Where a
        potential is not a number, neither is the spike.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says which, what was needed and what came. Values
            of tensors on a GPU or under a transform are not looked at.
    """
    dtype = arguments.check_current(current)
    arguments.check_times(dt, tau, tau_syn, refractory)
    arguments.check_potentials(threshold, reset)
    check_surrogate(surrogate, slope)
    arguments.check_bridge(bridge, current, weight_rec, tau_syn)
    if weight_rec is not None:
        arguments.check_weight_rec(weight_rec, current)
    if state is not None:
        arguments.check_state(state, current, dtype, tau_syn is not None)
    with without_autocast(current.device.type):
        leak = _leak("tau", tau, dt, current, dtype)
        leak_syn = None if tau_syn is None else _leak("tau_syn", tau_syn, dt, current, dtype)
        thresholds = arguments.per_neuron("threshold", threshold, current, dtype)
        resets = None if isinstance(reset, str) else arguments.per_neuron("reset", reset, current, dtype)
        recurrent = None if weight_rec is None else weight_rec.to(dtype).unsqueeze(0)
        if isinstance(bridge, Tensor):
            bridge = arguments.per_neuron("bridge", bridge, current, dtype)[0]
        steps, *batch, n = current.shape
        samples = math.prod(batch)
        given = current.to(dtype)
        levels = crossing_levels(given, bridge, leak[0], generator)
        record = given.reshape(1, steps, samples, n)
        held = round(refractory / dt)
        potential, synaptic, spikes, waiting = (
            None if tensor is None else tensor.reshape(1, samples, n)
            for tensor in (_rest(given, tau_syn is not None) if state is None else state)
        )
        assert waiting is not None
        differentiable = (recurrent, leak, leak_syn, thresholds, resets, potential, synaptic, spikes)
        *of_steps, last_potential, last_synaptic, last_waiting = _op.lif(
            record,
            recurrent,
            None if levels is None else levels.reshape(record.shape),
            leak,
            leak_syn,
            thresholds,
            resets,
            potential,
            synaptic,
            None if recurrent is None else spikes,
            waiting.clamp(max=held) if held else None,
            held,
            SURROGATES.index(surrogate),
            float(slope),
            _keep(record, differentiable, leak_syn),
        )
        moment = current.shape[1:]
        record = of_steps[0].reshape(current.shape)
        assert spikes is not None
        last = LIFState(
            last_potential.reshape(moment),
            None if leak_syn is None else last_synaptic.reshape(moment),
            record[-1] if steps else spikes.reshape(moment),
            last_waiting.reshape(moment) if held else torch.zeros_like(waiting).reshape(moment),
        )
    return record.to(current.dtype), last


def _leak(name: str, tau: float | Tensor, dt: float, current: Tensor, dtype: torch.dtype) -> Tensor:
    """What a step leaves, (1, n)."""
    if isinstance(tau, Tensor):
        return torch.exp(-dt / arguments.per_neuron(name, tau, current, dtype))
    return arguments.per_neuron(name, math.exp(-dt / tau), current, dtype)


def _rest(current: Tensor, has_synapses: bool) -> LIFState:
    zeros = current.new_zeros(current.shape[1:])
    return LIFState(zeros, zeros if has_synapses else None, zeros, zeros)


def _keep(current: Tensor, others: tuple[Tensor | None, ...], leak_syn: Tensor | None) -> int:
    """What the op has to keep for a gradient: the potentials take as much memory as the spikes."""
    if not torch.is_grad_enabled():
        return _op.KEEP_NOTHING
    unknown = may_be_batched()
    if not unknown and not any(each is not None and each.requires_grad for each in (current, *others)):
        return _op.KEEP_NOTHING
    parameters = (*others[1:5],)
    if leak_syn is not None and (unknown or any(each is not None and each.requires_grad for each in parameters)):
        return _op.KEEP_SYNAPTIC_CURRENTS
    return _op.KEEP_POTENTIALS


class LIF(nn.Module):
    """A layer of :func:`lif` neurons, to stand behind an ``nn.Linear`` as an activation does.

    ::

        >>> layer = LIF(tau=20e-3, dt=1e-3)
        >>> network = nn.Sequential(nn.Linear(40, 100), layer, nn.Linear(100, 10), LIF(tau=20e-3, dt=1e-3))
        >>> network(torch.rand(50, 8, 40)).shape  # time, samples, inputs
        torch.Size([50, 8, 10])

    Called with ``current`` (T, ..., n), it returns the spikes alone, from rest. :meth:`run` takes a state and gives
    the one at the end.

    Args:
        recurrent: the number n of neurons, for recurrent weights between all of them: the parameter ``weight_rec``
            (n, n), which begins as those of ``nn.RNN`` do, uniform within +-1 / sqrt(n); ``spiking.init`` has better.
            None: there are none.
        tau, dt, tau_syn, threshold, reset, refractory, surrogate, slope, bridge: as :func:`lif` takes them. Tensors
            become buffers, parameters are learnt.
    """

    weight_rec: nn.Parameter | None
    tau: float | Tensor
    tau_syn: float | Tensor | None
    threshold: float | Tensor
    reset: float | Tensor | Literal["subtract"]
    bridge: bool | float | Tensor

    def __init__(
        self,
        *,
        tau: float | Tensor,
        dt: float,
        recurrent: int | None = None,
        tau_syn: float | Tensor | None = None,
        threshold: float | Tensor = 1.0,
        reset: float | Tensor | Literal["subtract"] = 0.0,
        refractory: float = 0.0,
        surrogate: Surrogate = "fast_sigmoid",
        slope: float = DEFAULT_SLOPE,
        bridge: bool | float | Tensor = False,
    ) -> None:
        super().__init__()
        arguments.check_times(dt, tau, tau_syn, refractory)
        arguments.check_potentials(threshold, reset)
        check_surrogate(surrogate, slope)
        self.dt, self.refractory, self.surrogate, self.slope = dt, refractory, surrogate, slope
        self._hold(tau=tau, tau_syn=tau_syn, threshold=threshold, reset=reset, bridge=bridge)
        if recurrent is None:
            self.register_parameter("weight_rec", None)
        else:
            self.weight_rec = nn.Parameter(torch.empty(recurrent, recurrent))
            nn.init.uniform_(self.weight_rec, -(recurrent**-0.5), recurrent**-0.5)

    def _hold(self, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, current: Tensor) -> Tensor:
        """The spikes, of the shape of ``current``."""
        return self.run(current)[0]

    def run(
        self, current: Tensor, state: LIFState | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, LIFState]:
        """The spikes and the state after them, from ``state`` on; the arguments are those of :func:`lif`."""
        return lif(
            current,
            self.weight_rec,
            tau=self.tau,
            dt=self.dt,
            tau_syn=self.tau_syn,
            threshold=self.threshold,
            reset=self.reset,
            refractory=self.refractory,
            surrogate=self.surrogate,
            slope=self.slope,
            bridge=self.bridge,
            generator=generator,
            state=state,
        )

    def extra_repr(self) -> str:
        recurrent = "" if self.weight_rec is None else f", recurrent={self.weight_rec.shape[0]}"
        return f"tau={self.tau}, dt={self.dt}, threshold={self.threshold}, reset={self.reset}{recurrent}"
