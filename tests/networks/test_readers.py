"""Cells of one's own: a reader of a few lines makes ResolventPenalty take them as it takes PyTorch's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext.networks import Layer, Reader, readers, reads
from rrnn_ext.reading import Network

HOPS = 4


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    with monkeypatch.context() as patch:
        patch.setattr(readers, "_READERS", dict(readers._READERS))
        yield


class MinimalGatedCell(nn.Module):
    """Two gates, one after another in the rows of its weights."""

    def __init__(self, inputs: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_hh = nn.Parameter(torch.randn(2 * hidden_size, hidden_size, dtype=torch.float64) / 3)
        self.weight_ih = nn.Parameter(torch.randn(2 * hidden_size, inputs, dtype=torch.float64))


class Stack(nn.Module):
    """The weights of a module of PyTorch's under names of its own."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.units, self.depth = module.hidden_size, module.num_layers
        self.w, self.u = nn.ParameterList(), nn.ParameterList()
        for layer in range(module.num_layers):
            for suffix in ("", "_reverse"):
                self.w.append(getattr(module, f"weight_hh_l{layer}{suffix}"))
                self.u.append(getattr(module, f"weight_ih_l{layer}{suffix}"))


class StackReader(Reader):
    directions = 2

    def __init__(self, module: Stack) -> None:
        super().__init__(module)
        self.layers = module.depth

    @property
    def size(self) -> int:
        size: int = self.module.units
        return size

    def layer(self, at: int, direction: int) -> Layer:
        return Layer(self.module.w[2 * at + direction], self.module.u[2 * at + direction])


