// Draw a digit, and see what trained networks compute from it: every feature map, and every unit
// with its window, its kernel, its products and their sum.
//
// utils/draw.py writes this module into a cell's output, with a picture of the first digit, whose
// place it takes. What is exported is arithmetic, and needs no page. Maps are as in Keras: rows,
// then columns, then channels.

const range = (count) => Array.from({ length: count }, (_, index) => index);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const SIDE = 28;

// ---- Numbers that come as text

/* Half precision: a sign, five bits of exponent, ten of fraction. */
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
  if (!exponent) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function decoded({ dtype, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  if (dtype === "|u1") return bytes;
  const view = new DataView(bytes.buffer), width = dtype === "<f2" ? 2 : 4;
  return Float32Array.from({ length: bytes.length / width }, (_, index) =>
    (width === 2 ? half(view.getUint16(2 * index, true)) : view.getFloat32(4 * index, true)));
}

/* Give each layer its part of the weights, which come in Keras's order. */
export function loaded({ name, layers, weights }) {
  const all = decoded(weights);
  let start = 0;
  return { name, layers: layers.map((layer) => {
    const own = {};
    for (const [part, length] of Object.entries(layer.parts ?? {})) {
      own[part] = all.subarray(start, start += length);
    }
    return { ...layer, ...own };
  }) };
}

// ---- Layers

const maps = (height, width, channels) =>
  ({ height, width, channels, data: new Float32Array(height * width * channels) });

/* Along one axis: the zeros in front, and how many windows there are. */
export function windows(size, taps, stride, padding) {
  if (padding === "valid") return { before: 0, count: Math.floor((size - taps) / stride) + 1 };
  const count = Math.ceil(size / stride);
  return { before: Math.max((count - 1) * stride + taps - size, 0) >> 1, count };
}

function convolution(x, { kernel: [tall, wide], stride, padding, filters, weights, bias }) {
  const rows = windows(x.height, tall, stride, padding);
  const columns = windows(x.width, wide, stride, padding);
  const y = maps(rows.count, columns.count, filters), total = new Float64Array(filters);
  for (let row = 0, out = 0; row < rows.count; row++) {
    for (let column = 0; column < columns.count; column++, out += filters) {
      total.set(bias);
      const top = row * stride - rows.before, left = column * stride - columns.before;
      for (let i = Math.max(0, -top); i < Math.min(tall, x.height - top); i++) {
        for (let j = Math.max(0, -left); j < Math.min(wide, x.width - left); j++) {
          let from = ((top + i) * x.width + left + j) * x.channels;
          let weight = (i * wide + j) * x.channels * filters;
          for (let c = 0; c < x.channels; c++, from++, weight += filters) {
            const value = x.data[from];
            // Most of an image is black, and after a ReLU much of a map is 0.
            if (value !== 0) for (let f = 0; f < filters; f++) total[f] += value * weights[weight + f];
          }
        }
      }
      y.data.set(total, out);
    }
  }
  return y;
}

/* Pooling looks at what is there: its padding takes no part. */
function pooling(x, { pool: [tall, wide], stride, padding, mean }) {
  const rows = windows(x.height, tall, stride, padding);
  const columns = windows(x.width, wide, stride, padding);
  const y = maps(rows.count, columns.count, x.channels);
  for (let row = 0, out = 0; row < rows.count; row++) {
    for (let column = 0; column < columns.count; column++) {
      const top = row * stride - rows.before, left = column * stride - columns.before;
      for (let c = 0; c < x.channels; c++, out++) {
        let most = -Infinity, total = 0, count = 0;
        for (let i = Math.max(0, top); i < Math.min(top + tall, x.height); i++) {
          for (let j = Math.max(0, left); j < Math.min(left + wide, x.width); j++, count++) {
            const value = x.data[(i * x.width + j) * x.channels + c];
            if (value > most) most = value;
            total += value;
          }
        }
        y.data[out] = mean ? total / count : most;
      }
    }
  }
  return y;
}

/* In use, batch norm is a factor and an offset a channel: it has its averages from training. */
function batchNorm(x, { gamma, beta, mean, variance, epsilon }) {
  const data = x.data.map((value, index) => {
    const c = index % x.channels;
    return (gamma[c] * (value - mean[c])) / Math.sqrt(variance[c] + epsilon) + beta[c];
  });
  return { ...x, data };
}

const relu = (x) => ({ ...x, data: x.data.map((value) => Math.max(value, 0)) });

function dense(x, { units, weights, bias }) {
  const y = maps(1, 1, units), total = Float64Array.from(bias);
  x.data.forEach((value, index) => {
    for (let unit = 0; unit < units; unit++) total[unit] += value * weights[index * units + unit];
  });
  y.data.set(total);
  return y;
}

export function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, (each) => Math.exp(each - most));
  return powers.map((each) => each / sum(powers));
}

export const APPLY = { convolution, pooling, "batch norm": batchNorm, relu: (x) => relu(x), dense,
  // Outside of training dropout does nothing; and maps lie in their order already.
  dropout: (x) => x, flatten: (x) => ({ ...x, height: 1, width: 1, channels: x.data.length }) };

