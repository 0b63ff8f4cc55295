"""The example of docs/adding-an-op.md is an op with all that one needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-an-op.md").read_text()

# In a process of its own, where the op may stay.
CHECKS = """
import rrnn_ext
from torch.autograd import gradcheck, gradgradcheck

w = torch.randn(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
traces = torch.stack([each.trace() for each in w.detach()])
assert torch.allclose(loops(w), traces)
assert gradcheck(loops, w, check_forward_ad=True) and gradgradcheck(loops, w, check_fwd_over_rev=True)
assert torch.allclose(torch.func.vmap(loops, in_dims=1)(w.detach().unsqueeze(1).expand(3, 2, 4, 4)), traces)
torch.library.opcheck(loops, (w,))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_runs() -> None:
    (example,) = blocks("python")
    ran = subprocess.run([sys.executable, "-c", example + CHECKS], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", re.findall(r"\| `([^`]*<stem>[^`]*|tests[^`]*|rrnn_ext[^`]*)` \|", PAGE))
def test_every_file_is_where_the_page_says(name: str) -> None:
    assert (ROOT / name.replace("<stem>", "pathway")).exists()
