"""A page to turn pathways over in a browser: pick where they begin, where they end, what they pass, and the lag."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rrnn_ext.reading.page import TEMPLATES, render
from rrnn_ext.reading.strong_edges import strong_edges

# What keeps a page below 5 MB, of which Plotly is 2: at most so many numbers, edges and lags are shown.
ENTRIES, EDGES, LAGS = 300_000, 100_000, 50
_DIGITS = 4


class Words(NamedTuple):
    """What things are called on the page, and how lags are counted.

    Attributes:
        start, end, unit, step: where walks begin and end, what they pass, and what their length is called.
        numbered: a certain length, with # for its number.
        first: the number of the first step that is shown.
        edges: how many edges a walk of the first step has; each further step is one more.
        revisit: whether the walks that are listed may pass a unit more than once.
    """

    start: str
    end: str
    unit: str
    step: str
    numbered: str
    first: int
    edges: int
    revisit: bool


OF_NETWORK = Words("input", "output", "unit", "lag", "lag #", first=0, edges=2, revisit=True)


class Graph(NamedTuple):
    """One graph to choose.

    Attributes:
        name: what it is called.
        walks: (steps, ends, starts), all walks of each step from each start to each end.
        weights: (n, n), sparse COO, coalesced, the edges among the nodes; None where there are none, as of a network
            that ran, whose edges change from step to step.
    """

    name: str
    walks: Tensor
    weights: Tensor | None


@dataclass(frozen=True, eq=False)
class Explorer:
    """A page that is whole in one file and needs nothing from elsewhere: charts by Plotly, and the exact search for
    the strongest walks, made in the browser.

    >>> import torch
    >>> from rrnn_ext.reading import Network
    >>> from rrnn_ext.reading.report import Report
    >>> report = Report(Network.from_module(torch.nn.GRU(3, 8), torch.nn.Linear(8, 2)), steps=20)
    >>> path = report.explorer().write("explorer.html")

    In a notebook an Explorer shows itself.

    Attributes:
        title, about: of the page, a line and a few sentences.
        graphs: at least one, of the same nodes.
        nodes: the names of the n nodes.
        starts, ends: int64 numbers of nodes, in the order of the walks' last two dimensions.
        words: what things are called.
    """

    title: str
    about: str
    graphs: Sequence[Graph]
    nodes: Sequence[str]
    starts: Tensor
    ends: Tensor
    words: Words = OF_NETWORK

    def write(self, path: str | Path) -> Path:
        """Write the page, at most 5 MB, into a folder that is made if it is missing. Returns its path.

        Raises:
            ValueError: walks or weights are not finite.
            ModuleNotFoundError: Plotly is not installed; it comes with the extra ``rrnn_ext[reading]``.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.page(), encoding="utf-8")
        return path

    def page(self) -> str:
        """The HTML."""
        content, remarks = self._content()
        script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("strongest.js", "explorer.js"))
        return render(
            "explorer.html.jinja",
            title=self.title,
            about=self.about,
            remarks=remarks,
            words=self.words,
            graphs=[graph.name for graph in self.graphs],
            plotly=_library(),
            content=_packed(json.dumps(content, allow_nan=False, separators=(",", ":"))),
            script=script,
        )

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.page())}" title="{html.escape(self.title)}" '
            'style="width: 100%; height: 60rem; border: 1px solid #bbb"></iframe>'
        )

    def _content(self) -> tuple[dict[str, Any], list[str]]:
        """What the page's script is given, and what there is to say of what is left out."""
        remarks: list[str] = []
        steps = self.graphs[0].walks.shape[0]
        if steps > LAGS:
            remarks.append(f"The first {LAGS} of {steps} {self.words.step}s are shown.")
        walks = [graph.walks[:LAGS].detach().cpu().double() for graph in self.graphs]
        starts, ends = self._shown(walks)
        for word, every, shown in (
            (self.words.start, self.starts, starts),
            (self.words.end, self.ends, ends),
        ):
            if len(shown) < len(every):
                remarks.append(f"The {len(shown)} of {len(every):,} {word}s with the strongest walks are shown.")
        first, last = self.starts.cpu()[starts], self.ends.cpu()[ends]
        edges = self._edges(first, last, remarks)
        nodes = torch.cat([first, last, *(kept.indices().flatten() for kept in edges if kept is not None)]).unique()
        number = torch.full((len(self.nodes),), -1, device="cpu")
        number[nodes] = torch.arange(len(nodes), device="cpu")
        content = {
            "words": self.words._asdict(),
            "nodes": [self.nodes[node] for node in nodes.tolist()],
            "starts": number[first].tolist(),
            "ends": number[last].tolist(),
            "graphs": [
                {
                    "name": graph.name,
                    "walks": [_rounded(step) for step in found[:, ends][:, :, starts].flatten(1)],
                    "edges": None
                    if kept is None
                    else {
                        "start": number[kept.indices()[1]].tolist(),
                        "end": number[kept.indices()[0]].tolist(),
                        "weight": _rounded(kept.values()),
                    },
                }
                for graph, found, kept in zip(self.graphs, walks, edges, strict=True)
            ],
        }
        return content, remarks

    def _shown(self, walks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Which starts and ends are shown: all, or those with the strongest walks."""
        steps, ends, starts = walks[0].shape
        room = max(1, ENTRIES // max(1, len(walks) * steps))
        side = int(room**0.5)
        of_starts = min(starts, max(side, room // max(1, ends)))
        of_ends = min(ends, max(side, room // max(1, of_starts)))
        sizes = torch.stack([found.abs().sum(0) for found in walks]).sum(0)
        return sizes.sum(0).topk(of_starts).indices.sort().values, sizes.sum(1).topk(of_ends).indices.sort().values

    def _edges(self, starts: Tensor, ends: Tensor, remarks: list[str]) -> list[Tensor | None]:
        steps = min(self.graphs[0].walks.shape[0], LAGS)
        lengths = range(self.words.edges, self.words.edges + steps)
        weighted = [graph for graph in self.graphs if graph.weights is not None]
        kept: list[Tensor | None] = []
        for graph in self.graphs:
            if graph.weights is None:
                kept.append(None)
                continue
            weights = graph.weights.detach().cpu().double()
            found, share = strong_edges(weights, starts, ends, lengths=lengths, most=EDGES // len(weighted))
            kept.append(found)
            if share:
                every, here = weights.values().shape[0], found.values().shape[0]
                remarks.append(
                    f"Of the {every:,} edges of “{graph.name}” the {here:,} with the strongest walks are here, "
                    f"and so is every walk of more than {100 * share:.2g} % of the strength of the strongest one of as "
                    "many edges."
                )
        return kept


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]


@cache
def _library() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs())


def _packed(text: str) -> str:
    """For a browser to unpack: gzip, in letters."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
