"""``python -m rrnn_ext``: the commands, or one sentence on what has to be installed for them."""

from __future__ import annotations

import sys

PACKAGES = ("jinja2", "matplotlib", "plotly", "rich", "safetensors", "typer")  # the extra [reading]


def main() -> None:
    try:
        from rrnn_ext.reading.commands import app

        app(prog_name="python -m rrnn_ext")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        sys.exit(f"python -m rrnn_ext needs {package}: pip install rrnn_ext[reading]")


if __name__ == "__main__":
    main()
