"""The tables: on the terminal, in results/<device>.json and .md, and between the markers of the README."""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import device, floors
from benchmarks.race import OURS, Race
from benchmarks.training_step import STEP

THIN = "thin signed total"
RECTIFIED = "rectified total"
RECTIFIED_INFINITE = "rectified, infinite"
ALL_PAIRS_INFINITE = "all pairs, infinite"
TRAINING_STEP = "training step"

COMMAND = "python -m benchmarks"
RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


@dataclass(frozen=True)
class Memory:
    """Peak memory beyond the weights and one n x n gradient, in floats per n^2."""

    shape: Mapping[str, int]
    floats: Mapping[str, float]


@dataclass
class Ledger:
    """What was measured, in order."""

    about: dict[str, str | float] = field(default_factory=device.description)
    entries: list[Race | Memory] = field(default_factory=list)
    printed: int = 0

    def add(self, entry: Race | Memory) -> None:
        self.entries.append(entry)

    def races(self, case: str, **shape: int) -> list[Race]:
        """The races of ``case`` whose shape has the sizes given."""
        return [
            entry
            for entry in self.entries
            if isinstance(entry, Race) and entry.case == case and shape.items() <= entry.shape.items()
        ]

    def memories(self) -> list[Memory]:
        return [entry for entry in self.entries if isinstance(entry, Memory)]

    def new_lines(self) -> list[str]:
        """One line for each entry since the last call."""
        lines = [_line(entry) for entry in self.entries[self.printed :]]
        self.printed = len(self.entries)
        return lines


def document(ledger: Ledger) -> str:
    """Everything measured as Markdown: where and how, the targets, the cases, the grid."""
    about = ledger.about
    where = (
        f"{about['processor']}, {about['threads']} threads, PyTorch {about['torch']}, Python {about['python']}; "
        f"load average {about['load_average']} before the run; {today()}; `{COMMAND}`."
    )
    what = (
        "Value and gradient for every weight, float32. Ours and the peers in turn, round by round; "
        "the fastest round of each, and in parentheses how many times faster than the fastest peer."
    )
    parts = [where + " " + what, as_table(_TARGET_HEADER, _target_rows(ledger))]
    if cases := [race for case in (RECTIFIED, RECTIFIED_INFINITE, ALL_PAIRS_INFINITE) for race in ledger.races(case)]:
        parts.append(as_table(_CASE_HEADER, map(_case_row, cases)))
    if ledger.races(THIN):
        parts += ["The grid of the first rows, n × (i, o), L:", _grid(ledger.races(THIN))]
    return "\n\n".join(["", *parts, ""])


def write(ledger: Ledger) -> list[Path]:
    """Writes results/<device>.json and .md, and the README's part between the markers where it has them."""
    RESULTS.mkdir(exist_ok=True)
    json_path = RESULTS / f"{device.DEVICE.type}.json"
    json_path.write_text(json.dumps(_as_json(ledger), indent=1, ensure_ascii=False) + "\n")
    text = document(ledger).strip() + "\n"
    markdown_path = json_path.with_suffix(".md")
    markdown_path.write_text(text)
    written = [json_path, markdown_path]
    if README.exists() and BEGIN in (readme := README.read_text()):
        before, rest = readme.split(BEGIN, 1)
        _, after = rest.split(END, 1)
        README.write_text(f"{before}{BEGIN}\n{text}{END}{after}")
        written.append(README)
    return written


# The targets ---------------------------------------------------------------------------------------------------------

_TARGET_HEADER = ("case", "target", "fastest rounds", "medians", "reached")


