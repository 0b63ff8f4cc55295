"""The options of ResolventPenalty: each call reads them, whoever set them and when; constants stay what was given."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rrnn_ext import ResolventPenalty, reference, resolvent_penalty

W, U, V = "weight_hh_l0", "weight_ih_l0", "weight"


class Model(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, 4)
        self.head = nn.Linear(4, 3)
        self.alpha = nn.Parameter(torch.tensor(0.6))
        self.penalty = ResolventPenalty(self.rnn, self.head, **{"hops": 4, **options})

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.rnn.get_parameter(W), self.rnn.get_parameter(U), self.head.weight

    def current_alpha(self) -> Tensor:
        return self.alpha


def wanted(model: Model, **options: Any) -> Tensor:
    """By the definition in plain PyTorch, in float64."""
    return reference.resolvent_penalty(*(weight.double() for weight in model.weights()), **{"hops": 4, **options})


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got.double(), want.double(), rtol=1e-5, atol=0)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


CHANGES: list[dict[str, Any]] = [
    {"alpha": 0.5},
    {"alpha": torch.tensor(0.5)},
    {"hops": 7},
    {"rectify": True},
    {"per_hop": True},
    {"norm": "l2"},
    {"hop_weights": torch.tensor([0.5, -1.0, 2.0, 0.0])},
    {"pair_weights": torch.tensor([[1.0, 2.0], [0.0, 0.5], [3.0, 1.0]])},
]


class TestSetting:
    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_takes_effect_at_the_next_call(self, change: dict[str, Any]) -> None:
        model = Model()
        close(model.penalty(), wanted(model))
        ((name, value),) = change.items()
        setattr(model.penalty, name, value)
        assert getattr(model.penalty, name) is value
        want = wanted(model, **{key: value.double() if isinstance(value, Tensor) else value for key in change})
        close(model.penalty(), want)
        assert want != wanted(model)

    def test_method_and_all_lags(self) -> None:
        model = Model(alpha=0.4)
        model.penalty.hops = None
        model.penalty.method = "inverse"
        close(model.penalty(), wanted(model, hops=None, alpha=0.4))

    def test_leak(self) -> None:
        model = Model()
        model.penalty.leak = 0.25
        w, u, v = (weight.double() for weight in model.weights())
        eye = torch.eye(4, dtype=torch.float64)
        want = reference.resolvent_penalty(0.75 * eye + 0.25 * w, 0.25 * u, v, hops=4)
        close(model.penalty(), want)

    def test_readout_and_module(self) -> None:
        model, other = Model(), Model()
        model.penalty.readout = other.head
        close(model.penalty(), reference.resolvent_penalty(*model.weights()[:2], other.head.weight, hops=4))
        model.penalty.rnn = other.rnn
        close(model.penalty(), wanted(other))
        model.penalty.readout = None
        close(model.penalty(), reference.resolvent_penalty(*other.weights()[:2], hops=4))
        assert list(model.penalty.parameters()) == list(model.penalty.children()) == []

    def test_given_weights(self) -> None:
        model = Model()
        penalty = ResolventPenalty.from_weights(model, f"rnn.{W}", hops=4)
        close(penalty(), reference.resolvent_penalty(model.weights()[0], hops=4))
        penalty.weight_in = f"rnn.{U}"
        penalty.weight_out = lambda: model.head.weight
        close(penalty(), wanted(model))

    def test_a_schedule_in_a_loop_of_training(self) -> None:
        model = Model()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
        for alpha in (0.2, 0.5, 0.8):
            model.penalty.alpha = alpha
            value = model.penalty()
            close(value, wanted(model, alpha=alpha))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()

    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize(
        ("name", "values"), [("alpha", [0.9 - 0.05 * k for k in range(12)]), ("hops", list(range(2, 14)))]
    )
    def test_a_schedule_in_compiled_code_compiles_it_no_more_than_thrice(
        self, name: str, values: list[Any], layers: int
    ) -> None:
        torch._dynamo.reset()
        model, counter = Model(), torch._dynamo.testing.CompileCounter()
        model.penalty.rnn = nn.RNN(2, 4, layers)
        compiled = torch.compile(lambda: model.penalty() * 1, fullgraph=True, backend=counter)
        for value in values:
            setattr(model.penalty, name, value)
            torch.testing.assert_close(compiled(), model.penalty())
        assert counter.frame_count <= 3

    @pytest.mark.parametrize(
        ("name", "value", "error", "text"),
        [
            ("alpha", -1.0, ValueError, "alpha must be finite and positive, got -1.0"),
            ("alpha", torch.tensor(-1.0), ValueError, "alpha must be finite and positive, got -1.0"),
            ("alpha", "fast", TypeError, "alpha is a name, 'fast', and a name needs its model"),
            ("alpha", [0.5], TypeError, "alpha must be a float or a tensor, got"),
            ("hops", 0, ValueError, "hops must be at least 1, got 0"),
            ("hops", 2.5, TypeError, "hops must be an int >= 1"),
            ("norm", "l3", ValueError, "norm must be one of 'l1', 'l2', got 'l3'"),
            ("method", "guess", ValueError, "method must be one of"),
            ("leak", 1.5, ValueError, r"leak must be in \(0, 1\], got 1.5"),
            ("leak", torch.tensor([0.5, 0.5, 0.0, 0.5]), ValueError, r"leak must be in \(0, 1\], got 0.0"),
            ("leak", torch.tensor(2), TypeError, "leak must be of a floating-point dtype, got torch.int64"),
            ("leak", True, TypeError, r"leak must be a number or a tensor, got True \(bool\)"),
            ("hop_weights", torch.ones(3), ValueError, r"hop_weights must be \(..., 4\) to match hops=4, got \(3,\)"),
            ("hop_weights", [1.0] * 4, TypeError, "hop_weights must be a tensor, got list"),
            ("pair_weights", -torch.ones(3, 2), ValueError, r"pair_weights must .*negative, got -1.0"),
            ("pair_weights", torch.ones(3), ValueError, r"pair_weights must be \(..., .*, got \(3,\)"),
            ("readout", nn.Linear(5, 3), ValueError, r"readout must be \(o, 4\)"),
            ("rnn", nn.Linear(2, 2), TypeError, "rnn must be one of nn.RNN"),
            ("rnn", nn.RNN(2, 5), ValueError, r"readout must be \(o, 5\)"),
        ],
    )
    def test_what_the_constructor_refuses_is_refused_and_changes_nothing(
        self, name: str, value: Any, error: type[Exception], text: str
    ) -> None:
        model = Model()
        before, value_before = getattr(model.penalty, name), model.penalty()
        with pytest.raises(error, match=text):
            setattr(model.penalty, name, value)
        assert getattr(model.penalty, name) is before
        assert model.penalty() == value_before
        if name not in ("rnn", "readout"):
            with pytest.raises(error, match=text):
                Model(**{name: value})

    def test_a_gated_module_takes_no_leak_later_either(self) -> None:
        penalty = ResolventPenalty(nn.GRU(2, 4), hops=3)
        with pytest.raises(ValueError, match=r"leak must be None for a gated module, got leak=0\.5 for GRU"):
            penalty.leak = 0.5
        leaky = ResolventPenalty(nn.RNN(2, 4), hops=3, leak=0.5)
        with pytest.raises(ValueError, match="leak must be None for a gated module"):
            leaky.rnn = nn.GRU(2, 4)

    def test_other_attributes_are_those_of_a_module(self) -> None:
        penalty = Model().penalty
        penalty.note = "mine"
        assert penalty.note == "mine"
        assert not penalty.eval().training
        with pytest.raises(AttributeError, match="no attribute 'weight_hh'"):
            penalty.weight_hh  # noqa: B018


class TestHopsAreSaid:
    @pytest.mark.parametrize(
        "make",
        [
            lambda kind, model: kind(model.rnn, model.head),
            lambda kind, model: kind.from_weights(model, f"rnn.{W}"),
            lambda kind, model: kind.from_model(model, "rnn", "head"),
        ],
    )
    def test_left_out_they_are_an_error(self, make: Callable[[Any, Model], object]) -> None:
        with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'hops'"):
            make(ResolventPenalty, Model())

    def test_none_means_all_lags(self) -> None:
        model = Model(hops=None, alpha=0.3)
        close(model.penalty(), wanted(model, hops=200, alpha=0.3))


class TestAlpha:
    def test_by_name_it_learns_and_is_followed(self) -> None:
        model = Model()
        penalty = ResolventPenalty.from_model(model, "rnn", "head", hops=4, alpha="alpha")
        given = ResolventPenalty.from_weights(model, f"rnn.{W}", f"rnn.{U}", "head.weight", hops=4, alpha="alpha")
        for each in (penalty, given):
            close(each(), wanted(model, alpha=0.6))
            model.zero_grad()
            each().backward()
            assert model.alpha.grad is not None
            want = wanted(model, alpha=(alpha := torch.tensor(0.6, dtype=torch.float64, requires_grad=True)))
            close(model.alpha.grad, torch.autograd.grad(want, alpha)[0])
        model.load_state_dict({**model.state_dict(), "alpha": torch.tensor(0.7)}, assign=True)
        close(penalty(), wanted(model, alpha=0.7))
        close(given(), wanted(model, alpha=0.7))

    def test_by_a_callable(self) -> None:
        model = Model()
        model.penalty.alpha = model.current_alpha
        close(model.penalty(), wanted(model, alpha=0.6))
        model.alpha = nn.Parameter(torch.tensor(0.8))
        close(model.penalty(), wanted(model, alpha=0.8))
        close(copy.deepcopy(model).penalty(), wanted(model, alpha=0.8))
        model.penalty.alpha = lambda: 0.9
        close(model.penalty(), wanted(model, alpha=0.9))

    def test_a_parameter_is_refused(self) -> None:
        text = r"alpha must not be a Parameter.*from_weights\(model, .*\) or .*from_model\(.*callable"
        with pytest.raises(TypeError, match=text):
            Model(alpha=nn.Parameter(torch.tensor(0.5)))
        with pytest.raises(TypeError, match=text):
            Model().penalty.alpha = nn.Parameter(torch.tensor(0.5))
        with pytest.raises(TypeError, match="alpha must not be a tensor that was computed"):
            Model(alpha=Model().alpha.exp())

    def test_numbers_of_numpy(self) -> None:
        model = Model()
        stack = ResolventPenalty(nn.RNN(2, 4, 2), hops=3, alpha=0.5)
        want = stack()
        stack.alpha = lambda: np.float32(0.5)
        assert stack() == want
        model.penalty.leak = np.float32(0.25)
        want = ResolventPenalty(model.rnn, model.head, hops=4, leak=0.25)()
        assert model.penalty() == want


class TestConstants:
    def options(self) -> dict[str, Any]:
        # No halves, and most of them far outside what a half can hold.
        return {"hop_weights": torch.tensor([0.1, 1e-9, 3.3, 1e6]), "pair_weights": torch.rand(3, 2).double() * 1e-6}

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_a_half_model_gives_what_the_function_gives(self, dtype: torch.dtype) -> None:
        options = self.options()
        model = Model(**options).to(dtype)
        wide = [weight.double() for weight in model.weights()]
        want = reference.resolvent_penalty(
            *wide, hops=4, hop_weights=options["hop_weights"].double(), pair_weights=options["pair_weights"]
        )
        got = model.penalty()
        assert got.dtype == dtype
        torch.testing.assert_close(got, want.to(dtype), rtol=torch.finfo(dtype).eps, atol=0)

    @pytest.mark.parametrize(
        "journey",
        [
            lambda model: model.half().float(),
            lambda model: model.to(torch.bfloat16).to(torch.float32),
            lambda model: model.double().float(),
            lambda model: model.half().to_empty(device="cpu").float(),
            lambda model: model.to("meta").to_empty(device="cpu"),
            copy.deepcopy,
            lambda model: copy.deepcopy(model.half()).float(),
            lambda model: pickle.loads(pickle.dumps(model)),
        ],
        ids=["half", "bfloat16", "double", "to_empty", "meta", "deepcopy", "deepcopy_half", "pickle"],
    )
    def test_they_come_back_whole(self, journey: Callable[[Model], Model]) -> None:
        options = self.options()
        model = Model(leak=(leak := torch.tensor([0.123456789, 1.0, 0.3, 0.7])), **options)
        state, value = copy.deepcopy(model.state_dict()), model.penalty()
        back = journey(model)
        back.load_state_dict(state)
        assert back.penalty() == value
        for name, given in (*options.items(), ("leak", leak)):
            assert torch.equal(getattr(back.penalty, name), given)
            assert getattr(back.penalty, name).dtype == given.dtype

    def test_a_model_made_without_values(self) -> None:
        options = self.options()
        with torch.device("meta"):
            model = Model(**options)
        with torch.device("cpu"):
            real = Model(**options)
        model.load_state_dict(real.state_dict(), assign=True)
        assert model.penalty() == real.penalty()
        with FakeTensorMode():
            fake = ResolventPenalty(nn.RNN(2, 4), hops=4, hop_weights=options["hop_weights"], leak=torch.ones(4) / 2)
            assert fake().shape == ()
        assert torch.equal(fake.hop_weights, options["hop_weights"])

    def test_constants_without_values_are_told_of(self) -> None:
        with torch.device("meta"):
            model = Model(hop_weights=torch.ones(4))
        model.to_empty(device="cpu")
        with pytest.raises(ValueError, match="hop_weights is on the meta device and has no values"):
            model.penalty()

    def test_the_copy_elsewhere_is_kept_and_follows_what_it_copies(self) -> None:
        lags = torch.ones(4)
        model = Model(hop_weights=lags)
        there = torch.empty(0, device="meta")  # the one other device that every machine has
        constant = model.penalty._constants["hop_weights"]
        first = constant.beside("hop_weights", there)
        assert first.is_meta
        assert constant.beside("hop_weights", there) is first
        lags[0] = 2.0
        assert constant.beside("hop_weights", there) is not first
        assert constant.beside("hop_weights", torch.empty(0)) is lags
        restored = pickle.loads(pickle.dumps(constant))
        assert restored.beside("hop_weights", torch.empty(0))[0] == 2.0
        assert restored.beside("hop_weights", there) is not restored.beside("hop_weights", torch.empty(0))
        assert pickle.loads(pickle.dumps(constant))._copy is None  # the machine that loads it may have no such device

    def test_what_learns_by_now_is_copied_at_each_call(self) -> None:
        leak = torch.tensor([0.5, 0.5])
        constant = ResolventPenalty(nn.RNN(2, 2), hops=2, leak=leak)._constants["leak"]
        there = torch.empty(0, device="meta")
        constant.beside("leak", there)
        leak.requires_grad_()
        assert constant.beside("leak", there).requires_grad

    def test_changed_in_place_they_count_as_they_are(self) -> None:
        lags = torch.ones(4)
        model = Model(hop_weights=lags)
        lags[2] = 0.0
        close(model.penalty(), wanted(model, hop_weights=torch.tensor([1.0, 1.0, 0.0, 1.0]).double()))

    def test_made_in_inference_mode(self) -> None:
        with torch.inference_mode():
            lags = torch.tensor([1.0, 0.5, 0.25, 0.125])
        model = Model(hop_weights=lags)
        model.penalty().backward()
        close(model.penalty(), wanted(model, hop_weights=lags.double()))

    def test_masks_and_integers(self) -> None:
        spared, lags = torch.tensor([[True, False]] * 3), torch.tensor([1, 0, 2, 16777217])
        model = Model(hop_weights=lags, pair_weights=spared).double()
        got = model.penalty()
        torch.testing.assert_close(
            got, wanted(model, hop_weights=lags.double(), pair_weights=spared.double()), rtol=1e-12, atol=0
        )

    def test_one_for_each_network_of_a_batch(self) -> None:
        weights, lags, pairs = torch.randn(5, 4, 4), torch.rand(5, 3), torch.rand(5, 4, 4)
        options: dict[str, Any] = {"hops": 3, "hop_weights": lags, "pair_weights": pairs, "alpha": torch.rand(5)}
        got = ResolventPenalty.from_weights(weights, **options)()
        assert got == resolvent_penalty(weights, **options)
        close(got, reference.resolvent_penalty(weights, **options))
        for name in ("hop_weights", "pair_weights", "alpha"):
            alone = {"hops": 3, name: options[name]}
            got = ResolventPenalty.from_weights(weights, **alone)()
            close(got, reference.resolvent_penalty(weights, **alone))

    def test_shapes_are_looked_at_where_values_are_not(self) -> None:
        with pytest.raises(ValueError, match=r"hop_weights must be \(..., 4\) to match hops=4, got \(3,\)"):
            Model(hop_weights=torch.ones(3, device="meta"))
        with pytest.raises(TypeError, match="hop_weights must be of a real dtype"):
            Model(hop_weights=torch.ones(4, dtype=torch.complex64))

    @pytest.mark.parametrize("name", ["hop_weights", "pair_weights"])
    def test_they_do_not_learn(self, name: str) -> None:
        value = self.options()[name]
        text = f"{name} is a constant, to which no gradient flows, got %s; detach it"
        for learnable, kind in (
            (nn.Parameter(value), "a Parameter"),
            (nn.Parameter(value, requires_grad=False), "a Parameter"),
            (value.clone().requires_grad_(), "a tensor that requires a gradient"),
        ):
            with pytest.raises(ValueError, match=text % kind):
                Model(**{name: learnable})
            with pytest.raises(ValueError, match=text % kind):
                setattr(Model().penalty, name, learnable)
