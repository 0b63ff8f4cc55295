"""What is written of a run on sparse graphs: on the terminal, and in results/sparse.json and .md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import floors
from benchmarks.names import OURS
from benchmarks.race import Race
from benchmarks.tables import RESULTS, as_shape, as_table, as_time, today

COMMAND = "python -m benchmarks.sparse"

About = Mapping[str, str | float]


@dataclass(frozen=True)
class Measured:
    """A case: whose graph it is, the race on it, bytes of memory at the peak, and why others are not in it."""

    graph: str
    race: Race
    memory: Mapping[str, int]
    left_out: Mapping[str, str]
    alone: Sequence[str]  # those of whom one call was timed, in a process of its own

    @property
    def graph_bytes(self) -> int:
        """Of a stored value 4, and 12 of its place in both directions; of a unit 8."""
        return 16 * self.race.shape["edges"] + 8 * self.race.shape["n"]

    @property
    def chain_bytes(self) -> int:
        """Of the vectors of all hops, there and back."""
        shape = self.race.shape
        width = 1 if self.race.case.startswith("rectified") else min(shape["i"], shape["o"])
        return 2 * floors.FLOAT * shape["n"] * width * shape["hops"]


def line(measured: Measured) -> str:
    race = measured.race
    times = (f"{name} {as_time(times.minimum)}" for name, times in race.times.items())
    return f"{measured.graph}, {race.case}, {as_shape(race.shape)}: " + ", ".join(times)


def as_lines(about: About, results: Sequence[Measured]) -> list[str]:
    where = (
        f"{about['processor']}, {about['threads']} threads, PyTorch {about['torch']}, Python {about['python']}; load "
        f"average {about['load_average']} before the run; {today()}; `{COMMAND}`."
    )
    what = (
        "Value and gradient for the stored values and both sides, float32. Everyone in turn, round by round; minima by "
        "minima. *One call*: timed once, in a process of its own."
    )
    header = ("graph", "penalty", "n", "edges", "ours", "median", "floor / ours", "peers", "memory", "graph + chains")
    lines = [f"{where} {what}", "", as_table(header, map(_row, results)), ""]
    return [*lines, *(f"Left out at n = {n}: {who}, as {why}." for n, who, why in _left_out(results))]


def write(about: About, results: Sequence[Measured]) -> list[Path]:
    json_path = RESULTS / "sparse.json"
    document = {
        "about": {**about, "date": today(), "command": COMMAND},
        "best_rates": floors.best_rates(),
        "cases": [_as_json(each) for each in results],
    }
    json_path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    markdown_path = json_path.with_suffix(".md")
    markdown_path.write_text("\n".join(as_lines(about, results)).strip() + "\n")
    return [json_path, markdown_path]


def _row(measured: Measured) -> Sequence[str]:
    race = measured.race
    ours = race.times[OURS]
    peers = (
        f"{name} {as_time(race.times[name].minimum)} ({race.ratio(OURS, [name]):.3g}×"
        f"{', one call' if name in measured.alone else ''})"
        for name in race.times
        if name != OURS
    )
    memory = (f"{name} {_megabytes(count)}" for name, count in measured.memory.items())
    return (
        measured.graph,
        race.case,
        f"{race.shape['n']:,}",
        f"{race.shape['edges']:,}",
        as_time(ours.minimum),
        as_time(ours.median),
        f"{race.floor_share:.0%}",
        ", ".join(peers),
        ", ".join(memory),
        f"{_megabytes(measured.graph_bytes)} + {_megabytes(measured.chain_bytes)}",
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.3g} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"


def _left_out(results: Sequence[Measured]) -> list[tuple[str, str, str]]:
    found = [(f"{each.race.shape['n']:,}", *pair) for each in results for pair in each.left_out.items()]
    return list(dict.fromkeys(found))


def _as_json(measured: Measured) -> dict[str, object]:
    race = measured.race
    times = {
        name: {"minimum_s": t.minimum, "median_s": t.median, "rounds": len(t.rounds), "calls_per_round": t.calls}
        for name, t in race.times.items()
    }
    return {
        "graph": measured.graph,
        "case": race.case,
        "shape": dict(race.shape),
        "times": times,
        "one_call": list(measured.alone),
        "floor_s": None if race.work is None else race.work.floor_s,
        "floor_share": race.floor_share,
        "peak_bytes": dict(measured.memory),
        "graph_bytes": measured.graph_bytes,
        "chain_bytes": measured.chain_bytes,
        "left_out": dict(measured.left_out),
    }
