"""The tables of a GPU's results: on the terminal, in results/<device>.json and .md, and on the page about CUDA."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks import gpu_floors
from benchmarks.gpu_timing import Times
from benchmarks.ledger import RECTIFIED, THIN, THIN_BATCH, TRAINING_STEP
from benchmarks.race import OURS
from benchmarks.report import DOCS, RESULTS, write_between
from benchmarks.tables import as_shape, as_table, as_time, today
from benchmarks.training_step import STEP

THIN_LARGE = "thin signed total, large"

COMMAND = "python -m benchmarks.gpu"
PAGE = DOCS / "cuda.md"
BEGIN, END = "<!-- bench-cuda:begin -->", "<!-- bench-cuda:end -->"


@dataclass(frozen=True)
class Race:
    """One shape of one case, by everyone."""

    case: str
    shape: Mapping[str, int]
    times: Mapping[str, Times]
    work: gpu_floors.Work

    @property
    def ours(self) -> Times:
        return self.times[OURS]

    @property
    def fastest_peer(self) -> str:
        """By the device's time."""
        return min((name for name in self.times if name != OURS), key=lambda name: self.times[name].device)

    @property
    def ratio(self) -> float:
        return self.times[self.fastest_peer].device / self.ours.device

    @property
    def wall_ratio(self) -> float:
        """Against the eager peer, not compiled, whose call is the shortest."""
        eager = (times.wall for name, times in self.times.items() if name != OURS and not name.startswith("compiled "))
        return min(eager) / self.ours.wall

    @property
    def floor_share(self) -> float:
        return self.work.floor_s / self.ours.device


@dataclass(frozen=True)
class Share:
    """What a penalty adds to a training step."""

    shape: Mapping[str, int]
    times: Mapping[str, Times]

    def of(self, name: str) -> float:
        return self.times[name].device / self.times[STEP].device - 1


@dataclass(frozen=True)
class Memory:
    shape: Mapping[str, int]
    peak_bytes: int

    @property
    def over(self) -> float:
        """The peak as a share of weight_hh and its gradient."""
        return self.peak_bytes / (2 * gpu_floors.FLOAT * self.shape["n"] ** 2)


Entry = Race | Share | Memory


def line(entry: Entry) -> str:
    """What the terminal shows as soon as it is measured."""
    if isinstance(entry, Memory):
        return f"memory, {as_shape(entry.shape)}: peak {entry.over:.3f} of weight_hh and its gradient"
    if isinstance(entry, Share):
        shares = ", ".join(f"{name} {entry.of(name):+.1%}" for name in entry.times if name != STEP)
        return f"{TRAINING_STEP}, {as_shape(entry.shape)}: {as_time(entry.times[STEP].device)}, {shares}"
    times = "; ".join(f"{name} {_times(each)}" for name, each in entry.times.items())
    return f"{entry.case}, {as_shape(entry.shape)}: {times}; floor {as_time(entry.work.floor_s)}"


def document(entries: Sequence[Entry]) -> str:
    about = _about()
    where = (
        f"{about['device']}, driver {about['driver']}, PyTorch {about['torch']}, CUDA {about['cuda']}, "
        f"Python {about['python']}; {about['date']}; `{COMMAND}`."
    )
    what = (
        "Value and gradient for every weight, float32, medians. Times are the device's: replays of a CUDA graph, or "
        "queued calls where it cannot be captured (marked *). The peers' too, each captured where it can be; a call is "
        "the wall time of an eager one."
    )
    races = [entry for entry in entries if isinstance(entry, Race)]
    rows = [row for entry in entries for row in _target_rows(entry)]
    return "\n\n".join(
        ["", where + " " + what, as_table(_TARGET_HEADER, rows), as_table(_CASE_HEADER, map(_case_row, races)), ""]
    )


