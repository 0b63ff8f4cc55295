"""Weights and modules by name: whatever becomes of the model, the penalty reads what the model uses now."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from rrnn_ext import ResolventPenalty, reference

COMPILE: dict[str, Any] = {"fullgraph": True, "backend": "eager"}


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(4, 4) / 2)
        self.U = nn.Parameter(torch.randn(4, 2))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(h @ self.W.T + x @ self.U.T)


class Model(nn.Module):
    """Of a cell of its own, with the penalty of its weights by name."""

    cell: Any
    head: Any

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.head = nn.Linear(4, 3)
        self.penalty = ResolventPenalty.from_weights(self, "cell.W", "cell.U", "head.weight", hops=4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[1], 4)
        for each in x:
            h = self.cell(h, each)
        return self.head(h)


class Encoder(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn


class Stock(nn.Module):
    """Of a recurrent module of PyTorch's, with the penalty of two modules by name."""

    encoder: Any
    head: Any

    def __init__(self, rnn: nn.Module | None = None, outputs: int = 4) -> None:
        super().__init__()
        self.encoder = Encoder(nn.RNN(2, 4) if rnn is None else rnn)
        self.head = nn.Linear(outputs, 3)
        self.penalty = ResolventPenalty.from_model(self, rnn="encoder.rnn", readout="head", hops=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder.rnn(x)[0])


def weights(model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What the model's forward uses."""
    if isinstance(model, Model):
        return model.cell.W, model.cell.U, model.head.weight
    rnn = model.encoder.rnn
    return rnn.weight_hh_l0, rnn.weight_ih_l0, model.head.weight


def wanted(model: Any) -> Tensor:
    return reference.resolvent_penalty(*(weight.double() for weight in weights(model)), hops=4)


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got.double(), want.double(), rtol=1e-5, atol=0)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()  # how often a line of the tests was compiled before is not the test's affair


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def names(model: Any) -> tuple[nn.Module, str]:
    return (model.cell, "W") if isinstance(model, Model) else (model.encoder.rnn, "weight_hh_l0")


def assigned(model: Any) -> None:
    model.load_state_dict({name: value.clone() * 0.7 for name, value in model.state_dict().items()}, assign=True)


def pruned(model: Any) -> None:
    prune.random_unstructured(*names(model), amount=0.5)
    prune.l1_unstructured(model.head, "weight", amount=0.3)


def parametrized(model: Any) -> None:
    parametrize.register_parametrization(*names(model), Halved())
    parametrizations.weight_norm(model.head, "weight")


def weight_normed(model: Any) -> None:
    weight_norm(*names(model))
    with torch.no_grad():
        names(model)[0].get_parameter(names(model)[1] + "_g").mul_(0.5)
    model(torch.zeros(3, 1, 2))  # only now the attribute is what forward uses


def new_parameters(model: Any) -> None:
    module, name = names(model)
    setattr(module, name, nn.Parameter(torch.randn(4, 4) / 3))
    model.head.weight = nn.Parameter(torch.randn(3, 4))


def new_modules(model: Any) -> None:
    if isinstance(model, Model):
        model.cell = Cell()
    else:
        model.encoder = Encoder(nn.RNN(2, 4, nonlinearity="relu"))
    model.head = nn.Linear(4, 5)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", [Model, Stock])
@pytest.mark.parametrize("change", [assigned, pruned, parametrized, weight_normed, new_parameters, new_modules])
class TestFollows:
    def test_what_becomes_of_the_model(self, kind: Callable[[], Any], change: Callable[[Any], None]) -> None:
        model = kind()
        before = model.penalty()
        change(model)
        close(model.penalty(), wanted(model))
        assert model.penalty() != before
        model.penalty().backward()
        gradients = [parameter.grad for name, parameter in model.named_parameters() if "bias" not in name]
        assert all(gradient is not None and (gradient != 0).any() for gradient in gradients)
        with torch.no_grad():
            model(torch.zeros(3, 1, 2))  # PyTorch copies no weight that a hook computed with a gradient
            twin = copy.deepcopy(model)
            for parameter in twin.parameters():
                parameter.mul_(0.5)
            twin(torch.zeros(3, 1, 2))
        close(twin.penalty(), wanted(twin))
        assert twin.penalty() != model.penalty()

    def test_in_compiled_code(self, kind: Callable[[], Any], change: Callable[[Any], None]) -> None:
        model = kind()
        compiled = torch.compile(lambda: 2 * model.penalty(), **COMPILE)
        close(compiled(), 2 * wanted(model))
        change(model)
        close(compiled(), 2 * wanted(model))
        assert not torch._dynamo.config.allow_rnn  # as it was


