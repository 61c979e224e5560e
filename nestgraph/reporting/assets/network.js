// The network itself: layers, units with their edges, small multiples, areas. Places never move: they follow from ids.

const STATUS = {
  added: { stroke: 'blue', sign: '+', words: 'added' },
  removed: { stroke: 'vermilion', sign: '−', words: 'removed', dash: [5, 3] },
  changed: { stroke: 'changed', sign: '~', words: 'changed' },
  same: { stroke: 'grey', sign: '', words: 'unchanged' },
};

// Places of all units that ever lived: a block a layer, inputs of an image as the image. Layers go from left to right, or
// downwards where the page is too narrow for that.
const NARROW = 640;

function layout(model, most, wide = Infinity) { return wide < NARROW ? downwards(model, wide) : sideways(model, most); }

function downwards(model, wide) {
  const blocks = model.layers.map((layer) => rowsOf(model, layer, wide - 12));
  let y = 0;
  for (const one of blocks) {
    one.x = (wide - one.width) / 2; one.y = y + 44;
    y = one.y + one.height + 52;
  }
  return { blocks: new Map(blocks.map((one) => [one.layer.name, one])), width: wide, height: y - 40, down: true };
}

// How many of a pitch fit; a pitch that is a share of the room fits as often as it was shared out, whatever rounding says.
const fitting = (room, pitch) => Math.max(1, Math.floor(room / pitch + 1e-6));

// A block as wide as its page at most, its units row by row.
function rowsOf(model, layer, room) {
  const count = layer.units.length, one = block(model, layer, 560);
  if (one.byId) {
    const pitch = Math.min(one.pitch, room / one.columns);
    return { ...one, pitch, side: pitch, width: pitch * one.columns, height: (pitch * one.height) / one.pitch };
  }
  const pitch = count === 1 ? one.pitch : Math.max(one.tiles ? 30 : 12, Math.min(one.tiles ? 54 : 26, room / count));
  const columns = Math.min(count, fitting(room, pitch)), rows = Math.ceil(count / columns);
  return { ...one, pitch, side: one.side * (pitch / one.pitch), columns, rows, rowwise: true, width: columns * pitch, height: rows * pitch };
}

function sideways(model, most) {
  const height = Math.max(280, Math.min(most, Math.max(...model.layers.map(({ units }) => units.length)) * 26));
  const blocks = model.layers.map((layer) => block(model, layer, height));
  const wide = blocks.reduce((sum, { width }) => sum + width, 0);
  const gap = Math.max(64, (1160 - 60 - wide) / Math.max(1, blocks.length - 1));
  let x = 30;
  for (const one of blocks) {
    one.x = x; one.y = 56 + (height - one.height) / 2;
    x += one.width + gap;
  }
  return { blocks: new Map(blocks.map((one) => [one.layer.name, one])), width: x - gap + 30, height: height + 72 };
}

function block(model, layer, height) {
  const count = layer.units.length, tiles = layer.kind === 'feature_maps';
  const image = layer.kind === 'input' && layer.features > 1 && model.pixels && model.pixels[0] * model.pixels[1] === layer.features;
  if (image) {
    const pitch = Math.max(4, Math.min(22, 224 / model.pixels[1]));
    return { layer, tiles: false, pitch, side: pitch, columns: model.pixels[1], byId: true, width: pitch * model.pixels[1], height: pitch * model.pixels[0], square: true };
  }
  const pitch = tiles ? Math.max(30, Math.min(54, height / count)) : Math.max(8, Math.min(26, height / count));
  const rows = Math.min(count, fitting(height, pitch)), columns = Math.ceil(count / rows);
  const single = layer.kind === 'input' && count === 1;
  return { layer, tiles, pitch: single ? 64 : pitch, side: single ? 60 : tiles ? pitch - 5 : pitch * 0.74, columns, rows, width: columns * (single ? 64 : pitch), height: rows * (single ? 64 : pitch), square: tiles || single };
}

