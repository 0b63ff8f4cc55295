"""What was found of each job, kept in a file: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def kept(
    path: Path, jobs: Sequence[dict[str, Any]], work: Callable[..., DataclassInstance]
) -> Iterator[dict[str, Any]]:
    """What ``work`` finds of each job, field by field, one job after another: read from ``path`` if it is there, else
    worked out and added to it."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {json.dumps(line["job"]): line["found"] for line in lines}
    for job in jobs:
        key = json.dumps(job)
        if key not in known:
            known[key] = json.loads(json.dumps(asdict(work(**job))))  # as a second run reads it
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"job": job, "found": known[key]}) + "\n")
        yield known[key]
