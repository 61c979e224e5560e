// Distributions: weights with thresholds, their sizes over the run, and how many connections units have.

const BINS = 61;

function histogram(model, projection, moment, reach) {
  const layer = model.layerOf.get(projection.target), bins = new Array(BINS).fill(0);
  for (const pair of projection.pairs) {
    const factor = model.factor(layer, moment, pair.target);
    for (let entry = pair.from; entry < pair.to; entry++) {
      if (!model.active(projection, moment, entry)) continue;
      const place = Math.floor(((model.weight(projection, moment, entry) * factor) / reach + 1) * 0.5 * BINS);
      bins[Math.max(0, Math.min(BINS - 1, place))] += 1;
    }
  }
  return bins;
}

// The largest effective weight of a moment, without the last thousandth on each side.
function reachOf(model, projection, moments) {
  const layer = model.layerOf.get(projection.target), sizes = [];
  for (const moment of moments) for (const pair of projection.pairs) for (let entry = pair.from; entry < pair.to; entry++) {
    if (model.active(projection, moment, entry)) sizes.push(Math.abs(model.weight(projection, moment, entry) * model.factor(layer, moment, pair.target)));
  }
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor((sizes.length - 1) * 0.998)] * 1.05 || 1;
}

function weightsScene(model, state, width) {
  return panelGrid(width, model.projections, 190, (scene, projection, box) => addHistogram(scene, model, state, projection, box));
}

// The last threshold up to a moment, and its step.
function lastCut(model, moment, projection) {
  for (let at = moment; at >= 0; at--) {
    const cut = model.moments[at].thresholds.find((entry) => entry.projection === projection && entry.magnitude);
    if (cut) return [cut, model.moments[at].step];
  }
  return [null, null];
}

function addHistogram(scene, model, state, projection, box) {
  const moments = state.against === null ? [state.moment] : [state.moment, state.against], reach = reachOf(model, projection, moments);
  const bins = moments.map((moment) => histogram(model, projection, moment, reach)), most = Math.max(1, ...bins.flat());
  const inner = plotOf(box, 16);
  const step = inner.width / BINS, x = (value) => inner.x + ((value / reach + 1) / 2) * inner.width, y = (count) => inner.y + inner.height * (1 - Math.sqrt(count / most));
  bins[0].forEach((count, place) => { if (count) scene.rect(inner.x + place * step + 0.5, y(count), step - 1, inner.y + inner.height - y(count), { fill: (place + 0.5) / BINS < 0.5 ? 'vermilion' : 'blue', title: plural(count, 'connection') }); });
  if (bins[1]) scene.line(bins[1].flatMap((count, place) => [[inner.x + place * step, y(count)], [inner.x + (place + 1) * step, y(count)]]), { stroke: 'ink', strokeWidth: 1.2, dash: [4, 2] });
  scene.line([[inner.x, inner.y + inner.height], [inner.x + inner.width, inner.y + inner.height]], { stroke: 'grey', strokeWidth: 1 });
  for (const tick of ticks(-reach, reach, 5)) scene.text(x(tick), inner.y + inner.height + 17, Number(tick.toPrecision(2)), { anchor: 'middle', size: 11, fill: 'muted' });
  for (const share of [0.25, 1]) scene.text(inner.x - 8, y(most * share) + 4, short(Math.round(most * share)), { anchor: 'end', size: 11, fill: 'muted' });
  const [cut, cutStep] = lastCut(model, state.moment, projection.name);
  for (const value of cut ? [-cut.largest, cut.largest] : []) if (Math.abs(value) < reach) scene.line([[x(value), inner.y - 4], [x(value), inner.y + inner.height]], { stroke: 'ink', strokeWidth: 1.4, dash: [3, 3], title: `threshold ${cut.largest.toPrecision(3)}` });
  scene.text(inner.x, box.y + 15, clipped(`${projection.source} → ${projection.target}`, 34), { size: 13, bold: true });
  const counts = model.moments[state.moment].by_projection[projection.name];
  scene.text(inner.x + inner.width, box.y + 15, counts ? grouped(counts[0]) : 'none', { anchor: 'end', size: 13 });
  const lamp = cut && cut.measure === 'LAMP score' && inner.width > 400 ? ` (LAMP ${cut.value.toPrecision(2)})` : '';
  scene.text(inner.x, box.y + 32, cut ? `step ${cutStep} pruned ${grouped(cut.pruned)}, none above ${cut.largest.toPrecision(3)}${lamp}` : 'not pruned by size yet', { size: 11.5, fill: 'muted' });
}