function spot(block, place) {
  const index = block.byId ? block.layer.units[place][0] : place;
  const across = block.byId || block.rowwise, column = across ? index % block.columns : Math.floor(index / block.rows);
  const row = across ? Math.floor(index / block.columns) : index % block.rows;
  return { x: block.x + (column + 0.5) * block.pitch, y: block.y + (row + 0.5) * block.pitch };
}

function addEdges(scene, plan, edges, compared, thin = 1) {
  const order = { same: 0, changed: 1, removed: 2, added: 3 };
  const sorted = edges.slice().sort((a, b) => (order[a.status] ?? 0) - (order[b.status] ?? 0) || a.strength - b.strength);
  for (const edge of sorted) scene.below('curve', edgeCurve(plan, edge, compared, thin));
}

function edgeCurve(plan, { projection, pair, sum, strength, status }, compared, thin = 1) {
  const from = plan.blocks.get(projection.source), to = plan.blocks.get(projection.target), { down } = plan;
  const start = spot(from, pair.source), end = spot(to, pair.target), out = from.side / 2 + (from.clear || 0), into = to.side / 2 + (to.clear || 0);
  const look = compared ? STATUS[status] : { stroke: sum < 0 ? 'vermilion' : 'blue', dash: sum < 0 ? [5, 3] : null };
  const ends = down ? { x1: start.x, y1: start.y + out, x2: end.x, y2: end.y - into } : { x1: start.x + out, y1: start.y, x2: end.x - into, y2: end.y };
  const quiet = compared && status === 'same';
  return {
    ...ends, down, stroke: look.stroke, dash: look.dash && look.dash.map((length) => length * thin),
    strokeWidth: thin * (0.35 + 1.9 * strength), opacity: quiet ? 0.25 : (0.22 + 0.6 * strength) * (status === 'changed' ? 0.7 : 1),
  };
}

// All edges of a unit, also those that the picture leaves out: [{ edge, inward }].
function edgesOf(model, edges, unit) {
  const [name, id] = unit.split('/'), is = (layer, place) => layer === name && model.layerOf.get(name).units[place][0] === Number(id);
  return edges.map((edge) => ({ edge, inward: is(edge.projection.target, edge.pair.target), outward: is(edge.projection.source, edge.pair.source) })).filter(({ inward, outward }) => inward || outward);
}

// Where edges are left out, each unit still tells how many connections it has: in a single column by bars, of those in on
// the left and of those out on the right; in a grid by its shade. Either is relative to the most in its layer.
const BAR = 20;

function fansOf(edges) {
  const fans = new Map(), add = (name, side, place, count) => {
    if (!fans.has(name)) fans.set(name, { in: new Map(), out: new Map() });
    fans.get(name)[side].set(place, (fans.get(name)[side].get(place) || 0) + count);
  };
  for (const { projection, pair, count, status } of edges) {
    if (status === 'removed') continue; // it was there before
    add(projection.target, 'in', pair.target, count);
    add(projection.source, 'out', pair.source, count);
  }
  return fans;
}

function addFans(scene, one, fan) {
  const high = Math.min(5, one.pitch * 0.5);
  for (const [side, sign] of [['in', -1], ['out', 1]]) {
    const most = Math.max(1, ...fan[side].values());
    for (const [place, count] of fan[side]) {
      const { x, y } = spot(one, place), width = (BAR * count) / most, near = x + sign * (one.side / 2 + 2);
      scene.rect(sign < 0 ? near - width : near, y - high / 2, width, high, { fill: 'grey', title: `${one.layer.name} ${one.layer.units[place][0]}: ${plural(count, 'connection')} ${side}` });
    }
  }
}

function shades(one, fan, colour) {
  const total = (place) => (fan.in.get(place) || 0) + (fan.out.get(place) || 0), most = Math.max(1, ...one.layer.units.map((_, place) => total(place)));
  return one.layer.units.map((_, place) => blend(colour('panel'), colour('ink'), 0.04 + 0.66 * (total(place) / most)));
}

