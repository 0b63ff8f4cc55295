"""What is written of a run: on the terminal, in results/<device>.json and .md, between the markers of its page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import device, floors, targets
from benchmarks.ledger import Ledger, Memory, step_share
from benchmarks.names import (
    ALL_PAIRS_INFINITE,
    OURS,
    RECTIFIED,
    RECTIFIED_INFINITE,
    STEP,
    THIN,
    THIN_BATCH,
    THIN_INFINITE,
    TRAINING_STEP,
)
from benchmarks.race import Race
from benchmarks.tables import DOCS, RESULTS, as_shape, as_table, as_time, today, write_between

COMMAND = "python -m benchmarks"
PAGE = DOCS / "benchmarks.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def document(ledger: Ledger) -> str:
    """Everything measured as Markdown: where and how, the targets, the cases, the grid."""
    parts = [_short(ledger)]
    cases = (THIN_BATCH, RECTIFIED, RECTIFIED_INFINITE, THIN_INFINITE, ALL_PAIRS_INFINITE)
    if races := ledger.races(*cases):
        parts.append(as_table(_CASE_HEADER, map(_case_row, races)))
    if thin := ledger.races(THIN):
        for ours in dict.fromkeys((thin[0].best, *thin[0].ours())):
            what = f"The grid of the first rows by {ours}, n × (i, o), L: the time, how many times faster than the"
            parts += [f"{what} fastest eager peer, and than the fastest of all:", _grid(thin, ours)]
    return "\n\n".join(["", *parts, ""])


def write(ledger: Ledger) -> list[Path]:
    """Writes results/<device>.json and .md, and the part of the page between the markers."""
    RESULTS.mkdir(exist_ok=True)
    json_path = RESULTS / f"{device.DEVICE.type}.json"
    json_path.write_text(json.dumps(_as_json(ledger), indent=1, ensure_ascii=False) + "\n")
    markdown_path = json_path.with_suffix(".md")
    markdown_path.write_text(document(ledger).strip() + "\n")
    write_between(PAGE, BEGIN, END, f"{_short(ledger)}\n")
    return [json_path, markdown_path, PAGE]


def line(entry: Race | Memory) -> str:
    """What the terminal shows as soon as it is measured."""
    if isinstance(entry, Memory):
        measured = ", ".join(f"{name} {floats:.3f} n²" for name, floats in entry.floats.items())
        return f"memory, {as_shape(entry.shape)}: {measured} floats"
    if entry.case == TRAINING_STEP:
        shares = (f"{name} {step_share(entry, name)[0]:+.1%}" for name in entry.times if name != STEP)
        return f"{entry.case}, {as_shape(entry.shape)}: {as_time(entry.times[STEP].minimum)}, " + ", ".join(shares)
    case, *times = _case_row(entry)
    return f"{case:<42} " + ", ".join(f"{name} {value}" for name, value in zip(_CASE_HEADER[1:], times, strict=True))


def _short(ledger: Ledger) -> str:
    about = ledger.about
    where = (
        f"{about['processor']}, {about['threads']} threads, PyTorch {about['torch']}, JAX {about['jax']}, "
        f"Python {about['python']}; load average {about['load_average']} before the run; {today()}; `{COMMAND}`."
    )
    what = (
        "Value and gradient for every weight, float32. Ours and the peers in turn, round by round; "
        "fastest rounds by fastest rounds, medians by medians."
    )
    return f"{where} {what}\n\n" + as_table(targets.HEADER, targets.rows(ledger))


_CASE_HEADER = ("case", "ours", "through the loss", "fastest eager peer", "fastest of all", "floor / ours")


def _case_row(race: Race) -> Sequence[str]:
    peers = (race.fastest(eager=True), race.fastest())
    return (
        f"{race.case}, {as_shape(race.shape)}",
        as_time(race.times[race.best].minimum),
        as_time(race.times[OURS].minimum),
        *(f"{as_time(race.times[p].minimum)}, {p} ({race.ratio(race.best, [p]):.1f}×)" for p in peers),
        "" if race.floor_share is None else f"{race.floor_share:.0%}",
    )


def _grid(races: list[Race], ours: str) -> str:
    """Rows n, columns (i, o) and L."""
    cells = {}
    for race in races:
        ratios = (race.ratio(ours, race.peers(eager=eager)) for eager in (True, False))
        time = as_time(race.times[ours].minimum)
        cells[tuple(race.shape.values())] = f"{time} ({', '.join(f'{ratio:.1f}×' for ratio in ratios)})"
    sizes = sorted({n for n, *_ in cells})
    columns = sorted({tuple(column) for _, *column in cells})
    header = ["n", *(f"({i}, {o}), {hops}" for i, o, hops in columns)]
    return as_table(header, ([str(n), *(cells.get((n, *column), "") for column in columns)] for n in sizes))


def _as_json(ledger: Ledger) -> dict[str, object]:
    return {
        "about": {**ledger.about, "date": today(), "command": COMMAND},
        "best_rates": floors.best_rates(),
        "targets": [dict(zip(targets.HEADER, row, strict=True)) for row in targets.rows(ledger)],
        "races": [_race_as_json(entry) for entry in ledger.entries if isinstance(entry, Race)],
        "memory": [{"shape": dict(entry.shape), "floats_per_n2": dict(entry.floats)} for entry in ledger.memories()],
    }


def _race_as_json(race: Race) -> dict[str, object]:
    times = {
        name: {"minimum_s": t.minimum, "median_s": t.median, "rounds": len(t.rounds), "calls_per_round": t.calls}
        for name, t in race.times.items()
    }
    entry: dict[str, object] = {"case": race.case, "shape": dict(race.shape), "times": times}
    if race.work is not None:
        entry |= {
            "fastest_eager_peer": race.fastest(eager=True),
            "fastest_peer": race.fastest(),
            "floor_s": race.work.floor_s,
            "floor_share": race.floor_share,
            "first_call_s": dict(race.first_call_s),
        }
    return entry