// -- sizes over the run -------------------------------------------------------------------------------

// By moment, the tenth, the median and the ninetieth of a hundred effective sizes of a projection's connections.
function quantiles(model, projection) {
  if (projection.quantiles) return projection.quantiles;
  const layer = model.layerOf.get(projection.target);
  projection.quantiles = model.moments.map((_, moment) => {
    const sizes = [];
    for (const pair of projection.pairs) {
      const factor = Math.abs(model.factor(layer, moment, pair.target));
      for (let entry = pair.from; entry < pair.to; entry++) if (model.active(projection, moment, entry)) sizes.push(Math.abs(model.weight(projection, moment, entry)) * factor);
    }
    const sorted = Float64Array.from(sizes).sort();
    return sorted.length ? [0.1, 0.5, 0.9].map((share) => sorted[Math.floor(share * (sorted.length - 1))]) : null;
  });
  return projection.quantiles;
}

function sizesScene(model, state, width) {
  return panelGrid(width, model.projections, 170, (scene, projection, box) => addSizes(scene, model, state, projection, box));
}

function addSizes(scene, model, state, projection, box) {
  const rows = quantiles(model, projection), inner = plotOf(box);
  const cuts = model.moments.map(({ thresholds }) => thresholds.find((entry) => entry.projection === projection.name && entry.magnitude));
  const values = [...rows.flatMap((row) => (row ? [row[0], row[2]] : [])), ...cuts.flatMap((cut) => (cut ? [cut.largest] : []))].filter((value) => value > 0);
  scene.text(inner.x, box.y + 15, clipped(`${projection.source} → ${projection.target}`, 34), { size: 13, bold: true });
  if (!values.length) return;
  const low = Math.log10(Math.min(...values)) - 0.1, top = Math.log10(Math.max(...values)) + 0.1;
  const x = (moment) => inner.x + ((moment + 0.5) / model.moments.length) * inner.width;
  const y = (value) => inner.y + inner.height * (1 - (Math.max(low, Math.log10(Math.max(value, 1e-30))) - low) / (top - low));
  for (const { phase, from, to } of Model.spans(model.moments)) scene.rect(x(from - 0.5), inner.y, x(to + 0.5) - x(from - 0.5), inner.height, { fill: phase, title: phase });
  for (let power = Math.ceil(low); power <= top; power++) {
    scene.line([[inner.x, y(10 ** power)], [inner.x + inner.width, y(10 ** power)]], { stroke: 'paper', strokeWidth: 1 });
    scene.text(inner.x - 8, y(10 ** power) + 4, Number((10 ** power).toPrecision(1)), { anchor: 'end', size: 11, fill: 'muted' });
  }
  const there = rows.map((row, moment) => ({ row, moment })).filter(({ row }) => row);
  for (const [place, look] of [[0, { stroke: 'accent', strokeWidth: 1, dash: [4, 3] }], [2, { stroke: 'accent', strokeWidth: 1, dash: [4, 3] }], [1, { stroke: 'accent', strokeWidth: 2 }]]) scene.line(there.map(({ row, moment }) => [x(moment), y(row[place])]), look);
  cuts.forEach((cut, moment) => { if (cut) scene.line([[x(moment) - 3.5, y(cut.largest)], [x(moment) + 3.5, y(cut.largest)]], { stroke: 'vermilion', strokeWidth: 2.4, title: `step ${model.moments[moment].step}: ${grouped(cut.pruned)} pruned, none above ${cut.largest.toPrecision(3)}` }); });
  scene.line([[x(state.moment), inner.y], [x(state.moment), inner.y + inner.height]], { stroke: 'ink', strokeWidth: 1, dash: [3, 3] });
  if (rows[state.moment]) scene.text(inner.x + inner.width, box.y + 15, `median ${rows[state.moment][1].toPrecision(3)}`, { anchor: 'end', size: 13 });
}

