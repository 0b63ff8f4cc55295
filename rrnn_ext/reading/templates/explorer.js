// The page: what is chosen, and the charts of it.

const POSITIVE = "#0072B2", NEGATIVE = "#D55E00", PALE = "#666666";
const COLOURS = [[0, NEGATIVE], [0.5, "#f7f7f7"], [1, POSITIVE]];
const LISTED = 12; // walks
const ROWS = 60, COLUMNS = 40; // that are named; of more, some
const CONFIG = { displayModeBar: false, responsive: true };

const at = (id) => document.getElementById(id);

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(at(id).textContent.trim()), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const [library, content] = await Promise.all([unpacked("plotly"), unpacked("content")]);
document.head.append(Object.assign(document.createElement("script"), { textContent: library }));
const { words, nodes, starts, ends, graphs } = JSON.parse(content);
const named = { start: starts.map((node) => nodes[node]), end: ends.map((node) => nodes[node]), through: nodes };
const searched = graphs.map((graph) => graph.edges && compressed(graph.edges, nodes.length));
// start and end are places among starts and ends, through a node; null is all of them.
// The graph to begin with is the network as it ran, where it did.
const chosen = { graph: Math.max(0, searched.indexOf(null)), start: null, end: null, through: null, step: 0 };

// Numbers -------------------------------------------------------------------------------------------------------------

// Three digits: 0.0123, 1480, 1.48e7.
function short(value) {
  const rounded = Number(value.toPrecision(3));
  return Math.abs(rounded) < 1e5 ? String(rounded) : rounded.toExponential().replace("e+", "e");
}
const stepName = (step) => words.numbered.replace("#", words.first + step);
const entry = (step, end, start) => graphs[chosen.graph].walks[step][end * starts.length + start];
const ranges = () => [
  chosen.end === null ? [...ends.keys()] : [chosen.end],
  chosen.start === null ? [...starts.keys()] : [chosen.start],
];

// Of each step: the walk sum of the chosen pair, or the share of the chosen rows and columns in the strength of all steps.
function profile() {
  const [rows, columns] = ranges();
  const steps = graphs[chosen.graph].walks.keys();
  if (rows.length === 1 && columns.length === 1) return [...steps].map((step) => entry(step, rows[0], columns[0]));
  const sizes = [...steps].map((step) => rows.reduce(
    (sum, row) => sum + columns.reduce((part, column) => part + Math.abs(entry(step, row, column)), 0), 0));
  const all = sizes.reduce((sum, size) => sum + size, 0) || 1;
  return sizes.map((size) => (100 * size) / all);
}

const from = () => (chosen.start === null ? `all ${words.start}s` : named.start[chosen.start]);
const to = () => (chosen.end === null ? `all ${words.end}s` : named.end[chosen.end]);

// Charts --------------------------------------------------------------------------------------------------------------

const layout = (more) => ({
  margin: { l: 55, r: 10, t: 10, b: 45 }, font: { family: "system-ui, sans-serif", size: 12, color: "#111" },
  paper_bgcolor: "white", plot_bgcolor: "white", showlegend: false, ...more,
});

function drawProfile() {
  const values = profile(), isPair = chosen.start !== null && chosen.end !== null;
  const labels = values.map((_, step) => words.first + step);
  const bars = {
    type: "bar", x: labels, y: values, hovertemplate: `${words.step} %{x}: %{y:.3g}<extra></extra>`,
    marker: {
      color: values.map((value) => (value < 0 ? NEGATIVE : POSITIVE)),
      pattern: { shape: values.map((value) => (value < 0 ? "/" : "")) },
      line: { color: "black", width: values.map((_, step) => (step === chosen.step ? 3 : 0)) },
    },
  };
  const title = isPair ? "All walks, added up" : "Share (%)";
  Plotly.react("profile", [bars], layout({
    xaxis: { title: { text: words.step }, dtick: values.length > 12 ? undefined : 1 }, yaxis: { title: { text: title }, zeroline: true },
  }), CONFIG);
  at("profile-title").textContent = `From ${from()} to ${to()}, by ${words.step}`;
  const most = values.reduce((best, value, step) => (Math.abs(value) > Math.abs(values[best]) ? step : best), 0);
  at("profile").setAttribute("aria-label", `Bars by ${words.step}; the largest is ${short(values[most])} at ${stepName(most)}.`);
}