// The kernels into a map as one raster: those of all its sources side by side, places by id.
function kernelRaster(model, layer, place, moment, colour) {
  const projection = model.projections.find(({ target, inner }) => target === layer.name && inner.length === 2);
  if (!projection) return null;
  const sources = model.layerOf.get(projection.source).units.length, [high, wide] = projection.inner;
  const across = Math.ceil(Math.sqrt((sources * high) / wide)), down = Math.ceil(sources / across);
  const columns = across * (wide + 1) - 1, rows = down * (high + 1) - 1, colours = new Array(columns * rows).fill(null);
  const scale = projection.scales[moment] || 1, paper = colour('panel');
  for (const pair of projection.pairs) {
    if (pair.target !== place) continue;
    for (let entry = pair.from; entry < pair.to; entry++) {
      if (!model.active(projection, moment, entry)) continue;
      const weight = model.weight(projection, moment, entry), cell = projection.inside[entry];
      const row = Math.floor(pair.source / across) * (high + 1) + Math.floor(cell / wide), column = (pair.source % across) * (wide + 1) + (cell % wide);
      colours[row * columns + column] = blend(paper, colour(weight < 0 ? 'vermilion' : 'blue'), 0.18 + 0.82 * Math.sqrt(Math.abs(weight) / scale));
    }
  }
  return { rows, columns, colours };
}

function neuronScene(model, state, most, wide) {
  const plan = layout(model, 560, wide), scene = new Scene(plan.width, plan.height), colour = theme();
  const compared = state.against !== null, edges = model.edges(state.moment, state.against), drawn = strongest(edges, most);
  const fans = drawn.length < edges.length ? fansOf(edges) : new Map();
  for (const one of plan.blocks.values()) {
    const fan = fans.get(one.layer.name), grid = one.columns > 1 || plan.down;
    if (fan && grid && !one.tiles) one.shades = shades(one, fan, colour);
    if (fan && !grid) { one.clear = BAR + 3; addFans(scene, one, fan); }
  }
  addEdges(scene, plan, drawn, compared);
  for (const one of plan.blocks.values()) addUnits(scene, model, state, one, colour, plan.down ? one.y - 42 : 2);
  const shown = drawn.reduce((sum, edge) => sum + edge.count, 0);
  return { scene, plan, all: edges, edges: drawn.length, ofEdges: edges.length, shown };
}

function addUnits(scene, model, state, one, colour, top) {
  const { layer } = one, compared = state.against !== null, middle = one.x + one.width / 2;
  scene.text(middle, top + 18, layer.name, { anchor: 'middle', size: 15, bold: true, halo: true });
  const noun = layer.kind === 'feature_maps' || (layer.kind === 'input' && layer.map) ? 'map' : layer.kind === 'input' ? 'input' : 'neuron';
  scene.text(middle, top + 36, `${plural(model.living(layer, state.moment), noun)}${layer.size ? `, ${layer.size}` : ''}`, { anchor: 'middle', size: 12, fill: 'muted', halo: true });
  layer.units.forEach(([id], place) => {
    const status = compared ? model.unitStatus(layer, state.against, state.moment, place) : model.alive(layer, state.moment, place) ? 'same' : 'absent';
    if (status === 'absent') return; // a hole
    const { x, y } = spot(one, place), look = STATUS[status];
    const raster = one.tiles ? kernelRaster(model, layer, place, status === 'removed' ? state.against : state.moment, colour) : null;
    if (one.tiles) scene.below('rect', { x: x - one.side / 2, y: y - one.side / 2, width: one.side, height: one.side, fill: 'panel' });
    if (raster) scene.below('raster', { x: x - one.side / 2 + 2, y: y - one.side / 2 + 2, width: one.side - 4, height: one.side - 4, ...raster });
    const changed = compared && status !== 'same';
    scene.add('unit', {
      layer: layer.name, id, x, y, side: one.side, round: !one.square, chosen: state.unit === `${layer.name}/${id}`,
      fill: one.tiles ? 'transparent' : changed ? look.stroke : one.shades ? one.shades[place] : one.byId ? 'line' : 'panel', stroke: changed ? look.stroke : one.byId ? 'paper' : 'grey',
      strokeWidth: changed ? 2 : one.byId ? 0.6 : 1.1, dash: status === 'removed' ? [3, 2] : null, sign: changed && one.side >= 7 ? look.sign : '',
      signSize: Math.min(16, one.side * 0.9), signFill: one.tiles ? look.stroke : 'paper', title: `${layer.name} ${id}${changed ? `, ${look.words}` : ''}`,
    });
  });
}

