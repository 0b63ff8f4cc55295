"""A module that refers to a network and has options: attributes, checked when they are set, and read at every call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from rrnn_ext import _dispatch
from rrnn_ext._errors import ResolventDivergenceError
from rrnn_ext._module_options import CONSTANTS, check_options, constants_of, read_alpha
from rrnn_ext._options import PenaltyOptions
from rrnn_ext.networks.graphs import GivenWeights, Graphs, ModuleWeights
from rrnn_ext.networks.running.given import walks_of_gains
from rrnn_ext.networks.running.network import Run, walks_of_run
from rrnn_ext.networks.running.sizes import penalty_of
from rrnn_ext.networks.running.walks import Walks
from rrnn_ext.networks.sources import describe, read, read_weight


class NetworkModule(nn.Module):
    """Holds references alone. A subclass calls ``_set``, and its ``_defaults`` are those of its options."""

    _defaults: ClassVar[Mapping[str, Any]]

    def __setattr__(self, name: str, value: Any) -> None:
        """What the constructor was given can be given anew, and is checked as there."""
        if name not in self._given():
            super().__setattr__(name, value)
        elif name in self._options:
            self._set(self._network, {**self._options, name: value})
        else:
            self._set(type(self._network)(**{**vars(self._network), name: value}), self._options)

    def __getattr__(self, name: str) -> Any:
        given = self._given()
        return given[name] if name in given else super().__getattr__(name)

    def _given(self) -> dict[str, Any]:
        # Before they are set, as in the making of a copy, to ask for them would ask __getattr__.
        return {**vars(self._network), **self._options} if "_options" in self.__dict__ else {}

    def _set(self, network: GivenWeights | ModuleWeights, options: dict[str, Any]) -> None:
        with unset_fake_temporarily():  # options that have values are looked at, whatever is made of the weights
            check_options(options, network.model)
            constants = constants_of(options)
        network.refuse_leak(options["leak"])
        network.refuse_gains(options["gains"])
        # In an object and in dicts, where nn.Module sees no parameter, no buffer and no submodule.
        self._network, self._constants, self._options = network, constants, options

    def extra_repr(self) -> str:
        shown = [repr(self._network)]
        for name, default in self._defaults.items():
            value = self._options[name]
            if default is inspect.Parameter.empty or value is not default:
                shown.append(f"{name}={describe(value)}")
        return ", ".join(shown)

    def _read_options(self) -> tuple[dict[str, Any], Any]:
        """The function's options as they are now, and the leak."""
        options, model = dict(self._options), self._network.model
        del options["gains"], options["detach_gains"]
        leak = self._constants.get("leak", read("leak", options.pop("leak"), model))
        options["alpha"] = read_alpha(options["alpha"], model)
        return options, leak

    def _graphs(self) -> tuple[Graphs, PenaltyOptions]:
        """The weights' graphs, and the options beside them."""
        options, leak = self._read_options()
        if torch.compiler.is_compiling():
            # It takes an int of a module for fixed, unless it is told otherwise where it first looks at it.
            with torch._dynamo.patch_dynamo_config(allow_unspec_int_on_nn_module=True):
                options["hops"] = None if options["hops"] is None else options["hops"] + 0
        graphs = self._network.graphs(alpha=options["alpha"], rectify=options["rectify"], leak=leak)
        return graphs, PenaltyOptions(**options | self._constants_beside(graphs.weight_hh))

    def _penalty(self, graphs: Graphs, options: PenaltyOptions) -> Tensor:
        try:
            value = _dispatch.penalty(graphs[:3], options)
        except ResolventDivergenceError as error:
            if error.device is None:  # that of an earlier sum, on a GPU, may be of other weights
                error.where = graphs.where(error.entry, options.rectify)
            raise
        return value.to(graphs.dtype)

    def _penalty_of(self, run: Run) -> Tensor:
        walks, options, dtype = self._walks(run, self._options["gains"])
        return penalty_of(walks, options).to(dtype)

    def _walks(self, run: Run, gains: Any) -> tuple[list[Walks], PenaltyOptions, torch.dtype]:
        """The walks (steps, k, o, i) of each graph of the network that ran."""
        network, (options, leak) = self._network, self._read_options()
        given, detached, alpha = self._options["gains"], self._options["detach_gains"], options.pop("alpha")
        if isinstance(alpha, Tensor) and alpha.dim() > 0:
            raise ValueError(f"alpha must be a number or 0-d for a network that runs, got {tuple(alpha.shape)}")
        if options["method"] == "inverse":
            raise ValueError("method must be 'auto' or 'series' for a network that runs, got 'inverse'")
        if isinstance(network, GivenWeights):
            weights = network.read(for_run=True)
            gains = read_weight("gains", given, network.model)
            gains = gains.detach() if detached else gains
            like = weights[0]
            walks = walks_of_gains(weights, gains, alpha=alpha, rectify=options["rectify"], leak=leak)
        else:
            layers = network.read(for_run=True)
            like = layers[1][0][0].recurrent
            walks = walks_of_run(
                *layers, run, alpha=alpha, rectify=options["rectify"], leak=leak, gains=gains, detached=detached
            )
        return walks, PenaltyOptions(**options | self._constants_beside(like)), like.dtype

    def _constants_beside(self, weight: Tensor) -> dict[str, Tensor]:
        if not self._constants:
            return {}
        return {name: self._constants[name].beside(name, weight) for name in CONSTANTS if name in self._constants}


def keyword_defaults(kind: type) -> dict[str, Any]:
    """Of the parameters that are given by keyword, which a class names in its signature alone."""
    parameters = inspect.signature(kind).parameters.items()
    return {name: each.default for name, each in parameters if each.kind is each.KEYWORD_ONLY}