/* Everything that a network computes: the image, then what each layer makes of it. */
export function forward(network, image) {
  const values = [{ ...maps(SIDE, SIDE, 1), data: image }];
  for (const layer of network.layers) {
    const y = APPLY[layer.kind](values.at(-1), layer);
    values.push(layer.relu ? relu(y) : y);
  }
  return values;
}

// ---- From ink to an image like those of MNIST

/* Scale the ink into a box of 20×20, by the mean of what falls on each pixel, and lay it so that
   its centre of mass comes to the middle of 28×28. Ink is one byte a point, row by row. */
export function prepared(ink, width) {
  const height = ink.length / width, image = new Float32Array(SIDE * SIDE);
  let [top, bottom, left, right] = [height, -1, width, -1];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (!ink[row * width + column]) continue;
      [top, bottom] = [Math.min(top, row), row];
      [left, right] = [Math.min(left, column), Math.max(right, column)];
    }
  }
  if (bottom < 0) return image;
  const scale = Math.max(bottom - top + 1, right - left + 1) / 20, small = new Float32Array(400);
  /* How much of a point lies on each of the two pixels, or more, that it touches. */
  const shares = (first, last) => range(20).map((pixel) => {
    const from = first + pixel * scale, to = Math.min(from + scale, last + 1), parts = [];
    for (let point = Math.floor(from); point < to; point++) {
      parts.push([point, (Math.min(point + 1, to) - Math.max(point, from)) / scale]);
    }
    return parts;
  });
  const columns = shares(left, right);
  let [mass, down, across] = [0, 0, 0];
  shares(top, bottom).forEach((rows, i) => columns.forEach((parts, j) => {
    let total = 0;
    for (const [row, share] of rows) {
      for (const [column, other] of parts) total += share * other * ink[row * width + column];
    }
    small[i * 20 + j] = total / 255;
    [mass, down, across] = [mass + total, down + total * i, across + total * j];
  }));
  // What is symmetric lies half a pixel off, and rounding must not decide to which side.
  const [row, column] = [down, across].map((each) => SIDE / 2 - Math.floor(each / mass + 0.5 + 1e-6));
  small.forEach((value, index) => {
    const i = row + Math.floor(index / 20), j = column + (index % 20);
    if (i >= 0 && i < SIDE && j >= 0 && j < SIDE) image[i * SIDE + j] = value;
  });
  return image;
}

const moved = (image, find) => image.map((_, index) => find(Math.floor(index / SIDE), index % SIDE));

/* Rotate, counter-clockwise; then shift; then invert. Black comes in from outside. */
export function changed(image, { degrees = 0, down = 0, right = 0, inverted = false }) {
  const at = (row, column) => (row >= 0 && row < SIDE && column >= 0 && column < SIDE
    ? result[row * SIDE + column] : 0);
  let result = Float32Array.from(image);
  if (degrees) {
    const cos = Math.cos(degrees * Math.PI / 180), sin = Math.sin(degrees * Math.PI / 180);
    const middle = (SIDE - 1) / 2, last = SIDE - 1 + 1e-9;
    result = moved(result, (row, column) => {
      const y = middle + sin * (column - middle) + cos * (row - middle);
      const x = middle + cos * (column - middle) - sin * (row - middle);
      if (y < -1e-9 || x < -1e-9 || y > last || x > last) return 0;
      const [i, j] = [Math.floor(y), Math.floor(x)], [below, beside] = [y - i, x - j];
      return (1 - below) * ((1 - beside) * at(i, j) + beside * at(i, j + 1)) +
        below * ((1 - beside) * at(i + 1, j) + beside * at(i + 1, j + 1));
    });
  }
  if (down || right) result = moved(result, (row, column) => at(row - down, column - right));
  return inverted ? result.map((value) => 1 - value) : result;
}

// ---- One unit

/* Where its window lies on the layer before: rows and columns, the last ones included. */
export function windowOf(layer, x, { row, column }) {
  const taps = layer.kernel ?? layer.pool;
  if (!taps) {
    return layer.kind === "dense" ? { top: 0, left: 0, bottom: x.height - 1, right: x.width - 1 }
      : { top: row, left: column, bottom: row, right: column };
  }
  const { stride, padding } = layer;
  const top = row * stride - windows(x.height, taps[0], stride, padding).before;
  const left = column * stride - windows(x.width, taps[1], stride, padding).before;
  return { top, left, bottom: top + taps[0] - 1, right: left + taps[1] - 1 };
}

/* On which pixels of the image it depends. */
export function fieldOf(network, values, number, at) {
  let field = { top: at.row, left: at.column, bottom: at.row, right: at.column };
  for (let index = number; index > 0; index--) {
    const layer = network.layers[index - 1], x = values[index - 1];
    if (layer.kind === "flatten") {
      field = { top: 0, left: 0, bottom: x.height - 1, right: x.width - 1 };
      continue;
    }
    const first = windowOf(layer, x, { row: field.top, column: field.left });
    const last = windowOf(layer, x, { row: field.bottom, column: field.right });
    field = { top: Math.max(first.top, 0), left: Math.max(first.left, 0),
      bottom: Math.min(last.bottom, x.height - 1), right: Math.min(last.right, x.width - 1) };
  }
  return field;
}

