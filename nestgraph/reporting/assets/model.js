// The run: its data, unpacked, and the questions that views ask of it.

const LEVELS = 127, MIDDLE = 128; // how a byte says a weight: packing.py

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).arrayBuffer();
}

class Model {
  constructor(data, buffer) {
    Object.assign(this, data);
    this.buffer = buffer;
    this.last = this.moments.length - 1;
    this.rowOf = new Map(this.rows.map((row) => [row.step, row]));
    this.layerOf = new Map(this.layers.map((layer) => [layer.name, layer]));
    for (const layer of this.layers) {
      layer.factors = this.array(`factor/${layer.name}`);
      layer.states = this.array(`states/${layer.name}`);
      layer.placeOf = new Map(layer.units.map(([id], place) => [id, place]));
    }
    for (const projection of this.projections) this.prepare(projection);
    this.pixelCounts = this.pixels && this.array('pixels');
    this.pixelStrengths = this.pixels && this.array('strengths');
  }

  array(name) {
    const [dtype, offset, size] = this.index[name];
    const kind = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array }[dtype];
    return kind === Uint8Array ? new Uint8Array(this.buffer, offset, size) : new kind(this.buffer.slice(offset, offset + size * kind.BYTES_PER_ELEMENT));
  }

  // Keys are (target * sources + source) * inner + place, ascending; the entries of a pair of units are neighbours.
  prepare(projection) {
    const gaps = this.array(`keys/${projection.name}`), count = gaps.length;
    const sources = this.layerOf.get(projection.source).units.length;
    const inner = projection.inner.reduce((product, extent) => product * extent, 1);
    Object.assign(projection, { count, codes: this.array(`codes/${projection.name}`), scales: this.array(`scale/${projection.name}`), values: this.array(`values/${projection.name}`) });
    projection.regions = this.index[`regions/${projection.name}`] ? this.array(`regions/${projection.name}`) : null;
    projection.inside = new Uint32Array(count);
    projection.pairs = [];
    let key = 0, pair = null;
    for (let entry = 0; entry < count; entry++) {
      key += gaps[entry];
      const edge = Math.floor(key / inner);
      projection.inside[entry] = key - edge * inner;
      if (!pair || pair.edge !== edge) {
        pair = { edge, target: Math.floor(edge / sources), source: edge % sources, from: entry, to: entry };
        projection.pairs.push(pair);
      }
      pair.to = entry + 1;
    }
    if (projection.area) projection.cells = this.array(`area/${projection.name}`);
  }

  weight(projection, moment, entry) {
    const code = projection.codes[moment * projection.count + entry];
    if (code === 0) return 0;
    const level = (code - MIDDLE) / LEVELS;
    return Math.sign(level) * level * level * projection.scales[moment];
  }

  active(projection, moment, entry) { return projection.codes[moment * projection.count + entry] !== 0; }

  factor(layer, moment, place) { return layer.factors[moment * layer.units.length + place]; }

  // 0 where a unit is not there, else the moment at which it first had the values that it has, from 1.
  stateOf(layer, moment, place) { return layer.states[moment * layer.units.length + place]; }

  alive(layer, moment, place) { return this.stateOf(layer, moment, place) !== 0; }

  living(layer, moment) { return layer.units.reduce((count, _, place) => count + this.alive(layer, moment, place), 0); }

  row(moment) { return this.rowOf.get(this.moments[moment].step); }

  // What a pair of units has at a moment: how many connections, their sum and the sum of their sizes.
  tie(projection, moment, pair) {
    const tie = { count: 0, sum: 0, size: 0 };
    for (let entry = pair.from; entry < pair.to; entry++) {
      if (!this.active(projection, moment, entry)) continue;
      const weight = this.weight(projection, moment, entry);
      tie.count += 1; tie.sum += weight; tie.size += Math.abs(weight);
    }
    return tie;
  }

  // Edges at a moment, or between two with what became of each, the strongest of their projection at 1.
  edges(moment, against = null) {
    const found = [];
    for (const projection of this.projections) {
      const own = [];
      for (const pair of projection.pairs) {
        const now = this.tie(projection, moment, pair);
        const before = against === null ? null : this.tie(projection, against, pair);
        if (!now.count && !(before && before.count)) continue;
        const tie = now.count ? now : before;
        own.push({ projection, pair, sum: tie.sum, size: tie.size, count: tie.count, status: before && this.edgeStatus(projection, against, moment, pair) });
      }
      const largest = own.reduce((most, edge) => Math.max(most, edge.size), 0) || 1;
      for (const edge of own) { edge.strength = edge.size / largest; found.push(edge); }
    }
    return found;
  }

  // The same edges at every moment, so few that `most` of each projection are ever there at once: [edges, share by name].
  sampled(most) {
    if (!this.samples) {
      this.samples = this.projections.map((projection) => {
        const busiest = this.moments.reduce((top, _, moment) => Math.max(top, projection.pairs.reduce((sum, pair) => sum + (this.tie(projection, moment, pair).count > 0), 0)), 0);
        return Math.max(1, Math.ceil(busiest / most));
      });
    }
    return this.samples;
  }

  // What became of a thing whose number tells its value, from 1; 0 where it is not there.
  static status(before, after) {
    if (before === after) return after ? 'same' : 'absent';
    return !before ? 'added' : !after ? 'removed' : 'changed';
  }

  // Of connections that are carried, how many had which fate; between neighbouring moments of all.
  difference(projection, from, to) {
    const counts = { added: 0, removed: 0, changed: 0, same: 0, absent: 0 }, { count, name, values } = projection;
    const since = to - from === 1 ? this.moments[to].since[name] : from - to === 1 ? this.moments[from].since[name] : null;
    if (Math.abs(to - from) === 1) {
      const [added, removed, changed, same] = since || [0, 0, 0, 0];
      return { ...counts, ...(to > from ? { added, removed } : { added: removed, removed: added }), changed, same, whole: true };
    }
    for (let entry = 0; entry < count; entry++) counts[Model.status(values[from * count + entry], values[to * count + entry])] += 1;
    return { ...counts, whole: projection.of === 1 };
  }

  // An edge changed when any of its connections came, went or has another weight, or is computed elsewhere.
  edgeStatus(projection, from, to, pair) {
    const { count, values, regions } = projection;
    let before = 0, after = 0, changed = false;
    for (let entry = pair.from; entry < pair.to; entry++) {
      const old = from * count + entry, now = to * count + entry;
      before += values[old] > 0; after += values[now] > 0;
      changed ||= values[old] !== values[now] || Boolean(regions && values[old] && values[now] && regions[old] !== regions[now]);
    }
    return Model.status(before && 1, after && (changed ? 2 : 1));
  }

  unitStatus(layer, from, to, place) { return Model.status(this.stateOf(layer, from, place), this.stateOf(layer, to, place)); }

  // What became of a layer: of itself, its units, or what leads into it.
  layerStatus(layer, from, to) {
    const own = Model.status(layer.versions[from], layer.versions[to]);
    const fed = this.projections.some(({ target, versions }) => target === layer.name && versions[from] !== versions[to]);
    return own === 'same' && fed ? 'changed' : own;
  }

  // The connections of a unit at a moment by neighbour, the largest first.
  neighbours(layerName, place, moment, inward) {
    const near = inward ? 'target' : 'source', far = inward ? 'source' : 'target', found = [];
    for (const projection of this.projections) {
      if (projection[near] !== layerName) continue;
      const other = this.layerOf.get(projection[far]);
      for (const pair of projection.pairs) {
        if (pair[near] !== place) continue;
        const tie = this.tie(projection, moment, pair);
        if (tie.count) found.push({ layer: other.name, id: other.units[pair[far]][0], ...tie });
      }
    }
    return found.sort((a, b) => b.size - a.size);
  }

  // When connections of a unit came and went: by moment, how many.
  history(layerName, place) {
    const rows = this.moments.map(() => ({ added: 0, removed: 0 }));
    for (const projection of this.projections) {
      for (const pair of projection.pairs) {
        const near = (projection.target === layerName && pair.target === place) || (projection.source === layerName && pair.source === place);
        for (let entry = pair.from; near && entry < pair.to; entry++) {
          for (let moment = 1; moment <= this.last; moment++) {
            const change = this.active(projection, moment, entry) - this.active(projection, moment - 1, entry);
            if (change > 0) rows[moment].added += 1;
            if (change < 0) rows[moment].removed += 1;
          }
        }
      }
    }
    return rows;
  }

  // Phases in a row: { phase, from, to } of places in a list of things with a phase.
  static spans(list) {
    const spans = [];
    list.forEach(({ phase }, place) => {
      const open = spans[spans.length - 1];
      if (open && open.phase === phase) open.to = place;
      else spans.push({ phase, from: place, to: place });
    });
    return spans;
  }
}

