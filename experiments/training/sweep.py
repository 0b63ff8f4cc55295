"""Sweeps: networks for every task, regulariser, strength and seed, trained in stacks, kept as they finish."""

from __future__ import annotations

import fcntl
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch

from experiments.tasks import problems
from experiments.training import loop, measures, regularisers, results, stacked
from experiments.training.results import Record, Setting
from experiments.training.stacked import Networks

STACK = 48  # networks at most: more are not faster, and more is lost when the sweep is killed


class BusyError(RuntimeError):
    """Another sweep is writing into the same folder."""


class Progress(NamedTuple):
    """How far a sweep is, of the networks that it still had to train.

    Attributes:
        networks_done, networks_total: networks trained and recorded.
        work_done, work_total: updates of single networks; they take about the same time each.
        label: task and regulariser of the stack at work.
    """

    networks_done: int
    networks_total: int
    work_done: int
    work_total: int
    label: str


def grid(
    tasks: Sequence[str], names: Sequence[str], betas: Sequence[float], seeds: Sequence[int], **training_options: Any
) -> list[Setting]:
    """Every combination; "none" among the regularisers ``names`` comes once for each task and seed, with beta 0.

    training_options: hidden, updates, batch, learning_rate of :class:`Setting`.

    Raises:
        ValueError: an unknown task or regulariser, with the known ones; a beta or an option out of range.
    """
    for task in tasks:
        problems.named(task)
    return [
        Setting(task, name, beta, seed, **training_options)
        for task in tasks
        for name in names
        for beta in ([0.0] if regularisers.named(name) is regularisers.none else betas)
        for seed in seeds
    ]


def run(
    out: Path, settings: Sequence[Setting], *, progress: Callable[[Progress], None] = lambda progress: None
) -> list[Record]:
    """The networks of ``settings``, in their order: those that ``out`` has, and the others after training them into it.

    A network is the same, to rounding, whatever it is trained beside. (Measured after 600 updates: the same bits in any
    stack of two or more; alone, where PyTorch multiplies by other routines, a test error within 1e-4 of its own.)
    ``progress`` is called after every update of a stack and when a stack is recorded, by one thread at a time.

    As many stacks are trained at once as PyTorch has threads, each by one: the products are too small to be shared,
    and threads that share them wait for one another at every one of them.

    Raises:
        ValueError: an unknown task or regulariser; a damaged results file.
        BusyError: another sweep is writing into ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        records = {record.setting: record for record in results.load(out)}
        pending = [setting for setting in dict.fromkeys(settings) if setting not in records]
        follow = _Follower(pending, progress)
        with single_threads() as threads, ThreadPoolExecutor(threads) as workers:
            try:
                finished = [workers.submit(_train, stack, follow) for stack in _stacks(pending)]
                # In the order of the settings, so that the file does not depend on who is faster.
                for stack in finished:
                    new, networks, steps = stack.result()
                    results.append(out, new, networks, steps=steps)
                    records |= {record.setting: record for record in new}
                    follow.recorded(len(new))
            finally:
                follow.stop()
                workers.shutdown(cancel_futures=True)
    return [records[setting] for setting in settings]


def _train(stack: Sequence[Setting], follow: _Follower) -> tuple[list[Record], Networks, int]:
    """Settings that differ by beta and seed alone, trained side by side: records, networks, length of the sequences."""
    common = stack[0]
    problem = problems.named(common.task)
    seeds = [setting.seed for setting in stack]
    networks = loop.train(
        stacked.new_networks(seeds, inputs=problem.inputs, hidden=common.hidden, outputs=problem.outputs),
        {seed: loop.Examples(*problem.training_set(seed)) for seed in dict.fromkeys(seeds)},
        seeds=seeds,
        regulariser=regularisers.named(common.regulariser),
        strengths=[setting.beta for setting in stack],
        updates=common.updates,
        batch=common.batch,
        learning_rate=common.learning_rate,
        on_update=partial(follow.updated, stack),
    )
    errors = loop.test_error(networks, loop.Examples(*problem.test_set())).tolist()
    measured = measures.of_networks(networks, problem)
    return [Record(*of_one) for of_one in zip(stack, errors, measured, strict=True)], networks, problem.steps


class _Follower:
    """Keeps the progress of all threads, and ends them when the sweep ends early."""

    def __init__(self, pending: Sequence[Setting], progress: Callable[[Progress], None]) -> None:
        self._state = Progress(0, len(pending), 0, sum(setting.updates for setting in pending), "")
        self._progress = progress
        self._lock = Lock()
        self._stopped = False

    def updated(self, stack: Sequence[Setting]) -> None:
        if self._stopped:
            raise CancelledError
        with self._lock:
            label = f"{stack[0].task}, {stack[0].regulariser}"
            self._state = self._state._replace(work_done=self._state.work_done + len(stack), label=label)
            self._progress(self._state)

    def recorded(self, networks: int) -> None:
        with self._lock:
            self._state = self._state._replace(networks_done=self._state.networks_done + networks)
            self._progress(self._state)

    def stop(self) -> None:
        self._stopped = True


@contextmanager
def single_threads() -> Iterator[int]:
    """One thread for each operation; yields how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _stacks(settings: Sequence[Setting]) -> Iterator[list[Setting]]:
    """Groups that differ by beta and seed alone, cut into parts of like size, STACK at most."""
    groups: dict[Setting, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(replace(setting, beta=0.0, seed=0), []).append(setting)
    for group in groups.values():
        size = math.ceil(len(group) / math.ceil(len(group) / STACK))
        yield from (group[start : start + size] for start in range(0, len(group), size))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """No other sweep may write into ``out`` meanwhile; the lock ends with the process, however that ends."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another sweep is writing into {out}: wait for it, or choose another folder") from error
        yield