/* The maps that a layer reads: a flattened map and one behind dropout hold the same numbers. */
export function sourceOf(network, number) {
  let before = number - 1;
  while (before && ["flatten", "dropout"].includes(network.layers[before - 1].kind)) before--;
  return before;
}

/* What a unit is made of. `parts` has, for each channel that it reads, the rows of its window:
   x of the layer before, w of the kernel. Outside of the maps x is 0, and there is none to pool. */
export function unit(network, values, number, at) {
  const layer = network.layers[number - 1], y = values[number];
  const value = y.data[(at.row * y.width + at.column) * y.channels + at.map];
  const x = values[sourceOf(network, number)];
  const { top, left, bottom, right } = windowOf(layer, x, at);
  const weight = { convolution: (i, j, c) => ((i * (right - left + 1) + j) * x.channels + c) *
    layer.filters, dense: (i, j, c) => ((i * x.width + j) * x.channels + c) * layer.units }[layer.kind];
  const channels = weight ? range(x.channels) : [at.map];
  const parts = channels.map((c) => range(bottom - top + 1).map((i) => range(right - left + 1).map((j) => {
    const inside = top + i >= 0 && left + j >= 0 && top + i < x.height && left + j < x.width;
    return { inside, x: inside ? x.data[((top + i) * x.width + left + j) * x.channels + c] : 0,
      w: weight ? layer.weights[weight(i, j, c) + at.map] : 1 };
  })));
  const sums = parts.map((rows) => sum(rows.flat().map((each) => each.x * each.w)));
  const bias = layer.bias?.[at.map] ?? 0;
  return { layer, value, parts, sums, bias, total: sum(sums) + bias };
}

export function written(value, digits = 3) {
  if (Math.abs(value) < 5e-4) return "0";
  const text = Math.abs(value) >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits);
  return String(Number(text)).replace("-", "−");
}

/* For a small cell: never more than three decimals. */
const brief = (value) => written(Number(value.toFixed(3)));

/* Rounded to a tenth of a per cent, but never to a certainty that is none. */
export function percent(share) {
  if (share < 0.0005) return "< 0.1 %";
  return share > 0.9995 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

// ---- Colours

const SHADES = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582",
  "d6604d", "b2182b", "67001f"].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/* Of a share from -1 to 1, blue to red; or of one from 0 to 1, black to white: as in the figures. */
export function shade(share, signed) {
  if (!signed) return Array(3).fill(Math.round(255 * share));
  const place = (share + 1) * 5, below = Math.min(Math.floor(place), 9);
  return SHADES[below].map((from, c) => Math.round(from + (SHADES[below + 1][c] - from) * (place - below)));
}

const topOf = (numbers) => numbers.reduce((top, each) => Math.max(top, Math.abs(each)), 1e-12);

/* The same as whole pixels, from a table: there are thousands in each picture. */
const TABLES = [false, true].map((signed) => Uint32Array.from({ length: 256 }, (_, step) => {
  const [r, g, b] = shade(signed ? step / 127.5 - 1 : step / 255, signed);
  return new Uint32Array(new Uint8ClampedArray([r, g, b, 255]).buffer)[0];
}));

