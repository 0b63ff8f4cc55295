"""The entries of the benchmark on a GPU, run on the CPU: who fails is recorded, and the others are measured."""

from __future__ import annotations

import fcntl
import functools
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rrnn_ext
from benchmarks import peers, problems
from benchmarks.gpu import where
from benchmarks.gpu.networks import check_same_gradients, on_a_side_stream
from benchmarks.gpu.race import race
from benchmarks.gpu.record import Folder, Race, Recorder
from benchmarks.names import DIRECT, OURS
from benchmarks.peers import Penalty
from benchmarks.training_step import Training

HOPS = 3
ours = functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS)
direct = functools.partial(rrnn_ext.accumulate_penalty_grad, hops=HOPS)
right = functools.partial(peers.horner_from_inputs, hops=HOPS)


def test_one_process_measures_at_a_time(tmp_path: Path) -> None:
    where.wait_for_turn(tmp_path)
    with pytest.raises(BlockingIOError):
        fcntl.flock(os.open(tmp_path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)


def wrong(*weights: Tensor) -> Tensor:
    return 1.01 * right(*weights)


def wrong_gradient(*weights: Tensor) -> Tensor:
    value = right(*weights)
    return 1.1 * value - 0.1 * value.detach()


def refused(*weights: Tensor) -> Tensor:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_who_fails_is_recorded_and_the_others_measured(tmp_path: Path) -> None:
    contenders: dict[str, Penalty] = {
        "wrong": wrong,
        "wrong gradient": wrong_gradient,
        "refused": refused,
        "right": right,
    }
    recorder = Recorder("thin", tmp_path)
    race(recorder, Race("thin", {"n": 9}), problems.thin(9, 3, 2), ours, contenders, direct=direct)
    folder = Folder.read(tmp_path)
    (found,) = folder.all_races()
    assert set(found.times) == {OURS, DIRECT, "right"}
    assert {contender: error.partition(" ")[0] for (_, contender), error in folder.failures.items()} == {
        "wrong": "AssertionError:",
        "wrong gradient": "AssertionError:",
        "refused": "RuntimeError:",
    }
    assert recorder.failures == 3


def test_ours_added_to_grad_is_compared_too(tmp_path: Path) -> None:
    twice = functools.partial(direct, strength=2.0)
    race(Recorder("thin", tmp_path), Race("thin", {"n": 9}), problems.thin(9, 3, 2), ours, {}, direct=twice)
    folder = Folder.read(tmp_path)
    assert set(next(folder.all_races()).times) == {OURS}
    assert list(folder.failures) == [("thin", DIRECT)]


def test_a_profiler_sees_ours_and_nothing_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder("thin", tmp_path, profiling=True)
    race(recorder, Race("thin", {"n": 9}), problems.thin(9, 3, 2), ours, {"refused": refused}, direct=direct)
    assert not list(tmp_path.iterdir())


def test_a_penalty_on_a_side_stream_has_the_gradients_of_one_after_the_step() -> None:
    training = Training(12, torch.device("cpu"))
    check_same_gradients(training, training.step_and_direct, on_a_side_stream(training))

    def without_penalty() -> None:
        for parameter, gradient in zip(
            training.parameters, torch.autograd.grad(training.task_loss(), training.parameters), strict=True
        ):
            parameter.grad = gradient

    with pytest.raises(AssertionError):
        check_same_gradients(training, without_penalty, on_a_side_stream(training))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(SystemExit, match="needs a GPU that PyTorch can use, or the emulated build"):
        where.check()
