"""Settings and fixtures that all tests share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest
import torch
from support import device

from rrnn_ext.infinite import deferred

# Some tests need hypothesis; those of kernels alone do without, on a machine that has little but PyTorch.
if importlib.util.find_spec("hypothesis"):
    from support import hypothesis_profiles  # noqa: F401


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where the tensors of the tests live")


def pytest_configure(config: pytest.Config) -> None:
    device.DEVICE = torch.device(config.getoption("--device"))
    if device.DEVICE.type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda needs a GPU that PyTorch can use, and it sees none")


@pytest.fixture(autouse=True)
def every_sum_converged() -> Iterator[None]:
    """On a GPU the error of an infinite sum comes later: it must not come in the next test."""
    yield
    if device.DEVICE.type == "cuda":
        torch.cuda.synchronize()
        deferred.raise_noted(torch.device("cuda", torch.cuda.current_device()))


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """torch.set_num_threads, undone after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For small tensors and networks: more threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def deterministic_algorithms() -> Iterator[None]:
    """The test runs under torch.use_deterministic_algorithms(True)."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)
