// The card of a unit, and the search that finds one.

const MOST_LISTED = 16;

class Card {
  constructor(model, host, open, told) { Object.assign(this, { model, host, open, told, full: false, from: null }); }

  show(key, moment, focus) {
    if (focus && !this.host.contains(document.activeElement)) this.from = document.activeElement;
    const [name, id] = key.split('/'), layer = this.model.layerOf.get(name), place = layer.placeOf.get(Number(id));
    this.host.replaceChildren(...this.content(layer, place, moment));
    this.host.hidden = false;
    this.host.setAttribute('aria-label', `Unit ${name} ${id}`);
    if (focus) this.host.querySelector('.close').focus({ preventScroll: true });
  }

  hide() {
    if (this.host.hidden) return;
    const inside = this.host.contains(document.activeElement);
    this.host.hidden = true; this.full = false;
    if (inside && this.from && this.from.isConnected) this.from.focus({ preventScroll: true });
  }

  content(layer, place, moment) {
    const [id, born, died] = layer.units[place], [why, cause] = layer.why[place], now = this.model.alive(layer, moment, place);
    const state = now ? 'lives' : moment < born ? 'is not yet there' : 'is gone';
    const rows = [['at this moment', state], ['born', this.when(born, why)], ['removed', died === null ? 'never: it is in the last network' : this.when(died, cause)]];
    if (now && layer.kind !== 'input') rows.push(['factor', `${this.model.factor(layer, moment, place).toPrecision(4)} by batch normalisation`]);
    if (now && this.model.factor(layer, moment, place) === 1) rows.pop();
    const parts = [html('button', { class: 'close', type: 'button', 'aria-label': 'Close', onclick: () => this.open(null) }, '×'), html('h2', {}, `${layer.name} ${id}`)];
    if (layer.label) parts.push(html('p', { class: 'muted' }, layer.label));
    parts.push(html('dl', {}, ...rows.map(([term, words]) => html('div', {}, html('dt', {}, term), html('dd', {}, words)))));
    parts.push(...this.list(layer, place, moment, true), ...this.list(layer, place, moment, false), ...this.scores(layer, moment), ...this.steps(layer, place));
    return parts.filter(Boolean);
  }

  when(moment, words) {
    const { phase, step, edit } = this.model.moments[Math.min(moment, this.model.last)];
    return step === null ? words : `step ${step}, ${phase}: ${words || edit}`;
  }

  list(layer, place, moment, inward) {
    const found = this.model.neighbours(layer.name, place, moment, inward), shown = this.full ? found : found.slice(0, MOST_LISTED);
    if (!found.length) return [];
    const total = found.reduce((sum, { count }) => sum + count, 0);
    const title = `${inward ? 'In' : 'Out'}: ${plural(found.length, 'unit')}, ${plural(total, 'connection')}`;
    const items = shown.map((tie) => html('li', {}, html('button', { type: 'button', onclick: () => this.open(`${tie.layer}/${tie.id}`) }, `${tie.layer} ${tie.id}`, html('span', { class: tie.sum < 0 ? 'negative' : 'positive' }, `${tie.count > 1 ? `${tie.count}: ` : ''}≈ ${about(tie.sum)}`))));
    const more = shown.length < found.length && html('button', { type: 'button', class: 'more', onclick: () => { this.full = true; this.show(`${layer.name}/${layer.units[place][0]}`, moment, true); } }, `${shown.length} of ${grouped(found.length)} shown: show all`);
    return [html('h3', {}, title), html('ul', {}, ...items), more];
  }

