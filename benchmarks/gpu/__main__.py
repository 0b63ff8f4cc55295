"""``python -m benchmarks.gpu``: the names of what is measured on a GPU, or, with ``--only``, measures it."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks.gpu import where
from benchmarks.gpu.entries import ENTRIES, HOT
from benchmarks.gpu.record import Recorder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ENTRIES, metavar="NAME", help="measures these, one by one")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="appends what is measured to FOLDER/measured.jsonl")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="times nothing: one call of ours, of some entries, for a profiler that watches",
    )
    parser.add_argument(
        "--limit", type=int, default=0, metavar="SECONDS", help="ends the process so long after its turn has come"
    )
    arguments = parser.parse_args()
    chosen = arguments.only or (HOT if arguments.profile else ())
    if not chosen:
        print("\n".join(ENTRIES))
        return 0
    where.check()
    where.wait_for_turn(arguments.out)
    signal.alarm(arguments.limit)  # whatever the process waits for then
    failures = 0
    for name in chosen:
        recorder = Recorder(name, arguments.out, arguments.profile)
        ENTRIES[name](recorder)
        failures += recorder.failures
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