class TestModules:
    @pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
    def test_another_kind_of_module(self, kind: Any) -> None:
        model = Stock()
        compiled = torch.compile(lambda: model.penalty() * 1, **COMPILE)
        for rnn, outputs in ((nn.RNN(2, 4), 4), (kind(2, 3, 2, bidirectional=True), 6), (kind(2, 5), 5)):
            model.encoder.rnn, model.head = rnn, nn.Linear(outputs, 3)
            want = ResolventPenalty(rnn, model.head, hops=4)()
            assert model.penalty() == want
            close(compiled(), want)

    def test_the_model_itself_and_no_readout(self) -> None:
        rnn = nn.GRU(2, 4)
        assert ResolventPenalty.from_model(rnn, "", hops=3)() == ResolventPenalty(rnn, hops=3)()

    @pytest.mark.parametrize("index", [0, 1])
    def test_in_a_list_of_modules(self, index: int) -> None:
        model = nn.ModuleDict({"layers": nn.ModuleList([nn.RNNCell(2, 4), nn.RNNCell(2, 4)])})
        penalty = ResolventPenalty.from_model(model, f"layers.{index}", hops=3)
        assert penalty() == ResolventPenalty(model["layers"][index], hops=3)()  # type: ignore[index]
        by_weights = ResolventPenalty.from_weights(
            model, f"layers.{index}.weight_hh", f"layers.{index}.weight_ih", hops=3
        )
        assert by_weights() == penalty()

    def test_a_readout_by_the_name_of_its_weight(self) -> None:
        model = Stock()
        by_weight = ResolventPenalty.from_model(model, "encoder.rnn", "head.weight", hops=4)
        prune.l1_unstructured(model.head, "weight", amount=0.5)
        assert by_weight() == model.penalty()
        model.head = nn.Linear(4, 5)
        assert by_weight() == model.penalty()

    def test_a_name_set_later(self) -> None:
        model = Stock()
        model.other = nn.Linear(4, 7)
        model.penalty.readout = "other"
        assert model.penalty() == ResolventPenalty(model.encoder.rnn, model.other, hops=4)()

    def test_names_and_callables_together(self) -> None:
        model = Model()
        penalty = ResolventPenalty.from_weights(model, lambda: model.cell.W, "cell.U", torch.ones(1, 4), hops=4)
        close(penalty(), reference.resolvent_penalty(model.cell.W, model.cell.U, torch.ones(1, 4), hops=4))
        by_keyword = ResolventPenalty.from_weights(model, weight_hh="cell.W", weight_out="head.weight", hops=4)
        close(by_keyword(), reference.resolvent_penalty(model.cell.W, None, model.head.weight, hops=4))
        alone = ResolventPenalty.from_weights(weight_hh=model.cell.W.detach(), hops=4)
        close(alone(), reference.resolvent_penalty(model.cell.W, hops=4))


