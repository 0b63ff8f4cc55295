"""What was found of each job, kept in a file: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.training.folders import add_lines, alone, lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def kept(
    path: Path, jobs: Sequence[dict[str, Any]], work: Callable[..., DataclassInstance]
) -> Generator[dict[str, Any], None, None]:
    """What ``work`` finds of each job, field by field, one job after another: read from ``path`` if it is there, else
    worked out and added to it.

    Raises:
        BusyError: another process is writing into the folder.
    """
    with alone(path.parent):
        known = {json.dumps(line["job"]): line["found"] for line in map(json.loads, lines(path))}
        for job in jobs:
            key = json.dumps(job)
            if key not in known:
                known[key] = json.loads(json.dumps(asdict(work(**job))))  # as a second run reads it
                add_lines(path, [json.dumps({"job": job, "found": known[key]})])
            yield known[key]