def _target_rows(ledger: Ledger) -> list[Sequence[str]]:
    """A row for each target with something measured, judged by the fastest rounds."""
    thin = ledger.races(THIN)
    small = [race for race in thin if race.shape["n"] <= 256]
    powers = ledger.races(THIN, n=256, hops=20)
    rows: list[Sequence[str]] = []

    def ratio(label: str, races: list[Race], combine: Callable[[list[float]], float], target: float, peer: str) -> None:
        if races:
            against = None if peer == "fastest peer" else peer
            least, middle = (combine([race.ratio(s, against) for race in races]) for s in ("minimum", "median"))
            rows.append((label, f"≥ {target:g}× {peer}", f"{least:.3g}×", f"{middle:.3g}×", _yes(least >= target)))

    def shape_of(race: Race) -> str:
        return f"{race.case}, " + as_shape(race.shape)

    ratio(f"{THIN}, geometric mean of {len(thin)} shapes", thin, statistics.geometric_mean, 6, "fastest peer")
    ratio(f"… of the {len(small)} with n ≤ 256", small, statistics.geometric_mean, 8, "fastest peer")
    ratio("… least of all shapes", thin, min, 1.2, "fastest peer")
    ratio("… n=256 L=20, geometric mean", powers, statistics.geometric_mean, 50, "adjacency_powers")
    ratio("… n=256 L=20, least", powers, min, 50, "adjacency_powers")
    for race in ledger.races(RECTIFIED):
        ratio(shape_of(race), [race], min, 10, "fastest peer")
        assert race.work is not None
        least, middle = (seconds / race.work.floor_s for seconds in (race.times[OURS].minimum, race.times[OURS].median))
        rows.append(("… over the floor", "≤ 2× the floor", f"{least:.2f}×", f"{middle:.2f}×", _yes(least <= 2)))
    for race in ledger.races(RECTIFIED_INFINITE):
        ratio(shape_of(race), [race], min, 50, "inverse")
    for race in ledger.races(ALL_PAIRS_INFINITE):
        ratio(shape_of(race), [race], min, 3 if race.shape["batch"] > 1 else 1.2, "fastest peer")
    for race in ledger.races(TRAINING_STEP):
        least, middle = step_share(race)
        # A small difference of two large times: of two minima it may be anything.
        rows.append((shape_of(race), "penalty ≤ 10 %", f"{least:.1%}", f"{middle:.1%}", _yes(middle <= 0.1)))
    for memory in ledger.memories():
        ours_floats = memory.floats[OURS]
        label = f"memory beyond W and its gradient, {as_shape(memory.shape)}"
        rows.append((label, "≤ 0.25 n² floats", f"{ours_floats:.3f} n²", "", _yes(ours_floats <= 0.25)))
    return rows


def step_share(race: Race, penalty: str = OURS) -> tuple[float, float]:
    """What ``penalty`` adds to the step, as a share of it: from the fastest rounds, and the median over the rounds."""
    plain, with_penalty = race.times[STEP], race.times[penalty]
    pairs = zip(with_penalty.rounds, plain.rounds, strict=True)
    return with_penalty.minimum / plain.minimum - 1, statistics.median(a / b - 1 for a, b in pairs)


# Lines and tables ----------------------------------------------------------------------------------------------------

_CASE_HEADER = ("case", "ours", "fastest peer", "its time", "ratio", "ratio of medians", "floor / ours")


def _case_row(race: Race) -> Sequence[str]:
    return (
        f"{race.case}, {as_shape(race.shape)}",
        as_time(race.times[OURS].minimum),
        race.fastest_peer,
        as_time(race.times[race.fastest_peer].minimum),
        f"{race.ratio():.1f}×",
        f"{race.ratio('median'):.1f}×",
        "" if race.floor_share is None else f"{race.floor_share:.0%}",
    )


def _line(entry: Race | Memory) -> str:
    if isinstance(entry, Memory):
        measured = ", ".join(f"{name} {floats:.3f} n²" for name, floats in entry.floats.items())
        return f"memory, {as_shape(entry.shape)}: {measured} floats"
    if entry.case == TRAINING_STEP:
        shares = (f"{name} {step_share(entry, name)[0]:+.1%}" for name in entry.times if name != STEP)
        return f"{entry.case}, {as_shape(entry.shape)}: {as_time(entry.times[STEP].minimum)}, " + ", ".join(shares)
    case, ours, peer, time, ratio, medians, share = _case_row(entry)
    return f"{case:<42} ours {ours:>8}  {peer} {time}  ratio {ratio} (medians {medians})  floor {share} of ours"


def _grid(races: list[Race]) -> str:
    """Rows n, columns (i, o) and L: our time and the ratio."""
    cells = {tuple(race.shape.values()): f"{as_time(race.times[OURS].minimum)} ({race.ratio():.1f}×)" for race in races}
    sizes = sorted({n for n, *_ in cells})
    columns = sorted({tuple(column) for _, *column in cells})
    header = ["n", *(f"({i}, {o}), {hops}" for i, o, hops in columns)]
    return as_table(header, ([str(n), *(cells.get((n, *column), "") for column in columns)] for n in sizes))


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up on a terminal."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def as_shape(shape: Mapping[str, int]) -> str:
    return " ".join(f"{'L' if name == 'hops' else name}={size}" for name, size in shape.items())


def as_time(seconds: float) -> str:
    unit, scale = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{seconds * scale:.3g} {unit}"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def today() -> str:
    return datetime.date.today().isoformat()


def _as_json(ledger: Ledger) -> dict[str, object]:
    return {
        "about": {**ledger.about, "date": today(), "command": COMMAND},
        "best_rates": floors.best_rates(),
        "targets": [dict(zip(_TARGET_HEADER, row, strict=True)) for row in _target_rows(ledger)],
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
            "fastest_peer": race.fastest_peer,
            "ratio": race.ratio(),
            "ratio_of_medians": race.ratio("median"),
            "floor_s": race.work.floor_s,
            "floor_share": race.floor_share,
            "first_call_s": dict(race.first_call_s),
        }
    return entry
