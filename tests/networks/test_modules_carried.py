"""A model that carries a penalty as an attribute: what compiles, exports or copies the model does not notice it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rrnn_ext import ResolventPenalty

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of TorchScript, which models still use
    pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*_flat_weights.* were assigned during export"),  # nn.GRU's own
]


class Model(nn.Module):
    def __init__(self, kind: str | None) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 4)
        self.head = nn.Linear(4, 3)
        self.alpha = nn.Parameter(torch.tensor(0.5))
        constants: dict[str, Any] = {"hop_weights": torch.rand(4), "pair_weights": torch.rand(3, 2)}
        if kind == "modules":
            self.penalty = ResolventPenalty(self.rnn, self.head, hops=4, **constants)
        elif kind == "names":
            self.penalty = ResolventPenalty.from_model(self, "rnn", "head", hops=4, alpha="alpha", **constants)
        elif kind == "callable":
            leak = torch.full((4,), 0.5, requires_grad=True)
            alpha = torch.tensor(0.9, requires_grad=True)
            options: dict[str, Any] = {"alpha": alpha, "leak": leak, "per_hop": True, "norm": "l2"}
            self.penalty = ResolventPenalty.from_weights(self.weight_hh, hops=4, **options)
        elif kind == "lambda":
            self.penalty = ResolventPenalty.from_weights(lambda: torch.ones(2, 2), hops=None, alpha=0.1)

    def weight_hh(self) -> Tensor:
        return self.rnn.get_parameter("weight_hh_l0")[:4]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


class Plain(Model):
    """Without a recurrent module, which torch.fx and torch.compile do not go into."""

    def __init__(self, kind: str | None) -> None:
        super().__init__(kind)
        self.body = nn.Sequential(nn.Linear(2, 4), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def scripted(model: Model, x: Tensor) -> Any:
    return torch.jit.script(model)


def scripted_and_saved(model: Model, x: Tensor) -> Any:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(model), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def frozen(model: Model, x: Tensor) -> Any:
    return torch.jit.freeze(torch.jit.script(model.eval()))


def traced(model: Model, x: Tensor) -> Any:
    return torch.jit.trace(model, x)


def exported(model: Model, x: Tensor) -> Any:
    return torch.export.export(model, (x,)).module()


def exported_strictly(model: Model, x: Tensor) -> Any:
    return torch.export.export(model, (x,), strict=True).module()


def compiled(model: Model, x: Tensor) -> Any:
    return torch.compile(model, backend="eager")


def called(model: Model, x: Tensor) -> Any:
    parameters = {name: value.detach().clone() for name, value in model.named_parameters()}
    return lambda x: torch.func.functional_call(model, parameters, (x,))


KINDS = ["modules", "names", "callable", "lambda"]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [Model, Plain])
@pytest.mark.parametrize(
    "way",
    [scripted, scripted_and_saved, frozen, traced, exported, exported_strictly, compiled, called],
    ids=lambda way: way.__name__,
)
def test_what_is_made_of_the_model_does_what_the_model_does(
    way: Callable[[Model, Tensor], Any], make: type[Model], kind: str
) -> None:
    model, x = make(kind), torch.randn(3, 5, 2)
    want, penalty = model(x), model.penalty()
    torch.testing.assert_close(way(model, x)(x), want)
    assert model.penalty() == penalty


@pytest.mark.parametrize("kind", KINDS)
def test_fx(kind: str) -> None:
    model, x = Plain(kind), torch.randn(5, 2)
    graph = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(graph(x), model(x))
    assert not any(isinstance(module, ResolventPenalty) for module in graph.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_that_of_a_model_without(kind: str) -> None:
    without, carrying = Model(None), Model(kind)
    assert list(carrying.state_dict()) == list(without.state_dict())
    assert list(carrying.buffers()) == []
    exported = torch.export.export(carrying, (torch.randn(3, 5, 2),))
    assert set(exported.state_dict) == set(without.state_dict())
    assert set(torch.jit.script(carrying).state_dict()) == set(without.state_dict())


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_copy_of_the_model_can_be_scripted_and_penalised(kind: str) -> None:
    twin = copy.deepcopy(Model(kind))
    torch.jit.script(twin)
    value = twin.penalty()
    with torch.no_grad():
        twin.rnn.get_parameter("weight_hh_l0").mul_(3)
    assert twin.penalty() != value