function drawMap() {
  const z = ends.map((_, row) => starts.map((_, column) => entry(chosen.step, row, column)));
  let largest = 0, place = [0, 0];
  z.forEach((values, row) => values.forEach((value, column) => {
    if (Math.abs(value) > largest) { largest = Math.abs(value); place = [row, column]; }
  }));
  // Colours go with the root of an entry, as sides of squares do in rrnn_ext.plot: weak pathways are seen beside strong ones.
  const root = (value) => Math.sign(value) * Math.sqrt(Math.abs(value)), ticks = [-largest, -largest / 4, 0, largest / 4, largest];
  const heat = {
    type: "heatmap", z: z.map((values) => values.map(root)), zmin: -root(largest) || -1, zmax: root(largest) || 1, colorscale: COLOURS,
    colorbar: { thickness: 10, len: 0.9, title: { text: "√ scale", side: "top" }, tickvals: ticks.map(root), ticktext: ticks.map(short) },
    text: z.map((values, row) => values.map((value, column) => `${named.start[column]} → ${named.end[row]}: ${short(value)}`)),
    hovertemplate: "%{text}<extra></extra>",
  };
  const line = { color: "black", width: 1.5 }, shapes = [];
  if (chosen.start !== null) shapes.push({ type: "rect", x0: chosen.start - 0.5, x1: chosen.start + 0.5, y0: -0.5, y1: ends.length - 0.5, line });
  if (chosen.end !== null) shapes.push({ type: "rect", y0: chosen.end - 0.5, y1: chosen.end + 0.5, x0: -0.5, x1: starts.length - 0.5, line });
  const axis = (names, word, most) => {
    const tickvals = [...names.keys()].filter((place) => place % Math.ceil(names.length / most) === 0);
    const ticktext = tickvals.map((place) => names[place].replace(`${word} `, ""));
    const tickfont = { size: names.length > 20 ? 10 : 12 };
    return { title: { text: word, standoff: 8 }, showgrid: false, zeroline: false, automargin: true, tickmode: "array", tickvals, ticktext, tickfont };
  };
  const height = Math.max(320, 12 * Math.min(ROWS, ends.length) + 75); // room for each name, in pixels
  at("map").style.height = `${height}px`;
  Plotly.react("map", [heat], layout({
    height, shapes, xaxis: axis(named.start, words.start, COLUMNS), yaxis: { ...axis(named.end, words.end, ROWS), autorange: "reversed" },
  }), CONFIG);
  at("map-title").textContent = `Map from ${words.start}s to ${words.end}s, ${stepName(chosen.step)}`;
  at("map").setAttribute("aria-label", `Map; the largest entry is ${short(z[place[0]]?.[place[1]] ?? 0)}, from ` +
    `${named.start[place[1]]} to ${named.end[place[0]]}.`);
}

function foundWalks() {
  const graph = searched[chosen.graph], [rows, columns] = ranges();
  return strongestWalks(graph, columns.map((column) => starts[column]), rows.map((row) => ends[row]),
    words.edges + chosen.step, LISTED, chosen.through, words.revisit);
}

function drawWalks(walks) {
  const layers = Array.from({ length: words.edges + chosen.step + 1 }, () => new Map());
  const edges = new Map();
  for (const { units, edges: along, weight } of walks) {
    units.forEach((unit, step) => layers[step].has(unit) || layers[step].set(unit, layers[step].size));
    along.forEach((edge, step) => {
      const key = `${step} ${units[step]} ${units[step + 1]}`;
      if (!edges.has(key)) edges.set(key, { step, start: units[step], end: units[step + 1], edge, size: Math.abs(weight) });
    });
  }
  const above = (step, unit) => (layers[step].size - 1) / 2 - layers[step].get(unit);
  const largest = walks.length ? Math.abs(walks[0].weight) : 1;
  const traces = [...edges.values()].map(({ step, start, end, edge, size }) => ({
    type: "scatter", mode: "lines", hoverinfo: "skip", x: [step, step + 1], y: [above(step, start), above(step + 1, end)], opacity: 0.6,
    line: { color: edge < 0 ? NEGATIVE : POSITIVE, dash: edge < 0 ? "dash" : "solid", width: Math.max(1, (7 * size) / largest) },
  }));
  const places = layers.flatMap((units, step) => [...units.keys()].map((unit) => ({ step, unit })));
  traces.push({
    type: "scatter", mode: "markers+text", x: places.map(({ step }) => step), y: places.map(({ step, unit }) => above(step, unit)),
    text: places.map(({ unit }) => nodes[unit]), customdata: places.map(({ unit }) => unit), textposition: "top center", cliponaxis: false,
    hovertemplate: "%{text}<extra></extra>", marker: { size: 11, color: "white", line: { color: PALE, width: 1.5 } },
  });
  const none = { visible: false, fixedrange: true };
  const tallest = Math.max(...layers.map((units) => units.size));
  const height = Math.max(220, 34 * tallest + 40); // room for each name, in pixels
  Object.assign(at("graph-of-walks").style, { minWidth: `${layers.length * 5}rem`, height: `${height}px` });
  Plotly.react("graph-of-walks", traces, layout({
    height, margin: { l: 40, r: 40, t: 25, b: 15 }, hovermode: "closest", xaxis: { ...none, range: [-0.2, layers.length - 0.8] },
    yaxis: { ...none, range: [-tallest / 2, tallest / 2 + 0.2] },
  }), CONFIG);
}

