"""Measures on a GPU: ``run.sh`` asks a machine for everything, in order of worth, ``report`` makes tables of it.

run.sh        builds, tests, measures, profiles; each step with a time limit of its own
entries       what is measured, by name; a process for each: ``python -m benchmarks.gpu --only NAME --out FOLDER``
dense, networks, sparse, hop_parts    the entries by subject
race          contenders compared and timed one after the other
record        the lines that an entry appends to FOLDER/measured.jsonl, and reading them again
timing, floors, where    the device, its clock, and what bounds it
targets, report          ``python -m benchmarks.gpu.report FOLDER``, on any machine
"""