// The strongest of a list of edges; of a difference, each kind gets a share that goes with the root of its number.
function strongest(edges, most) {
  if (edges.length <= most) return edges;
  const kinds = new Map();
  for (const edge of edges) {
    if (!kinds.has(edge.status)) kinds.set(edge.status, []);
    kinds.get(edge.status).push(edge);
  }
  const roots = [...kinds.values()].reduce((sum, list) => sum + Math.sqrt(list.length), 0);
  return [...kinds.values()].flatMap((list) => {
    const share = Math.min(list.length, Math.floor((most * Math.sqrt(list.length)) / roots));
    return list.sort((a, b) => b.strength - a.strength).slice(0, share);
  });
}

const grouped = (number) => Math.round(number).toLocaleString('en-US');
const title = (words) => words.charAt(0).toUpperCase() + words.slice(1);
// A metric's value for people, as Python has it.
const scored = ({ name, percent: shares, bounded }, row) => {
  const value = row.scores[name];
  if (value === null || value === undefined) return '–';
  return shares ? percent(value) : bounded ? value.toFixed(4) : String(Number(value.toPrecision(4)));
};
const percent = (share) => (share === null || share === undefined ? '–' : `${(100 * share).toFixed(2)}%`);
const about = (number) => `${number < 0 ? '−' : '+'}${Math.abs(number).toPrecision(2)}`; // of a weight that is known by a byte
const plural = (count, word) => `${grouped(count)} ${word}${count === 1 ? '' : 's'}`;
