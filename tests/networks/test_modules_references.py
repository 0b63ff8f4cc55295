"""ResolventPenalty holds references: whatever happens to the weights, it reads what the network uses now."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from rrnn_ext import ResolventPenalty, resolvent_penalty


class Model(nn.Module):
    """A network that owns its penalty, the way users write it."""

    rnn: Any
    readout: Any

    def __init__(self, layers: int = 1, **options: Any) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, 4, layers)
        self.readout = nn.Linear(4, 3)
        self.penalty = ResolventPenalty(self.rnn, self.readout, hops=4, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.rnn(x)[0])


class OwnWeights(nn.Module):
    """A model of one's own, whose recurrent weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4, 4))
        self.weight_in = nn.Parameter(torch.randn(4, 2))
        self.penalty = ResolventPenalty.from_weights(self, self.weight_hh, "weight_in", hops=3)

    def weight_hh(self) -> Tensor:
        return self.raw.tril(-1)


class Penalised(nn.Module):
    """A model whose call is its penalty, for functional_call."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> Tensor:
        return self.model.penalty()


def expected(model: Model) -> Tensor:
    """The penalty of the weights that ``model.forward`` uses, by the definition."""
    return resolvent_penalty(model.rnn.weight_hh_l0, model.rnn.weight_ih_l0, model.readout.weight, hops=4)


def pickled(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


def saved_and_loaded(model: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class TestHoldsNothing:
    def test_no_parameter_no_submodule_no_state(self) -> None:
        model = nn.ModuleDict({"rnn": nn.RNN(2, 4), "head": nn.Linear(4, 3)})
        alpha = torch.tensor(0.9, requires_grad=True)
        constants: dict[str, Any] = {"hop_weights": torch.ones(2), "pair_weights": torch.ones(3, 2)}
        for penalty in (
            ResolventPenalty(model["rnn"], cast(Any, model["head"]), hops=2, alpha=alpha, **constants),
            ResolventPenalty.from_model(model, "rnn", "head", hops=2),
            ResolventPenalty.from_weights(model, "rnn.weight_hh_l0", None, "head.weight", hops=2, alpha=alpha),
            OwnWeights().penalty,
        ):
            assert list(penalty.parameters()) == []
            assert list(penalty.buffers()) == []
            assert list(penalty.children()) == []
            assert penalty.state_dict() == {}

    def test_state_dict_of_the_model_does_not_change(self) -> None:
        model = Model(hop_weights=torch.ones(4), pair_weights=torch.ones(3, 2))
        names = [name for name, _ in (*model.rnn.named_parameters("rnn"), *model.readout.named_parameters("readout"))]
        assert list(model.state_dict()) == names
        assert [name for name, _ in model.named_parameters()] == names
        Model().load_state_dict(model.state_dict())  # strict: a checkpoint of either fits the other
        assert [name for name, _ in model.named_modules()] == ["", "rnn", "readout", "penalty"]


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved_and_loaded])
    @pytest.mark.parametrize("layers", [1, 2])
    def test_a_copied_model_has_a_penalty_of_the_copied_weights(
        self, copied: Callable[[Any], Any], layers: int
    ) -> None:
        model = Model(layers, hop_weights=torch.rand(4))
        twin = copied(model)
        before = model.penalty()
        assert twin.penalty() == before
        with torch.no_grad():
            for weight in (*twin.rnn.parameters(), *twin.readout.parameters()):
                weight.mul_(2)
        assert model.penalty() == before
        assert twin.penalty() > 2 * before
        twin.penalty().backward()
        assert twin.rnn.weight_hh_l0.grad is not None
        assert model.rnn.weight_hh_l0.grad is None

    @pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved_and_loaded])
    def test_from_weights_with_a_name_and_a_bound_method(self, copied: Callable[[Any], Any]) -> None:
        model = OwnWeights()
        twin = copied(model)
        before = model.penalty()
        with torch.no_grad():
            twin.raw.mul_(2)
            twin.weight_in.mul_(3)
        assert model.penalty() == before
        torch.testing.assert_close(twin.penalty(), resolvent_penalty(twin.weight_hh(), twin.weight_in, hops=3))

    def test_alpha_is_copied_with_its_owner(self) -> None:
        alpha = nn.Parameter(torch.tensor(0.5))
        model = nn.ModuleDict({"rnn": nn.RNN(2, 4)})
        model.register_parameter("alpha", alpha)
        model["penalty"] = ResolventPenalty.from_model(model, "rnn", hops=3, alpha="alpha")
        twin = copy.deepcopy(model)
        twin["penalty"]().backward()
        assert alpha.grad is None
        assert twin.get_parameter("alpha").grad != 0


class TestFollows:
    def test_reassigned_weights(self) -> None:
        model = Model()
        before = model.penalty()
        model.rnn.weight_hh_l0 = nn.Parameter(torch.randn(4, 4))
        model.readout.weight = nn.Parameter(torch.randn(5, 4))
        assert model.penalty() == expected(model) != before

    def test_an_optimiser_step_and_load_state_dict(self) -> None:
        model, other = Model(), Model()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        first = model.penalty()
        first.backward()
        optimiser.step()
        assert model.penalty() < first
        model.load_state_dict(other.state_dict())
        assert model.penalty() == other.penalty()

    def test_masks_and_integer_constants(self) -> None:
        rnn = nn.RNN(2, 4)
        spared = torch.tensor([[True, False]] * 4)
        got = ResolventPenalty(rnn, hops=3, hop_weights=torch.tensor([1, 0, 2]), pair_weights=spared)()
        w, u = rnn.get_parameter("weight_hh_l0"), rnn.get_parameter("weight_ih_l0")
        torch.testing.assert_close(got, (u + 2 * w @ w @ u)[:, 0].abs().sum())

    def test_parametrizations(self) -> None:
        class Halved(nn.Module):
            def forward(self, weight: Tensor) -> Tensor:
                return weight / 2

        model = Model()
        parametrize.register_parametrization(model.rnn, "weight_hh_l0", Halved())
        parametrizations.weight_norm(model.readout, "weight")
        assert model.penalty() == expected(model)
        model.penalty().backward()
        assert model.rnn.parametrizations.weight_hh_l0.original.grad is not None
        assert model.readout.parametrizations.weight.original0.grad is not None
        twin = copy.deepcopy(model)
        with torch.no_grad():
            twin.rnn.parametrizations.weight_hh_l0.original.zero_()
        assert twin.penalty() == expected(twin) != model.penalty()

    def test_a_parametrization_is_computed_once_a_call(self) -> None:
        class Counting(nn.Module):
            calls = 0

            def forward(self, weight: Tensor) -> Tensor:
                self.calls += 1
                return weight

        model, counting = Model(layers=2), Counting()
        parametrize.register_parametrization(model.rnn, "weight_hh_l0", counting)
        counting.calls = 0
        model.penalty()
        assert counting.calls == 1

    def test_pruning(self) -> None:
        model = Model()
        prune.random_unstructured(model.rnn, "weight_hh_l0", amount=0.5)
        prune.random_unstructured(model.rnn, "weight_hh_l0", amount=0.5)  # two masks on one weight
        prune.random_unstructured(model.readout, "weight", amount=0.5)
        mask = model.rnn.weight_hh_l0_mask
        assert 0 < mask.sum() < 16
        assert model.penalty() == expected(model)
        model.penalty().backward()
        assert (model.rnn.weight_hh_l0_orig.grad[mask == 0] == 0).all()
        assert (model.rnn.weight_hh_l0_orig.grad[mask == 1] != 0).any()

    @pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
    @pytest.mark.parametrize(
        "wrap", [lambda module, name: prune.l1_unstructured(module, name, 0.5), weight_norm, spectral_norm]
    )
    def test_hooks_that_refresh_a_weight_in_forward(self, wrap: Callable[[nn.Module, str], object]) -> None:
        model = Model().eval()  # the hook of spectral_norm iterates only in training
        wrap(model.rnn, "weight_hh_l0")
        wrap(model.readout, "weight")
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        model.penalty().backward()
        optimiser.step()
        stepped = model.penalty()  # before any forward
        stepped.backward()  # through a graph of its own
        model(torch.zeros(3, 2))
        torch.testing.assert_close(stepped, expected(model), rtol=1e-6, atol=0)

    @pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
    def test_to_look_at_a_spectral_norm_does_not_move_it(self) -> None:
        """A forward in training iterates once; the penalty must not make it twice."""
        model = Model().train()
        spectral_norm(model.rnn, "weight_hh_l0")
        before = model.rnn.weight_hh_l0_u.clone()
        model.penalty().backward()
        assert torch.equal(model.rnn.weight_hh_l0_u, before)


class TestTransforms:
    @pytest.mark.parametrize("layers", [1, 2])
    def test_compile_without_graph_breaks(self, layers: int) -> None:
        model = Model(layers, alpha=0.9, hop_weights=torch.rand(4))
        x = torch.randn(5, 2)

        def loss(x: Tensor) -> Tensor:
            return x.square().sum() + 0.1 * model.penalty()

        value = loss(x)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(compiled, value)
        (want,) = torch.autograd.grad(value, [model.rnn.weight_hh_l0])
        (got,) = torch.autograd.grad(compiled, [model.rnn.weight_hh_l0])
        torch.testing.assert_close(got, want)

    @pytest.mark.parametrize("kind", ["pruned_cell", "parametrized", "gru", "lstm_both_ways", "from_weights"])
    def test_compile_other_kinds(self, kind: str) -> None:
        if kind == "pruned_cell":
            rnn: nn.Module = nn.RNNCell(2, 4)
            prune.random_unstructured(rnn, "weight_hh", amount=0.5)
            penalty = ResolventPenalty(rnn, hops=3)
        elif kind == "parametrized":
            rnn = nn.RNN(2, 4)
            parametrizations.weight_norm(rnn, "weight_hh_l0")
            penalty = ResolventPenalty(rnn, hops=3)
        elif kind == "gru":
            penalty = ResolventPenalty(nn.GRU(2, 4, 2), nn.Linear(4, 3), hops=3, rectify=True)
        elif kind == "lstm_both_ways":
            penalty = ResolventPenalty(nn.LSTM(2, 4, bidirectional=True, proj_size=2), nn.Linear(4, 3), hops=3)
        else:
            penalty = OwnWeights().penalty
        compiled = torch.compile(lambda: penalty() * 2, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(), penalty() * 2)

    @pytest.mark.parametrize("copied", [lambda model: model, copy.deepcopy, pickled])
    def test_a_compiled_penalty_follows_its_weights(self, copied: Callable[[Any], Any]) -> None:
        model = copied(Model())
        compiled = torch.compile(lambda: model.penalty(), fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(), expected(model))
        model.rnn.weight_hh_l0 = nn.Parameter(torch.randn(4, 4))
        torch.testing.assert_close(compiled(), expected(model))
        with torch.no_grad():
            model.rnn.weight_ih_l0.mul_(2)
        torch.testing.assert_close(compiled(), expected(model))

    @pytest.mark.parametrize("layers", [1, 2])
    def test_functional_call(self, layers: int) -> None:
        module, other = Penalised(Model(layers)), Penalised(Model(layers))
        parameters: dict[str, Tensor] = dict(other.named_parameters())
        assert torch.func.functional_call(module, parameters, ()) == other()
        grads = torch.func.grad(lambda parameters: torch.func.functional_call(module, parameters, ()))(parameters)
        other().backward()
        torch.testing.assert_close(grads["model.rnn.weight_hh_l0"], other.model.rnn.weight_hh_l0.grad)

    def test_an_ensemble_by_vmap(self) -> None:
        models = [Model(2) for _ in range(3)]
        parameters, buffers = torch.func.stack_module_state(models)

        def penalty(parameters: dict[str, Tensor]) -> Tensor:
            named = {f"model.{name}": weight for name, weight in parameters.items()}
            return torch.func.functional_call(Penalised(models[0]), named, ())

        assert buffers == {}
        got = torch.func.vmap(penalty)(parameters)
        torch.testing.assert_close(got, torch.stack([model.penalty() for model in models]))


class TestRepr:
    def test_says_what_it_is(self) -> None:
        rnn = nn.GRU(2, 4, num_layers=2)
        penalty = ResolventPenalty(rnn, nn.Linear(4, 3), hops=5, alpha=0.9, rectify=True, pair_weights=torch.ones(3, 2))
        assert repr(penalty) == (
            "ResolventPenalty(GRU(2, 4, num_layers=2), readout=Linear(4, 3), hops=5, alpha=0.9, rectify=True, "
            "pair_weights=tensor(3, 2))"
        )

    def test_of_a_module_by_name(self) -> None:
        model = nn.ModuleDict({"rnn": nn.RNNCell(2, 4), "head": nn.Linear(4, 3)})
        penalty = ResolventPenalty.from_model(model, "rnn", "head", hops=None, leak=0.5)
        assert repr(penalty) == "ResolventPenalty(rnn='rnn', readout='head', hops=None, leak=0.5)"

    def test_of_given_weights(self) -> None:
        model = OwnWeights()
        assert repr(model.penalty) == (
            "ResolventPenalty(weight_hh=OwnWeights.weight_hh, weight_in='weight_in', hops=3)"
        )
        penalty = ResolventPenalty.from_weights(torch.zeros(2, 2), hops=None, alpha=torch.tensor(0.5), norm="l2")
        assert repr(penalty) == "ResolventPenalty(weight_hh=tensor(2, 2), hops=None, alpha=tensor(), norm='l2')"
