"""``.. documented-options:: rrnn_ext.resolvent_penalty``: a table of its options, from signature and docstring.

So an option is described in one place. An argument that the docstring does not describe is an error of the build.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def descriptions(docstring: str) -> dict[str, str]:
    """What the section "Args:" of a docstring of Google's style says of each argument."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.cleandoc(docstring), re.MULTILINE | re.DOTALL)
    entries = re.split(r"^    (?=\w[\w, ]*:)", section[1] if section else "", flags=re.MULTILINE)[1:]
    found = {}
    for entry in entries:
        names, text = entry.split(":", 1)
        found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def defaults(function: Callable[..., Any]) -> dict[str, str]:
    """Every parameter and its default as source, "" where there is none."""
    return {
        name: "" if each.default is each.empty else repr(each.default).replace("'", '"')
        for name, each in inspect.signature(function).parameters.items()
        if name != "self"
    }


class DocumentedOptions(SphinxDirective):
    """The options ``only``, separated by spaces, or all but the weights."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {"only": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        documented = getattr(import_module(module), name)
        said, known = descriptions(documented.__doc__), defaults(documented)
        chosen = self.options.get("only", " ".join(key for key in known if not key.startswith("weight_"))).split()
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 18 14 68", ""]
        for row in (
            ("option", "default", "what it is"),
            *((f"``{key}``", f"``{known[key]}``" if known[key] else "", said[key]) for key in chosen),
        ):
            lines += [f"   {'*' if k == 0 else ' '} - {cell}" for k, cell in enumerate(row)]
        # So that a docstring's references are looked up from where it stands.
        context = self.env.ref_context
        before, here = dict(context), {"py:module": module, "py:class": name if inspect.isclass(documented) else None}
        context.update(here)
        try:
            return self.parse_text_to_nodes(StringList(lines, self.get_source_info()[0]))
        finally:
            context.clear()
            context.update(before)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("documented-options", DocumentedOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
