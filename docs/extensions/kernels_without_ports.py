"""Kernels of notebooks that are talked to over sockets in the file system.

A port is chosen before it is bound, so that of two kernels that start at once one may find its own taken.
"""

from __future__ import annotations

import tempfile
import uuid

import jupyter_client
from sphinx.application import Sphinx
from traitlets import default


class KernelWithoutPorts(jupyter_client.AsyncKernelManager):
    @default("transport")
    def _in_the_file_system(self) -> str:
        return "ipc"

    @default("ip")
    def _where(self) -> str:
        return f"{tempfile.gettempdir()}/kernel-{uuid.uuid4().hex}"


def setup(app: Sphinx) -> dict[str, bool]:
    jupyter_client.AsyncKernelManager = KernelWithoutPorts  # where nbclient looks for it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
