"""The ``ledger`` every benchmark writes to, a line on the terminal for each entry, and the tables at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import jax_peers, report
from benchmarks.ledger import Ledger

LEDGER = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: part of the representative subset that --quick runs")
    config.stash[LEDGER] = Ledger()


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    ledger = request.config.stash[LEDGER]
    yield ledger
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    assert terminal is not None
    for entry in ledger.new():
        terminal.write_line(report.line(entry))


def pytest_report_header() -> str | None:
    return None if jax_peers.INSTALLED else jax_peers.MISSING


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dot for a benchmark that went well: its line in the table says so."""
    return ("passed", "", "") if report.passed and report.when == "call" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    ledger = config.stash[LEDGER]
    if not ledger.entries:
        return
    terminalreporter.write_line(report.document(ledger))
    if exitstatus == 0 and "deselected" not in terminalreporter.stats:
        for path in report.write(ledger):
            terminalreporter.write_line(f"wrote {path}")