def write(entries: Sequence[Entry]) -> list[Path]:
    """results/<device>.json and .md, and the part of the page between the markers."""
    RESULTS.mkdir(exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", str(_about()["device"]).lower())
    json_path, markdown_path = RESULTS / f"{name}.json", RESULTS / f"{name}.md"
    json_path.write_text(json.dumps(_as_json(entries), indent=1, ensure_ascii=False) + "\n")
    text = document(entries).strip() + "\n"
    markdown_path.write_text(text)
    write_between(PAGE, BEGIN, END, text)
    return [json_path, markdown_path, PAGE]


# The targets ---------------------------------------------------------------------------------------------------------

_TARGET_HEADER = ("case", "target", "measured", "reached")


def _target_rows(entry: Entry) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []

    def row(label: str, target: str, measured: str, reached: bool) -> None:
        rows.append((label, target, measured, "yes" if reached else "no"))

    if isinstance(entry, Memory):
        label = f"peak memory, {as_shape(entry.shape)}"
        row(label, "≤ 1.02 of weight_hh and its gradient", f"{entry.over:.3f}", entry.over <= 1.02)
        return rows
    if isinstance(entry, Share):
        share = entry.of(OURS)
        row(f"{TRAINING_STEP}, {as_shape(entry.shape)}", "penalty ≤ 5 %", f"{share:.1%}", share <= 0.05)
        return rows

    label = f"{entry.case}, {as_shape(entry.shape)}"
    seconds = entry.ours.device

    def at_most(limit: float) -> None:
        row(label, f"≤ {as_time(limit)}", as_time(seconds), seconds <= limit)

    def ratio_of_at_least(times: float, to: str, ratio: float) -> None:
        row(label, f"≥ {times:g}× {to}", f"{ratio:.2f}×", ratio >= times)

    if entry.case == THIN:
        at_most(100e-6)
        horner = min(entry.times[name].device for name in ("horner_from_inputs", "horner_from_outputs"))
        ratio_of_at_least(2.5, "Horner in a CUDA graph", horner / seconds)
        ratio_of_at_least(5, "an eager call of Horner's", entry.wall_ratio)
    elif entry.case == THIN_BATCH:
        ratio_of_at_least(10, "fastest peer", entry.ratio)
    elif entry.case == RECTIFIED:
        at_most(60e-6)
    elif entry.case == THIN_LARGE:
        row(label, "≥ 70 % of the floor", f"{entry.floor_share:.0%}", entry.floor_share >= 0.7)
    elif entry.shape["n"] == 256:
        at_most(0.6e-3)
    else:
        ratio_of_at_least(5, "fastest peer", entry.ratio)
    return rows


# Lines and tables ----------------------------------------------------------------------------------------------------

_CASE_HEADER = ("case", "ours", "fastest peer", "its time", "ratio", "our call", "ratio of calls", "floor / ours")


def _case_row(race: Race) -> Sequence[str]:
    peer = race.times[race.fastest_peer]
    return (
        f"{race.case}, {as_shape(race.shape)}",
        _device_time(race.ours),
        race.fastest_peer,
        _device_time(peer),
        f"{race.ratio:.1f}×",
        as_time(race.ours.wall),
        f"{race.wall_ratio:.1f}×",
        f"{race.floor_share:.0%}",
    )


def _device_time(times: Times) -> str:
    return as_time(times.device) + ("*" if times.graph is None else "")


def _times(times: Times) -> str:
    graph = "" if times.graph is None else f"{as_time(times.graph)} in a graph, "
    return f"{graph}{as_time(times.queued)} queued, {as_time(times.wall)} a call"


def _about() -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {
        "device": torch.cuda.get_device_name(),
        "driver": driver,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
        "date": today(),
        "command": COMMAND,
    }


def _as_json(entries: Sequence[Entry]) -> dict[str, object]:
    races = [entry for entry in entries if isinstance(entry, Race)]
    return {
        "about": _about(),
        "best_rates": {
            "copy, GB/s": gpu_floors.copy_rate() / 1e9,
            "matmul, Gflop/s": gpu_floors.matmul_rate() / 1e9,
        },
        "targets": [dict(zip(_TARGET_HEADER, row, strict=True)) for entry in entries for row in _target_rows(entry)],
        "races": [
            {
                "case": race.case,
                "shape": dict(race.shape),
                "times": {name: asdict(times) for name, times in race.times.items()},
                "fastest_peer": race.fastest_peer,
                "ratio": race.ratio,
                "floor_s": race.work.floor_s,
            }
            for race in races
        ],
        "training_steps": [
            {"shape": dict(share.shape), "times": {name: asdict(times) for name, times in share.times.items()}}
            for share in entries
            if isinstance(share, Share)
        ],
        "memory": [
            {"shape": dict(entry.shape), "peak_bytes": entry.peak_bytes}
            for entry in entries
            if isinstance(entry, Memory)
        ],
    }
