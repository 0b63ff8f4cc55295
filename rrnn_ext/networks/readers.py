"""Readers: what a recurrent module is made of, and its weights as they are now, as layers of edges.

:class:`~rrnn_ext.ResolventPenalty` reads a module by the reader that is registered for its class. PyTorch's own are in
:mod:`rrnn_ext.networks.pytorch`; one for a cell of your own is a class of a few lines::

    @rrnn_ext.networks.reads(MinimalGatedCell)
    class MinimalGatedReader(rrnn_ext.networks.Reader):
        gates = ("forget gate", "candidate")

        @property
        def size(self):
            return self.module.hidden_size

        def layer(self, at, direction):
            return rrnn_ext.networks.Layer(
                recurrent=self.read("weight_hh").unflatten(0, (2, -1)),
                incoming=self.read("weight_ih").unflatten(0, (2, -1)),
            )

From then on ``ResolventPenalty(cell, readout, hops=T)``, ``from_model`` and ``rrnn_ext.reading`` take such cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from rrnn_ext.networks.running.steps import Vectors
from rrnn_ext.networks.sources import find, read_attribute, refuse_quantised, unwrapped
from rrnn_ext.sharded.gathered import gathered, gathered_for_runs


class Layer(NamedTuple):
    """The weights of one direction of a layer of n units: column = source, row = target, as in PyTorch.

    Attributes:
        recurrent: (n, n), or (gates, n, n): what takes a time step. Of a projected layer (..., n, p).
        incoming: (n, i), or (gates, n, i): what the layer reads, the inputs or the layer below with all its directions,
            the forward one first.
        projection: (p, n), the edge after each of them, where what is carried on is not the units but p projections.
    """

    recurrent: Tensor
    incoming: Tensor
    projection: Tensor | None = None


class LayerRun(NamedTuple):
    """What one direction of a layer was given, step by step in the order in which it runs.

    Attributes:
        at, direction, layer: which, and its weights.
        inputs: (count, steps, i), what it read.
        initial: the state that it began with, (count, .) each of its parts; None: zeros.
        leak: a number or (n,); None: the network has none.
        rounding: the eps of the dtype in which the states were computed; 0: they are exact.
    """

    at: int
    direction: int
    layer: Layer
    inputs: Tensor
    initial: Sequence[Tensor] | None
    leak: float | Tensor | None
    rounding: float = 0.0


class Reader:
    """A recurrent module, seen at one call: a name may lead to another one at the next.

    Subclass it, say ``size`` and ``layer``, and register the subclass with :func:`reads`. All but ``layer`` should be
    known without a look at a weight, which may be dear to compute.

    Attributes:
        module: the module that is read.
        gates: what each gate is called; a module without gates has the one, "". Each is a graph of its own.
        layers: how many are stacked.
        directions: 1, or 2 where every layer also runs backwards.
    """

    gates: Sequence[str] = ("",)
    layers: int = 1
    directions: int = 1

    def __init__(self, module: Any) -> None:
        self.module = module
        self.weights: dict[str, Tensor] = {}  # by their names, as `read` found them
        self.for_run = False  # whether they are read for a batch, of which each rank has one of its own

    @property
    def size(self) -> int:
        """How many units of one direction of a layer are carried on and read, n, or p if they are projected."""
        raise NotImplementedError(f"{type(self).__name__} must say its size")

    @property
    def state_sizes(self) -> Sequence[int] | None:
        """Of a layer's state, of which ``hx`` has a tensor for each part; None: ``hx`` is taken as it comes."""
        return None

    def layer(self, at: int, direction: int) -> Layer:
        """The weights of layer ``at``, from 0, in a direction: 0 forwards, 1 backwards. Read once at every call."""
        raise NotImplementedError(f"{type(self).__name__} must read a layer")

    def steps(self, run: LayerRun, states: Tensor) -> Vectors:
        """The step Jacobians of a layer that ran and returned ``states`` (count, steps, size): the vectors that scale
        its weights, for ``penalty(x, out)``."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what the steps of a {type(self.module).__name__} did: it has no "
            "method steps, which the penalty of a network that runs needs"
        )

    def states(self, run: LayerRun) -> Tensor:
        """What a layer below the last one returns, (count, steps, size), which the module keeps to itself."""
        raise NotImplementedError(
            f"{type(self).__name__} does not run the lower layers of a {type(self.module).__name__}: it has no method "
            "states, which the penalty of a stack that runs needs"
        )

    def read(self, name: str, *, whole: bool = True) -> Tensor:
        """The weight that the module's next forward will use, through pruning, parametrizations and such. One that is
        sharded comes ``whole``, or else, of weights alone, as the DTensor that it is."""
        weight: Tensor = read_attribute("rnn", self.module, name)
        self.weights[name] = weight
        if self.for_run:
            return gathered_for_runs(weight)
        return gathered(weight) if whole else weight

    def columns_of(self, weight: Tensor, direction: int) -> Tensor:
        """The columns of a weight that read one direction of a layer."""
        return weight[..., direction * self.size : (direction + 1) * self.size]


_READERS: dict[type, type[Reader]] = {}
_R = TypeVar("_R", bound=type[Reader])


def reads(*kinds: type[nn.Module]) -> Callable[[_R], _R]:
    """Register a :class:`Reader` for modules of these classes and of those derived from them.

    The reader of the nearest class counts, and of two for the same class the later one.

    Raises:
        TypeError: a kind is no subclass of nn.Module, or what is registered none of Reader.
    """
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise TypeError(f"reads takes subclasses of nn.Module, got {kind!r}")

    def register(reader: _R) -> _R:
        if not (isinstance(reader, type) and issubclass(reader, Reader)):
            raise TypeError(f"reads registers a subclass of Reader, got {reader!r}")
        for kind in kinds:
            _READERS[kind] = reader
        return reader

    return register


def reader_of(kind: type) -> type[Reader] | None:
    """That of a class of modules, or of the nearest one that it is derived from."""
    for base in kind.__mro__:
        if base in _READERS:
            return _READERS[base]
    return None


def find_reader(rnn: object, model: nn.Module | None) -> Reader:
    """Of a module, or of the one that a name leads to in ``model``."""
    if isinstance(rnn, str):
        assert model is not None  # or check_name would have refused it
        rnn = find("rnn", model, rnn)
    rnn = unwrapped(rnn)
    refuse_quantised("rnn", rnn)
    reader = reader_of(type(rnn))
    if reader is not None:
        return reader(rnn)
    known = ", ".join(
        f"nn.{kind.__name__}" if kind.__module__.startswith("torch.nn.") else kind.__name__ for kind in _READERS
    )
    raise TypeError(
        f"rnn must be one of {known}, got {type(rnn).__name__}; for other models use ResolventPenalty.from_weights, "
        "or register a reader with rrnn_ext.networks.reads"
    )


def read_layers(reader: Reader) -> list[list[Layer]]:
    """By layer and by direction. Each weight is read once: a parametrization may be dear, or random."""
    layers = [[reader.layer(at, direction) for direction in range(reader.directions)] for at in range(reader.layers)]
    for at, directions in enumerate(layers):
        for layer in directions:
            _check_layer(reader, at, layer)
    return layers


def _check_layer(reader: Reader, at: int, layer: Layer) -> None:
    size, gates = reader.size, (len(reader.gates),) if len(reader.gates) > 1 else ()
    fits = layer.recurrent.shape == (*gates, size, size) and layer.incoming.shape[:-1] == (*gates, size)
    if fits and at == 0 and layer.projection is None:
        return  # the usual one; what follows takes longer than to multiply small matrices
    units = reader.size if layer.projection is None else layer.projection.shape[-1]
    wanted = {"recurrent": (*gates, units, reader.size), "incoming": (*gates, units)}
    if at > 0:
        wanted["incoming"] += (reader.size * reader.directions,)
    if layer.projection is not None:
        wanted["projection"] = (reader.size, units)
    for name, shape in wanted.items():
        weight: Tensor = getattr(layer, name)
        if tuple(weight.shape[: len(shape)]) != shape or weight.dim() != len(gates) * (name != "projection") + 2:
            sizes = ", ".join(map(str, shape)) + (", i" if name == "incoming" and at == 0 else "")
            raise ValueError(
                f"{name} of layer {at} must be ({sizes}) to match the {reader.size} units of "
                f"{type(reader.module).__name__}, got {tuple(weight.shape)}"
            )
