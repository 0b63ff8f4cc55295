"""RUNNING.md: networks under a penalty of themselves as they ran."""

from __future__ import annotations

from pathlib import Path

from experiments.claims import running as claims
from experiments.claims.verdicts import listed
from experiments.training import running
from rrnn_ext.reading.page import render

PAGE = Path(__file__).parents[1] / "RUNNING.md"
TASKS = ("on-off", "lagged", "multiplication")
BETAS = (0.003, 0.03)
SEEDS, HIDDEN, UPDATES = 2, 48, 600


def write(records: list[running.Record], page: Path, *, asked: int) -> None:
    """The page of these networks, of as many as were asked for."""
    settings = [record.setting for record in records]
    text = render(
        "RUNNING.md.jinja",
        Path(__file__).parent / "templates",
        records=records,
        asked=asked,
        kinds=listed(list(dict.fromkeys(setting.kind for setting in settings))),
        tasks=listed(list(dict.fromkeys(setting.task for setting in settings))),
        hidden=settings[0].hidden,
        updates=settings[0].updates,
        seeds=len({setting.seed for setting in settings}),
        claims=claims.reads_right(records),
        by_weights=claims.by_weights(records),
        sheets=claims.tables(records),
        correlation=claims.CORRELATION,
        relative_error=claims.RELATIVE_ERROR,
    )
    page.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