  // What the connections were chosen by that this moment pruned or woke in the projections that touch the unit.
  scores(layer, moment) {
    const touching = new Set(this.model.projections.filter(({ source, target }) => source === layer.name || target === layer.name).map(({ name }) => name));
    const cuts = this.model.moments[moment].thresholds.filter(({ projection }) => touching.has(projection));
    if (!cuts.length) return [];
    const by = ({ measure, value }, side) => (measure ? ` by ${measure}, ${side} ${value.toPrecision(3)}` : '');
    const left = ({ largest, kept }) => `; effective weights up to ${largest.toPrecision(3)} went${kept === null ? '' : `, the smallest left is ${kept.toPrecision(3)}`}`;
    const words = (cut) => (cut.woken ? `${cut.projection}: ${grouped(cut.woken)} woken${by(cut, 'at least')}` : `${cut.projection}: ${grouped(cut.pruned)} pruned${by(cut, 'at most')}${left(cut)}`);
    return [html('h3', {}, 'Thresholds of this step'), ...cuts.map((cut) => html('p', { class: 'muted' }, words(cut)))];
  }

  // The steps that gave the unit connections or took some; each leads there.
  steps(layer, place) {
    const changes = this.model.history(layer.name, place).map((row, moment) => ({ ...row, moment })).filter(({ added, removed }) => added || removed);
    if (!changes.length) return [];
    const words = ({ added, removed }) => [added ? `+${grouped(added)}` : '', removed ? `−${grouped(removed)}` : ''].filter(Boolean).join(' ');
    const items = changes.map((change) => html('li', {}, html('button', { type: 'button', onclick: () => this.open(null, change.moment) }, `step ${this.model.moments[change.moment].step}, ${this.model.moments[change.moment].phase}`, html('span', {}, words(change)))));
    return [html('h3', {}, 'Connections that came and went'), html('ul', {}, ...items)];
  }
}

// Layers and units whose name begins with what is written: `conv1 3`, `conv1/3`, `3`.
function search(model, text, most = 12) {
  const words = text.trim().toLowerCase().split(/[\s/,:]+/).filter(Boolean), found = [];
  if (!words.length) return found;
  const number = /^\d+$/.test(words[words.length - 1]) ? words.pop() : null, name = words.join(' ');
  for (const layer of model.layers) {
    if (!layer.name.toLowerCase().includes(name) && !layer.label.toLowerCase().includes(name)) continue;
    if (number === null) found.push({ layer: layer.name, words: `${layer.name} · ${plural(layer.units.length, 'unit')}` });
    const ids = layer.units.map(([id]) => String(id)).filter((id) => number === null || id.startsWith(number)).sort((a, b) => a.length - b.length || Number(a) - Number(b));
    for (const id of ids.slice(0, number === null ? 3 : 6)) found.push({ unit: `${layer.name}/${id}`, words: `${layer.name} ${id}` });
  }
  return found.slice(0, most);
}

class SearchBox {
  constructor(model, input, list, open) {
    Object.assign(this, { model, input, list, open, found: [], at: 0 });
    input.addEventListener('input', () => { this.at = 0; this.update(); });
    input.addEventListener('keydown', (event) => this.key(event));
    input.addEventListener('blur', () => { list.hidden = true; input.setAttribute('aria-expanded', 'false'); });
  }

  update() {
    this.found = search(this.model, this.input.value);
    this.list.replaceChildren(...this.found.map((entry, place) => html('li', { role: 'option', id: `found-${place}`, 'aria-selected': place === this.at ? 'true' : 'false', onmousedown: (event) => { event.preventDefault(); this.choose(entry); } }, entry.words)));
    this.list.hidden = !this.found.length;
    this.input.setAttribute('aria-expanded', String(!this.list.hidden));
    if (this.found.length) this.input.setAttribute('aria-activedescendant', `found-${this.at}`);
    else this.input.removeAttribute('aria-activedescendant');
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.found.length) { this.at = (this.at + step + this.found.length) % this.found.length; this.update(); event.preventDefault(); }
    if (event.key === 'Enter' && this.found.length) { event.preventDefault(); this.choose(this.found[this.at]); }
    if (event.key === 'Escape') { this.input.value = ''; this.input.blur(); }
  }

  choose(entry) {
    this.list.hidden = true;
    this.input.blur();
    this.open(entry);
  }
}
