"""What is to be said of one network: tables for the terminal, and with pictures as a page and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import rrnn_ext
from rrnn_ext.networks.states import CheckpointError
from rrnn_ext.reading import pictures
from rrnn_ext.reading.exhibit import Exhibit
from rrnn_ext.reading.explorer import Explorer, Graph
from rrnn_ext.reading.lags import gini, hop_profile, hoyer, mean_lag
from rrnn_ext.reading.network import Network
from rrnn_ext.reading.page import render
from rrnn_ext.reading.sheet import Sheet
from rrnn_ext.reading.whole_graph import whole_graph

_LAGS_AT_ONCE = 10  # in the terminal: they fit 80 columns whatever their shares


class Report:
    """The tables and pictures of a network.

    >>> import torch
    >>> from rrnn_ext.reading import Network
    >>> from rrnn_ext.reading.report import Report
    >>> report = Report(Network.from_module(torch.nn.RNN(3, 8), torch.nn.Linear(8, 2)), steps=20)
    >>> report.about
    'L = 20, 8 hidden units, 3 inputs, 2 outputs'
    >>> files = report.write("report")
    >>> files[0]
    'report.html'

    Args:
        network: what is read.
        steps: how many lags: the length of the sequences. That which the checkpoint tells if left out.
        beside: walks (L, o, i) that the network's are drawn beside, by what they are called.
        sequences: (count, steps, i) to run the network on. Its own walks then stand beside those of its weights.

    Attributes:
        walks: (graphs, L, o, i), the first one "as it ran" where there are sequences.
        graphs: what each graph is called, "walks" where it needs no name.
        sheets: the tables, to which more may be added.

    Raises:
        CheckpointError: ``steps`` is left out and not known, or the walks are not finite.
        ValueError: ``steps`` is below 1.
    """

    def __init__(
        self,
        network: Network,
        *,
        steps: int | None = None,
        beside: Mapping[str, Tensor] | None = None,
        sequences: Tensor | None = None,
    ) -> None:
        steps = network.steps if steps is None else steps
        if steps is None and sequences is not None:
            steps = sequences.shape[1]
        if steps is None:
            raise CheckpointError("the checkpoint does not tell how long the sequences were (L): give it by --steps")
        self.network = network
        self.walks = network.walks(steps)
        if not bool(self.walks.isfinite().all()):
            lag = int((~self.walks.isfinite()).flatten(2).any(-1).any(0).nonzero()[0])
            raise CheckpointError(f"the walks of {lag} steps and more are not finite: weights are NaN or too large")
        self.graphs = [name or "walks" for name in network.graphs]
        self.beside = dict(beside or {})
        self._ran_on = "" if sequences is None else f"; ran on {_counted(sequences)}"
        if sequences is not None:
            ran = network.walks_on(sequences)[:steps].to(self.walks)
            ran = torch.nn.functional.pad(ran, (0, 0, 0, 0, 0, steps - len(ran)))
            self.walks, self.graphs = torch.cat([ran.unsqueeze(0), self.walks]), ["as it ran", *self.graphs]
        remark = _remark(network, ran=sequences is not None)
        self.sheets = [_measures(network, self.walks, self.graphs, remark), _lags(self.walks, self.graphs)]

    @property
    def about(self) -> str:
        """The sizes in a sentence, how many sequences it ran on, and where the weights were read."""
        _, steps, outputs, inputs = self.walks.shape
        read = ", ".join(f"{role} = {name}" for role, name in self.network.names.items())
        units, module = self.network.weight_hh.shape[-1], self.network.module
        hidden = f"{units} hidden units"
        if isinstance(module, torch.nn.LSTM) and module.proj_size:
            hidden += f" projected from {units // module.proj_size * module.hidden_size}"
        sizes = f"L = {steps}, {hidden}, {inputs} inputs, {outputs} outputs{self._ran_on}"
        return f"{sizes}; read from {read}" if read else sizes

    def exhibits(self) -> list[Exhibit]:
        """The influence maps, the maps by lag and the hop profiles, drawn anew."""
        walks = dict(zip(self.graphs, self.walks, strict=True))
        return [
            pictures.influence_maps({**self.beside, **walks}),
            pictures.walks_by_lag({**self.beside, **walks}),
            pictures.shares_by_lag(walks, self.beside),
        ]

    def explorer(self) -> Explorer:
        """The same to be turned over in a browser: one page, to be written by its ``write``."""
        network = self.network
        weights = (network.weight_hh, network.weight_in, network.weight_out)
        wholes = [whole_graph(*own) for own in zip(*weights, strict=True)]
        edges = [*[None] * (len(self.graphs) - len(wholes)), *(whole.weights for whole in wholes)]
        graphs = [Graph(*one) for one in zip(self.graphs, self.walks, edges, strict=True)]
        ends = wholes[0].inputs, wholes[0].outputs
        return Explorer("A network by its walks", self.about, graphs, wholes[0].names, *ends)

    def show(self, console: Console) -> None:
        """Print the tables."""
        console.print(self.about, soft_wrap=True)
        for sheet in self.sheets:
            console.print(sheet.rich())
            console.print(f"{sheet.text}\n")

    def write(self, folder: str | Path) -> list[str]:
        """Write report.html, which is whole in one file, each table as CSV, and each picture as PNG and CSV into
        ``folder``, which is made if it is missing. Returns the names of the files."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        exhibits = self.exhibits()
        for sheet in self.sheets:
            sheet.write_csv(folder / f"{_file(sheet)}.csv")
        for exhibit in exhibits:
            exhibit.save(folder)
        content = {"about": self.about, "sheets": self.sheets, "exhibits": exhibits}
        page = render("network.html.jinja", title="A network by its walks", **content)
        (folder / "report.html").write_text(page, encoding="utf-8")
        pictured = [f"{exhibit.name}.{kind}" for exhibit in exhibits for kind in ("png", "csv")]
        return ["report.html", *(f"{_file(sheet)}.csv" for sheet in self.sheets), *pictured]


