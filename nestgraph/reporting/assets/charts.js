// Charts: curves over the run, the goal against size, and what is read of the input.

const PLOT = { left: 62, right: 14, top: 26, bottom: 26 };
const plotOf = (box, above = 0) => ({ x: box.x + PLOT.left, y: box.y + PLOT.top + above, width: box.width - PLOT.left - PLOT.right, height: box.height - PLOT.top - PLOT.bottom - above });

// A panel for each item, two in a row where there is room: draw(scene, item, box).
function panelGrid(width, items, high, draw) {
  const columns = width < 720 ? 1 : 2, wide = (width - (columns - 1) * 28) / columns, scene = new Scene(width, Math.ceil(items.length / columns) * (high + 12));
  items.forEach((item, place) => draw(scene, item, { x: (place % columns) * (wide + 28), y: Math.floor(place / columns) * (high + 12), width: wide, height: high }));
  return scene;
}

function ticks(low, high, most = 4) {
  const span = high - low || Math.abs(high) || 1, rough = span / most, base = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * base).find((size) => span / size <= most) || base * 10;
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(value || 0); // never -0
  return found;
}

const SHORT = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']];
function short(number) {
  const [size, letter] = SHORT.find(([least]) => Math.abs(number) >= least) || [1, ''];
  return `${Number((number / size).toPrecision(3))}${letter}`;
}

// One panel of a run over its steps: bands of phases, kept steps joined, refused ones as rings, the moment as a line.
function panel(scene, model, state, box, { title, value, words, from = null }) {
  const rows = model.rows, values = rows.map(value);
  const ends = values.filter(Number.isFinite), low = from ?? Math.min(...ends), high = Math.max(...ends); // refused steps, too
  const room = (high - low) * 0.06 || 1e-9, bottom = from === null ? low - room : from, top = high + room;
  const inner = plotOf(box);
  const x = (place) => inner.x + ((place + 0.5) / rows.length) * inner.width;
  const y = (number) => inner.y + inner.height * (1 - (number - bottom) / (top - bottom));
  for (const { phase, from: start, to } of Model.spans(rows)) {
    scene.rect(x(start - 0.5), inner.y, x(to + 0.5) - x(start - 0.5), inner.height, { fill: phase, title: phase });
  }
  for (const tick of ticks(bottom, top)) {
    scene.line([[inner.x, y(tick)], [inner.x + inner.width, y(tick)]], { stroke: 'paper', strokeWidth: 1 });
    scene.text(inner.x - 8, y(tick) + 4, words(tick), { anchor: 'end', size: 11, fill: 'muted' });
  }
  const points = rows.map((row, place) => [x(place), y(values[place]), row]).filter(([, height]) => Number.isFinite(height));
  scene.line(points.filter(([, , { accepted }]) => accepted).map(([px, py]) => [px, py]), { stroke: 'accent', strokeWidth: 2 });
  for (const [px, py, row] of points) {
    const note = `step ${row.step}, ${row.phase}: ${row.edit}${row.accepted ? '' : ', refused'}; ${words(value(row))}`;
    scene.circle(px, py, row.accepted ? 2.6 : 3, { fill: row.accepted ? 'accent' : 'paper', stroke: row.accepted ? null : 'muted', strokeWidth: 1.2, title: note });
  }
  const here = state && model.row(state.moment), place = here ? rows.indexOf(here) : -1;
  if (place >= 0) {
    scene.line([[x(place), inner.y], [x(place), inner.y + inner.height]], { stroke: 'ink', strokeWidth: 1, dash: [3, 3] });
    scene.circle(x(place), y(values[place]), 4.5, { fill: 'accent', stroke: 'paper', strokeWidth: 2 });
  }
  scene.text(box.x + PLOT.left, box.y + 15, title, { size: 13, bold: true });
  if (place >= 0) scene.text(inner.x + inner.width, box.y + 15, words(values[place], true), { anchor: 'end', size: 13 });
  return { inner, x };
}