function multipleScene(model, moment, most) {
  const plan = layout(model, 560), scene = new Scene(plan.width, plan.height - 40), colour = theme();
  for (const one of plan.blocks.values()) one.y -= 36;
  const shares = new Map(model.projections.map((projection, place) => [projection, model.sampled(most)[place]]));
  addEdges(scene, plan, model.edges(moment).filter(({ projection, pair }) => (pair.edge * 2654435761) % 4294967296 % shares.get(projection) === 0), false, 1.6);
  for (const one of plan.blocks.values()) {
    one.layer.units.forEach((_, place) => {
      if (!model.alive(one.layer, moment, place)) return;
      const { x, y } = spot(one, place);
      if (one.square) scene.below('rect', { x: x - one.side / 2, y: y - one.side / 2, width: one.side - (one.byId ? 1 : 0), height: one.side - (one.byId ? 1 : 0), fill: 'grey', opacity: one.byId ? 0.55 : 1 });
      else scene.below('circle', { x, y, r: Math.max(2.5, one.side / 2), fill: 'muted' });
    });
  }
  return scene;
}

// A few moments to put side by side: the ends of phases, and the largest gaps in between halved.
function chosenMoments(model, most = 6) {
  const chosen = new Set([0, model.last]);
  for (const { phase, to } of Model.spans(model.moments)) if (['seed', 'grow', 'shift'].includes(phase) && chosen.size < most) chosen.add(to);
  while (chosen.size < Math.min(most, model.last + 1)) {
    const sorted = [...chosen].sort((a, b) => a - b);
    let best = 1;
    sorted.forEach((value, place) => { if (place && value - sorted[place - 1] > sorted[best] - sorted[best - 1]) best = place; });
    chosen.add(Math.round((sorted[best] + sorted[best - 1]) / 2));
  }
  return [...chosen].sort((a, b) => a - b);
}

// -- layers -------------------------------------------------------------------------------------------

const BOX = { width: 208, height: 116, gapX: 44, gapY: 44 };

function layerScene(model, state, width) {
  const share = (width - 4 + BOX.gapX) / model.layers.length - BOX.gapX; // all in a row, if that is not too narrow
  BOX.width = share >= 184 ? Math.min(208, share) : 208;
  const columns = fitting(width - 4 + BOX.gapX, BOX.width + BOX.gapX);
  const across = Math.min(columns, model.layers.length), rows = Math.ceil(model.layers.length / across);
  const index = new Map(model.layers.map(({ name }, place) => [name, place])), loops = model.projections.some(({ source, target }) => index.get(target) !== index.get(source) + 1);
  const scene = new Scene(across * BOX.width + (across - 1) * BOX.gapX + 4, rows * (BOX.height + BOX.gapY) - (loops ? 0 : BOX.gapY) + 4), moment = model.moments[state.moment];
  const places = new Map(model.layers.map((layer, index) => [layer.name, { x: 2 + (index % across) * (BOX.width + BOX.gapX), y: 2 + Math.floor(index / across) * (BOX.height + BOX.gapY), index }]));
  for (const projection of model.projections) if (moment.by_projection[projection.name]) addArrow(scene, places, projection, across);
  for (const layer of model.layers) addBox(scene, model, state, layer, places.get(layer.name));
  return scene;
}

