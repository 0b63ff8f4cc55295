"""Sweeps: networks for every task, regulariser, strength and seed, trained in stacks, kept as they finish."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any, NamedTuple, Protocol

import torch

from experiments.tasks import problems
from experiments.training import loop, measures, regularisers, results, stacked
from experiments.training.folders import alone
from experiments.training.results import Record, Setting
from experiments.training.stacked import Networks

STACK = 48  # networks at most: more are not faster, and more is lost when the sweep is killed


class LostError(RuntimeError):
    """Stacks were lost with the workers that trained them; all others are recorded."""


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


class Finished(NamedTuple):
    """A trained stack: its records, its networks in the same order, and the length of their sequences."""

    records: list[Record]
    networks: Networks
    steps: int


class Workers(Protocol):
    """Who trains stacks."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What the future of a stack raises that was lost with its worker, and that may be trained again."""

    def submit(self, stack: Sequence[Setting], on_update: Callable[[int], None]) -> Future[Finished]:
        """Have :func:`train` called; ``on_update`` gets the number of updates done, now and then."""


Hire = Callable[[], AbstractContextManager[Workers]]
"""Workers for the length of a sweep: those who are still at work when it ends have to stop."""


def train(stack: Sequence[Setting], on_update: Callable[[int], None]) -> Finished:
    """Settings that differ by beta and seed alone, trained side by side; ``on_update`` gets the number of updates
    done, after each."""
    common = stack[0]
    problem = problems.named(common.task)
    seeds = [setting.seed for setting in stack]
    updates = iter(range(1, common.updates + 1))
    networks = loop.train(
        stacked.new_networks(seeds, inputs=problem.inputs, hidden=common.hidden, outputs=problem.outputs),
        {seed: loop.Examples(*problem.training_set(seed)) for seed in dict.fromkeys(seeds)},
        seeds=seeds,
        regulariser=regularisers.named(common.regulariser),
        strengths=[setting.beta for setting in stack],
        updates=common.updates,
        batch=common.batch,
        learning_rate=common.learning_rate,
        on_update=lambda: on_update(next(updates)),
    )
    errors = loop.test_error(networks, loop.Examples(*problem.test_set())).tolist()
    measured = measures.of_networks(networks, problem)
    return Finished([Record(*of_one) for of_one in zip(stack, errors, measured, strict=True)], networks, problem.steps)


@contextmanager
def threads() -> Iterator[Workers]:
    """As many stacks at once as PyTorch has threads, each by one thread of this process: the products are too small to
    be shared, and threads that share them wait for one another at every one of them."""
    with single_threads() as count, ThreadPoolExecutor(count) as pool:
        workers = _Threads(pool)
        try:
            yield workers
        finally:
            workers.stopped.set()
            pool.shutdown(cancel_futures=True)


class _Threads:
    lost: tuple[type[BaseException], ...] = ()

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.stopped = Event()
        self._pool = pool

    def submit(self, stack: Sequence[Setting], on_update: Callable[[int], None]) -> Future[Finished]:
        def updated(done: int) -> None:
            if self.stopped.is_set():
                raise CancelledError
            on_update(done)

        return self._pool.submit(train, stack, updated)


@contextmanager
def single_threads() -> Iterator[int]:
    """One thread for each operation; yields how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def run(
    out: Path,
    settings: Sequence[Setting],
    *,
    progress: Callable[[Progress], None] = lambda progress: None,
    hire: Hire = threads,
) -> list[Record]:
    """The networks of ``settings``, in their order: those that ``out`` has, and the others after training them into it.

    A network is the same, to rounding, whatever it is trained beside. (Measured after 600 updates: the same bits in any
    stack of two or more; alone, where PyTorch multiplies by other routines, a test error within 1e-4 of its own.)
    ``progress`` is called after updates of a stack and when a stack is recorded, by one thread at a time.

    A stack is recorded when it is finished, and at the end of the sweep the records are put into the order of the
    settings, so that the file does not depend on who is faster.

    Args:
        hire: who trains the stacks: the threads of this process if left out.

    Raises:
        ValueError: an unknown task or regulariser; a damaged results file; networks of one of the tasks in ``out`` that
            were trained in another way.
        BusyError: another sweep is writing into ``out``.
        LostError: stacks were lost with their workers. All others are recorded.
    """
    with alone(out):
        records = {record.setting: record for record in results.load(out)}
        results.check_alike(out, records, settings)
        pending = [setting for setting in dict.fromkeys(settings) if setting not in records]
        follow = _Follower(pending, progress)
        lost: dict[str, BaseException] = {}
        with hire() as workers:
            stacks = {workers.submit(stack, follow.stack(stack)): stack for stack in _stacks(pending)}
            for finished in as_completed(stacks):
                try:
                    new, networks, steps = finished.result()
                except workers.lost as error:
                    lost[_label(stacks[finished])] = error
                    continue
                results.append(out, new, networks, steps=steps)
                records |= {record.setting: record for record in new}
                follow.recorded(len(new))
        results.put_in_order(out, settings)
    for label, reason in lost.items():
        raise LostError(
            f"workers or their scheduler were lost, and with them the networks of {'; '.join(lost)}. All others are in "
            f"{out}; the same sweep again trains what is missing. ({label}: {str(reason) or type(reason).__name__})"
        ) from reason
    return [records[setting] for setting in settings]


class _Follower:
    """Keeps the progress of all stacks."""

    def __init__(self, pending: Sequence[Setting], progress: Callable[[Progress], None]) -> None:
        self._state = Progress(0, len(pending), 0, sum(setting.updates for setting in pending), "")
        self._progress = progress
        self._lock = Lock()

    def stack(self, stack: Sequence[Setting]) -> Callable[[int], None]:
        """What is to be told how many updates the stack has behind it: fewer than before if it was begun anew."""
        before = 0

        def updated(done: int) -> None:
            nonlocal before
            with self._lock:
                work_done = self._state.work_done + (done - before) * len(stack)
                before = done
                self._state = self._state._replace(work_done=work_done, label=_label(stack))
                self._progress(self._state)

        return updated

    def recorded(self, networks: int) -> None:
        with self._lock:
            self._state = self._state._replace(networks_done=self._state.networks_done + networks)
            self._progress(self._state)


def _label(stack: Sequence[Setting]) -> str:
    return f"{stack[0].task}, {stack[0].regulariser}"


def _stacks(settings: Sequence[Setting]) -> Iterator[list[Setting]]:
    """Groups that differ by beta and seed alone, cut into parts of like size, STACK at most."""
    groups: dict[Setting, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(replace(setting, beta=0.0, seed=0), []).append(setting)
    for group in groups.values():
        size = math.ceil(len(group) / math.ceil(len(group) / STACK))
        yield from (group[start : start + size] for start in range(0, len(group), size))
