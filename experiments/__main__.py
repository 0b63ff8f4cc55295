"""``python -m experiments``: the commands, or one sentence on what has to be installed for them."""

from __future__ import annotations

import sys

OPTIONAL_PACKAGES = {
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "statsmodels": "statsmodels",
    "typer": "typer",
}


def main() -> None:
    try:
        from experiments.cli import app

        app()  # the data sets' packages are imported when a data set is
    except ModuleNotFoundError as error:
        package = OPTIONAL_PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        sys.exit(
            f"python -m experiments needs {package}: "
            "pip install --no-build-isolation -e '.[reading]' && pip install -r experiments/requirements.txt"
        )


if __name__ == "__main__":
    main()