class TestFunctionalCall:
    @pytest.mark.parametrize("kind", [Model, Stock])
    def test_the_weights_of_the_call_are_read(self, kind: Callable[[], Any]) -> None:
        class Penalised(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = kind()

            def forward(self) -> Tensor:
                return self.model.penalty()

        module, other = Penalised(), Penalised()
        parameters: dict[str, Tensor] = dict(other.named_parameters())
        close(torch.func.functional_call(module, parameters, ()), wanted(other.model))
        gradients = torch.func.grad(lambda given: torch.func.functional_call(module, given, ()))(parameters)
        other().backward()
        for name, parameter in other.named_parameters():
            if "bias" not in name:
                torch.testing.assert_close(gradients[name], parameter.grad)


class TestCompiledModules:
    def test_of_torch_compile(self) -> None:
        rnn, head = nn.RNN(2, 4), nn.Linear(4, 3)
        compiled: list[Any] = [torch.compile(rnn), torch.compile(head)]
        penalty = ResolventPenalty(*compiled, hops=4)
        want = ResolventPenalty(rnn, head, hops=4)()
        assert penalty() == want
        assert "RNN(2, 4), readout=Linear(4, 3)" in repr(penalty)

    @pytest.mark.parametrize("kind", [Model, Stock])
    def test_within_a_model(self, kind: Callable[[], Any]) -> None:
        model = kind()
        wrapped: Any = torch.compile(model, backend="eager")
        if isinstance(model, Model):
            penalty = ResolventPenalty.from_weights(wrapped, "cell.W", "cell.U", "head.weight", hops=4)
            model.cell = torch.compile(model.cell, backend="eager")
        else:
            penalty = ResolventPenalty.from_model(wrapped, "encoder.rnn", "head", hops=4)
            model.encoder.rnn = torch.compile(model.encoder.rnn, backend="eager")
        model.head = torch.compile(model.head, backend="eager")
        for each in (penalty, model.penalty):
            close(each(), wanted(model))
            close(torch.compile(lambda each=each: each() * 2, **COMPILE)(), 2 * wanted(model))


class TestErrors:
    @pytest.mark.parametrize(
        ("path", "error", "text"),
        [
            ("cell.Q", ValueError, "weight_hh='cell.Q' leads nowhere: Cell has no 'Q'"),
            ("sell.W", ValueError, "weight_hh='sell.W' leads nowhere: Model has no 'sell'"),
            ("cell.W.T", ValueError, "weight_hh='cell.W.T' must lead from module to module, got Parameter"),
        ],
    )
    def test_a_name_that_leads_nowhere(self, path: str, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            ResolventPenalty.from_weights(Model(), path, hops=2)

    def test_a_name_that_leads_nowhere_any_more(self) -> None:
        model = Model()
        model.cell = nn.RNNCell(2, 4)
        with pytest.raises(ValueError, match=r"weight_hh='cell\.W' leads nowhere: RNNCell has no 'W'"):
            model.penalty()
        stock = Stock()
        stock.head = nn.Sequential(nn.Linear(4, 3))
        with pytest.raises(TypeError, match=r"readout must be an nn.Linear, .*got Sequential"):
            stock.penalty()
        stock.encoder.rnn = nn.Identity()
        with pytest.raises(TypeError, match=r"rnn must be one of .*got Identity"):
            stock.penalty()

    def test_in_compiled_code(self) -> None:
        model = Stock()
        compiled = torch.compile(lambda: model.penalty() * 1, **COMPILE)
        compiled()
        del model.encoder.rnn
        with pytest.raises(Exception, match="'Encoder' object has no attribute 'rnn'"):
            compiled()
        assert not torch._dynamo.config.allow_rnn
        assert "rnn='encoder.rnn', readout='head'" in repr(model.penalty)

    def test_a_name_that_leads_to_no_tensor(self) -> None:
        with pytest.raises(TypeError, match=r"weight_out='head' must lead to a tensor, got Linear; .*'head\.weight'"):
            ResolventPenalty.from_weights(Model(), "cell.W", None, "head", hops=2)()
        with pytest.raises(TypeError, match="weight_hh='cell' must lead to a tensor, got Cell"):
            ResolventPenalty.from_weights(Model(), "cell", hops=2)()

    def test_a_name_without_a_model(self) -> None:
        text = r"%s is a name, 'head', and a name needs its model: use .*from_weights\(model, .*from_model\(model, "
        with pytest.raises(TypeError, match=text % "readout"):
            ResolventPenalty(nn.RNN(2, 4), "head", hops=2)
        with pytest.raises(TypeError, match=text % "weight_hh"):
            ResolventPenalty.from_weights("head", hops=2)
        with pytest.raises(TypeError, match=text % "leak"):
            ResolventPenalty(nn.RNN(2, 4), hops=2, leak="head")
        with pytest.raises(TypeError, match=text % "rnn"):
            ResolventPenalty("head", hops=2)  # type: ignore[arg-type]

    @pytest.mark.parametrize("argument", ["weight_hh", "weight_in", "weight_out"])
    def test_tensors_that_would_go_stale(self, argument: str) -> None:
        square = torch.zeros(4, 4)
        given: dict[str, Any] = {"weight_hh": square, "weight_in": square, "weight_out": square}
        way = r"name it, with its model, in ResolventPenalty.from_weights\(model, .*or give a callable"
        with pytest.raises(TypeError, match=rf"{argument} must not be a Parameter: .*{way}"):
            ResolventPenalty.from_weights(**{**given, argument: nn.Parameter(square)}, hops=2)
        with pytest.raises(TypeError, match=rf"{argument} must not be a tensor that was computed .*{way}"):
            ResolventPenalty.from_weights(**{**given, argument: 2 * nn.Parameter(square)}, hops=2)
        leaf = square.clone().requires_grad_()
        ResolventPenalty.from_weights(**{**given, argument: leaf}, hops=2)().backward()
        assert leaf.grad is not None

    def test_a_readout_that_would_go_stale(self) -> None:
        head = nn.Linear(4, 3)
        with pytest.raises(TypeError, match="readout must not be a Parameter"):
            ResolventPenalty(nn.RNN(2, 4), head.weight, hops=2)
        with pytest.raises(TypeError, match="readout must not be a tensor that was computed"):
            ResolventPenalty(nn.RNN(2, 4), head.weight / 2, hops=2)
        penalty = ResolventPenalty(nn.RNN(2, 4), head.weight.detach(), hops=2)
        with pytest.raises(TypeError, match="readout must not be a Parameter"):
            penalty.readout = head.weight

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*quantize_per_tensor.*:UserWarning")
    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
    def test_quantised_modules(self, kind: Any) -> None:
        model = nn.ModuleDict({"rnn": kind(2, 4), "head": nn.Linear(4, 3)})
        quantised: Any = torch.ao.quantization.quantize_dynamic(model, {kind, nn.Linear})
        text = r"%s is quantised \(torch.ao.nn.quantized.dynamic.*%s\).*give the float module"
        with pytest.raises(TypeError, match=text % ("rnn", kind.__name__)):
            ResolventPenalty(quantised["rnn"], hops=2)
        with pytest.raises(TypeError, match=text % ("readout", "Linear")):
            ResolventPenalty(model["rnn"], quantised["head"], hops=2)
        with pytest.raises(TypeError, match=text % ("rnn", kind.__name__)):
            ResolventPenalty.from_model(quantised, "rnn", hops=2)

    def test_a_lazy_linear(self) -> None:
        model = Stock()
        model.head = nn.LazyLinear(3)
        penalty = ResolventPenalty(model.encoder.rnn, model.head, hops=4)
        for each in (penalty, model.penalty):
            with pytest.raises(
                ValueError, match="readout is read from the weight of a LazyLinear that has no shape yet"
            ):
                each()
        model(torch.zeros(3, 2))
        for each in (penalty, model.penalty):
            close(each(), wanted(model))


class TestLinears:
    def test_a_subclass(self) -> None:
        class Mine(nn.Linear):
            pass

        rnn, head = nn.RNN(2, 4), Mine(4, 3)
        want = reference.resolvent_penalty(rnn.weight_hh_l0, rnn.weight_ih_l0, head.weight, hops=3)  # type: ignore[arg-type]
        close(ResolventPenalty(rnn, head, hops=3)(), want)

    @pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
    def test_with_a_spectral_norm(self) -> None:
        model = Stock().eval()
        spectral_norm(model.head)
        model(torch.zeros(3, 2))
        close(model.penalty(), wanted(model))
