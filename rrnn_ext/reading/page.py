"""Pages from templates: HTML that is whole in one file, and Markdown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *folders: Path, **content: Any) -> str:
    """A template of these folders, or of the library's own, with ``content`` filled in; HTML is escaped.

    ``page.html.jinja`` is the frame of every page, to extend; the macros of ``macros.html.jinja`` show a
    :class:`~rrnn_ext.reading.sheet.Sheet` and an :class:`~rrnn_ext.reading.exhibit.Exhibit`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    environment.filters["anchor"] = _anchor
    return environment.get_template(template).render(**content)


def _anchor(title: str) -> str:
    """Of a heading, as GitHub makes it."""
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
