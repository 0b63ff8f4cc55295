"""``python -m experiments``: the commands, or one sentence on what has to be installed for them."""

from __future__ import annotations

import sys

READING = "-e '.[reading]' && pip install -r experiments/requirements.txt"
CLUSTER = "-e '.[cluster]'"
OPTIONAL_PACKAGES = {
    "dask": "dask",
    "distributed": "distributed",
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
        extra = CLUSTER if package in ("dask", "distributed") else READING
        sys.exit(f"python -m experiments needs {package}: pip install --no-build-isolation {extra}")


if __name__ == "__main__":
    main()