function addArrow(scene, places, { source, target }, across) {
  const from = places.get(source), to = places.get(target), middle = BOX.height / 2;
  const look = { stroke: 'grey', strokeWidth: 1.6 };
  if (to.index === from.index + 1 && to.index % across) {
    const y = from.y + middle, end = to.x - 3;
    scene.line([[from.x + BOX.width, y], [end, y]], look).line([[end - 7, y - 4], [end, y], [end - 7, y + 4]], look);
    return;
  }
  const lower = to.y > from.y, x1 = from.x + BOX.width / 2 + 12, x2 = to.x + BOX.width / 2 - 12, below = from.y + BOX.height + 16;
  const end = lower ? to.y - 3 : to.y + BOX.height + 3, tip = lower ? -7 : 7;
  scene.line([[x1, from.y + BOX.height], [x1, below], [x2, below], [x2, end]], look).line([[x2 - 4, end + tip], [x2, end], [x2 + 4, end + tip]], look);
}

function addBox(scene, model, state, layer, { x, y }) {
  const moment = model.moments[state.moment], before = state.against === null ? null : model.moments[state.against];
  const now = moment.by_layer[layer.name], then = before && before.by_layer[layer.name];
  const status = before && model.layerStatus(layer, state.against, state.moment);
  const look = STATUS[status] || { stroke: 'line', sign: '' }, marked = Boolean(look.sign), [units, connections, parameters, flops] = now || [0, 0, 0, 0];
  scene.rect(x, y, BOX.width, BOX.height, { rx: 12, fill: 'panel', stroke: marked ? look.stroke : 'line', strokeWidth: marked ? 2.2 : 1.2, dash: status === 'removed' ? [6, 4] : null, title: layer.label || layer.name });
  scene.text(x + 14, y + 26, clipped(layer.name, 17), { size: 15, bold: true });
  if (look.sign) scene.text(x + BOX.width - 14, y + 27, look.sign, { anchor: 'end', size: 18, bold: true, fill: look.stroke });
  else scene.text(x + BOX.width - 14, y + 26, phaseOf(model, state.moment, layer.name), { anchor: 'end', size: 11, fill: 'muted' });
  const kind = layer.map ? 'map' : layer.kind === 'input' ? 'input' : 'neuron';
  scene.text(x + 14, y + 46, delta(plural(units, kind) + (layer.size ? ` · ${layer.size}` : ''), units, then && then[0]), { size: 12, fill: 'muted' });
  const incoming = model.projections.filter(({ name, target }) => target === layer.name && moment.by_projection[name]);
  const possible = incoming.reduce((sum, { name }) => sum + moment.by_projection[name][1], 0);
  if (!possible) { scene.text(x + 14, y + 70, clipped(layer.label || 'reads the data', 28), { size: 12, fill: 'muted' }); return; }
  const words = delta(`${grouped(connections)} of ${grouped(possible)}`, connections, then && then[1]);
  scene.text(x + 14, y + 68, words, { size: words.length > 25 ? 10.5 : 12 });
  scene.rect(x + 14, y + 76, BOX.width - 28, 6, { rx: 3, fill: 'line' });
  scene.rect(x + 14, y + 76, Math.max(2, ((BOX.width - 28) * connections) / possible), 6, { rx: 3, fill: 'blue', title: `${percent(connections / possible)} of the possible connections` });
  scene.text(x + 14, y + 101, `${grouped(parameters)} params · ${short(flops)} FLOPs`, { size: 11, fill: 'muted' });
}

const clipped = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const delta = (words, now, before) => (before === null || before === undefined || before === now ? words : `${words} (${now > before ? '+' : '−'}${grouped(Math.abs(now - before))})`);