def _file(sheet: Sheet) -> str:
    return sheet.title.replace(" ", "_")


def _counted(sequences: Tensor) -> str:
    count, steps, _ = sequences.shape
    return f"{count} sequence{'s' if count > 1 else ''} of {steps} step{'s' if steps > 1 else ''}"


@torch.no_grad()
def _measures(network: Network, walks: Tensor, graphs: list[str], remark: str) -> Sheet:
    profile = hop_profile(walks)
    total, strengths = walks.sum(1).abs().sum((-2, -1)), walks.abs().sum((-3, -2, -1))
    of_weights = [f"{radius:.3g}" for radius in rrnn_ext.resolvent_info(network.weight_hh).spectral_radius.tolist()]
    radii = [""] * (len(graphs) - len(of_weights)) + of_weights  # the network as it ran has no weight of its own
    columns = {
        "mean lag": mean_lag(profile),
        "Hoyer": hoyer(profile),
        "Gini": gini(profile),
        "‖R‖₁": total,
        "Σ‖P‖₁": strengths,
        "not cancelled": total / strengths,
    }
    rows = [
        [name, radii[k], *(f"{values[k].item():.3g}" for values in columns.values())] for k, name in enumerate(graphs)
    ]
    text = (
        "Spectral radius of the recurrent weight. Mean lag, and Hoyer's and Gini's sparsity of the hop profile (0 "
        "even, 1 a single lag). ‖R‖₁ = ‖Σ_m P_m‖₁ and Σ‖P‖₁ = Σ_m ‖P_m‖₁; their ratio is 1 if lags do not cancel one "
        "another." + remark
    )
    return Sheet("network", text, ["", "spectral radius", *columns], rows)


def _remark(network: Network, *, ran: bool) -> str:
    gates = " The walks through one gate's weights are not what a gated network does" if network.is_gated else ""
    if ran:
        biases = "" if getattr(network.module, "bias", False) else ", without biases"
        return (f"{gates}; those of the network as it ran are." if gates else "") + (
            f" As it ran{biases}: P_m by the step Jacobians (of an nn.RNN out of a checkpoint those of tanh), of each "
            "step their mean over the sequences. They have the pattern of the mean of dy_T / dx_{T-m}, and are "
            "smaller, by up to a fifth and more, where Jacobians of different steps vary together "
            "(the documentation's page The network that runs: where the mean is not the network)."
        )
    return f"{gates}: give sequences that it ran on (--data) for those that are." if gates else ""


def _lags(walks: Tensor, graphs: list[str]) -> Sheet:
    rows = [
        [name, *(f"{100 * share:.1f}" for share in shares.tolist())]
        for name, shares in zip(graphs, hop_profile(walks), strict=True)
    ]
    text = "‖P_m‖₁ by lag m, in % of Σ_m ‖P_m‖₁; lag 0 is the last step."
    return Sheet("hop profile", text, ["", *map(str, range(walks.shape[1]))], rows, fold=_LAGS_AT_ONCE)
