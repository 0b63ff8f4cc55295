"""How the site is built: ``make docs``, which executes every code cell of every page."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import rrnn_ext

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "rrnn_ext"
author = "the rrnn_ext developers"
copyright = author
version = release = rrnn_ext.__version__

# The source is the whole tree, so that pages beside the code are on the site as they are, and links between files hold.
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "experiments/*.md",
    "benchmarks/README.md",
    "csrc/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "runs", "dist", "docs/_build", "**/.ipynb_checkpoints"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "documented_options",
    "kernels_without_ports",
]

# Pages
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Execution: nothing is taken from a cache, as what changed may be the library.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_execution_in_temp = True  # what a cell writes is not left in the tree
nb_merge_streams = True
nb_output_stderr = "remove"

# Reference
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it, with shapes
autodoc_default_options = {"members": True}
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]  # "a, b: what both are"
nitpick_ignore_regex = [
    # What others document: nothing is looked up on the network while the site is built.
    (r"py:.*", r"(torch|nn|np|numpy|matplotlib|collections|typing|pathlib)\..*"),
    (r"py:.*", r"(Tensor|Module|Axes|Path|NamedTuple|optional|Any)"),
]

# Looks
html_theme = "pydata_sphinx_theme"
html_title = "rrnn_ext"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to-docs.html"}
templates_path = ["_templates"]
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_theme_options = {
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}


def _skip_fields(app: object, kind: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """The fields of a named tuple are described by its docstring."""
    return True if type(member).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", _skip_fields)
