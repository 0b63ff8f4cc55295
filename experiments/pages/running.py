"""RUNNING.md, networks under a penalty of themselves as they ran; and its verdicts, as RESULTS.md lists them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.claims.running import tables
from experiments.claims.running.judge import judge
from experiments.claims.verdicts import Claim
from experiments.pages import report
from experiments.pages.figures import running as figures
from experiments.training.running import measures, runs
from experiments.training.running.measures import Record
from rrnn_ext.reading.page import render

PAGE = Path(__file__).parents[1] / "RUNNING.md"
FIGURES = "running"  # beside the page
VERDICTS = "verdicts.csv"  # among them
BEGIN, END = "<!-- Verdicts of RUNNING.md -->\n", "<!-- End of the verdicts of RUNNING.md -->\n"
SEEDS, HIDDEN, UPDATES = 3, 48, 600

PLACES = {"Where the mean field fails": "error_by_spread", "Error, cancellation, sparsity": "error_by_sparsity"}


def write(records: Sequence[Record], page: Path, *, asked: int) -> list[Claim]:
    """The page of these networks, of as many as were asked for, and its figures and verdicts in a folder beside it."""
    claims = judge(records)
    drawn = {
        exhibit.name: exhibit for exhibit in (figures.error_by_spread(records), figures.error_by_sparsity(records))
    }
    for exhibit in drawn.values():
        exhibit.save(page.parent / FIGURES)
    write_verdicts(page.parent / FIGURES / VERDICTS, claims)
    sheets = [
        tables.cures(records),
        tables.instead(records),
        tables.other_gains(records),
        tables.by_penalty(records),
        tables.by_spread(records),
        tables.by_drive(records),
    ]
    settings = [record.setting for record in records]
    text = render(
        "RUNNING.md.jinja",
        report.TEMPLATES,
        about=report.about(len(records)),
        missing=asked - len(records),
        hidden=settings[0].hidden,
        updates=settings[0].updates,
        batch=settings[0].batch,
        seeds=len({setting.seed for setting in settings}),
        runs=runs,
        measures=measures,
        claims=claims,
        sheets=[sheet for sheet in sheets if sheet.rows],
        figures={title: [drawn[name]] for title, name in PLACES.items()},
        folder=FIGURES,
    )
    page.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return claims


def write_verdicts(path: Path, claims: Sequence[Claim]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["title", "number", "limit", "extremes", "verdict", "tally"])
        writer.writerows([c.title, c.number, c.limit, c.extremes, c.verdict, c.tally] for c in claims if c.parts)


def section(folder: Path = PAGE.parent / FIGURES) -> str:
    """What RESULTS.md says of these networks, from the verdicts in ``folder``."""
    with (folder / VERDICTS).open(newline="", encoding="utf-8") as file:
        verdicts = list(csv.DictReader(file))
    listed = render("running_verdicts.md.jinja", report.TEMPLATES, verdicts=verdicts, page=PAGE.name)
    return f"{BEGIN}{listed.rstrip()}\n{END}"


def renew(results: Path, folder: Path) -> None:
    """The section in ``results`` by the verdicts in ``folder``; the rest of the page stays as it is."""
    before, rest = results.read_text(encoding="utf-8").split(BEGIN)
    results.write_text(before + section(folder) + rest.split(END)[1], encoding="utf-8")