/* Paint one channel of maps, whose largest value is `top`. */
function paint(canvas, { height, width, channels, data }, channel, top, signed = false) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pixels = new ImageData(width, height), into = new Uint32Array(pixels.data.buffer);
  const table = TABLES[+signed], scale = (signed ? 127.5 : 255) / top, zero = signed ? 127.5 : 0;
  for (let index = 0, from = channel; index < into.length; index++, from += channels) {
    into[index] = table[Math.round(zero + scale * data[from])];
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// ---- The page

// JupyterLab takes keys for its own shortcuts, arrows among them, unless what has the focus says so.
const OWN_KEYS = "data-lm-suppress-shortcuts";
const PAPER = 280, STRIDE = 8, PAUSE = 700;
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const CHANGES = [["Shift left", "←", { right: -2 }], ["Shift right", "→", { right: 2 }],
  ["Shift up", "↑", { down: -2 }], ["Shift down", "↓", { down: 2 }],
  ["Rotate left", "↺", { degrees: 15 }], ["Rotate right", "↻", { degrees: -15 }]];

const button = (name, text, label = text) => `<button type="button" name="${name}" ` +
  `${label === text ? "" : `aria-label="${label}" title="${label}" `}${OWN_KEYS}>${text}</button>`;

function skeleton(networks, groups) {
  const caption = (title, more) => `<p class="dd-caption"><b>${title}</b><br>${more}</p>`;
  const radios = networks.map(({ name }, index) => `<label><input type="radio" name="network" ` +
    `value="${index}" autocomplete="off" ${index ? "" : "checked"} ${OWN_KEYS}> <span>${name}</span> ` +
    `<span class="dd-mini" aria-hidden="true">${"<i></i>".repeat(10)}</span> <output></output></label>`);
  const bars = range(10).map((digit) => `<div class="dd-bar" data-map="${digit}"><span>${digit}</span>` +
    `<span class="dd-track"><i></i></span><span class="dd-share"></span></div>`);
  const examples = groups.map(({ title }, group) => `<div class="dd-group" role="toolbar" ` +
    `aria-label="${title}" data-group="${group}"><span>${title}</span></div>`);
  return `<div class="dd-top"><div class="dd-sheet">${caption("Your digit", "draw here")}` +
    `<div class="dd-box"><canvas class="dd-paper" width="${PAPER}" height="${PAPER}" tabindex="0" ` +
    `role="application" ${OWN_KEYS} aria-label="Drawing area: the arrow keys move the pen, the space ` +
    `bar puts it down and lifts it, Delete clears"></canvas><span class="dd-pen" hidden></span></div>` +
    `<div class="dd-tools">${button("clear", "Clear")}<label>Pen <input type="range" name="pen" ` +
    `min="12" max="40" step="2" value="24" autocomplete="off" ${OWN_KEYS}></label></div></div>` +
    `<div class="dd-sheet">${caption("What the networks get", "28×28 pixels")}` +
    `<div class="dd-box dd-image" data-stage="0"><canvas role="img"></canvas></div>` +
    `<div class="dd-tools dd-changes" role="group" aria-label="Change the image">` +
    `${CHANGES.map(([label, sign], index) => button(`change-${index}`, sign, label)).join("")}` +
    `${button("invert", "Invert")}${button("reset", "As drawn")}</div><p class="dd-note"></p></div>` +
    `<div class="dd-answer"><p class="dd-caption dd-said"></p><div class="dd-bars" tabindex="0" ` +
    `role="application" ${OWN_KEYS}>${bars.join("")}</div></div></div>` +
    `<div class="dd-examples">${examples.join("")}</div>` +
    `<form class="dd-networks"><fieldset><legend>Network</legend>${radios.join("")}</fieldset></form>` +
    `<div class="dd-layers"></div><div class="dd-unit"></div>` +
    `<p class="dd-status" role="status"></p>`;
}

const KINDS = { convolution: "Convolution", "batch norm": "Batch norm", relu: "ReLU",
  dense: "Dense layer", dropout: "Dropout" };

/* Name the layers of a network; those of one kind are numbered. A flattened map is none to see. */
function titles(network) {
  const kind = (layer) => KINDS[layer.kind] ?? (layer.mean ? "Average pooling" : "Max pooling");
  return network.layers.map((layer, index) => {
    const same = network.layers.filter((other) => kind(other) === kind(layer));
    const number = same.length > 1 ? ` ${same.indexOf(layer) + 1}` : "";
    return layer.kind === "flatten" ? undefined : `${kind(layer)}${number}`;
  });
}

/* A small table of numbers, with colours, as one picture: rows of { value, ... }. */
function table(rows, label, signed, top) {
  const cell = 40, tall = rows.length * cell, wide = rows[0].length * cell;
  const body = rows.map((cells, i) => cells.map(({ value, out, chosen }, j) => {
    const colour = shade(out ? 0 : (signed ? 0.65 : 1) * value / top, signed);
    const light = sum([0.2126, 0.7152, 0.0722].map((part, c) => part * (colour[c] / 255) ** 2.2));
    const text = brief(value), size = Math.min(13, 62 / text.length).toFixed(1);
    const x = j * cell, y = i * cell, ink = light < 0.18 ? "#fff" : "#000";
    return `<rect x="${x + 1.5}" y="${y + 1.5}" width="${cell - 3}" height="${cell - 3}" ` +
      `fill="rgb(${colour})"${out ? ' class="dd-out"' : ""}${chosen ? ' class="dd-chosen"' : ""}/>` +
      `<text x="${x + cell / 2}" y="${y + cell / 2}" font-size="${size}" fill="${ink}">${text}</text>`;
  }).join("")).join("");
  const read = rows.map((cells) => cells.map(({ value }) => brief(value)).join(" ")).join("; ");
  return `<svg viewBox="0 0 ${wide} ${tall}" style="--wide:${wide}px" role="img" ` +
    `aria-label="${label}: ${read}">${body}</svg>`;
}

/* Terms as a sum is written: "0.5 − 0.25 + 1". */
const added = (terms) => terms.map((term, index) => (index === 0 ? written(term, 4)
  : `${term < 0 ? "−" : "+"} ${written(Math.abs(term), 4)}`)).join(" ");

/* What a unit computes, in words. */
export function sentence({ layer, value, parts, sums, bias, total }, map) {
  const x = written(parts[0][0][0].x, 4), y = written(value, 4);
  if (layer.kind === "pooling") {
    return layer.mean ? `The mean of the window is ${y}.` : `The largest value of the window is ${y}.`;
  }
  if (layer.kind === "relu") return `${x} ${value > 0 ? "is above 0 and stays" : "becomes 0"}.`;
  if (layer.kind === "batch norm") {
    const [mean, variance, gamma, beta] = ["mean", "variance", "gamma", "beta"].map((part) =>
      written(layer[part][map], 4));
    return `(${x} less the mean ${mean}) by the root of (variance ${variance} + ${layer.epsilon}), ` +
      `times γ = ${gamma}, plus β = ${beta}, is ${y}.`;
  }
  const whole = written(total, 4), products = `The sum of the ${parts.flat(2).length} products is `;
  const sumOfSums = sums.length > 1 ? `${added(sums)} = ` : "";
  const end = layer.relu ? `; ReLU ${total > 0 ? "leaves it as it is" : "makes it 0"}` : "";
  return `${products}${sumOfSums}${written(sum(sums), 4)}. With the bias ${written(bias, 4)} it is ` +
    `${whole}${end}.`;
}

/* The pictures of a unit: for each channel that it reads, its window, its kernel, the products. */
function pictures({ layer, parts, sums, value }, signed) {
  if (layer.kind === "dense") {
    return parts.map((_, c) => `<div class="dd-triple"><canvas></canvas><canvas></canvas><canvas>` +
      `</canvas><span>${brief(sums[c])}</span></div>`).join("");
  }
  const weighted = layer.kind === "convolution";
  if (!weighted && layer.kind !== "pooling") return "";
  const topX = topOf(parts.flat(2).map(({ x }) => x)), topW = topOf(parts.flat(2).map(({ w }) => w));
  const topProduct = topOf(parts.flat(2).map(({ x, w }) => x * w));
  return parts.map((rows, c) => {
    const cells = (of) => rows.map((row) => row.map(of)), which = parts.length > 1 ? ` ${c + 1}` : "";
    let chosen = !weighted && !layer.mean;
    const window = cells(({ x, inside }) => {
      const first = chosen && inside && Math.fround(x) === value;
      if (first) chosen = false;
      return { value: x, out: !inside, chosen: first };
    });
    const shown = [table(window, `Window${which}`, signed, topX)];
    if (weighted) {
      shown.push(table(cells(({ w }) => ({ value: w })), `Kernel${which}`, true, topW),
        table(cells(({ x, w }) => ({ value: x * w })), `Products${which}`, true, topProduct));
    }
    const text = weighted ? `<span>${which ? `channel${which}: ` : ""}sum ${written(sums[c], 4)}</span>` : "";
    return `<div class="dd-part"><div>${shown.flatMap((each, index) => [`<b>${" ×="[index]}</b>`, each]).slice(1).join("")}</div>${text}</div>`;
  }).join("");
}

function paintDense(root, { parts }, signed) {
  const width = parts[0][0].length, height = parts[0].length;
  const kinds = [({ x }) => x, ({ w }) => w, ({ x, w }) => x * w].map((of) =>
    parts.map((rows) => Float32Array.from(rows.flat(), of)));
  const tops = kinds.map((channels) => Math.max(...channels.map(topOf)));
  root.querySelectorAll(".dd-triple").forEach((each, c) => each.querySelectorAll("canvas")
    .forEach((canvas, kind) => paint(canvas, { height, width, channels: 1, data: kinds[kind][c] }, 0,
      tops[kind], kind > 0 || signed)));
}

/* Whether the values of each step can be below 0, the image first. */
function signs(network) {
  return network.layers.reduce((found, { kind, relu: cut }) => [...found,
    !cut && kind !== "relu" && (["convolution", "dense", "batch norm"].includes(kind) || found.at(-1)),
  ], [false]);
}

function mount(root) {
  const given = JSON.parse(root.dataset.networks), networks = given.networks.map(loaded);
  const groups = given.examples.map(({ title, labels, images }) => ({ title, labels,
    images: decoded(images) }));
  root.innerHTML = skeleton(networks, groups);
  const get = (selector) => root.querySelector(selector), control = (name) => get(`[name="${name}"]`);
  const paper = get(".dd-paper"), pen = get(".dd-pen"), layers = get(".dd-layers");
  const ink = paper.getContext("2d", { willReadFrequently: true });
  const changes = { degrees: 0, down: 0, right: 0, inverted: false }, stops = {};
  const tip = { x: PAPER / 2, y: PAPER / 2, down: false };
  let network = networks[0], signed = signs(network), values, answers, drawn, truth, frame, pause, said;
  let at = { stage: 1, map: 0, row: SIDE / 2, column: SIDE / 2 };

  /* Say it to who cannot see it, once the hand rests. */
  function announce(text) {
    clearTimeout(pause);
    pause = setTimeout(() => { get(".dd-status").textContent = text; }, PAUSE);
  }

  // ---- What is computed, and shown at each change of the image

  function update() {
    const start = performance.now();
    frame = undefined;
    if (drawn === undefined) {
      const { data } = ink.getImageData(0, 0, PAPER, PAPER), bytes = new Uint8Array(PAPER * PAPER);
      for (let index = 0; index < bytes.length; index++) bytes[index] = data[4 * index];
      drawn = prepared(bytes, PAPER);
    }
    const image = changed(drawn, changes);
    answers = networks.map((each) => {
      const found = forward(each, image);
      if (each === network) values = found;
      return softmax(found.at(-1).data);
    });
    show();
    root.milliseconds = performance.now() - start;
  }

  const later = () => { frame ??= requestAnimationFrame(update); };

  function show() {
    const own = answers[networks.indexOf(network)];
    const best = (shares) => shares.indexOf(Math.max(...shares)), digit = best(own);
    paint(get(".dd-image canvas"), values[0], 0, 1);
    get(".dd-image canvas").setAttribute("aria-label", "The image that the networks get");
    for (const bar of root.querySelectorAll(".dd-bar")) {
      const share = own[bar.dataset.map];
      bar.classList.toggle("dd-best", +bar.dataset.map === digit);
      bar.querySelector("i").style.width = `${100 * share}%`;
      bar.querySelector(".dd-share").textContent = percent(share);
    }
    root.querySelectorAll(".dd-networks label").forEach((label, index) => {
      const shares = answers[index], most = best(shares);
      label.querySelectorAll("i").forEach((bar, d) => { bar.style.height = `${100 * shares[d]}%`; });
      label.querySelector("output").textContent = `${most}, ${percent(shares[most])}`;
    });
    const empty = drawn.every((value) => value === 0);
    const text = `${digit}, ${percent(own[digit])}`;
    const more = empty ? ", of an empty image" : truth === undefined ? "" : `; MNIST calls it a ${truth}`;
    get(".dd-said").innerHTML = `<b>The network says ${digit}</b><br>${percent(own[digit])}${more}`;
    get(".dd-bars").setAttribute("aria-label", `Probabilities: ${text}. The arrow keys choose a digit`);
    if (said !== text.split(",")[0]) announce(`The network says ${text}`);
    said = text.split(",")[0];
    for (const strip of layers.querySelectorAll(".dd-strip")) {
      const stage = +strip.dataset.stage, found = values[stage], top = topOf(found.data);
      strip.querySelectorAll("canvas").forEach((canvas, map) => paint(canvas, found, map, top, signed[stage]));
      strip.querySelectorAll(".dd-logit").forEach((cell, map) => {
        const share = found.data[map] / top;
        cell.style.background = `rgb(${shade(0.65 * share, true)})`;
        cell.lastChild.textContent = written(found.data[map]);
      });
    }
    explain();
  }

  // ---- The layers of a network

  function build() {
    signed = signs(network);
    values = forward(network, new Float32Array(SIDE * SIDE)); // For the sizes alone.
    const last = network.layers.length - 1;
    layers.innerHTML = titles(network).map((title, index) => {
      const { height, width, channels } = values[index + 1], layer = network.layers[index];
      if (title === undefined) return "";
      const flat = height * width === 1, more = layer.kind === "dropout" ? "at work in training only"
        : `${flat ? `${channels} ${index === last ? "logits" : "units"}` : `${channels} maps of ${height}×${width}`}` +
          `${layer.relu ? ", with ReLU" : ""}`;
      const caption = `<p class="dd-caption"><b>${title}</b><br>${more}</p>`;
      if (layer.kind === "dropout") return `<div class="dd-layer">${caption}</div>`;
      const cells = range(channels).map((map) => (flat
        ? `<div class="dd-map dd-logit" data-map="${map}"><b>${map}</b><span></span></div>`
        : `<div class="dd-map" data-map="${map}"><canvas width="${width}" height="${height}"></canvas></div>`));
      return `<div class="dd-layer">${caption}<div class="dd-strip${flat ? " dd-flat" : ""}" tabindex="0" ` +
        `role="application" ${OWN_KEYS} data-stage="${index + 1}" aria-label="${title}: ${more}. The arrow ` +
        `keys choose a unit, Page Down and Page Up a map" style="--across:${width > 14 ? 8 : 16}">${cells.join("")}</div></div>`;
    }).join("");
    get(".dd-bars").dataset.stage = values.length;
    Object.keys(stops).forEach((stage) => delete stops[stage]);
    at = { stage: 1, map: 0, row: SIDE / 2, column: SIDE / 2 };
    clamp();
  }

  /* Keep the unit inside of its maps. */
  function clamp() {
    const { height, width, channels } = values[at.stage] ?? { height: 1, width: 1, channels: 10 };
    const within = (place, count) => Math.min(Math.max(place, 0), count - 1);
    at = { stage: at.stage, map: within(at.map, channels), row: within(at.row, height),
      column: within(at.column, width) };
    stops[at.stage] = at;
  }

  function choose(next) {
    at = { ...at, ...next };
    clamp();
    explain();
    announce(`${get(".dd-unit .dd-caption").textContent}. ${get(".dd-sum").textContent}`);
  }

  /* A frame over part of a map, in shares of it. */
  function frameOn(box, { top, left, bottom, right }, { height, width }, kind) {
    const mark = document.createElement("span"), share = (cells, all) => `${100 * cells / all}%`;
    mark.className = `dd-mark dd-${kind}`;
    mark.style.cssText = `top:${share(top, height)};left:${share(left, width)};` +
      `height:${share(bottom - top + 1, height)};width:${share(right - left + 1, width)}`;
    box.append(mark);
  }

  function explain() {
    const names = titles(network), last = values.length, { stage, map, row, column } = at;
    root.querySelectorAll(".dd-mark").forEach((mark) => mark.remove());
    root.querySelectorAll(".dd-here").forEach((each) => each.classList.remove("dd-here"));
    const boxes = (number) => (number ? [...root.querySelectorAll(`.dd-strip[data-stage="${number}"] .dd-map`)]
      : [get(".dd-image")]);
    let title, text, picture = "", found;
    if (stage === last) {
      const logits = values.at(-1).data, powers = Array.from(logits, Math.exp);
      get(`.dd-bar[data-map="${map}"]`).classList.add("dd-here");
      boxes(stage - 1)[map].classList.add("dd-here");
      title = `Softmax, digit ${map}`;
      text = `e to the power of the logit ${written(logits[map], 4)} is ${written(powers[map], 4)}. Divided by ` +
        `${written(sum(powers), 4)}, the sum of all ten, it is ${percent(powers[map] / sum(powers))}.`;
    } else {
      found = unit(network, values, stage, at);
      const flat = values[stage].height * values[stage].width === 1, { layer } = found;
      const where = stage === last - 1 ? `digit ${map}` : flat ? `unit ${map + 1}`
        : `map ${map + 1}, row ${row + 1}, column ${column + 1}`;
      title = `${names[stage - 1]}, ${where}`;
      text = sentence(found, map);
      picture = pictures(found, signed[stage - 1]);
      const before = sourceOf(network, stage);
      if (flat) boxes(stage)[map].classList.add("dd-here");
      else frameOn(boxes(stage)[map], { top: row, left: column, bottom: row, right: column }, values[stage], "chosen");
      const window = windowOf(layer, values[before], at), reads = layer.kernel || layer.kind === "dense";
      boxes(before).forEach((box, c) => { if (reads || c === map) frameOn(box, window, values[before], "window"); });
      if (before) frameOn(get(".dd-image"), fieldOf(network, values, stage, at), values[0], "window");
    }
    get(".dd-unit").innerHTML = `<p class="dd-caption"><b>${title}</b></p>` +
      `<div class="dd-parts${found?.layer.kind === "dense" ? " dd-triples" : ""}">${picture}</div>` +
      `<p class="dd-sum">${text}</p>`;
    if (found?.layer.kind === "dense") paintDense(root, found, signed[stage - 1]);
  }

  /* The unit at which a pointer points. */
  function pointed(event) {
    const box = event.target.closest("[data-map]"), stage = +event.target.closest("[data-stage]").dataset.stage;
    if (!box) return undefined;
    const { left, top, width, height } = box.getBoundingClientRect(), size = values[stage] ?? {};
    return { stage, map: +box.dataset.map,
      row: Math.floor((event.clientY - top) / height * (size.height ?? 1)),
      column: Math.floor((event.clientX - left) / width * (size.width ?? 1)) };
  }

  function travel(event) {
    const stage = +event.target.dataset.stage, move = ARROWS[event.key];
    const turn = { PageUp: -1, PageDown: 1 }[event.key];
    if (!(move || turn) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const size = values[stage] ?? { width: 1, height: 1, channels: 10 }, from = stops[stage] ?? at;
    if (turn || size.width === 1) return choose({ ...from, stage, map: from.map + (turn ?? sum(move)) });
    let [row, column, map] = [from.row + move[0], from.column + move[1], from.map];
    // Over the side of a map lies the next one.
    if (column < 0 && map > 0) [map, column] = [map - 1, size.width - 1];
    else if (column === size.width && map < size.channels - 1) [map, column] = [map + 1, 0];
    return choose({ stage, map, row, column });
  }

  for (const area of [layers, get(".dd-bars")]) {
    let held = false;
    area.addEventListener("pointerdown", (event) => {
      const unitThere = event.target.closest("[data-stage]") && pointed(event);
      held = Boolean(unitThere);
      if (unitThere) choose(unitThere);
    });
    area.addEventListener("pointermove", (event) => {
      if (!held || !event.buttons || event.pointerType === "touch") return;
      const unitThere = event.target.closest("[data-stage]") && pointed(event);
      if (unitThere) choose(unitThere);
    });
    area.addEventListener("keydown", (event) => { if (event.target.dataset.stage) travel(event); });
    area.addEventListener("focusin", ({ target }) => {
      const stage = +target.dataset.stage;
      if (target.matches(":focus-visible") && stage !== at.stage) choose(stops[stage] ?? { ...at, stage, map: 0 });
    });
  }

  // ---- The paper

  function line(from, to) {
    Object.assign(ink, { lineCap: "round", strokeStyle: "#fff", lineWidth: +control("pen").value });
    ink.beginPath();
    ink.moveTo(from.x, from.y);
    ink.lineTo(to.x, to.y);
    ink.stroke();
    drawn = truth = undefined;
    later();
  }

  function clear() {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, PAPER, PAPER);
    drawn = truth = undefined;
    tip.down = false;
    later();
  }

  /* Lay an example on the paper, as it is; the networks get it as it is. */
  function lay(group, index) {
    const pixels = groups[group].images.subarray(index * SIDE ** 2, (index + 1) * SIDE ** 2);
    const small = document.createElement("canvas");
    clear();
    drawn = Float32Array.from(pixels, (value) => value / 255);
    truth = groups[group].labels[index];
    paint(small, { height: SIDE, width: SIDE, channels: 1, data: drawn }, 0, 1);
    ink.imageSmoothingEnabled = false;
    ink.drawImage(small, 0, 0, PAPER, PAPER);
  }

  let last;
  const place = ({ clientX, clientY }) => {
    const { left, top, width } = paper.getBoundingClientRect(), scale = PAPER / width;
    return { x: (clientX - left) * scale, y: (clientY - top) * scale };
  };
  paper.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    paper.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
  });
  paper.addEventListener("pointermove", (event) => {
    if (!last) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) {
      const next = place(each);
      line(last, next);
      last = next;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) paper.addEventListener(end, () => { last = undefined; });

  function showPen() {
    pen.hidden = !paper.matches(":focus-visible");
    pen.classList.toggle("dd-down", tip.down);
    pen.style.cssText = `left:${100 * tip.x / PAPER}%;top:${100 * tip.y / PAPER}%`;
  }
  paper.addEventListener("focus", showPen);
  paper.addEventListener("blur", () => { tip.down = false; showPen(); });
  paper.addEventListener("keydown", (event) => {
    const move = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (move) {
      const from = { ...tip }, by = event.shiftKey ? 2 : STRIDE;
      const within = (value) => Math.min(Math.max(value, 0), PAPER);
      [tip.x, tip.y] = [within(tip.x + by * move[1]), within(tip.y + by * move[0])];
      if (tip.down) line(from, tip);
    } else if (event.key === " ") {
      tip.down = !tip.down;
      if (tip.down) line(tip, tip);
      announce(`Pen ${tip.down ? "down" : "up"}`);
    } else if (event.key === "Delete" || event.key === "Backspace") clear();
    else return;
    event.preventDefault();
    showPen();
  });

  // ---- Controls

  function dress() {
    const { degrees, down, right, inverted } = changes, parts = [];
    if (degrees) parts.push(`rotated ${Math.abs(degrees)}° to the ${degrees > 0 ? "left" : "right"}`);
    if (right) parts.push(`shifted ${Math.abs(right)} px ${right > 0 ? "right" : "left"}`);
    if (down) parts.push(`shifted ${Math.abs(down)} px ${down > 0 ? "down" : "up"}`);
    if (inverted) parts.push("inverted");
    get(".dd-note").textContent = parts.join(", ") || "as drawn, centred";
    control("invert").setAttribute("aria-pressed", inverted);
    later();
  }

  CHANGES.forEach(([, , by], index) => {
    control(`change-${index}`).onclick = () => {
      const [[name, amount]] = Object.entries(by), most = name === "degrees" ? 180 : SIDE;
      changes[name] += amount;
      if (Math.abs(changes[name]) > most) changes[name] -= name === "degrees" ? 360 * Math.sign(amount) : amount;
      dress();
    };
  });
  control("invert").onclick = () => { changes.inverted = !changes.inverted; dress(); };
  control("reset").onclick = () => {
    Object.assign(changes, { degrees: 0, down: 0, right: 0, inverted: false });
    dress();
  };
  control("clear").onclick = clear;
  get(".dd-networks").onsubmit = (event) => event.preventDefault();
  get(".dd-networks").addEventListener("change", ({ target }) => {
    network = networks[target.value];
    build();
    update();
  });

  groups.forEach(({ title, labels, images }, group) => {
    const bar = get(`[data-group="${group}"]`);
    labels.forEach((label, index) => {
      const each = document.createElement("button"), picture = document.createElement("canvas");
      const data = Float32Array.from(images.subarray(index * SIDE ** 2, (index + 1) * SIDE ** 2));
      paint(picture, { height: SIDE, width: SIDE, channels: 1, data }, 0, 255);
      Object.assign(each, { type: "button", title: `a ${label}`, tabIndex: index ? -1 : 0 });
      each.setAttribute("aria-label", `${title}, number ${index + 1}: a ${label}`);
      each.setAttribute(OWN_KEYS, "");
      each.append(picture);
      each.onclick = () => lay(group, index);
      bar.append(each);
    });
    // One stop for Tab; from there the arrow keys go on.
    const buttons = [...bar.querySelectorAll("button")];
    bar.addEventListener("keydown", (event) => {
      const by = sum(ARROWS[event.key] ?? [0]), here = buttons.indexOf(document.activeElement);
      const next = buttons[here + by];
      if (!by) return;
      event.preventDefault();
      if (next) next.focus();
    });
    bar.addEventListener("focusin", ({ target }) => buttons.forEach((each) => {
      each.tabIndex = each === target ? 0 : -1;
    }));
  });

  build();
  dress();
  lay(0, given.first);
}

document.querySelectorAll(".draw[data-networks]").forEach((root) => {
  if (!root.mounted) mount(root);
  root.mounted = true;
});
