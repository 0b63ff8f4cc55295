"""Folders of results: one process at a time writes into one, and what it leaves is whole, however it ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class BusyError(RuntimeError):
    """Another process is writing into the same folder."""


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """No other process may write into ``out``, which is made if it is missing, meanwhile.

    The lock is the operating system's, on a file that tells who has it, and ends with the process, however that ends.
    It holds between machines that share the folder by NFS.

    Raises:
        BusyError: another process is at it, on which machine.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip()
            raise BusyError(
                f"another process is writing into {out}{owner and f' ({owner})'}: wait for it, or choose another folder"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what is to be ``path``: it is there when it is whole, and a process that is killed leaves what was
    there before."""
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.unlink(missing_ok=True)
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def lines(path: Path) -> list[str]:
    """The lines of a file, none if there is no file: without what a killed process left of a last one."""
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()


def add_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines to a file, all in one write, in place of what a killed process left of a last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())