function drawPathways() {
  const passing = chosen.through === null ? "" : ` through ${nodes[chosen.through]}`;
  at("walks-title").textContent = `The strongest walks from ${from()} to ${to()}${passing}, ${stepName(chosen.step)}`;
  const isFixed = searched[chosen.graph] !== null;
  at("of-walks").hidden = at("through").disabled = !isFixed;
  if (!isFixed) return `The edges of “${graphs[chosen.graph].name}” change from step to step: choose another graph to see its walks one by one.`;
  const { walks, complete } = foundWalks();
  drawWalks(walks);
  const written = walks.map(({ units, edges, weight }) => [
    edges.reduce((text, edge, step) => `${text} ${edge < 0 ? "⊣" : "→"} ${nodes[units[step + 1]]}`, nodes[units[0]]), short(weight),
  ]);
  at("walks").replaceChildren(...written.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return row;
  }));
  at("graph-of-walks").setAttribute("aria-label", walks.length ? `${walks.length} walks; they are in the table below.` : "No walks.");
  if (!complete) return "There are more strong walks in circles than can be looked at: the list may end early.";
  return walks.length ? "" : "No such walk is here.";
}

function draw() {
  drawProfile();
  drawMap();
  at("said").textContent = drawPathways();
  at("step-name").textContent = stepName(chosen.step);
  at("step").value = chosen.step;
  at("start").value = chosen.start === null ? "" : named.start[chosen.start];
  at("end").value = chosen.end === null ? "" : named.end[chosen.end];
  at("through").value = chosen.through === null ? "" : nodes[chosen.through];
  if (window.frameElement) window.frameElement.style.height = `${document.documentElement.scrollHeight + 20}px`; // in a notebook
}

function choose(more) {
  Object.assign(chosen, more);
  draw();
}

// What a person does --------------------------------------------------------------------------------------------------

// The place of a name, or of the only one that begins or ends so; null where nothing was asked for, -1 where there is none.
function lookUp(names, asked) {
  const text = asked.trim().toLowerCase(), lower = names.map((name) => name.toLowerCase());
  if (text === "") return null;
  if (lower.includes(text)) return lower.indexOf(text);
  const like = [...names.keys()].filter((place) => lower[place].startsWith(text) || lower[place].endsWith(` ${text}`));
  return like.length === 1 ? like[0] : -1;
}

for (const [field, list, word] of [["start", "starts", words.start], ["end", "ends", words.end], ["through", "nodes", words.unit]]) {
  at(list).replaceChildren(...named[field].map((name) => Object.assign(document.createElement("option"), { value: name })));
  at(field).addEventListener("change", () => {
    const place = lookUp(named[field], at(field).value);
    if (place === -1) at("said").textContent = `No ${word} that is shown is called “${at(field).value.trim()}”.`;
    else choose({ [field]: place });
  });
}
at("choice").addEventListener("submit", (event) => event.preventDefault());
at("reset").addEventListener("click", () => choose({ start: null, end: null, through: null }));
if (at("graph")) at("graph").value = chosen.graph;
at("graph")?.addEventListener("change", () => choose({ graph: Number(at("graph").value) }));
at("step").max = graphs[0].walks.length - 1;
at("step").addEventListener("input", () => choose({ step: Number(at("step").value) }));

drawWalks([]); // a chart has to be there to be listened to
const shares = profile();
choose({ step: shares.indexOf(Math.max(...shares)) });
at("profile").on("plotly_click", ({ points }) => choose({ step: points[0].pointNumber }));
at("map").on("plotly_click", ({ points }) => choose({ end: points[0].pointNumber[0], start: points[0].pointNumber[1] }));
at("graph-of-walks").on("plotly_click", ({ points }) => {
  const unit = points[0].customdata;
  if (unit !== undefined) choose({ through: unit === chosen.through ? null : unit });
});
document.body.dataset.ready = "yes";
