// Pictures as lists of marks, so that the same picture is drawn on the page, on a canvas, and copied as SVG.

const SVG = 'http://www.w3.org/2000/svg';
const MOST_ELEMENTS = 2000; // more marks than this go onto a canvas
const WIDEST = 8192; // pixels that any browser's canvas can have

const theme = () => {
  const style = getComputedStyle(document.documentElement), known = new Map();
  return (name) => {
    if (!known.has(name)) known.set(name, style.getPropertyValue(`--${name}`).trim() || name);
    return known.get(name);
  };
};

function html(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function svgNode(tag, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
}

const round = (number) => Math.round(number * 100) / 100;

class Scene {
  constructor(width, height) { this.width = width; this.height = height; this.under = []; this.marks = []; }

  add(kind, mark) { this.marks.push({ kind, ...mark }); return this; }

  // Marks below all others, which go onto a canvas where they are many.
  below(kind, mark) { this.under.push({ kind, ...mark }); return this; }

  line(points, mark) { return this.add('line', { points, ...mark }); }
  rect(x, y, width, height, mark) { return this.add('rect', { x, y, width, height, ...mark }); }
  circle(x, y, r, mark) { return this.add('circle', { x, y, r, ...mark }); }
  text(x, y, words, mark = {}) { return this.add('text', { x, y, words, ...mark }); }

  get weight() { return this.under.reduce((sum, mark) => sum + (mark.colours ? mark.colours.length : 1), 0); }

  svg(withUnder = true, paper = null) {
    const colour = theme();
    const root = svgNode('svg', { xmlns: SVG, viewBox: `0 0 ${round(this.width)} ${round(this.height)}`, 'font-family': 'system-ui, sans-serif' });
    if (paper) root.append(svgNode('rect', { width: this.width, height: this.height, fill: colour(paper) }));
    for (const mark of [...(withUnder ? this.under : []), ...this.marks]) root.append(SHAPES[mark.kind](mark, colour));
    return root;
  }

  paint(canvas, wished = Math.min(2, window.devicePixelRatio || 1)) {
    const scale = Math.min(wished, WIDEST / this.width, WIDEST / this.height);
    canvas.width = Math.round(this.width * scale); canvas.height = Math.round(this.height * scale);
    const context = canvas.getContext('2d'), colour = theme();
    context.scale(scale, scale);
    for (const mark of this.under) BRUSHES[mark.kind](context, mark, colour);
    context.setLineDash([]); context.globalAlpha = 1;
  }
}

// Where a curve bends: it leaves and arrives sideways, or downwards.
const bends = ({ x1, y1, x2, y2, down }) => (down ? [x1, (y1 + y2) / 2, x2, (y1 + y2) / 2] : [(x1 + x2) / 2, y1, (x1 + x2) / 2, y2]);
const path = (curve) => `M${round(curve.x1)} ${round(curve.y1)}C${[...bends(curve), curve.x2, curve.y2].map(round).join(' ')}`;

const paint = (mark, colour) => ({
  fill: mark.fill ? colour(mark.fill) : 'none', stroke: mark.stroke ? colour(mark.stroke) : null, 'stroke-width': mark.strokeWidth,
  'stroke-dasharray': mark.dash ? mark.dash.join(' ') : null, opacity: mark.opacity, class: mark.class,
});

function titled(node, mark) {
  if (mark.title) node.append(svgNode('title', {}, mark.title));
  return node;
}

const SHAPES = {
  curve: (mark, colour) => svgNode('path', { d: path(mark), ...paint(mark, colour) }),
  line: (mark, colour) => titled(svgNode('polyline', { points: mark.points.map(([x, y]) => `${round(x)},${round(y)}`).join(' '), 'stroke-linejoin': 'round', ...paint(mark, colour) }), mark),
  rect: (mark, colour) => titled(svgNode('rect', { x: round(mark.x), y: round(mark.y), width: round(mark.width), height: round(mark.height), rx: mark.rx, ...paint(mark, colour) }), mark),
  circle: (mark, colour) => titled(svgNode('circle', { cx: round(mark.x), cy: round(mark.y), r: round(mark.r), ...paint(mark, colour) }), mark),
  text: (mark, colour) => svgNode('text', { x: round(mark.x), y: round(mark.y), 'font-size': mark.size || 12, 'text-anchor': mark.anchor, 'font-weight': mark.bold ? 620 : null, transform: mark.transform, ...paint({ fill: 'ink', ...mark }, colour), ...(mark.halo ? { stroke: colour('paper'), 'stroke-width': 4, 'stroke-linejoin': 'round', 'paint-order': 'stroke' } : {}) }, mark.words),
  raster: (mark, colour) => {
    const group = svgNode('g', { 'shape-rendering': 'crispEdges' });
    const high = mark.height / mark.rows, wide = mark.width / mark.columns;
    mark.colours.forEach((fill, place) => {
      if (!fill) return;
      const x = mark.x + (place % mark.columns) * wide, y = mark.y + Math.floor(place / mark.columns) * high;
      group.append(svgNode('rect', { x: round(x), y: round(y), width: round(wide), height: round(high), fill: fill.startsWith('rgb') ? fill : colour(fill) }));
    });
    return group;
  },
  // A unit: a shape that can be focused and opened.
  unit: (mark, colour) => {
    const group = svgNode('g', { class: `unit${mark.chosen ? ' chosen' : ''}`, role: 'button', tabindex: -1, 'data-unit': `${mark.layer}/${mark.id}`, 'aria-label': mark.title });
    group.append(svgNode('title', {}, mark.title));
    const box = { x: round(mark.x - mark.side / 2), y: round(mark.y - mark.side / 2), width: round(mark.side), height: round(mark.side) };
    const shape = mark.round ? svgNode('circle', { cx: round(mark.x), cy: round(mark.y), r: round(mark.side / 2) }) : svgNode('rect', { ...box, rx: mark.side > 12 ? 2 : 0 });
    for (const [name, value] of Object.entries({ ...paint(mark, colour), class: 'shape', 'pointer-events': 'all' })) if (value !== null && value !== undefined) shape.setAttribute(name, value);
    group.append(shape);
    if (mark.sign) group.append(svgNode('text', { x: round(mark.x), y: round(mark.y + mark.signSize * 0.35), 'font-size': mark.signSize, 'text-anchor': 'middle', 'font-weight': 700, fill: colour(mark.signFill || 'ink') }, mark.sign));
    return group;
  },
};

const BRUSHES = {
  curve: (context, mark, colour) => {
    context.globalAlpha = mark.opacity ?? 1; context.strokeStyle = colour(mark.stroke); context.lineWidth = mark.strokeWidth;
    context.setLineDash(mark.dash || []);
    context.beginPath(); context.moveTo(mark.x1, mark.y1); context.bezierCurveTo(...bends(mark), mark.x2, mark.y2); context.stroke();
  },
  rect: (context, mark, colour) => { context.globalAlpha = mark.opacity ?? 1; context.fillStyle = colour(mark.fill); context.fillRect(mark.x, mark.y, mark.width, mark.height); },
  circle: (context, mark, colour) => { context.globalAlpha = mark.opacity ?? 1; context.fillStyle = colour(mark.fill); context.beginPath(); context.arc(mark.x, mark.y, mark.r, 0, 7); context.fill(); },
  raster: (context, mark, colour) => {
    const high = mark.height / mark.rows, wide = mark.width / mark.columns, known = new Map();
    context.globalAlpha = 1;
    mark.colours.forEach((fill, place) => {
      if (!fill) return;
      if (!known.has(fill)) known.set(fill, fill.startsWith('rgb') ? fill : colour(fill));
      context.fillStyle = known.get(fill);
      context.fillRect(mark.x + (place % mark.columns) * wide, mark.y + Math.floor(place / mark.columns) * high, wide + 0.05, high + 0.05);
    });
  },
};

// A scene on the page: what is below on a canvas where it is much, the rest as SVG.
function stage(scene, label) {
  const host = html('div', { class: 'stage' });
  const heavy = scene.weight > MOST_ELEMENTS;
  if (heavy) { const canvas = html('canvas', { 'aria-hidden': 'true' }); scene.paint(canvas); host.append(canvas); }
  const svg = scene.svg(!heavy);
  const units = scene.marks.some((mark) => mark.kind === 'unit');
  svg.setAttribute('role', units ? 'group' : 'img');
  svg.setAttribute('aria-label', label);
  host.append(svg);
  return host;
}

const svgText = (scene) => new XMLSerializer().serializeToString(scene.svg(true, 'paper'));

// Colour between two of the theme's, as rgb: t from 0 to 1.
function blend(from, to, t) {
  const numbers = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  const [a, b] = [numbers(from), numbers(to)];
  return `rgb(${a.map((value, place) => Math.round(value + (b[place] - value) * Math.max(0, Math.min(1, t)))).join(',')})`;
}
