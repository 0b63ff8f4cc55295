// The strongest walks of a graph, exactly: the search of rrnn_ext.reading.strongest_walks, for walks that may have to pass
// a node.

const MOST_STEPS = 200000; // of one search; only walks without revisits can need so many

class Heap {
  // The largest bound comes out first; of equal ones, the first that came in.
  constructor() { this.items = []; this.count = 0; }
  before(a, b) { return a.bound > b.bound || (a.bound === b.bound && a.order < b.order); }
  push(item) {
    item.order = this.count++;
    const items = this.items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.before(item, items[above])) break;
      items[at] = items[above];
      at = above;
    }
    items[at] = item;
  }
  pop() {
    const items = this.items, top = items[0], item = items.pop();
    if (items.length) {
      let at = 0;
      for (;;) {
        let below = 2 * at + 1;
        if (below >= items.length) break;
        if (below + 1 < items.length && this.before(items[below + 1], items[below])) below++;
        if (!this.before(items[below], item)) break;
        items[at] = items[below];
        at = below;
      }
      items[at] = item;
    }
    return top;
  }
}

// The edges out of node a are first[a] ... first[a + 1] - 1 of end and weight.
function compressed(edges, nodes) {
  const first = new Int32Array(nodes + 1);
  for (const start of edges.start) first[start + 1]++;
  for (let node = 0; node < nodes; node++) first[node + 1] += first[node];
  const end = new Int32Array(edges.end.length), weight = new Float64Array(edges.end.length), at = first.slice();
  edges.start.forEach((start, edge) => {
    end[at[start]] = edges.end[edge];
    weight[at[start]++] = edges.weight[edge];
  });
  return { first, end, weight, nodes };
}

// The largest product of |weights| from each node to a target over 0, 1, ... edges; with `through`, of walks that pass it.
function reached(graph, targets, edges, through, all) {
  const start = new Float64Array(graph.nodes);
  for (const target of targets) if (through === null || target === through) start[target] = 1;
  const found = [start];
  for (let length = 1; length <= edges; length++) {
    const values = new Float64Array(graph.nodes), last = found[length - 1];
    for (let node = 0; node < graph.nodes; node++) {
      if (node === through) { values[node] = all[length][node]; continue; }
      let best = 0;
      for (let edge = graph.first[node]; edge < graph.first[node + 1]; edge++) {
        const product = Math.abs(graph.weight[edge]) * last[graph.end[edge]];
        if (product > best) best = product;
      }
      values[node] = best;
    }
    found.push(values);
  }
  return found;
}

// At most `count` walks of so many edges, the strongest first, as {units, edges, weight}; and whether these are sure to be
// all that were asked for.
function strongestWalks(graph, sources, targets, edges, count, through, revisit) {
  const all = reached(graph, targets, edges, null, null);
  const via = through === null ? all : reached(graph, targets, edges, through, all);
  const heap = new Heap(), walks = [];
  const open = (unit, left, weight, edge, parent) => {
    const passed = through === null || unit === through || (parent !== null && parent.passed);
    const bound = Math.abs(weight) * (passed ? all : via)[left][unit];
    if (bound > 0) heap.push({ bound, unit, left, weight, edge, parent, passed });
  };
  for (const source of new Set(sources)) open(source, edges, 1, null, null);
  for (let steps = 0; heap.items.length && walks.length < count; steps++) {
    if (steps === MOST_STEPS) return { walks, complete: false };
    const state = heap.pop();
    if (state.left === 0) {
      const units = [], along = [];
      for (let one = state; one !== null; one = one.parent) {
        units.unshift(one.unit);
        if (one.parent !== null) along.unshift(one.edge);
      }
      walks.push({ units, edges: along, weight: state.weight });
      continue;
    }
    for (let edge = graph.first[state.unit]; edge < graph.first[state.unit + 1]; edge++) {
      const end = graph.end[edge];
      if (!revisit) {
        let one = state;
        while (one !== null && one.unit !== end) one = one.parent;
        if (one !== null) continue;
      }
      open(end, state.left - 1, state.weight * graph.weight[edge], graph.weight[edge], state);
    }
  }
  return { walks, complete: true };
}