// Words over bands: over those that are wide enough, and of every other word over its widest band: [{ words, at }].
function labels(spans, left, right, letter = 6.4, gap = 7) {
  const kept = spans.filter(({ words, room }) => room > words.length * letter + gap);
  for (const { words } of spans) if (!kept.some((one) => one.words === words)) kept.push(spans.reduce((best, one) => (one.words === words && (!best || one.room > best.room) ? one : best), null));
  kept.sort((one, other) => one.middle - other.middle);
  const places = spread(kept.map(({ words, middle }) => [middle, (words.length * letter) / 2]), left, right, gap) || [];
  return places.map((at, place) => ({ words: kept[place].words, at }));
}

// Middles of things of half a width each, in their order, moved as far as they must: null where they do not fit.
function spread(things, left, right, gap) {
  const places = [];
  let edge = left;
  for (const [middle, half] of things) { places.push(Math.max(middle, edge + half)); edge = places[places.length - 1] + half + gap; }
  edge = right;
  for (let place = things.length - 1; place >= 0; place--) { places[place] = Math.min(places[place], edge - things[place][1]); edge = places[place] - things[place][1] - gap; }
  return !things.length || places[0] - things[0][1] >= left - 0.5 ? places : null;
}

const SERIES = {
  loss: { title: 'Validation loss', value: (row) => row.loss, words: (v, exact) => (exact ? v.toFixed(4) : String(Number(v.toPrecision(3)))) },
  connections: { title: 'Connections', value: (row) => row.connections, words: (v, exact) => (exact ? grouped(v) : short(v)), from: 0 },
  flops: { title: 'FLOPs', value: (row) => row.flops, words: (v, exact) => (exact ? grouped(v) : short(v)), from: 0 },
  units: { title: 'Units', value: (row) => row.units, words: (v, exact) => (exact ? grouped(v) : short(v)) },
};

// The curve of a metric on the validation split.
function scoreSeries(metric) {
  const words = (v, exact) => (exact ? scored(metric, { scores: { [metric.name]: v } }) : metric.percent ? `${Number((100 * v).toFixed(2))}%` : String(Number(v.toPrecision(3))));
  return { title: `Validation ${metric.words}`, value: (row) => row.scores[metric.name] ?? NaN, words };
}

function stepAxis(scene, model, { inner, x }, y) {
  const count = model.rows.length, every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor(inner.width / 60))));
  model.rows.forEach((row, place) => { if (place % every === 0) scene.text(x(place), y, row.step, { anchor: 'middle', size: 11, fill: 'muted' }); });
  scene.text(inner.x - 8, y, 'step', { anchor: 'end', size: 11, fill: 'muted' });
}

function overviewScene(model, width) {
  const small = width < 560, scene = new Scene(width, small ? 322 : 364), state = null;
  panel(scene, model, state, { x: 0, y: 18, width, height: small ? 150 : 172 }, scoreSeries(model.metrics[0]));
  const lower = panel(scene, model, state, { x: 0, y: small ? 166 : 188, width, height: small ? 150 : 172 }, SERIES.connections);
  const { inner, x } = lower, spans = Model.spans(model.rows).map(({ phase, from, to }) => ({ words: phase, middle: x((from + to) / 2), room: x(to + 0.5) - x(from - 0.5) }));
  for (const { words, at } of labels(spans, inner.x, inner.x + inner.width)) scene.text(at, 12, words, { anchor: 'middle', size: 11.5, fill: 'muted' });
  stepAxis(scene, model, lower, small ? 310 : 352);
  return scene;
}

function curvesScene(model, state, width) {
  const scores = model.metrics.filter(({ name }) => name !== 'loss').map(scoreSeries);
  return panelGrid(width, [...scores, ...Object.values(SERIES), 'size'], 196, (scene, series, box) => {
    if (series === 'size') sizePanel(scene, model, state, box);
    else stepAxis(scene, model, panel(scene, model, state, box, series), box.y + box.height - 8);
  });
}

