"""``python -m benchmarks.gpu.report FOLDER``: what run.sh left in FOLDER, as tables. On any machine, without PyTorch.

Of a GPU it writes results/<device>.json and .md, and the page's part between the markers for CUDA; of a dry run
FOLDER/report.json and .md alone. What a folder lacks is said.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.gpu import targets
from benchmarks.gpu.record import BOTH, GATHER, PRODUCTS, WHOLE, Folder, HopPart, Race, Rates, Times
from benchmarks.names import OURS, TRAINING_STEP
from benchmarks.tables import DOCS, RESULTS, as_shape, as_table, as_time, write_between

PAGE = DOCS / "cuda.md"
BEGIN, END = "<!-- bench-cuda:begin -->", "<!-- bench-cuda:end -->"
COMMAND = "benchmarks/gpu/run.sh"


def document(folder: Folder) -> str:
    """Everything as Markdown: where and how, what is missing, the targets, the cases, the parts of a hop."""
    parts = [_where(folder)]
    if missing := list(_missing(folder)):
        parts.append("Not in these figures:\n\n" + "\n".join(f"- {line}" for line in missing))
    parts.append(as_table(targets.HEADER, targets.rows(folder)))
    races = [race for race in folder.all_races() if race.peers and race.is_ours_measured and race.case != TRAINING_STEP]
    if races:
        parts.append(as_table(_CASE_HEADER, (_case_row(race, folder.rates) for race in races)))
    if steps := [race for race in folder.all_races() if race.case == TRAINING_STEP]:
        rows = [
            (as_shape(race.shape), name, _device_time(times)) for race in steps for name, times in race.times.items()
        ]
        parts.append(as_table((TRAINING_STEP, "with", "time"), rows))
    if folder.hop_parts:
        parts.append(as_table(_HOP_HEADER, _hop_rows(list(folder.hop_parts.values()))))
    return "\n\n".join(parts) + "\n"


def write(folder: Folder, path: Path) -> list[Path]:
    """The files that were written."""
    text = document(folder)
    of_a_gpu = not folder.about.get("emulated", True)
    name = re.sub(r"[^a-z0-9]+", "-", folder.about["device"].lower()) if of_a_gpu else "report"
    json_path, markdown_path = ((RESULTS if of_a_gpu else path) / f"{name}{suffix}" for suffix in (".json", ".md"))
    json_path.write_text(json.dumps(_as_json(folder), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    markdown_path.write_text(text, encoding="utf-8")
    if not of_a_gpu:
        return [json_path, markdown_path]
    write_between(PAGE, BEGIN, END, text)
    return [json_path, markdown_path, PAGE]


def _where(folder: Folder) -> str:
    about = folder.about
    if not about:
        return "The machine is not known."
    where = (
        f"{about['device']}, driver {about['driver']}, PyTorch {about['torch']}, CUDA {about['cuda']}, "
        f"Python {about['python']}; {about['date']}; `{COMMAND}`."
    )
    if about["emulated"]:
        return f"A dry run, whose times mean nothing: {where}"
    return (
        f"{where} Value and gradient for every weight, float32, medians. Times are the device's: replays of a CUDA "
        "graph, or queued calls where it was not captured (marked *). The peers' too, each captured where it can be; "
        "a call is the wall time of an eager one. Ours is accumulate_grad where it is measured."
    )


def _missing(folder: Folder) -> Iterator[str]:
    for step in folder.steps.values():
        if step.code != 0:
            yield f"`{step.name}` {step.ending}"
    for (entry, contender), error in folder.failures.items():
        yield f"{contender} of `{entry}`: {error.splitlines()[0]}"
    if packages := folder.about.get("missing"):
        yield f"Python packages that tests use and that were not there: {packages}"
    if not folder.steps:
        yield "how the steps of the run ended"
    if folder.rates is None:
        yield "the device's rates, and with them what share of the floor is reached"


# Tables --------------------------------------------------------------------------------------------------------------

_CASE_HEADER = ("case", "ours", "through the loss", "fastest peer", "its time", "ratio", "our call", "floor / ours")
_HOP_HEADER = ("a hop of", "whole", "of it the gather", "of it the products", "neither")


def _case_row(race: Race, rates: Rates | None) -> Sequence[str]:
    peer, floor = race.times[race.fastest_peer], race.floor_s(rates)
    return (
        f"{race.case}, {as_shape(race.shape)}",
        _device_time(race.ours),
        _device_time(race.times[OURS]) if OURS in race.times else "",
        race.fastest_peer,
        _device_time(peer),
        f"{race.ratio:.1f}×",
        as_time(race.ours.wall),
        "" if floor is None else f"{floor / race.ours.device:.0%}",
    )


def _device_time(times: Times) -> str:
    return as_time(times.device) + ("*" if times.graph is None else "")


def _hop_rows(parts: Sequence[HopPart]) -> Iterator[Sequence[str]]:
    shapes = {as_shape(part.shape): part.shape for part in parts}
    for label, shape in shapes.items():
        seconds = {part.left_out: part.seconds for part in parts if part.shape == shape}

        def saved(left_out: str, seconds: dict[str, float] = seconds) -> str:
            known = WHOLE in seconds and left_out in seconds
            return as_time(seconds[WHOLE] - seconds[left_out]) if known else ""

        whole, neither = (as_time(seconds[name]) if name in seconds else "" for name in (WHOLE, BOTH))
        yield label, whole, saved(GATHER), saved(PRODUCTS), neither


def _as_json(folder: Folder) -> dict[str, object]:
    return {
        "about": folder.about,
        "missing": list(_missing(folder)),
        "best_rates": folder.rates and asdict(folder.rates),
        "targets": [dict(zip(targets.HEADER, row, strict=True)) for row in targets.rows(folder)],
        "races": [asdict(race) | {"floor_s": race.floor_s(folder.rates)} for race in folder.all_races()],
        "hop_parts": [asdict(part) for part in folder.hop_parts.values()],
        "memory": [asdict(entry) for entry in folder.memory.values()],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="what run.sh was given")
    path = parser.parse_args().folder
    folder = Folder.read(path)
    if not (folder.about or folder.steps or folder.races):
        sys.exit(f"{path} has no measurements: neither measured.jsonl nor steps.jsonl says anything")
    print(document(folder))
    for written in write(folder, path):
        print(f"wrote {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
