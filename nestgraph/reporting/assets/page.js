// The page: which moment is looked at, against which, and which views have to be drawn again.

const at = (id) => document.getElementById(id);
const EDGES = [300, 2000, 10000];

class Page {
  constructor(model) {
    this.model = model;
    this.state = { moment: model.last, against: null, unit: null };
    this.most = EDGES[1];
    this.dirty = new Set();
    this.visible = new Set();
    this.card = new Card(model, at('card'), (unit, moment) => (moment === undefined ? this.open(unit) : this.set({ moment })), at('told'));
    this.views = { overview: () => this.overview(), panels: () => this.panels(), difference: () => this.difference(), layers: () => this.layers(), neurons: () => this.neurons(), inputs: () => this.inputs(), areas: () => this.areas(), weights: () => this.weights(), sizes: () => this.sizes(), fans: () => this.fans(), curves: () => this.curves(), phases: () => this.phases() };
    new SearchBox(model, at('search'), at('found'), (entry) => this.find(entry));
    this.read();
    this.timeline();
    this.watch();
    this.keys();
    this.set({});
  }

  // -- state ------------------------------------------------------------------------------------------

  read() {
    const wished = new URLSearchParams(location.hash.slice(1)), number = (name) => (wished.has(name) ? Number(wished.get(name)) : NaN);
    const moment = number('moment'), against = number('against'), unit = wished.get('unit');
    if (Number.isInteger(moment) && moment >= 0 && moment <= this.model.last) this.state.moment = moment;
    if (Number.isInteger(against) && against >= 0 && against <= this.model.last) this.state.against = against;
    if (unit && this.known(unit)) this.state.unit = unit;
  }

  known(unit) { const [name, id] = unit.split('/'), layer = this.model.layerOf.get(name); return layer && layer.placeOf.has(Number(id)); }

  set(change, focus = false) {
    Object.assign(this.state, change);
    const { moment, against, unit } = this.state, words = new URLSearchParams();
    if (moment !== this.model.last) words.set('moment', moment);
    if (against !== null) words.set('against', against);
    if (unit) words.set('unit', unit);
    const hash = String(words);
    if (location.hash.slice(1) !== hash) history.replaceState(null, '', hash ? `#${hash}` : location.pathname + location.search);
    this.label();
    if (unit) this.card.show(unit, moment, focus);
    else this.card.hide();
    this.redraw(Object.keys(this.views).filter((view) => !['overview', 'panels', 'phases'].includes(view)));
  }

  open(unit) {
    this.set({ unit }, Boolean(unit));
    if (unit) this.tell(`Card of ${unit.replace('/', ' ')}`);
  }

  // Open the unit of a hit of the search, or none, and bring its place, or that of the layer, into view.
  find({ unit = null, layer = null }) {
    this.open(unit);
    this.drawAll(); // what is drawn later would push it away
    const { plan } = this.neuronView, [name, id] = (unit || layer).split('/'), one = plan.blocks.get(name);
    const { x, y } = unit ? spot(one, one.layer.placeOf.get(Number(id))) : { x: one.x + one.width / 2, y: one.y };
    const svg = at('neurons').querySelector('svg').getBoundingClientRect(), pan = at('neurons').querySelector('.pan'), scale = svg.width / plan.width;
    pan.scrollLeft += svg.left + x * scale - pan.getBoundingClientRect().left - pan.clientWidth / 2;
    window.scrollBy(0, svg.top + y * scale - Math.max(at('timeline').offsetHeight + 60, innerHeight * 0.3)); // above the card
  }

  tell(words) { at('told').textContent = words; }

  // -- drawing ----------------------------------------------------------------------------------------

