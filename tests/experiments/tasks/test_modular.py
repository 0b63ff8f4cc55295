"""The modular tasks: what they ask for, and that the maps they give are the best that there are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from experiments.tasks import modular, problems
from experiments.tasks.modular import TASKS, Sizes, Task

pytestmark = pytest.mark.usefixtures("one_thread")

LINEAR = [name for name in TASKS if "multiplication" not in name]
PRODUCTS = [name for name in TASKS if "multiplication" in name]
MAKERS = {
    "averaging": modular.averaging,
    "subtraction": modular.subtraction,
    "addition": modular.addition,
    "multiplication": modular.multiplication,
    "on-off": modular.on_off,
    "lagged": modular.lagged,
}
COUNT = 8_000


def recipe(name: str, averages: Tensor) -> Tensor:
    """What the task of that name makes of the module averages (..., modules), by its description."""
    first, second = averages[..., 0::2], averages[..., 1::2]
    return {
        "averaging": averages,
        "on-off": averages,
        "lagged": averages,
        "addition": first + second,
        "subtraction": first - second,
        "multiplication": first * second,
    }[name.removesuffix("-sparse")]


def best_linear(task: Task) -> tuple[Tensor, Tensor]:
    """The best linear read-out (steps, o, i) by lag and its error, from the covariances of signals, inputs, targets.

    Every signal is one row of ``loadings``: the inputs that it reaches. All in float64, by normal equations.
    """
    steps, modules, size = task.sizes.steps, task.sizes.modules, task.sizes.module_size
    signal, noise = task.sizes.signal, task.sizes.noise
    covariance = torch.zeros(steps, modules * size, steps, modules * size, dtype=torch.float64)
    by_average = torch.zeros(modules, steps, modules * size, dtype=torch.float64)
    for lag in range(steps):
        for module in range(modules):
            own = slice(module * size, (module + 1) * size)
            private = torch.eye(size, dtype=torch.float64)
            if task.signal[lag, module]:
                covariance[lag, own, lag, own] = signal**2 + noise**2 * private
                if task.counting[lag, module]:
                    by_average[module, lag, own] = signal**2 / task.counting[:, module].sum().item()
            else:
                covariance[lag, own, lag, own] = (signal**2 + noise**2) * private
    weights = recipe(task.name, torch.eye(modules, dtype=torch.float64))  # (modules, o): the recipes are linear
    variances = signal**2 / task.counting.sum(0).double()
    spread = (variances @ weights.square()).sqrt()
    with_targets = torch.einsum("mo,mli->oli", weights, by_average).flatten(1) / spread[:, None]
    solution = torch.linalg.solve(covariance.flatten(0, 1).flatten(1), with_targets.T).T
    errors = 1 - (solution * with_targets).sum(-1)
    return solution.unflatten(1, (steps, -1)).movedim(0, 1), errors.mean()


def test_there_are_six_and_their_sparse_versions() -> None:
    assert list(TASKS) == [*MAKERS, *(f"{name}-sparse" for name in MAKERS)]
    assert all(make().name == name for name, make in TASKS.items())


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(modules=2, module_size=3, steps=7, signal=1.5, noise=2.0)])
@pytest.mark.parametrize("name", LINEAR)
def test_optimum_of_a_linear_task_solves_its_normal_equations(name: str, sizes: Sizes) -> None:
    task = MAKERS[name.removesuffix("-sparse")](sizes, sparse=name.endswith("-sparse"))
    walks, error = best_linear(task)
    torch.testing.assert_close(task.optimal_walks.double(), walks, rtol=1e-6, atol=1e-7)
    assert task.bayes_mse == pytest.approx(error.item(), rel=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_readout_attains_the_bayes_error(name: str) -> None:
    task = TASKS[name]()
    sequences, targets = task.sample(COUNT, seed=3)
    squares = (task.linear_readout(sequences) - targets).square().mean(-1)
    assert squares.mean().item() == pytest.approx(task.bayes_mse, abs=4 * squares.std().item() / math.sqrt(COUNT))


@pytest.mark.parametrize("noise", [0.25, 1.0])
@pytest.mark.parametrize("name", PRODUCTS)
def test_multiplication_by_its_best_guess(name: str, noise: float) -> None:
    """The product of the best guesses of both factors: its error is the Bayes error, its mean Jacobian the optimum."""
    modules, size, signal = 4, 4, 0.5
    task = modular.multiplication(Sizes(noise=noise), sparse=name.endswith("-sparse"))
    lags = task.counting[:, 0].nonzero().flatten()
    mean, variance = task.signal_mean, signal**2 / len(lags)
    assert mean == pytest.approx(math.sqrt(variance))
    spread = math.sqrt(variance**2 + 2 * mean**2 * variance)
    known = signal**2 / (signal**2 + noise**2 / size)

    def best_guess(sequences: Tensor) -> Tensor:
        seen = sequences[:, task.steps - 1 - lags].unflatten(-1, (modules, size)).mean((1, 3))
        averages = mean + known * (seen - mean)
        return (averages[:, 0::2] * averages[:, 1::2] - mean**2) / spread

    sequences, targets = task.sample(COUNT, seed=3)
    sequences.requires_grad_()
    guesses = best_guess(sequences)
    squares = (guesses - targets).square().mean(-1).detach()
    assert squares.mean().item() == pytest.approx(task.bayes_mse, abs=4 * squares.std().item() / math.sqrt(COUNT))

    jacobian = [torch.autograd.grad(guesses[:, o].sum(), sequences, retain_graph=True)[0].mean(0) for o in range(2)]
    mean_jacobian = torch.stack(jacobian, 1).flip(0)
    largest = task.optimal_walks.abs().max()
    torch.testing.assert_close(mean_jacobian / largest, task.optimal_walks / largest, rtol=0, atol=0.05)

    # On normal inputs it is also the best linear read-out: its errors have nothing in common with the inputs.
    inputs = sequences.detach() - mean
    errors = task.linear_readout(sequences).detach() - targets
    assert errors.square().mean().item() == pytest.approx(1 - 2 / 3 * known, abs=0.05)
    in_common = torch.einsum("cti,co->tio", inputs, errors) / COUNT / inputs.std() / errors.std()
    assert in_common.abs().max() < 5 / math.sqrt(COUNT)


@pytest.mark.parametrize("name", TASKS)
def test_targets_are_the_recipe_of_the_signals(name: str) -> None:
    """Without noise the inputs show the signals themselves."""
    make = MAKERS[name.removesuffix("-sparse")]
    task = make(Sizes(noise=0.0), sparse=name.endswith("-sparse"))
    sequences, targets = task.sample(500, seed=5)
    by_lag = sequences.double().flip(1).unflatten(-1, (4, 4))
    signals, others = by_lag[..., 0], by_lag[..., 1]
    assert torch.equal((signals == others).all(0), task.signal)
    raw = recipe(name, (signals * task.counting).sum(1) / task.counting.sum(0))
    standardised = (raw - raw.mean(0)) / raw.std(0)
    own = targets.double()
    torch.testing.assert_close((own - own.mean(0)) / own.std(0), standardised, rtol=0, atol=1e-5)
    assert task.bayes_mse == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_samples(name: str) -> None:
    task = TASKS[name]()
    before = torch.random.get_rng_state()
    sequences, targets = task.sample(COUNT, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sequences.shape == (COUNT, task.steps, task.inputs)
    assert targets.shape == (COUNT, task.outputs)
    assert sequences.dtype == targets.dtype == torch.float32

    assert targets.mean(0).abs().max() < 0.05
    torch.testing.assert_close(targets.var(0), torch.ones(task.outputs), rtol=0, atol=0.1)
    # No step and no input stands out by its size.
    expected = torch.full((task.steps, task.inputs), 0.5**2 + 0.25**2)
    torch.testing.assert_close(sequences.var(0), expected, rtol=0.08, atol=0)
    torch.testing.assert_close(sequences.mean((0, 1)), torch.full((task.inputs,), task.signal_mean), rtol=0, atol=0.01)

    again, _ = task.sample(COUNT, seed=1)
    other, _ = task.sample(COUNT, seed=2)
    assert torch.equal(sequences, again)
    assert not torch.equal(sequences, other)


def test_training_and_test_sets() -> None:
    task = TASKS["averaging"]()
    first, second, held_out = task.training_set(0)[0], task.training_set(1)[0], task.test_set()[0]
    assert len(first) == modular.TRAINING_COUNT
    assert len(held_out) == modular.TEST_COUNT
    assert not torch.equal(first[:10], second[:10])
    assert not torch.equal(first[:10], held_out[:10])
    assert torch.equal(held_out, task.test_set()[0])
    for seed in (-1, modular.TEST_SEED, modular.TEST_SEED + 1):
        with pytest.raises(ValueError, match=f"seed must be at least 0 and below .* got {seed}"):
            task.training_set(seed)


@pytest.mark.parametrize("name", TASKS)
def test_lags_that_count(name: str) -> None:
    task = TASKS[name]()
    lags = [column.nonzero().flatten().tolist() for column in task.counting.T]
    candidates = {
        "on-off": [[0, 2, 4, 6, 8]] * 4,
        "lagged": [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]],
    }.get(name.removesuffix("-sparse"), [list(range(10))] * 4)
    if name.endswith("-sparse"):
        assert all(set(kept) < set(all_) for kept, all_ in zip(lags, candidates, strict=True))
        assert [len(kept) for kept in lags] == [max(1, round(0.3 * len(all_))) for all_ in candidates]
        assert name == "lagged-sparse" or lags == lags[:1] * 4
    else:
        assert lags == candidates
    assert torch.equal(task.signal_lags, (task.optimal_walks != 0).any(-1).any(-1))
    assert torch.equal(task.signal, torch.ones_like(task.signal) if name == "lagged" else task.counting)
    torch.testing.assert_close(task.optimum, task.optimal_walks.sum(0))


def test_module_of_input() -> None:
    task = modular.averaging(Sizes(modules=2, module_size=3))
    assert task.module_of_input.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(task.optimum != 0, task.module_of_input == torch.tensor([[0], [1]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modules": 0}, "modules must be at least 1, got 0"),
        ({"module_size": 0}, "module_size must be at least 1, got 0"),
        ({"steps": -1}, "steps must be at least 1, got -1"),
        ({"signal": 0.0}, "signal must be finite and above 0, got 0.0"),
        ({"signal": math.inf}, "signal must be finite and above 0, got inf"),
        ({"noise": -1.0}, "noise must be finite and at least 0, got -1.0"),
        ({"noise": math.nan}, "noise must be finite and at least 0, got nan"),
    ],
)
def test_sizes_that_are_none(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sizes(**arguments)  # type: ignore[arg-type]


def test_sizes_that_do_not_fit() -> None:
    for make in (modular.addition, modular.subtraction, modular.multiplication):
        with pytest.raises(ValueError, match="modules must be even for a task on pairs of modules, got 3"):
            make(Sizes(modules=3))
    with pytest.raises(ValueError, match="steps must be at least the number of modules, 4, got 3"):
        modular.lagged(Sizes(steps=3))


class TestProblems:
    def test_by_name(self) -> None:
        assert problems.named("lagged-sparse").name == "lagged-sparse"
        assert set(problems.PROBLEMS) == {*TASKS, "digits", "sunspots"}

    def test_unknown_name(self) -> None:
        with pytest.raises(ValueError, match=r"no task 'avenging'; known: averaging, .*, digits, sunspots"):
            problems.named("avenging")