def register_the_documented_reader() -> type[Reader]:
    """That of the module's docstring, as it stands there."""
    code = re.search(r"^    @rrnn_ext.*?(?=^\S)", readers.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert code is not None
    names = {"rrnn_ext": rrnn_ext, "MinimalGatedCell": MinimalGatedCell}
    exec("\n".join(line.removeprefix("    ") for line in code[0].splitlines()), names)
    found = names["MinimalGatedReader"]
    assert isinstance(found, type)
    assert issubclass(found, Reader)
    return found


def by_hand(cell: MinimalGatedCell, readout: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for gate in range(2):
        w, u = (weight.chunk(2)[gate] for weight in (cell.weight_hh, cell.weight_ih))
        walks = [readout @ torch.linalg.matrix_power(w, lag) @ u for lag in range(HOPS)]
        total = total + torch.stack(walks).sum(0).abs().sum()
    return total


class TestAGatedCell:
    @pytest.fixture
    def model(self) -> nn.ModuleDict:
        register_the_documented_reader()
        torch.manual_seed(0)
        return nn.ModuleDict({"cell": MinimalGatedCell(3, 5), "head": nn.Linear(5, 2, dtype=torch.float64)})

    def test_value_and_gradients(self, model: nn.ModuleDict) -> None:
        expected = by_hand(model["cell"], model["head"].weight)  # type: ignore[arg-type]
        found = rrnn_ext.ResolventPenalty(model["cell"], model["head"], hops=HOPS)()
        torch.testing.assert_close(found, expected)
        weights = [*model["cell"].parameters(), model["head"].get_parameter("weight")]
        torch.testing.assert_close(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights))

    def test_by_name_and_compiled(self, model: nn.ModuleDict) -> None:
        penalty = rrnn_ext.ResolventPenalty.from_model(model, "cell", "head", hops=HOPS)
        compiled = torch.compile(penalty, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(), by_hand(model["cell"], model["head"].weight))  # type: ignore[arg-type]

    def test_a_divergence_names_the_gate(self, model: nn.ModuleDict) -> None:
        with torch.no_grad():
            model["cell"].get_parameter("weight_hh")[5:] = 2 * torch.eye(5)
        with pytest.raises(rrnn_ext.ResolventDivergenceError, match="candidate"):
            rrnn_ext.ResolventPenalty(model["cell"], hops=None)()

    def test_has_no_leak(self, model: nn.ModuleDict) -> None:
        with pytest.raises(ValueError, match=r"leak must be None for a gated module.*MinimalGatedCell"):
            rrnn_ext.ResolventPenalty(model["cell"], hops=HOPS, leak=0.5)

    def test_is_read_as_a_network(self, model: nn.ModuleDict) -> None:
        network = Network.from_module(model["cell"], model["head"])  # type: ignore[arg-type]
        assert network.graphs == ("forget gate", "candidate")
        expected = by_hand(model["cell"], model["head"].weight)  # type: ignore[arg-type]
        torch.testing.assert_close(network.walks(HOPS).sum(1).abs().sum(), expected.detach())


def test_a_bidirectional_stack_is_that_of_pytorch() -> None:
    reads(Stack)(StackReader)
    module = nn.RNN(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    readout = torch.randn(2, 8, dtype=torch.float64)
    found = rrnn_ext.ResolventPenalty(Stack(module), readout, hops=HOPS, alpha=0.8, rectify=True)()
    torch.testing.assert_close(
        found, rrnn_ext.ResolventPenalty(module, readout, hops=HOPS, alpha=0.8, rectify=True)(), rtol=0, atol=0
    )


def test_the_reader_of_the_nearest_class_counts() -> None:
    class Halved(nn.RNN):
        pass

    class Deeper(Halved):
        pass

    @reads(Halved)
    class HalvedReader(rrnn_ext.networks.TorchReader):
        def layer(self, at: int, direction: int) -> Layer:
            recurrent, incoming, _ = super().layer(at, direction)
            return Layer(recurrent / 2, incoming)

    weights = Deeper(3, 4)
    w, u = weights.get_parameter("weight_hh_l0"), weights.get_parameter("weight_ih_l0")
    expected = rrnn_ext.resolvent_penalty(w / 2, u, hops=HOPS)
    torch.testing.assert_close(rrnn_ext.ResolventPenalty(weights, hops=HOPS)(), expected)
    plain = rrnn_ext.ResolventPenalty(nn.RNN(3, 4), hops=HOPS)
    assert isinstance(plain.rnn, nn.RNN)


class TestRefuses:
    def test_what_has_no_reader(self) -> None:
        with pytest.raises(TypeError, match=r"got MinimalGatedCell; .* register a reader with rrnn_ext.networks.reads"):
            rrnn_ext.ResolventPenalty(MinimalGatedCell(3, 5), hops=HOPS)

    @pytest.mark.parametrize("kind", [int, "RNN", nn.RNN(2, 2)])
    def test_kinds_that_are_no_modules(self, kind: object) -> None:
        with pytest.raises(TypeError, match=r"reads takes subclasses of nn\.Module, got"):
            reads(kind)  # type: ignore[arg-type]

    def test_readers_that_are_none(self) -> None:
        with pytest.raises(TypeError, match="reads registers a subclass of Reader, got"):
            reads(Stack)(lambda module: module)  # type: ignore[type-var]

    def test_a_reader_that_says_nothing(self) -> None:
        reads(Stack)(type("Silent", (Reader,), {}))
        with pytest.raises(NotImplementedError, match="Silent must read a layer"):
            rrnn_ext.ResolventPenalty(Stack(nn.RNN(2, 2, bidirectional=True)), hops=2)()

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (
                Layer(torch.ones(3, 5), torch.ones(3, 2)),
                r"recurrent of layer 0 must be \(3, 3\).*of Stack, got \(3, 5\)",
            ),
            (Layer(torch.ones(2, 3, 3), torch.ones(3, 2)), r"recurrent of layer 0 must be \(3, 3\).*got \(2, 3, 3\)"),
            (Layer(torch.ones(3, 3), torch.ones(4, 2)), r"incoming of layer 0 must be \(3, i\).*got \(4, 2\)"),
            (
                Layer(torch.ones(5, 3), torch.ones(5, 2), torch.ones(2, 5)),
                r"projection of layer 0 must be \(3, 5\).*got \(2, 5\)",
            ),
        ],
    )
    def test_layers_that_do_not_fit(self, layer: Layer, message: str) -> None:
        class Fixed(StackReader):
            directions = 1

            def layer(self, at: int, direction: int) -> Layer:
                return layer

        reads(Stack)(Fixed)
        with pytest.raises(ValueError, match=message):
            rrnn_ext.ResolventPenalty(Stack(nn.RNN(2, 3, bidirectional=True)), hops=2)()

    def test_a_leak_of_projections(self) -> None:
        class Projected(StackReader):
            directions = 1

            def layer(self, at: int, direction: int) -> Layer:
                return Layer(torch.ones(5, 3), torch.ones(5, 2), torch.ones(3, 5))

        reads(Stack)(Projected)
        penalty = rrnn_ext.ResolventPenalty(Stack(nn.RNN(2, 3, bidirectional=True)), hops=2, leak=0.5)
        with pytest.raises(ValueError, match="leak must be None for a projected module, got Stack"):
            penalty()
