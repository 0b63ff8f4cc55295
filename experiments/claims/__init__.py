"""What trained networks show: means over seeds with intervals, claims with verdicts, findings, tables."""