// The goal against size: the way the run took, on a logarithmic axis of connections.
function sizePanel(scene, model, state, box) {
  const goal = model.metrics[0], series = scoreSeries(goal), rows = model.rows.filter(({ accepted }) => accepted), inner = plotOf(box);
  const logs = rows.map(({ connections }) => Math.log10(Math.max(1, connections))), shares = rows.map(series.value);
  const [left, right, low, high] = [Math.min(...logs) - 0.05, Math.max(...logs) + 0.05, Math.min(...shares), Math.max(...shares)], room = (high - low) * 0.06 || 0.001;
  const x = (log) => inner.x + ((log - left) / (right - left)) * inner.width, y = (share) => inner.y + inner.height * (1 - (share - low + room) / (high - low + 2 * room));
  scene.rect(inner.x, inner.y, inner.width, inner.height, { fill: 'panel' });
  for (const tick of ticks(low - room, high + room)) { scene.line([[inner.x, y(tick)], [inner.x + inner.width, y(tick)]], { stroke: 'line', strokeWidth: 0.8 }); scene.text(inner.x - 8, y(tick) + 4, series.words(tick), { anchor: 'end', size: 11, fill: 'muted' }); }
  for (let power = Math.floor(left); power <= right; power++) for (const factor of [1, 2, 5]) {
    const at = power + Math.log10(factor);
    if (at > left && at < right) scene.text(x(at), box.y + box.height - 8, short(factor * 10 ** power), { anchor: 'middle', size: 11, fill: 'muted' });
  }
  scene.line(rows.map((_, place) => [x(logs[place]), y(shares[place])]), { stroke: 'grey', strokeWidth: 1.2 });
  const looks = { seed: 'grey', grow: 'blue', shift: 'changed', prune: 'vermilion', finish: 'ink' };
  rows.forEach((row, place) => scene.circle(x(logs[place]), y(shares[place]), 3.2, { fill: looks[row.phase] || 'ink', title: `step ${row.step}, ${row.phase}: ${grouped(row.connections)} connections, ${scored(goal, row)}` }));
  const here = rows.indexOf(model.row(state.moment));
  if (here >= 0) scene.circle(x(logs[here]), y(shares[here]), 6, { stroke: 'ink', strokeWidth: 2 });
  scene.text(inner.x, box.y + 15, `${title(goal.words)} against connections`, { size: 13, bold: true });
}

// -- inputs -------------------------------------------------------------------------------------------

function inputScene(model, state, width) {
  const [high, wide] = model.pixels, size = high * wide, gap = width < 560 ? 20 : 56, side = Math.min(48, 400 / Math.max(high, wide), (width - gap) / 2 / wide), colour = theme();
  const scene = new Scene(2 * wide * side + gap, high * side + 60), compared = state.against !== null;
  const image = (values, moment) => values.subarray(moment * size, (moment + 1) * size);
  const dark = parseInt(colour('paper').slice(1, 3), 16) < 128, deep = dark ? '#f2f6a9' : '#08306b', pale = dark ? '#23303d' : '#dfeaf4';
  [['Readings per pixel', model.pixelCounts, grouped], [width < 560 ? 'Sum of |weight|' : 'Sum of |weight| per pixel', model.pixelStrengths, (value) => String(Number(value.toPrecision(3)))]].forEach(([title, values, words], place) => {
    const now = image(values, state.moment), before = compared ? image(values, state.against) : null, x = place * (wide * side + gap);
    const shown = before ? Array.from(now, (value, pixel) => value - before[pixel]) : Array.from(now);
    const most = shown.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;
    const colours = shown.map((value, pixel) => {
      if (before) return value === 0 ? (now[pixel] ? 'line' : null) : blend(colour('panel'), colour(value > 0 ? 'blue' : 'vermilion'), 0.15 + (0.85 * Math.abs(value)) / most);
      return value === 0 ? null : blend(pale, deep, Math.sqrt(value / most));
    });
    scene.text(x, 15, title, { size: 13, bold: true });
    scene.below('rect', { x, y: 26, width: wide * side, height: high * side, fill: 'panel' });
    scene.below('raster', { x, y: 26, width: wide * side, height: high * side, rows: high, columns: wide, colours });
    const legend = x + wide * side - 168;
    for (let part = 0; part < 24; part++) {
      const t = part / 23, fill = before ? blend(colour('panel'), colour(t < 0.5 ? 'vermilion' : 'blue'), Math.abs(t - 0.5) * 2) : blend(pale, deep, Math.sqrt(t));
      scene.rect(legend + 48 + part * 3, high * side + 38, 3.1, 8, { fill });
    }
    scene.text(legend + 42, high * side + 46, before ? `−${words(most)}` : '0', { anchor: 'end', size: 11, fill: 'muted' });
    scene.text(legend + 126, high * side + 46, before ? `+${words(most)}` : words(most), { size: 11, fill: 'muted' });
  });
  return scene;
}
