"""Six modular tasks and their sparse versions, each knowing the input-output map that solves it best, lag by lag.

The inputs come in M modules of q. At the steps where module m carries its signal, all its inputs show the same value
s_m under private noise, x_i = s_m + e_i; at all other steps they show private noise of the same mean and variance, so
that no step stands out by its size. All s and e are independent and normal, new at every step. What is asked for is a
function of the module averages a_m = mean of s_m over the lags that count for m:

    averaging       y_m = a_m               every lag counts
    addition        y_p = a_2p + a_2p+1     every lag counts
    subtraction     y_p = a_2p - a_2p+1     every lag counts
    multiplication  y_p = a_2p * a_2p+1     every lag counts; the signals have a mean (see :class:`Multiplication`)
    on-off          y_m = a_m               even lags carry signal and count, odd lags carry noise
    lagged          y_m = a_m               every lag carries signal, those in the module's own window count

In a sparse version only a share of the lags that would count carry signal, and count: always the same ones, given in
``Task.counting``. Targets are shifted and scaled to mean 0 and variance 1: an MSE of 1 is that of a network that
knows nothing, and a strength of a penalty means the same on every task.

How large the inputs are decides how much of tanh a network uses. ``Sizes.signal`` is 0.5 so that it can stay near the
straight part, where walks are what it computes. With signals of 1 it often does not, and its walks are then far from
its own Jacobian.

A lag counts back from the last step: lag 0 is the last step, the walk V U; lag 1 is V W U.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

TRAINING_COUNT = 4096
TEST_COUNT = 4096
TEST_SEED = 2**32 - 1
SPARSE_SHARE = 0.3  # of the lags that would count, in the sparse versions


@dataclass(frozen=True)
class Sizes:
    """What every task can be made with. ``signal`` and ``noise`` are standard deviations, of s and of e."""

    modules: int = 4
    module_size: int = 4
    steps: int = 10
    signal: float = 0.5
    noise: float = 0.25

    def __post_init__(self) -> None:
        for name in ("modules", "module_size", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.signal < math.inf:
            raise ValueError(f"signal must be finite and above 0, got {self.signal}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be finite and at least 0, got {self.noise}")


DEFAULT_SIZES = Sizes()


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """A modular task: a source of sequences (count, steps, inputs) and targets (count, outputs), and its best solution.

    Attributes:
        name: as in :data:`TASKS`.
        sizes: modules, inputs in a module, steps, signal and noise.
        signal: (steps, modules) bool, by lag: where a module's inputs carry its signal.
        counting: (steps, modules) bool, by lag: where that signal counts for the targets. A part of ``signal``.
    """

    name: str
    sizes: Sizes
    signal: Tensor
    counting: Tensor

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many targets a sequence has."""

    @property
    @abstractmethod
    def signal_mean(self) -> float:
        """Mean of every input, at every step."""

    @property
    @abstractmethod
    def bayes_mse(self) -> float:
        """The smallest MSE that any function of the sequences has, mean over the outputs."""

    @abstractmethod
    def _combine(self, averages: Tensor) -> Tensor:
        """Module averages (..., modules) to targets (..., outputs), not yet shifted and scaled."""

    @abstractmethod
    def _slopes(self) -> Tensor:
        """(outputs, modules): mean derivative of :meth:`_combine` by the averages."""

    @abstractmethod
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the outputs of :meth:`_combine`, (outputs,) each."""

    @property
    def inputs(self) -> int:
        """How many inputs a step has: module 0's first."""
        return self.sizes.modules * self.sizes.module_size

    @property
    def steps(self) -> int:
        """Length of a sequence, L."""
        return self.sizes.steps

    @property
    def module_of_input(self) -> Tensor:
        """(inputs,) int64."""
        return torch.arange(self.inputs) // self.sizes.module_size

    @property
    def signal_lags(self) -> Tensor:
        """(steps,) bool: the lags that count for any module, which are those where ``optimal_walks`` are not 0."""
        return self.counting.any(1)

    @property
    def optimal_walks(self) -> Tensor:
        """(steps, outputs, inputs) by lag: the mean Jacobian of E[targets | sequence], the best that there is.

        On the linear tasks it is that function itself. The best guess of s from its q noisy copies is their average
        times q signal^2 / (q signal^2 + noise^2), and everything else is linear. On normal inputs the mean Jacobian of
        any target is also its best linear read-out (Stein 1981, Annals of Statistics 9:1135).
        """
        by_module = self.counting / self.counting.sum(0) * self._slopes()[:, None]  # (outputs, steps, modules)
        by_module = by_module * self._signal_share / self.sizes.module_size / self._moments()[1].sqrt()[:, None, None]
        return by_module.movedim(0, 1)[..., self.module_of_input].float()

    @property
    def optimum(self) -> Tensor:
        """(outputs, inputs): ``optimal_walks``, summed over the lags; the R_io of a linear network that is optimal."""
        return self.optimal_walks.sum(0)

    def linear_readout(self, sequences: Tensor) -> Tensor:
        """What ``optimal_walks`` make of sequences (..., steps, inputs): (..., outputs)."""
        by_lag = (sequences - self.signal_mean).flip(-2)
        return torch.einsum("loi,...li->...o", self.optimal_walks.to(sequences), by_lag)

    def sample(self, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Sequences (count, steps, inputs) and targets (count, outputs), float32, drawn from ``seed`` alone."""
        sizes = self.sizes
        generator = torch.Generator().manual_seed(seed)
        signals = torch.randn(count, sizes.steps, sizes.modules, generator=generator, dtype=torch.float64)
        private = torch.randn(count, sizes.steps, self.inputs, generator=generator, dtype=torch.float64)
        signals = self.signal_mean + sizes.signal * signals
        with_signal = signals[..., self.module_of_input] + sizes.noise * private
        without = self.signal_mean + math.hypot(sizes.signal, sizes.noise) * private
        by_lag = torch.where(self.signal[:, self.module_of_input], with_signal, without)
        averages = (signals * self.counting).sum(1) / self.counting.sum(0)
        mean, variance = self._moments()
        targets = (self._combine(averages) - mean) / variance.sqrt()
        return by_lag.flip(1).float(), targets.float()

    def training_set(self, seed: int) -> tuple[Tensor, Tensor]:
        """The sequences and targets that the networks of this seed learn from."""
        if not 0 <= seed < TEST_SEED:
            raise ValueError(f"seed must be at least 0 and below {TEST_SEED}, the test set's, got {seed}")
        return self.sample(TRAINING_COUNT, seed=seed)

    def test_set(self) -> tuple[Tensor, Tensor]:
        """The sequences and targets that every network is scored on."""
        return self.sample(TEST_COUNT, seed=TEST_SEED)

    @property
    def _signal_share(self) -> float:
        """Share of signal in the variance of a module's mean input: what of it the best guess of the signal keeps."""
        signal = self.sizes.module_size * self.sizes.signal**2
        return signal / (signal + self.sizes.noise**2)

    @property
    def _average_variance(self) -> Tensor:
        """(modules,) variance of the module averages."""
        return self.sizes.signal**2 / self.counting.sum(0).double()


@dataclass(frozen=True, eq=False)
class LinearTask(Task):
    """Targets that are sums of module averages, weighted by ``mixing`` (outputs, modules)."""

    mixing: Tensor

    signal_mean = 0.0

    @property
    def outputs(self) -> int:
        return len(self.mixing)

    @property
    def bayes_mse(self) -> float:
        """Every target is a sum of independent signals, each known up to the same share of its variance."""
        return 1 - self._signal_share

    def _combine(self, averages: Tensor) -> Tensor:
        return averages @ self.mixing.T

    def _slopes(self) -> Tensor:
        return self.mixing

    def _moments(self) -> tuple[Tensor, Tensor]:
        variance = self.mixing.square() @ self._average_variance
        return torch.zeros_like(variance), variance


@dataclass(frozen=True, eq=False)
class Multiplication(Task):
    """Products of the averages of two modules.

    With signals of mean 0 the mean Jacobian of a product would be 0. So the mean is the standard deviation of an
    average over ``drive``: one module gates the other, by that much about what is common to all sequences. At a drive
    of 1 a third of a product's variance is beyond every linear read-out, even without noise; at d, d^2 / (2 + d^2).
    """

    drive: float = 1.0

    @property
    def outputs(self) -> int:
        return self.sizes.modules // 2

    @property
    def signal_mean(self) -> float:
        return self._average_variance[0].sqrt().item() / self.drive

    @property
    def spread(self) -> float:
        """How far the best solution is from a linear one: the root mean square, over sequences, of the distance of its
        Jacobian from the mean one, in units of the mean one's size.

        The response to what tells of one average is the best guess of the other.
        """
        return self.drive * math.sqrt(self._signal_share)

    @property
    def bayes_mse(self) -> float:
        """E[var(ab | x)] for independent a and b, of which the share ``_signal_share`` of the variance is known."""
        variance, known, mean_square = self._average_variance[0].item(), self._signal_share, self.signal_mean**2
        unknown = (1 - known) * variance
        left = unknown**2 + 2 * unknown * (mean_square + known * variance)
        return left / self._moments()[1][0].item()

    def _combine(self, averages: Tensor) -> Tensor:
        return averages[..., 0::2] * averages[..., 1::2]

    def _slopes(self) -> Tensor:
        return self.signal_mean * _pairs(self.sizes.modules, 1)

    def _moments(self) -> tuple[Tensor, Tensor]:
        mean_square, variance = self.signal_mean**2, self._average_variance
        first, second = variance[0::2], variance[1::2]
        return torch.full_like(first, mean_square), first * second + mean_square * (first + second)


def averaging(sizes: Sizes = DEFAULT_SIZES, *, sparse: bool = False) -> Task:
    """Each module's average over all steps."""
    counting = _counting(_every_lag(sizes), sparse)
    return LinearTask(_name("averaging", sparse), sizes, counting, counting, _each(sizes))


def addition(sizes: Sizes = DEFAULT_SIZES, *, sparse: bool = False) -> Task:
    """The sum of the averages of two modules."""
    counting = _counting(_every_lag(sizes), sparse)
    return LinearTask(_name("addition", sparse), sizes, counting, counting, _pairs(sizes.modules, 1))


def subtraction(sizes: Sizes = DEFAULT_SIZES, *, sparse: bool = False) -> Task:
    """The difference between the averages of two modules."""
    counting = _counting(_every_lag(sizes), sparse)
    return LinearTask(_name("subtraction", sparse), sizes, counting, counting, _pairs(sizes.modules, -1))


def multiplication(sizes: Sizes = DEFAULT_SIZES, *, sparse: bool = False, drive: float = 1.0) -> Task:
    """The product of the averages of two modules, whose standard deviation is ``drive`` times their mean."""
    if not 0 < drive < math.inf:
        raise ValueError(f"drive must be finite and above 0, got {drive}")
    _pairs(sizes.modules, 1)  # refuses modules that do not pair up
    counting = _counting(_every_lag(sizes), sparse)
    return Multiplication(_name(driven(drive), sparse), sizes, counting, counting, drive)


def driven(drive: float) -> str:
    """The name of multiplication at a drive, which as a rule is 1."""
    return "multiplication" if drive == 1 else f"multiplication, drive {drive:g}"


def on_off(sizes: Sizes = DEFAULT_SIZES, *, sparse: bool = False) -> Task:
    """Each module's average over the even lags; the odd ones carry noise."""
    even = torch.arange(sizes.steps) % 2 == 0
    counting = _counting(even[:, None] & _every_lag(sizes), sparse)
    return LinearTask(_name("on-off", sparse), sizes, counting, counting, _each(sizes))


def lagged(sizes: Sizes = DEFAULT_SIZES, *, sparse: bool = False) -> Task:
    """Each module's average over its own window: the lags cut into as many stretches as there are modules."""
    if sizes.steps < sizes.modules:
        raise ValueError(f"steps must be at least the number of modules, {sizes.modules}, got {sizes.steps}")
    windows = torch.zeros_like(_every_lag(sizes))
    for module, lags in enumerate(torch.arange(sizes.steps).tensor_split(sizes.modules)):
        windows[lags, module] = True
    counting = _counting(windows, sparse)
    signal = counting if sparse else _every_lag(sizes)
    return LinearTask(_name("lagged", sparse), sizes, signal, counting, _each(sizes))


def _every_lag(sizes: Sizes) -> Tensor:
    return torch.ones(sizes.steps, sizes.modules, dtype=torch.bool)


def _counting(candidates: Tensor, sparse: bool) -> Tensor:
    """Those of the candidates (steps, modules) that count: all, or of each module a share, drawn once and for all.

    Modules with the same candidates keep the same of them, so that steps carry signal for all modules or for none; on
    lagged, where no two share a candidate, for one module or for none.
    """
    if not sparse:
        return candidates
    kept = torch.zeros_like(candidates)
    for module, column in enumerate(candidates.T):
        lags = column.nonzero().flatten().tolist()
        kept[random.Random(0).sample(lags, max(1, round(SPARSE_SHARE * len(lags)))), module] = True
    return kept


def _each(sizes: Sizes) -> Tensor:
    return torch.eye(sizes.modules, dtype=torch.float64)


def _pairs(modules: int, sign: int) -> Tensor:
    """(modules / 2, modules): module 2p, and sign times module 2p + 1."""
    if modules % 2:
        raise ValueError(f"modules must be even for a task on pairs of modules, got {modules}")
    return torch.kron(torch.eye(modules // 2), torch.tensor([[1, sign]])).double()


def _name(task: str, sparse: bool) -> str:
    return f"{task}-sparse" if sparse else task


_MAKERS = {
    "averaging": averaging,
    "subtraction": subtraction,
    "addition": addition,
    "multiplication": multiplication,
    "on-off": on_off,
    "lagged": lagged,
}

TASKS: dict[str, Callable[[], Task]] = {
    _name(name, sparse): partial(make, sparse=sparse) for sparse in (False, True) for name, make in _MAKERS.items()
}
