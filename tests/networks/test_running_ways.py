"""The penalty of a network that runs in other ways of running: torch.compile, vmap, derivatives of derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import rrnn_ext

INPUTS, UNITS, OUTPUTS, STEPS, COUNT = 3, 4, 2, 4, 3
KINDS = (nn.RNN, nn.GRU, nn.LSTM)
CLOSE: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-12}


class Model(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], seed: int = 0, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(seed)
        make: Any = kind
        self.rnn = make(INPUTS, UNITS, batch_first=True, dtype=torch.float64)
        self.readout = nn.Linear(UNITS, OUTPUTS, dtype=torch.float64)
        self.penalty = rrnn_ext.ResolventPenalty.from_model(
            self, "rnn", "readout", hops=STEPS, detach_gains=False, **options
        )

    def forward(self, x: Tensor, out: Tensor) -> Tensor:
        return self.penalty(x, out)


def batch(model: Model) -> tuple[Tensor, Tensor]:
    x = torch.randn(COUNT, STEPS, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, model.rnn(x)[0].detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gains", ["mean", 2])
def test_derivatives_of_both_orders(kind: type[nn.RNNBase], gains: Any) -> None:
    model = Model(kind, gains=gains, norm="l2")
    names = [name for name, _ in model.named_parameters()]
    x, out = batch(model)

    def value(out: Tensor, *weights: Tensor) -> Tensor:
        found: Tensor = functional_call(model, dict(zip(names, weights, strict=True)), (x, out))
        return found

    given = (out.requires_grad_(), *(weight.detach().requires_grad_() for weight in model.parameters()))
    assert torch.autograd.gradcheck(value, given)
    assert torch.autograd.gradgradcheck(value, given)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_models(kind: type[nn.RNNBase]) -> None:
    models = [Model(kind, seed) for seed in range(3)]
    batches = [batch(model) for model in models]
    params, _ = torch.func.stack_module_state(models)
    x, out = (torch.stack(each) for each in zip(*batches, strict=True))

    def value(weights: dict[str, Tensor], x: Tensor, out: Tensor) -> Tensor:
        found: Tensor = functional_call(models[0], weights, (x, out))
        return found

    values, gradients = vmap(torch.func.grad_and_value(value))(params, x, out)[::-1]
    for at, model in enumerate(models):
        alone = model(*batches[at])
        torch.testing.assert_close(values[at], alone, **CLOSE)
        for name, weight in model.named_parameters():
            (own,) = torch.autograd.grad(alone, weight, retain_graph=True, allow_unused=True, materialize_grads=True)
            torch.testing.assert_close(gradients[name][at], own, **CLOSE)
    assert set(grad(value)(dict(models[0].named_parameters()), *batches[0])) == set(gradients)


def test_vmap_over_lengths() -> None:
    model = Model(nn.GRU)
    x, out = batch(model)
    lengths = torch.tensor([[4, 4, 4], [1, 2, 3]])
    found = vmap(lambda own: model.penalty(x, out, lengths=own))(lengths)
    torch.testing.assert_close(found, torch.stack([model.penalty(x, out, lengths=own) for own in lengths]), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_compile_without_a_graph_break(kind: type[nn.RNNBase]) -> None:
    model = Model(kind)
    x, out = batch(model)
    expected = model(x, out)
    wanted = torch.autograd.grad(expected, model.rnn.weight_hh_l0)[0]
    value = torch.compile(model, fullgraph=True, backend="aot_eager")(x, out)
    torch.testing.assert_close(value, expected, **CLOSE)
    torch.testing.assert_close(torch.autograd.grad(value, model.rnn.weight_hh_l0)[0], wanted, **CLOSE)
