"""Stacks of networks trained by Dask's workers: processes of this machine, or of as many as a scheduler has.

Only this process writes files, so that the workers need no folder in common with it. They need the same packages, and
this directory in PYTHONPATH, as the scheduler does.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from logging import ERROR
from typing import Any

import dask
import torch
from distributed import Client, LocalCluster, get_worker
from distributed.scheduler import KilledWorker

import rrnn_ext
from experiments.training import sweep
from experiments.training.results import Setting
from experiments.training.sweep import Finished, Workers

REPORTED_EVERY = 0.5  # seconds, by a worker
TIMEOUT = 30  # seconds, to find a scheduler


class ClusterError(RuntimeError):
    """No scheduler at the address, or workers of other versions."""


@contextmanager
def processes(count: int) -> Iterator[Workers]:
    """So many processes of this machine, with a thread each."""
    with (
        # Dask has workers give memory back early, which takes away glibc's habit of keeping what a step needs again.
        dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=ERROR) as cluster,
        Client(cluster) as client,
        _workers(client) as workers,
    ):
        yield workers


@contextmanager
def scheduled(address: str) -> Iterator[Workers]:
    """The workers of a scheduler, as they come and go.

    Each trains as many stacks at once as ``dask worker --nthreads`` says, and each stack by one thread of PyTorch, or
    as many as OMP_NUM_THREADS, which Dask sets to 1 unless distributed.nanny.pre-spawn-environ in its configuration
    says otherwise. Where this process stops early, they train what they are at to its end, and nobody gets it.

    Args:
        address: as the scheduler tells it, "tcp://10.0.0.1:8786".

    Raises:
        ClusterError: no scheduler answers there.
    """
    try:
        client = Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
    with client, _workers(client) as workers:
        yield workers


@contextmanager
def _workers(client: Client) -> Iterator[Workers]:
    workers = _DaskWorkers(client)
    client.subscribe_topic(workers.topic, workers.heard)
    try:
        yield workers
    finally:
        client.unsubscribe_topic(workers.topic)
        workers.pool.shutdown(wait=False)  # which cancels what has not been begun


class _DaskWorkers:
    # The scheduler gives a stack to another worker when one dies, and gives it up when several have died of it. Futures
    # are cancelled where the scheduler itself is gone.
    lost: tuple[type[BaseException], ...] = (KilledWorker, CancelledError)

    def __init__(self, client: Client) -> None:
        self.topic = f"rrnn_ext-{uuid.uuid4().hex}"
        self.pool: Executor = client.get_executor(pure=False)
        self._updated: list[Callable[[int], None]] = []

    def submit(self, stack: Sequence[Setting], on_update: Callable[[int], None]) -> Future[Finished]:
        self._updated.append(on_update)
        return self.pool.submit(_train, stack, self.topic, len(self._updated) - 1, _versions())

    def heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """Told by the scheduler what a worker has reported."""
        _, message = event
        self._updated[message["stack"]](message["updates"])


def _train(stack: Sequence[Setting], topic: str, number: int, versions: dict[str, str]) -> Finished:
    """On a worker."""
    worker, reported = get_worker(), -REPORTED_EVERY
    if _versions() != versions:
        raise ClusterError(f"the worker at {worker.address} has {_versions()}, and this sweep {versions}")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)

    def updated(done: int) -> None:
        nonlocal reported
        if done == stack[0].updates or time.monotonic() - reported >= REPORTED_EVERY:
            worker.log_event(topic, {"stack": number, "updates": done})
            reported = time.monotonic()

    return sweep.train(stack, updated)


def _versions() -> dict[str, str]:
    return {"PyTorch": torch.__version__, "rrnn_ext": rrnn_ext.__version__}