  watch() {
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) (isIntersecting ? this.visible.add(target.id) : this.visible.delete(target.id));
      this.flush();
    }, { rootMargin: '300px' });
    for (const view of Object.keys(this.views)) seen.observe(at(view));
    this.redraw(Object.keys(this.views));
    const all = () => { this.redraw(Object.keys(this.views)); };
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', all);
    let width = innerWidth;
    addEventListener('resize', () => { if (innerWidth !== width) { width = innerWidth; all(); } });
    addEventListener('beforeprint', () => this.drawAll());
    addEventListener('afterprint', all);
  }

  // Also what is not on the screen.
  drawAll() { this.dirty.clear(); for (const view of Object.keys(this.views)) this.views[view](); }

  redraw(views) { for (const view of views) this.dirty.add(view); this.flush(); }

  flush() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      for (const view of [...this.dirty]) if (this.visible.has(view) || view === 'difference') { this.dirty.delete(view); this.views[view](); }
    });
  }

  // Put pictures and a caption with its buttons into a figure; what had the focus keeps it.
  put(id, parts, { words = [], scenes = [], dot = null, controls = [] }) {
    const host = at(id), focused = host.contains(document.activeElement) && document.activeElement.dataset.unit;
    const scroll = host.querySelector('.pan')?.scrollLeft || 0;
    const copy = html('span', { class: 'copy' }, ...controls, scenes.length && html('button', { type: 'button', onclick: () => this.copy(scenes.map(svgText).join('\n'), 'SVG') }, 'Copy SVG'), dot && html('button', { type: 'button', onclick: () => this.copy(dot(), 'DOT') }, 'Copy DOT'));
    host.replaceChildren(...parts, html('figcaption', { class: 'caption' }, ...words.map((word) => (typeof word === 'string' ? html('span', {}, word) : word)), copy));
    if (host.querySelector('.pan')) host.querySelector('.pan').scrollLeft = scroll;
    this.rove(host, focused);
  }

  async copy(text, kind) {
    this.copied = text;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = html('textarea', { 'aria-hidden': 'true' }); // pages from files may not use the clipboard
      area.value = text; document.body.append(area); area.select(); document.execCommand('copy'); area.remove();
    }
    this.tell(`${kind} copied`);
  }

  // One unit of a picture is in the order of focus; arrow keys go to the others.
  rove(host, focused) {
    const units = [...host.querySelectorAll('.unit')];
    if (!units.length) return;
    const first = units.find(({ dataset }) => dataset.unit === (focused || this.state.unit)) || units[0];
    first.setAttribute('tabindex', 0);
    if (focused) first.focus({ preventScroll: true });
    for (const unit of units) {
      unit.addEventListener('click', () => this.open(unit.dataset.unit));
      unit.addEventListener('keydown', (event) => {
        const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key], place = units.indexOf(unit);
        if (step && units[place + step]) { unit.setAttribute('tabindex', -1); units[place + step].setAttribute('tabindex', 0); units[place + step].focus(); }
        if (event.key === 'Enter' || event.key === ' ') this.open(unit.dataset.unit);
        if (step || event.key === 'Enter' || event.key === ' ') { event.preventDefault(); event.stopPropagation(); }
      });
    }
  }

  width(id) { return Math.max(300, at(id).clientWidth); }

  legend() {
    const { against } = this.state;
    const key = (look, words) => { const line = html('i', { class: look.dash ? 'dash' : '' }); line.style.borderTopColor = theme()(look.stroke); return html('span', { class: 'key' }, line, words); };
    if (against === null) return [key({ stroke: 'blue' }, 'positive'), key({ stroke: 'vermilion', dash: true }, 'negative')];
    return Object.values(STATUS).map((look) => key(look, `${look.sign} ${look.words}`.trim()));
  }

  overview() {
    const scene = this.model.rows.length ? overviewScene(this.model, this.width('overview')) : new Scene(300, 10);
    this.put('overview', [stage(scene, `Validation ${this.model.metrics[0].words} and connections over the steps of the run`)], { scenes: [scene], words: ['Every step of the run, phases shaded. Rings: steps that were tried and taken back.'] });
  }

  panels() {
    const chosen = chosenMoments(this.model), most = 320, shares = this.model.sampled(most);
    at('multiples-words').textContent = `${chosen.length} of ${grouped(this.model.last + 1)} moments. Places never move: what is gone leaves a hole. ${shares.some((of) => of > 1) ? `The same edges are drawn in each: ${this.model.projections.map(({ source, target }, place) => `${shares[place] > 1 ? `1 in ${shares[place]}` : 'all'} of ${source} → ${target}`).join(', ')}.` : 'All edges are drawn.'}`;
    at('panels').replaceChildren(...chosen.map((moment) => {
      const scene = multipleScene(this.model, moment, most), canvas = html('canvas', { 'aria-hidden': 'true' }), { phase, step, connections } = this.model.moments[moment];
      scene.paint(canvas, 0.6);
      const row = this.model.row(moment);
      return html('button', { type: 'button', 'data-moment': moment, 'aria-pressed': String(moment === this.state.moment), onclick: () => { this.set({ moment }); at('timeline').scrollIntoView(); } }, canvas, html('b', {}, step === null ? 'seed, as made' : moment === this.model.last ? `${phase}, step ${step}: last` : `${phase}, step ${step}`), html('small', {}, `${plural(connections, 'connection')}${row ? ` · ${scored(this.model.metrics[0], row)}` : ''}`));
    }));
  }

  layers() {
    const scene = layerScene(this.model, this.state, this.width('layers'));
    const holder = stage(scene, `Layers at ${this.name(this.state.moment)}`);
    holder.style.maxWidth = `${scene.width}px`;
    this.put('layers', [holder], { scenes: [scene], dot: () => layerDot(this.model, this.state), words: ['Live of possible connections, with their share as a bar; at the right the phase that last changed the layer.'] });
  }

  neurons() {
    const { scene, plan, all, edges, ofEdges, shown } = neuronScene(this.model, this.state, this.most, this.width('neurons'));
    const choice = html('select', { 'aria-label': 'How many edges are drawn', onchange: (event) => { this.most = Number(event.target.value); this.redraw(['neurons']); } }, ...EDGES.map((most) => html('option', { value: most, selected: most === this.most }, `up to ${grouped(most)} edges`)));
    const drawn = `${grouped(edges)} of ${plural(ofEdges, 'edge')}`, total = this.model.moments[this.state.moment].connections;
    const some = shown === total ? `All ${plural(total, 'connection')} shown, on ${plural(edges, 'edge')}.` : `${grouped(shown)} of ${plural(total, 'connection')} shown, on ${drawn}: the strongest.`;
    const words = [...this.legend(), this.state.against === null ? some : `${drawn} of both moments shown${edges < ofEdges ? ': the strongest of each kind' : ''}.`];
    if (edges < ofEdges) words.push(plan.down ? 'Darker neurons and inputs have more connections.' : 'Bars at a unit count all its connections in (left) and out (right); where neurons or inputs stand in a grid, darker ones have more.');
    if (this.state.against !== null) words.push('Changed: any bit of a weight or of where it is computed, or of a bias or statistic of a unit.');
    if (this.model.layers.some(({ kind }) => kind === 'feature_maps')) words.push('Maps show their kernels.');
    const holder = stage(scene, `Units at ${this.name(this.state.moment)}: Enter opens a card, arrow keys move`);
    if (!plan.down) holder.style.minWidth = `${Math.round(scene.width * 0.8)}px`;
    const pan = html('div', { class: 'pan', tabindex: 0, role: 'region', 'aria-label': 'Diagram of neurons and maps' }, holder);
    const told = html('span', { id: 'own' });
    this.put('neurons', [pan], { scenes: [scene], dot: () => neuronDot(this.model, this.state, this.most), words: [...words, told], controls: [choice] });
    this.neuronView = { plan, all, holder, told };
    const over = ({ target }) => this.own(target.closest('.unit')?.dataset.unit || this.state.unit);
    for (const kind of ['pointerover', 'focusin']) holder.addEventListener(kind, over);
    for (const kind of ['pointerleave', 'focusout']) holder.addEventListener(kind, () => this.own(this.state.unit));
    this.own(this.state.unit);
  }

  // Show all edges of a unit above the others, which pale; of none, all as they are.
  own(unit) {
    const { plan, all, holder, told } = this.neuronView, svg = holder.querySelector('svg'), colour = theme();
    if (holder.dataset.own === (unit || '')) return;
    holder.dataset.own = unit || '';
    holder.querySelector('.own')?.remove();
    const found = unit ? edgesOf(this.model, all, unit) : [], compared = this.state.against !== null;
    holder.classList.toggle('dimmed', found.length > 0);
    const curves = found.map(({ edge }) => SHAPES.curve({ ...edgeCurve(plan, edge, compared, 1.3), opacity: 0.9 }, colour));
    if (found.length) { const group = svgNode('g', { class: 'own', 'pointer-events': 'none' }); group.append(...curves); svg.insertBefore(group, svg.querySelector('.unit')); }
    const count = (side) => found.filter((one) => one[side]).length;
    told.textContent = unit ? `${unit.replace('/', ' ')}: ${plural(count('inward'), 'edge')} in, ${grouped(count('outward'))} out, all shown.` : 'Hover over a unit, or choose it, to see all its edges.';
  }

  inputs() {
    at('inputs-section').hidden = !this.model.pixels;
    if (!this.model.pixels) return;
    const scene = inputScene(this.model, this.state, this.width('inputs')), holder = stage(scene, 'Input heat maps');
    holder.style.maxWidth = `${scene.width}px`;
    this.put('inputs', [holder], { scenes: [scene], words: ['How often, and with what weight, each pixel is read in one pass. Holes: pixels that nothing reads.'] });
  }

  areas() {
    const found = areaScenes(this.model, this.state);
    at('areas-section').hidden = !found.length;
    const parts = found.flatMap(({ scene, projection, computed, kernels }) => {
      const holder = stage(scene, `Areas of ${projection.name}`), pan = html('div', { class: 'pan', tabindex: 0, role: 'region', 'aria-label': `Areas of ${projection.name}` }, holder);
      holder.style.minWidth = `${Math.min(scene.width, 800)}px`; holder.style.maxWidth = `${scene.width}px`;
      return [html('h3', {}, `${projection.source} → ${projection.target}: ${percent(kernels ? computed / kernels : 0)} of the positions of its kernels are computed`), pan];
    });
    const words = this.state.against === null ? ['Columns are maps, rows what they read. Blue: computed; grey: switched off; blank: no kernel.'] : ['Blue: computed now only; vermilion: no longer; grey: at both moments.'];
    if (found.length) this.put('areas', parts, { scenes: found.map(({ scene }) => scene), words });
  }

  weights() {
    const scene = weightsScene(this.model, this.state, this.width('weights'));
    const words = ['Effective weights, after batch normalisation; heights are square roots of counts. Dashed uprights: the largest that the last pruning by size removed, before the training that followed.'];
    if (this.state.against !== null) words.push(`Dashed outline: ${this.name(this.state.against)}.`);
    this.put('weights', [stage(scene, `Effective weights at ${this.name(this.state.moment)}`)], { scenes: [scene], words });
  }

  sizes() {
    const scene = sizesScene(this.model, this.state, this.width('sizes'));
    const words = ['Effective weights by size: the median, dashed the tenth and the ninetieth of a hundred. Short bars: the largest that a pruning by size removed.'];
    this.put('sizes', [stage(scene, 'Sizes of effective weights over the run')], { scenes: [scene], words });
  }

  fans() {
    const scene = fansScene(this.model, this.state, this.width('fans'));
    const words = ['How many units have how many connections: in above the line, out below it; heights are square roots of counts.'];
    if (this.state.against !== null) words.push(`Dashed outline: ${this.name(this.state.against)}.`);
    this.put('fans', [stage(scene, `Connections of units at ${this.name(this.state.moment)}`)], { scenes: [scene], words });
  }

  curves() {
    if (!this.model.rows.length) return; // the run has only begun
    const scene = curvesScene(this.model, this.state, this.width('curves'));
    this.put('curves', [stage(scene, `${title(this.model.metrics[0].words)}, loss, connections, FLOPs and units over steps, and ${this.model.metrics[0].words} against connections`)], { scenes: [scene], words: ['Dashed upright: this moment.'] });
  }

  difference() {
    const { moment, against } = this.state, { model } = this;
    at('difference').hidden = against === null;
    if (against === null) return;
    at('difference-words').textContent = `From ${this.name(against)} to ${this.name(moment)}. Units are matched by id; what both moments have has changed where any bit of its values differs.`;
    const signs = (count, sign) => (count ? `${sign}${grouped(count)}` : '0');
    const cells = (name, { added, removed, changed, same }) => html('tr', {}, html('th', { scope: 'row' }, name), html('td', {}, signs(added, '+')), html('td', {}, signs(removed, '−')), html('td', {}, signs(changed, '~')), html('td', {}, grouped(same)));
    const units = model.layers.map((layer) => {
      const counts = { added: 0, removed: 0, changed: 0, same: 0, absent: 0 };
      layer.units.forEach((_, place) => { counts[model.unitStatus(layer, against, moment, place)] += 1; });
      return cells(`units of ${layer.name}`, counts);
    });
    const connections = model.projections.map((projection) => {
      const counts = model.difference(projection, against, moment);
      return cells(`${projection.source} → ${projection.target}${counts.whole ? '' : ` (1 in ${projection.of})`}`, counts);
    });
    at('difference-table').replaceChildren(html('thead', {}, html('tr', {}, ...['what', '+ added', '− removed', '~ changed', 'unchanged'].map((word) => html('th', { scope: 'col' }, word)))), html('tbody', {}, ...units, ...connections));
  }

  // -- timeline ---------------------------------------------------------------------------------------

  name(moment) { const { phase, step } = this.model.moments[moment]; return step === null ? 'the seed as it was made' : `step ${step} (${phase})`; }

  timeline() {
    const { model } = this, slider = at('slider');
    slider.max = model.last;
    slider.addEventListener('input', () => this.set({ moment: Number(slider.value) }));
    at('bands').replaceChildren(...Model.spans(model.moments).map(({ phase, from, to }) => { const band = html('span', { class: phase, title: phase }); band.style.flexGrow = to - from + 1; return band; }));
    at('against').append(html('option', { value: '' }, 'none'), html('option', { value: 'before' }, 'the moment before'), ...model.moments.map(({ phase, step, connections }, place) => html('option', { value: place }, step === null ? `seed, as made: ${grouped(connections)}` : `${step} ${phase}: ${grouped(connections)}`)));
    at('against').addEventListener('change', (event) => this.set({ against: event.target.value === '' ? null : event.target.value === 'before' ? Math.max(0, this.state.moment - 1) : Number(event.target.value) }));
    at('play').addEventListener('click', () => this.play());
    for (const row of document.querySelectorAll('#steps tr[data-step]')) {
      const moment = model.moments.findIndex(({ step }) => step === Number(row.dataset.step));
      if (moment >= 0) row.addEventListener('click', () => this.set({ moment }));
    }
  }

  // The names of the phases above their bands.
  phases() {
    const wide = at('bands').clientWidth, moments = this.model.last + 1;
    const spans = Model.spans(this.model.moments).map(({ phase, from, to }) => ({ words: phase, middle: ((from + to + 1) / 2 / moments) * wide, room: ((to - from + 1) / moments) * wide }));
    at('phases').replaceChildren(...labels(spans, 0, wide, 7).map(({ words, at: left }) => { const name = html('span', {}, words); name.style.left = `${left}px`; return name; }));
  }

  label() {
    const { moment, against } = this.state, { phase, step, edit, connections, units } = this.model.moments[moment], row = this.model.row(moment);
    const numbers = `${plural(connections, 'connection')} · ${grouped(units)} units${row ? ` · ${scored(this.model.metrics[0], row)}` : ''}`;
    at('words').replaceChildren(html('b', {}, step === null ? 'seed' : `${phase}, step ${step}`), ` · ${numbers} · `, html('span', { class: 'muted' }, edit));
    at('slider').value = moment;
    at('slider').setAttribute('aria-valuetext', `${this.name(moment)}, ${numbers}`);
    at('against').value = against === null ? '' : String(against);
    for (const row of document.querySelectorAll('#steps tr[data-step]')) row.classList.toggle('current', Number(row.dataset.step) === step);
    for (const button of document.querySelectorAll('#panels button')) button.setAttribute('aria-pressed', String(Number(button.dataset.moment) === moment));
  }

  play() {
    const button = at('play'), stop = () => { clearInterval(this.playing); this.playing = null; button.textContent = '▶'; button.setAttribute('aria-label', 'Play'); };
    if (this.playing) { stop(); return; }
    if (this.state.moment === this.model.last) this.set({ moment: 0 });
    button.textContent = '❚❚'; button.setAttribute('aria-label', 'Pause');
    this.playing = setInterval(() => { if (this.state.moment >= this.model.last) stop(); else this.set({ moment: this.state.moment + 1 }); }, 450);
  }

  // -- keys -------------------------------------------------------------------------------------------

  keys() {
    const dialog = at('keys'), go = (moment) => this.set({ moment: Math.max(0, Math.min(this.model.last, moment)) });
    at('help').addEventListener('click', () => dialog.showModal());
    const actions = {
      ArrowLeft: () => go(this.state.moment - 1), ArrowRight: () => go(this.state.moment + 1), Home: () => go(0), End: () => go(this.model.last),
      p: () => this.play(), d: () => this.set({ against: this.state.against === null ? Math.max(0, this.state.moment - 1) : null }),
      '/': () => at('search').focus(), '?': () => dialog.showModal(), Escape: () => this.open(null),
    };
    addEventListener('keydown', (event) => {
      const written = event.target.matches('input:not([type=range]), select, textarea') || event.ctrlKey || event.metaKey || event.altKey || dialog.open;
      const scrolled = event.target.matches('.pan, .scroll') && event.key.startsWith('Arrow');
      if (written || scrolled || !actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    });
  }
}

// A report of a run that goes on is read again, unless somebody is busy with it.
function follow(seconds) {
  let busy = 0;
  for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, () => { busy = Date.now(); });
  setInterval(() => { if (Date.now() - busy > 15000 && !document.hidden) location.reload(); }, seconds * 1000);
}

const data = JSON.parse(at('data').textContent);
unpacked(data.packed).then((buffer) => {
  const page = new Page(new Model(data, buffer));
  if (data.reload) follow(data.reload);
  window.report = page;
  document.documentElement.dataset.ready = 'yes';
}).catch((error) => {
  at('multiples-words').textContent = 'The pictures cannot be drawn: this browser is too old to unpack them.';
  throw error;
});
