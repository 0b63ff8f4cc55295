"""The lines of a folder of measurements: written one by one as they are known, and read again, on any machine.

``measured.jsonl`` holds what was measured, one JSON object a line with the name of its ``entry`` and its ``kind``;
``steps.jsonl`` how each step of run.sh ended.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.names import COMPILED, DIRECT, OURS

FLOAT = 4  # bytes
MEASURED, STEPS = "measured.jsonl", "steps.jsonl"


@dataclass(frozen=True)
class Times:
    """Medians, in seconds of one call."""

    graph: float | None  # a replay of its CUDA graph; None where it was not captured
    queued: float  # eager calls, queued one behind the other, by the device's clock
    wall: float  # an eager call from an idle device to an idle device, by the host's clock

    @property
    def device(self) -> float:
        return self.queued if self.graph is None else self.graph


@dataclass(frozen=True)
class Work:
    """What nobody can do without."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Rates:
    """The best of the device: bytes of a copy, flops of a float32 matrix product, a second."""

    copy: float
    matmul: float


@dataclass
class Race:
    """One shape of one case, by everyone whose time is known."""

    case: str
    shape: Mapping[str, int]
    work: Work | None = None
    times: dict[str, Times] = field(default_factory=dict)

    @property
    def is_ours_measured(self) -> bool:
        return self.best in self.times

    @property
    def best(self) -> str:
        """Ours as a training loop has it where it need not go through the loss."""
        return DIRECT if DIRECT in self.times else OURS

    @property
    def ours(self) -> Times:
        return self.times[self.best]

    @property
    def peers(self) -> list[str]:
        return [name for name in self.times if name not in (OURS, DIRECT)]

    @property
    def fastest_peer(self) -> str:
        """By the device's time."""
        return min(self.peers, key=lambda name: self.times[name].device)

    @property
    def ratio(self) -> float:
        return self.times[self.fastest_peer].device / self.ours.device

    @property
    def wall_ratio(self) -> float | None:
        """Against the eager peer, not compiled, whose call is the shortest."""
        eager = [self.times[name].wall for name in self.peers if not name.startswith(COMPILED)]
        return min(eager) / self.ours.wall if eager else None

    def floor_s(self, rates: Rates | None) -> float | None:
        """The least time of the work at the device's best rates."""
        if rates is None or self.work is None:
            return None
        return max(self.work.flops / rates.matmul, self.work.bytes / rates.copy)


@dataclass(frozen=True)
class Memory:
    shape: Mapping[str, int]
    peak_bytes: int

    @property
    def over(self) -> float:
        """The peak as a share of weight_hh and its gradient."""
        return self.peak_bytes / (2 * FLOAT * self.shape["n"] ** 2)


# Parts of a hop that may be left out.
WHOLE, GATHER, PRODUCTS, BOTH = "nothing", "the gather", "the products", "both"


@dataclass(frozen=True)
class HopPart:
    """Seconds that a hop takes with a part of it left out."""

    shape: Mapping[str, int]
    left_out: str
    seconds: float


@dataclass
class Recorder:
    """Appends what an entry measures to the folder, or only prints it where there is none."""

    entry: str
    folder: Path | None = None
    profiling: bool = False  # ours once, for a profiler that watches; nothing is timed
    failures: int = 0

    def times(self, race: Race, contender: str, times: Times) -> None:
        race.times[contender] = times
        described = {"case": race.case, "shape": race.shape, "work": race.work and asdict(race.work)}
        self.line("race", **described, contender=contender, times=asdict(times))

    def failed(self, contender: str, error: BaseException) -> None:
        self.failures += 1
        self.line("failure", contender=contender, error=f"{type(error).__name__}: {error}"[:500])

    def line(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"entry": self.entry, "kind": kind, **fields}, ensure_ascii=False)
        print(text, flush=True)
        if self.folder is None:
            return
        with (self.folder / MEASURED).open("a") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class Step:
    """A step of run.sh: how it ended, unless it never did."""

    name: str
    code: int | None = None
    seconds: float = 0.0
    limit: int = 0

    @property
    def ending(self) -> str:
        if self.code is None:
            return "did not end, or was not begun"
        if self.code in (124, 137, 128 + signal.SIGALRM):
            return f"ran past its limit of {self.limit} s"
        if self.code > 128:
            return f"was ended by signal {self.code - 128}"
        return {0: "well", 125: "had no time left", 127: "has no program to run it"}.get(
            self.code, f"failed with code {self.code}"
        )


@dataclass
class Folder:
    """Everything that a folder says, whole or half finished; what was measured again counts as it was last."""

    about: dict[str, Any] = field(default_factory=dict)
    rates: Rates | None = None
    races: dict[str, list[Race]] = field(default_factory=dict)  # by entry
    memory: dict[str, Memory] = field(default_factory=dict)  # by entry
    hop_parts: dict[tuple[str, str], HopPart] = field(default_factory=dict)  # by shape and what is left out
    failures: dict[tuple[str, str], str] = field(default_factory=dict)  # by entry and contender
    steps: dict[str, Step] = field(default_factory=dict)

    def all_races(self) -> Iterator[Race]:
        for races in self.races.values():
            yield from races

    @classmethod
    def read(cls, path: Path) -> Folder:
        found = cls()
        for line in _lines(path / MEASURED):
            found._take(line)
        for line in _lines(path / STEPS):
            for name in line.get("planned", ()):
                found.steps.setdefault(name, Step(name))
            if "step" in line:
                found.steps[line["step"]] = Step(line["step"], line["code"], line["seconds"], line["limit"])
        return found

    def _take(self, line: dict[str, Any]) -> None:
        kind, entry = line["kind"], line["entry"]
        if kind == "about":
            self.about = line["about"]
        elif kind == "rates":
            self.rates = Rates(line["copy"], line["matmul"])
        elif kind == "race":
            self._race(line).times[line["contender"]] = Times(**line["times"])
            self.failures.pop((entry, line["contender"]), None)
        elif kind == "memory":
            self.memory[entry] = Memory(line["shape"], line["peak_bytes"])
        elif kind == "hop part":
            part = HopPart(line["shape"], line["left_out"], line["seconds"])
            self.hop_parts[str(part.shape), part.left_out] = part
        elif kind == "failure":
            self.failures[entry, line["contender"]] = line["error"]

    def _race(self, line: dict[str, Any]) -> Race:
        """That of the line's case and shape, whatever process its other contenders ran in."""
        for race in self.all_races():
            if race.case == line["case"] and race.shape == line["shape"]:
                return race
        work = Work(**line["work"]) if line["work"] else None
        race = Race(line["case"], line["shape"], work)
        self.races.setdefault(line["entry"], []).append(race)
        return race


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Those that are whole: the last one may have been cut off."""
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(text)
        except json.JSONDecodeError:
            print(f"{path}: a line that was cut off is left out")
