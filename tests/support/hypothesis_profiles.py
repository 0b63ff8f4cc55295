"""How hypothesis looks for examples; to import this file is to settle it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
# The same examples at every run, so that a failure belongs to the change that caused it;
# `pytest --hypothesis-profile=explore` looks further.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, suppress_health_check=_QUIET)
settings.register_profile("explore", deadline=None, max_examples=500, suppress_health_check=_QUIET)
settings.load_profile("ci")
