"""The ops ``torch.ops.rrnn_ext.*``, a file for each family: fake kernels, derivatives and vmap beside one another.

This loads the native library. A family's kernels are in csrc/, under the same name.
"""

from __future__ import annotations

import torch

try:
    from rrnn_ext import _C
except ImportError as error:
    raise ImportError(
        "rrnn_ext's native library is not built for this Python and PyTorch; "
        "in the source tree, run: pip install --no-build-isolation ."
    ) from error

native = torch.ops.rrnn_ext
CUDA_ARCHS = tuple(_C.build_info()["cuda_archs"])