// -- fans ---------------------------------------------------------------------------------------------

const MOST_FAN_BARS = 32;

// How many living units of a layer have how many connections, in bins of equal width: [in, out].
function fanCounts(model, layer, moment, fans, size) {
  const fan = fans.get(layer.name) || { in: new Map(), out: new Map() };
  return ['in', 'out'].map((side) => {
    const bins = [];
    if (!fan[side].size) return bins; // nothing leads into an input, or out of an output
    layer.units.forEach((_, place) => {
      if (!model.alive(layer, moment, place)) return;
      const bin = Math.floor((fan[side].get(place) || 0) / size);
      bins[bin] = (bins[bin] || 0) + 1;
    });
    return bins;
  });
}

function fansScene(model, state, width) {
  const moments = state.against === null ? [state.moment] : [state.moment, state.against], fans = moments.map((moment) => fansOf(model.edges(moment)));
  return panelGrid(width, model.layers, 190, (scene, layer, box) => addFanPanel(scene, model, moments, fans, layer, box));
}

function addFanPanel(scene, model, moments, fans, layer, box) {
  const inner = plotOf(box), middle = inner.y + inner.height / 2;
  const widest = Math.max(1, ...fans.flatMap((fan) => (fan.has(layer.name) ? [...fan.get(layer.name).in.values(), ...fan.get(layer.name).out.values()] : [])));
  const size = Math.max(1, Math.ceil((widest + 1) / MOST_FAN_BARS)), bars = Math.floor(widest / size) + 1, step = inner.width / bars;
  const counts = moments.map((moment, place) => fanCounts(model, layer, moment, fans[place], size)), most = Math.max(1, ...counts.flat(2).filter(Boolean));
  const reach = (count) => (inner.height / 2 - 2) * Math.sqrt((count || 0) / most);
  counts[0].forEach((bins, side) => bins.forEach((count, bin) => {
    const range = size > 1 ? `${grouped(bin * size)} to ${grouped(bin * size + size - 1)}` : grouped(bin);
    if (count) scene.rect(inner.x + bin * step + 0.5, side ? middle + 1 : middle - 1 - reach(count), Math.max(1, step - 1), reach(count), { fill: side ? 'grey' : 'blue', title: `${layer.name}: ${plural(count, 'unit')} with ${range} connections ${side ? 'out' : 'in'}` });
  }));
  if (counts[1]) counts[1].forEach((bins, side) => scene.line(Array.from({ length: bars }, (_, bin) => bin).flatMap((bin) => {
    const y = side ? middle + 1 + reach(bins[bin]) : middle - 1 - reach(bins[bin]);
    return [[inner.x + bin * step, y], [inner.x + (bin + 1) * step, y]];
  }), { stroke: 'ink', strokeWidth: 1.2, dash: [4, 2] }));
  scene.line([[inner.x, middle], [inner.x + inner.width, middle]], { stroke: 'muted', strokeWidth: 1 });
  for (const tick of ticks(0, widest, 6)) if (Number.isInteger(tick)) scene.text(inner.x + ((tick + (size > 1 ? 0 : 0.5)) / size) * step, inner.y + inner.height + 16, grouped(tick), { anchor: 'middle', size: 11, fill: 'muted' });
  scene.text(inner.x - 8, inner.y + inner.height / 4 + 4, 'in', { anchor: 'end', size: 11, fill: 'muted' }).text(inner.x - 8, inner.y + (3 * inner.height) / 4 + 4, 'out', { anchor: 'end', size: 11, fill: 'muted' });
  scene.text(inner.x, box.y + 15, clipped(layer.name, 34), { size: 13, bold: true });
  scene.text(inner.x + inner.width, box.y + 15, plural(model.living(layer, moments[0]), 'unit'), { anchor: 'end', size: 13 });
}