// The phase that last changed how many units or connections a layer has.
function phaseOf(model, moment, name) {
  for (let at = moment; at > 0; at--) {
    const [now, before] = [at, at - 1].map((place) => model.moments[place].by_layer[name]);
    if (!now !== !before || (now && now.join() !== before.join())) return model.moments[at].phase;
  }
  return 'seed';
}

function layerDot(model, state) {
  const quoted = (text) => `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"')}"`, moment = model.moments[state.moment];
  const nodes = model.layers.filter(({ name }) => moment.by_layer[name]).map((layer) => {
    const [units, connections] = moment.by_layer[layer.name], words = [layer.name, layer.label, plural(units, 'unit'), plural(connections, 'connection')];
    return `  ${quoted(layer.name)} [label=${quoted(words.filter(Boolean).join('\n')).replace(/\n/g, '\\n')}];`;
  });
  const edges = model.projections.filter(({ name }) => moment.by_projection[name]).map((projection) => `  ${quoted(projection.source)} -> ${quoted(projection.target)} [label=${quoted(`${projection.words}: ${moment.by_projection[projection.name][0]}`)}];`);
  return ['digraph network {', '  rankdir=LR; node [shape=box];', ...nodes, ...edges, '}', ''].join('\n');
}

function neuronDot(model, state, most) {
  const lines = strongest(model.edges(state.moment), most).map(({ projection, pair, sum }) => {
    const source = model.layerOf.get(projection.source).units[pair.source][0], target = model.layerOf.get(projection.target).units[pair.target][0];
    return `  "${projection.source} ${source}" -> "${projection.target} ${target}" [color="${sum < 0 ? '#D55E00' : '#0072B2'}", style=${sum < 0 ? 'dashed' : 'solid'}];`;
  });
  return ['digraph neurons {', '  rankdir=LR; node [shape=circle]; edge [arrowhead=none];', ...lines, '}', ''].join('\n');
}

// -- areas --------------------------------------------------------------------------------------------

function areaScenes(model, state) {
  return model.projections.filter(({ area }) => area).map((projection) => areaScene(model, state, projection));
}

function areaScene(model, state, projection) {
  const [high, wide] = projection.area, target = model.layerOf.get(projection.target), source = model.layerOf.get(projection.source);
  const outs = target.units.length, ins = source.units.length, side = Math.max(22, Math.min(64, 1040 / outs - 4));
  const scene = new Scene(74 + outs * (side + 4), 36 + ins * (side + 4) + 4), size = high * wide;
  const at = (moment, out, inner) => ((moment * outs + out) * ins + inner) * size;
  let computed = 0, kernels = 0;
  target.units.forEach(([id], out) => { if (outs < 40 || out % 2 === 0) scene.text(74 + (out + 0.42) * (side + 4), 24, id, { anchor: 'middle', size: 11, fill: 'muted' }); });
  source.units.forEach(([id], inner) => {
    scene.text(62, 36 + (inner + 0.5) * (side + 4) + 2, `from ${id}`, { anchor: 'end', size: 11, fill: 'muted' });
    target.units.forEach((_, out) => {
      const now = projection.cells.subarray(at(state.moment, out, inner), at(state.moment, out, inner) + size);
      const before = state.against === null ? null : projection.cells.subarray(at(state.against, out, inner), at(state.against, out, inner) + size);
      const colours = Array.from(now, (cell, place) => areaColour(cell, before && before[place]));
      for (const cell of now) { computed += cell === 2; kernels += cell > 0; }
      if (colours.some(Boolean)) scene.below('raster', { x: 74 + out * (side + 4), y: 36 + inner * (side + 4), width: side, height: side, rows: high, columns: wide, colours });
    });
  });
  return { scene, projection, computed, kernels };
}

function areaColour(cell, before) {
  if (before !== null && before !== undefined && (cell === 2) !== (before === 2)) return cell === 2 ? 'blue' : 'vermilion';
  return cell === 2 ? (before === null ? 'blue' : 'grey') : cell === 1 ? 'line' : null;
}
