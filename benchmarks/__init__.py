"""How fast the penalty is, against what a user would write: ``python -m benchmarks``. See README.md."""
