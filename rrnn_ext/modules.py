"""The resolvent penalty of a recurrent network, as a module to put beside it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from rrnn_ext import _dispatch
from rrnn_ext._accumulate import by_autograd, check_leaves, check_strength, directly, recording
from rrnn_ext._modes import without_autocast
from rrnn_ext._module_options import NumberSource
from rrnn_ext._network_module import NetworkModule, keyword_defaults
from rrnn_ext._options import Method, NormName
from rrnn_ext.diagnostics import ResolventInfo, resolvent_info
from rrnn_ext.networks.graphs import Gains, GivenWeights, ModuleWeights
from rrnn_ext.networks.running.network import Run
from rrnn_ext.networks.running.sequences import Sequences, State
from rrnn_ext.networks.running.sizes import RunInfo, hops_of, info_of, sum_of
from rrnn_ext.networks.sources import WeightSource
from rrnn_ext.sparse.call import is_sparse


class ResolventPenalty(NetworkModule):
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
    - *leak*: ``h_t = (1 - leak) h_{t-1} + leak f(W h_{t-1} + U x_t)``, unit by unit. The recurrent weight of the graph
      is ``I - diag(leak) + diag(leak) W``, and what enters a layer is scaled too, ``diag(leak) U``: so P_m stays the
      impulse response.

    **What it holds.** References alone: no parameter, no buffer, no submodule, nothing in the ``state_dict``, of itself
    or of a model it is an attribute of, which can be compiled, exported and scripted as if it had no penalty. A deep
    copy or a pickle of a model with its penalty holds a penalty of the copied weights. It follows the two modules
    through ``.to()``, assigned weights, parametrizations, pruning and ``functional_call``; :meth:`from_model` also
    follows a module that takes the place of another one, and :meth:`from_weights` is for models of one's own. Of a
    module that FSDP2 shards (``fully_shard``) it reads the sharded parameters at every moment of a step, on every rank.

    **Options** are attributes that can be set, and ``rnn`` and ``readout`` too: ``penalty.alpha = 0.5`` is checked as
    in the constructor and holds from the next call. What is to be learnt, ``alpha`` or ``leak``, is given by name
    (with ``from_model`` or ``from_weights``) or as a callable that returns it, as a Parameter of the model would be
    left behind when the model gets another one. Weights, and what callables and parametrizations compute, keep their
    dtype under autocast.

    Args:
        rnn: nn.RNN, nn.RNNCell, nn.GRU, nn.GRUCell, nn.LSTM or nn.LSTMCell, also compiled, or a module of your own that
            has a reader (:mod:`rrnn_ext.networks`). For others see :meth:`from_weights`.
        readout: what reads the last layer: an nn.Linear, a callable that returns a weight (o, d), or a tensor (o, d)
            that is no Parameter, where d is the size of the module's output (hidden or projected size, twice that if
            bidirectional; the forward half comes first). None: the outputs are the last layer's hidden units, and a
            walk has one edge less.
        hops: how many lags to count, from 0. It has to be said: the length of the sequences is usual; None is all
            lags, whose sum stops to converge where training makes the weights too large.
        alpha: the factor of each edge: a number, a tensor, 0-d or one for each graph, which may require a gradient, a
            callable that returns one, or the dotted name of one.
        rectify, per_hop, norm, method: see :func:`rrnn_ext.resolvent_penalty`.
        hop_weights: (hops,), a factor for each lag. It and ``pair_weights`` are constants: they stay as they are given
            whatever the model is cast to or moved to, and are copied to the device of the weights. Of any real dtype.
        pair_weights: (o, i), a factor for each output-input pair.
        leak: of a leaky (continuous-time) network, in (0, 1]: a number, a tensor (n,), one for each unit, or
            (layers, n), which may require a gradient, a callable that returns one, or the dotted name of one. For
            nn.RNN, nn.RNNCell and from_weights.
        gains: of ``penalty(x, out)``: how many sequences of the batch count, evenly spaced, each with its own step
            Jacobians, and the penalty is the mean of theirs; or "mean", the mean over the whole batch of the step
            Jacobians, one network. None: 4. With from_weights a tensor (steps, n) or (sequences, steps, n), the last
            step last, a callable that returns one, or its name: ``penalty()`` is then that of these steps.
        detach_gains: whether gains are constants, so that gradients flow to the weights of the walks alone, not through
            what the units did. In trials the walks then stayed what the network does, at a lower error on sums of
            what came in; with gradients through them training makes gains, in part, of what the penalty is to prevent
            (the page "The network that runs" has the measurements).

    Raises:
        TypeError: ``rnn``, ``readout`` or an option is of a kind not named above; among them a Parameter and a tensor
            that was computed from one, which would go stale, and quantised modules.
        ValueError: a read-out that does not match the module, a ``leak`` outside (0, 1] or of a gated module, a
            constant that requires a gradient, a name that leads nowhere, and what
            :func:`rrnn_ext.resolvent_penalty` refuses. Options are checked here and when they are set, weights at
            every call. Values on a GPU or under transforms are not waited for: there they give NaN.
        ResolventDivergenceError: ``hops=None`` where the sum does not converge; ``where`` names the gate, the
            directions, the layer or the entry of the batch.
    """

    def __init__(
        self,
        rnn: nn.Module | GivenWeights | ModuleWeights,
        readout: nn.Linear | WeightSource | None = None,
        *,
        hops: int | None,
        alpha: NumberSource = 1.0,
        rectify: bool = False,
        per_hop: bool = False,
        norm: NormName = "l1",
        hop_weights: Tensor | None = None,
        pair_weights: Tensor | None = None,
        method: Method = "auto",
        leak: NumberSource | None = None,
        gains: Gains = None,
        detach_gains: bool = True,
    ) -> None:
        given = locals()  # the options are named in the signature alone
        super().__init__()
        if not isinstance(rnn, (GivenWeights, ModuleWeights)):
            rnn = ModuleWeights(None, rnn, readout)
        elif readout is not None:
            raise TypeError("readout must be given to from_weights as weight_out")
        self._set(rnn, {name: given[name] for name in self._defaults})

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        rnn: str,
        readout: WeightSource | None = None,
        *,
        hops: int | None,
        **options: Any,
    ) -> ResolventPenalty:
        """The penalty of a recurrent module and of a read-out that are looked up in ``model`` at every call.

        ::

            penalty = ResolventPenalty.from_model(model, rnn="encoder.rnn", readout="head", hops=T)

        So it follows ``model.head = nn.Linear(...)``, which a penalty that was given the modules cannot see.

        Args:
            model: the nn.Module of the names.
            rnn: the dotted name of a module of those named above; "" if that is ``model`` itself.
            readout: the dotted name of an nn.Linear or of a weight, or what else the class takes as a read-out.
            hops, options: as for the class; ``alpha`` and ``leak`` may be dotted names, too.
        """
        return cls(ModuleWeights(model, rnn, readout), hops=hops, **options)

    @classmethod
    def from_weights(cls, *weights: Any, hops: int | None, **options: Any) -> ResolventPenalty:
        """The penalty of a model of one's own: ``from_weights([model, ]weight_hh, weight_in=None, weight_out=None)``.

        ::

            penalty = ResolventPenalty.from_weights(model, "cell.W", "cell.U", "head.weight", hops=T)
            penalty = ResolventPenalty.from_weights(model.recurrent_weight, hops=T)  # a method

        A weight is a dotted name in the model, or a callable that returns a tensor. Both are asked at every call, and
        so follow whatever happens to the model. Use a bound method of the model rather than a lambda if the model is to
        be deep-copied or pickled. A tensor of your own is taken too, but neither a Parameter nor a tensor that was
        computed from one: these go stale when the model gets another one, and when the first step is taken.

        Args:
            model: the nn.Module of the names. Needed for names alone.
            weight_hh: (..., n, n), column = source, row = target; leading dimensions are networks whose penalties add.
                A sparse one as :func:`rrnn_ext.resolvent_penalty` takes it, without ``leak`` and ``gains``.
            weight_in: (..., n, i), or None for the identity, which a leak does not scale.
            weight_out: (..., o, n), or None for the identity.
            hops, options: as for the class. A ``leak`` is () or (..., n); with a model it and ``alpha`` may be names.
        """
        model = options.pop("model", None)
        if weights and isinstance(weights[0], nn.Module):
            model, weights = weights[0], weights[1:]
        given = {name: options.pop(name) for name in ("weight_hh", "weight_in", "weight_out") if name in options}
        if not weights and "weight_hh" not in given:
            raise TypeError("weight_hh is missing: from_weights(model, 'cell.W', ...) or from_weights(callable, ...)")
        return cls(GivenWeights(model, *weights, **given), hops=hops, **options)

    @torch.jit.unused  # TorchScript passes it by in a model that it compiles
    def forward(
        self,
        x: Sequences | None = None,
        out: Sequences | None = None,
        *,
        lengths: Tensor | None = None,
        hx: State = None,
        batch_first: bool | None = None,
        readout_step: int | Literal["every"] = -1,
    ) -> Tensor:
        """The penalty of the weights; with a batch, of the network as it ran on it, which for gated networks and under
        strong penalties is another one.

        ::

            out, _ = rnn(x)
            loss = task_loss + beta * penalty(x, out)

        In place of the powers of W stand the step Jacobians along the trajectory, ``P_m = V A_T .. A_{T-m+1} U_{T-m}``:
        of nn.RNN ``A_t = diag(f'_t) W`` and ``U_t = diag(f'_t) U``, of nn.GRU and nn.LSTM the sum of all gates' and of
        what the state carries. Thus the mean of P_m over sequences is the mean of dy_T / dx_{T-m}.

        Args:
            x: what the recurrent module was given, in any layout that it takes; of a cell (steps, count, i).
            out: what it returned, in the same layout; of a cell its states, stacked.
            lengths: (count,) of padded sequences; lags count back from each sequence's own end.
            hx: the state that the module began with, as it was given to the module. None: zeros.
            batch_first: whether x and out are (count, steps, .). None: as the module's attribute of that name says; of
                a cell's steps False. A module of your own that has none needs it said where x is three-dimensional.
            readout_step: the step that the read-out reads, -1 the last one, which each of the sequences must have;
                "every": all of them, and P_m is the mean over those that have a step m steps before.

        Returns:
            A 0-d tensor with gradients for every weight of the graph, for ``alpha`` and ``leak``; with a batch and
            ``detach_gains=False`` also, through the gains, for what ``out`` was computed from.

        Raises:
            ValueError, TypeError: x and out do not fit one another or the module.
            NotImplementedError: a reader of one's own does not say what its module's steps did.
        """
        # Autocast may lower the precision of activations, not that of weights, nor of what is computed from them.
        with without_autocast("cpu"), without_autocast("cuda"):
            run = Run(x, out, lengths, hx, batch_first, readout_step)
            if not self._runs(run):
                return self._penalty(*self._graphs())
            return self._penalty_of(run)

    @torch.jit.unused
    def accumulate_grad(
        self,
        strength: float = 1.0,
        x: Sequences | None = None,
        out: Sequences | None = None,
        *,
        lengths: Tensor | None = None,
        hx: State = None,
        batch_first: bool | None = None,
        readout_step: int | Literal["every"] = -1,
    ) -> Tensor:
        """Adds ``strength`` times the gradient of the penalty to ``.grad`` of the weights, without a graph.

        ::

            task_loss.backward()
            value = penalty.accumulate_grad(1e-4)
            optimiser.step()

        What ``(strength * penalty()).backward()`` would do, for less: a finite sum of one layer in one direction, or of
        ``from_weights``, takes one native call of value and gradient; others are put together by autograd within.
        :func:`rrnn_ext.accumulate_penalty_grad` says where in a step to call it, and what becomes of hooks, of .grad of
        other kinds and under ``torch.compile``.

        Args:
            strength: factor of the gradient, finite.
            x, out, lengths, hx, batch_first, readout_step: as :meth:`forward` takes them, of a network that runs.

        Returns:
            The penalty, without the strength, as :meth:`forward` has it, detached.

        Raises:
            ValueError: a weight is computed, as a parametrised or pruned one is: its gradient belongs to what it was
                computed from, and goes there through the loss. Otherwise as :meth:`forward`. Nothing has been added.
        """
        if torch.compiler.is_compiling():  # a graph has no .grad: it breaks here, or with fullgraph=True is refused
            how = {"lengths": lengths, "hx": hx, "batch_first": batch_first, "readout_step": readout_step}
            return torch.compiler.disable(self.accumulate_grad)(strength, x, out, **how)
        strength = check_strength(strength)
        with without_autocast("cpu"), without_autocast("cuda"), recording():
            run = Run(x, out, lengths, hx, batch_first, readout_step)
            if self._runs(run):
                check_leaves(self._network.weights())
                return by_autograd(lambda: self._penalty_of(run), strength)
            graphs, options = self._graphs()
            check_leaves(graphs.weights)
            value = directly(graphs[:3], strength, options)
            return by_autograd(lambda: self._penalty(graphs, options), strength) if value is None else value

    @torch.jit.unused
    def hop_decomposition(
        self,
        x: Sequences | None = None,
        out: Sequences | None = None,
        *,
        lengths: Tensor | None = None,
        hx: State = None,
        batch_first: bool | None = None,
        readout_step: int | Literal["every"] = -1,
    ) -> Tensor:
        """The walks lag by lag: of the weights, gate by gate (which is not what a gated network does), or, with a
        batch, of the network as it ran, all gates together, from the mean over the batch of its step Jacobians.

        Arguments and errors as of :meth:`forward`.

        Returns:
            P (hops, o, i), differentiable. Of the weights (gates, hops, o, i) of a gated module; before that one for
            each choice of a direction in every layer of a bidirectional one. With a batch zeros where a lag is longer
            than the sequences, and if hops is None as many lags as they have steps, up to the read-out where they run
            in one direction.
        """
        with without_autocast("cpu"), without_autocast("cuda"):
            run = Run(x, out, lengths, hx, batch_first, readout_step)
            if self._runs(run):
                walks, options, dtype = self._walks(run, "mean")
                return hops_of(walks, options.hops).to(dtype)
            graphs, options = self._graphs()
            return _dispatch.hop_by_hop(graphs[:3], options).to(graphs.dtype)

    @torch.jit.unused
    def resolvent(
        self,
        x: Sequences | None = None,
        out: Sequences | None = None,
        *,
        lengths: Tensor | None = None,
        hx: State = None,
        batch_first: bool | None = None,
        readout_step: int | Literal["every"] = -1,
    ) -> Tensor:
        """The sum over the lags of what :meth:`hop_decomposition` gives, with the hop weights: (o, i)."""
        with without_autocast("cpu"), without_autocast("cuda"):
            run = Run(x, out, lengths, hx, batch_first, readout_step)
            if self._runs(run):
                walks, options, dtype = self._walks(run, "mean")
                return sum_of(walks, options).to(dtype)
            graphs, options = self._graphs()
            return _dispatch.total(graphs[:3], options).to(graphs.dtype)

    @torch.jit.unused
    @torch.no_grad()
    def info(
        self,
        x: Sequences | None = None,
        out: Sequences | None = None,
        *,
        lengths: Tensor | None = None,
        hx: State = None,
        batch_first: bool | None = None,
        readout_step: int | Literal["every"] = -1,
    ) -> ResolventInfo | RunInfo:
        """The :func:`rrnn_ext.resolvent_info` of the weights' graphs, each of its tensors of their shape: () of one
        graph, (gates,) of a gated module, before that one for each choice of directions. With a batch, how strong the
        walks of each lag are in the network that ran, and what ``hops`` leaves out.

        Arguments and errors as of :meth:`forward`.
        """
        run = Run(x, out, lengths, hx, batch_first, readout_step)
        if self._runs(run):
            walks, options, _ = self._walks(run, "mean")
            return info_of(walks, options.hops)
        graphs, options = self._graphs()
        weight_hh = graphs.weight_hh
        if not is_sparse(weight_hh):
            weight_hh = weight_hh.expand(*graphs.batch(), *weight_hh.shape[-2:])
        return resolvent_info(weight_hh, alpha=options.alpha, hops=options.hops, rectify=options.rectify)

    def _runs(self, run: Run) -> bool:
        """Whether it is the network that ran that is asked for."""
        given = run.inputs is not None, run.outputs is not None
        if isinstance(self._network, GivenWeights):
            if any(given):
                raise TypeError("x and out must be left out with from_weights, which is told of steps by its gains")
            return self._options["gains"] is not None
        if given[0] != given[1]:
            raise TypeError(f"x and out must be given together, got {'x' if given[0] else 'out'} alone")
        return all(given)


ResolventPenalty._defaults = keyword_defaults(ResolventPenalty)
