// Draw a digit, and see what trained networks compute from it: every feature map, and every unit
// with its window, its kernel, its products and their sum.
//
// It takes the place of a picture of the first digit. What is exported is arithmetic, and needs no
// page. Maps are as in Keras: rows, then columns, then channels.

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
  const most = Math.max(...logits), powers = Array.from(logits, (logit) => Math.exp(logit - most));
  return powers.map((power) => power / sum(powers));
}

export const APPLY = { convolution, pooling, "batch norm": batchNorm, relu: (x) => relu(x), dense,
  // Outside of training dropout does nothing; and maps lie in their order already.
  dropout: (x) => x, flatten: (x) => ({ ...x, height: 1, width: 1, channels: x.data.length }) };

/* Whether there is nothing to recognise: an image of one shade, however it came to be one. */
export const isBlank = (image) => image.every((value) => value === image[0]);

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
  const [row, column] = [down, across].map((moment) => SIDE / 2 - Math.floor(moment / mass + 0.5 + 1e-6));
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
  const sums = parts.map((rows) => sum(rows.flat().map((cell) => cell.x * cell.w)));
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

// ---- Pictures of maps

/* Colours as whole pixels, from a table: there are thousands in each picture. */
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

const PAPER = 280, STRIDE = 8, PAUSE = 700;
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
  const kinds = network.layers.map(({ kind, mean }) =>
    (kind === "pooling" ? `${mean ? "Average" : "Max"} pooling` : KINDS[kind]));
  return kinds.map((kind, index) => {
    const same = range(kinds.length).filter((other) => kinds[other] === kind);
    return kind && same.length > 1 ? `${kind} ${same.indexOf(index) + 1}` : kind;
  });
}

/* A small table of numbers, with colours, as one picture: rows of { value, ... }. */
function table(rows, label, signed, top) {
  const cell = 40, tall = rows.length * cell, wide = rows[0].length * cell;
  const body = rows.map((cells, i) => cells.map(({ value, out, chosen }, j) => {
    const colour = shade(out ? 0 : (signed ? SOFT : 1) * value / top, signed);
    const text = brief(value), size = Math.min(13, 62 / text.length).toFixed(1);
    const x = j * cell, y = i * cell, ink = inkOn(colour);
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
    return `<div class="dd-part"><div>${shown.flatMap((grid, index) => [`<b>${" ×="[index]}</b>`, grid]).slice(1).join("")}</div>${text}</div>`;
  }).join("");
}

function paintDense(root, { parts }, signed) {
  const width = parts[0][0].length, height = parts[0].length;
  const kinds = [({ x }) => x, ({ w }) => w, ({ x, w }) => x * w].map((of) =>
    parts.map((rows) => Float32Array.from(rows.flat(), of)));
  const tops = kinds.map((channels) => Math.max(...channels.map(topOf)));
  root.querySelectorAll(".dd-triple").forEach((triple, c) => triple.querySelectorAll("canvas")
    .forEach((canvas, kind) => paint(canvas, { height, width, channels: 1, data: kinds[kind][c] }, 0,
      tops[kind], kind > 0 || signed)));
}

/* Whether the values of each step can be below 0, the image first. */
function signs(network) {
  return network.layers.reduce((before, { kind, relu: cut }) => [...before,
    !cut && kind !== "relu" && (["convolution", "dense", "batch norm"].includes(kind) || before.at(-1)),
  ], [false]);
}

/* Say something to who cannot see it, once the hand rests. */
function announcer(root) {
  let pause;
  return (text) => {
    clearTimeout(pause);
    pause = setTimeout(() => { root.querySelector(".dd-status").textContent = text; }, PAUSE);
  };
}

// ---- The sheet, the examples, and changes of the image. `later` asks for everything to be computed.

/* The paper, on which mouse, finger and keyboard draw. */
function sheet(root, later, announce) {
  const paper = root.querySelector(".dd-paper"), pen = root.querySelector(".dd-pen");
  const ink = paper.getContext("2d", { willReadFrequently: true });
  const tip = { x: PAPER / 2, y: PAPER / 2, down: false };
  let image, truth, last;

  function line(from, to) {
    const lineWidth = +root.querySelector('[name="pen"]').value;
    Object.assign(ink, { lineCap: "round", strokeStyle: "#fff", lineWidth });
    ink.beginPath();
    ink.moveTo(from.x, from.y);
    ink.lineTo(to.x, to.y);
    ink.stroke();
    image = truth = undefined;
    later();
  }

  function clear() {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, PAPER, PAPER);
    image = truth = undefined;
    tip.down = false;
    later();
  }

  /* An empty sheet, and what is drawn on it arrives as it is drawn. An example keeps the changes. */
  function begin() {
    clear();
    root.querySelector('[name="reset"]').click();
  }

  /* Lay an example on the paper, as it is; the networks get it as it is. */
  function lay(pixels, label) {
    const small = document.createElement("canvas");
    clear();
    image = Float32Array.from(pixels, (value) => value / 255);
    truth = label;
    paint(small, { height: SIDE, width: SIDE, channels: 1, data: image }, 0, 1);
    ink.imageSmoothingEnabled = false;
    ink.drawImage(small, 0, 0, PAPER, PAPER);
  }

  /* The ink, prepared for the networks. */
  function read() {
    const { data } = ink.getImageData(0, 0, PAPER, PAPER), bytes = new Uint8Array(PAPER * PAPER);
    for (let index = 0; index < bytes.length; index++) bytes[index] = data[4 * index];
    return prepared(bytes, PAPER);
  }

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
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      const next = place(move);
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
    if (withModifier(event)) return;
    if (move) {
      const from = { ...tip }, by = event.shiftKey ? 2 : STRIDE;
      [tip.x, tip.y] = [clamp(tip.x + by * move[1], PAPER), clamp(tip.y + by * move[0], PAPER)];
      if (tip.down) line(from, tip);
    } else if (event.key === " ") {
      tip.down = !tip.down;
      if (tip.down) line(tip, tip);
      announce(`Pen ${tip.down ? "down" : "up"}`);
    } else if (event.key === "Delete" || event.key === "Backspace") begin();
    else return;
    event.preventDefault();
    showPen();
  });
  root.querySelector('[name="clear"]').onclick = begin;
  return { lay, image: () => { image ??= read(); return image; }, truth: () => truth };
}

/* The rows of examples; one that is chosen is laid on the sheet. */
function exampleBars(root, groups, lay) {
  groups.forEach(({ title, examples }, group) => {
    const bar = root.querySelector(`[data-group="${group}"]`);
    const buttons = examples.map(({ label, pixels }, index) => {
      const choice = document.createElement("button"), picture = document.createElement("canvas");
      paint(picture, { height: SIDE, width: SIDE, channels: 1, data: Float32Array.from(pixels) }, 0, 255);
      Object.assign(choice, { type: "button", title: `a ${label}`, tabIndex: index ? -1 : 0 });
      choice.setAttribute("aria-label", `${title}, number ${index + 1}: a ${label}`);
      choice.setAttribute(OWN_KEYS, "");
      choice.append(picture);
      choice.onclick = () => lay(pixels, label);
      bar.append(choice);
      return choice;
    });
    // One stop for Tab; from there the arrow keys go on.
    bar.addEventListener("keydown", (event) => {
      const by = sum(ARROWS[event.key] ?? [0]), next = buttons[buttons.indexOf(document.activeElement) + by];
      if (!by) return;
      event.preventDefault();
      if (next) next.focus();
    });
    bar.addEventListener("focusin", ({ target }) => buttons.forEach((choice) => {
      choice.tabIndex = choice === target ? 0 : -1;
    }));
  });
}

/* The buttons that change the image. Returned is what changes one so. */
function changeButtons(root, later) {
  const none = { degrees: 0, down: 0, right: 0, inverted: false }, now = { ...none };
  const control = (name) => root.querySelector(`[name="${name}"]`);

  function apply(change) {
    const { degrees, down, right, inverted } = Object.assign(now, change), parts = [];
    if (degrees) parts.push(`rotated ${Math.abs(degrees)}° to the ${degrees > 0 ? "left" : "right"}`);
    if (right) parts.push(`shifted ${Math.abs(right)} px ${right > 0 ? "right" : "left"}`);
    if (down) parts.push(`shifted ${Math.abs(down)} px ${down > 0 ? "down" : "up"}`);
    if (inverted) parts.push("inverted");
    root.querySelector(".dd-note").textContent = parts.join(", ") || "as drawn, centred";
    control("invert").setAttribute("aria-pressed", inverted);
    later();
  }

  CHANGES.forEach(([, , by], index) => {
    control(`change-${index}`).onclick = () => {
      const [[name, amount]] = Object.entries(by), most = name === "degrees" ? 180 : SIDE;
      const next = now[name] + amount, over = name === "degrees" ? 360 * Math.sign(amount) : amount;
      apply({ [name]: Math.abs(next) > most ? next - over : next });
    };
  });
  control("invert").onclick = () => apply({ inverted: !now.inverted });
  control("reset").onclick = () => apply(none);
  apply(none);
  return (image) => changed(image, now);
}

// ---- What is computed. `view` is what the parts of the page share: all networks and their answers, the
// network that is shown, its values and their signs, and whether there is nothing to recognise.

const bestOf = (shares) => shares.indexOf(Math.max(...shares));

/* The probabilities of all networks, and what the shown one says. Of a blank image none says anything.
   Returned is that in words; `truth` is the label of an example. */
function showAnswers(root, { networks, network, answers, blank, outside }, truth) {
  const get = (selector) => root.querySelector(selector), own = answers[networks.indexOf(network)];
  const digit = bestOf(own), verdict = `${digit}, ${percent(own[digit])}`;
  for (const bar of root.querySelectorAll(".dd-bar")) {
    const share = own[bar.dataset.map];
    bar.classList.toggle("dd-best", !blank && +bar.dataset.map === digit);
    bar.querySelector("i").style.width = blank ? "0" : `${100 * share}%`;
    bar.querySelector(".dd-share").textContent = blank ? "" : percent(share);
  }
  root.querySelectorAll(".dd-networks label").forEach((label, index) => {
    const shares = answers[index], best = bestOf(shares);
    label.querySelectorAll("i").forEach((bar, d) => { bar.style.height = blank ? "0" : `${100 * shares[d]}%`; });
    label.querySelector("output").textContent = blank ? "" : `${best}, ${percent(shares[best])}`;
  });
  const more = truth === undefined ? "" : `; MNIST calls it a ${truth}`;
  const next = outside ? "the digit was shifted out of it" : "draw a digit, or take an example";
  get(".dd-said").innerHTML = blank ? `<b>The image is empty</b><br>${next}`
    : `<b>The network says ${digit}</b><br>${percent(own[digit])}${more}`;
  get(".dd-bars").setAttribute("aria-label",
    `Probabilities: ${blank ? "none, the image is empty" : verdict}. The arrow keys choose a digit`);
  return blank ? "The image is empty" : `The network says ${verdict}`;
}

/* One layer of a network: its caption, and a place for each of its maps or units. */
function strip(layer, title, stage, last, { height, width, channels }) {
  const flat = height * width === 1, units = stage === last ? "logits" : "units";
  const size = flat ? `${channels} ${units}` : `${channels} maps of ${height}×${width}`;
  const more = layer.kind === "dropout" ? "at work in training only" : size + (layer.relu ? ", with ReLU" : "");
  const caption = `<p class="dd-caption"><b>${title}</b><br>${more}</p>`;
  if (layer.kind === "dropout") return `<div class="dd-layer">${caption}</div>`;
  const cells = range(channels).map((map) => (flat
    ? `<div class="dd-map dd-logit" data-map="${map}"><b>${map}</b><span></span></div>`
    : `<div class="dd-map" data-map="${map}"><canvas width="${width}" height="${height}"></canvas></div>`));
  return `<div class="dd-layer">${caption}<div class="dd-strip${flat ? " dd-flat" : ""}" tabindex="0" ` +
    `role="application" ${OWN_KEYS} data-stage="${stage}" aria-label="${title}: ${more}. The arrow ` +
    `keys choose a unit, Page Down and Page Up a map" style="--across:${width > 14 ? 8 : 16}">${cells.join("")}</div></div>`;
}

/* Make room for the layers of the shown network. */
function buildStrips(root, { network, values }) {
  const names = titles(network), last = network.layers.length;
  root.querySelector(".dd-layers").innerHTML = network.layers.map((layer, index) => (names[index]
    ? strip(layer, names[index], index + 1, last, values[index + 1]) : "")).join("");
  root.querySelector(".dd-bars").dataset.stage = values.length;
}

function paintStrips(root, { values, signed }) {
  for (const row of root.querySelectorAll(".dd-strip")) {
    const stage = +row.dataset.stage, maps = values[stage], top = topOf(maps.data);
    row.querySelectorAll("canvas").forEach((canvas, map) => paint(canvas, maps, map, top, signed[stage]));
    row.querySelectorAll(".dd-logit").forEach((cell, map) => {
      cell.style.background = `rgb(${shade(SOFT * maps.data[map] / top)})`;
      cell.lastChild.textContent = written(maps.data[map]);
    });
  }
}

// ---- One unit, chosen and explained

/* A frame over part of a map, in shares of it. */
function frameOn(box, { top, left, bottom, right }, { height, width }, kind) {
  const mark = document.createElement("span"), share = (cells, all) => `${100 * cells / all}%`;
  mark.className = `dd-mark dd-${kind}`;
  mark.style.cssText = `top:${share(top, height)};left:${share(left, width)};` +
    `height:${share(bottom - top + 1, height)};width:${share(right - left + 1, width)}`;
  box.append(mark);
}

/* The boxes of a layer's maps; those of layer 0 are the image. */
const boxesOf = (root, stage) => [...root.querySelectorAll(stage
  ? `.dd-strip[data-stage="${stage}"] .dd-map` : ".dd-image")];

/* One probability: how it comes about. */
function explainSoftmax(root, { values, blank }, { stage, map }) {
  const logits = values.at(-1).data, powers = Array.from(logits, Math.exp);
  root.querySelector(`.dd-bar[data-map="${map}"]`).classList.add("dd-here");
  boxesOf(root, stage - 1)[map].classList.add("dd-here");
  const text = blank ? "The image is empty: there is no digit to give a probability."
    : `e to the power of the logit ${written(logits[map], 4)} is ${written(powers[map], 4)}. Divided by ` +
      `${written(sum(powers), 4)}, the sum of all ten, it is ${percent(powers[map] / sum(powers))}.`;
  return { title: `Softmax, digit ${map}`, text };
}

/* A unit of a layer: what it reads, framed, and what it computes from it. */
function explainUnit(root, { network, values, signed }, at) {
  const { stage, map, row, column } = at, parts = unit(network, values, stage, at), { layer } = parts;
  const flat = values[stage].height * values[stage].width === 1, before = sourceOf(network, stage);
  const where = stage === values.length - 1 ? `digit ${map}` : flat ? `unit ${map + 1}`
    : `map ${map + 1}, row ${row + 1}, column ${column + 1}`;
  const box = boxesOf(root, stage)[map], own = { top: row, left: column, bottom: row, right: column };
  if (flat) box.classList.add("dd-here");
  else frameOn(box, own, values[stage], "chosen");
  const window = windowOf(layer, values[before], at), all = layer.kernel || layer.kind === "dense";
  boxesOf(root, before).forEach((source, c) => {
    if (all || c === map) frameOn(source, window, values[before], "window");
  });
  if (before) frameOn(root.querySelector(".dd-image"), fieldOf(network, values, stage, at), values[0], "window");
  return { title: `${titles(network)[stage - 1]}, ${where}`, text: sentence(parts, map),
    picture: pictures(parts, signed[stage - 1]), dense: layer.kind === "dense" && parts };
}

/* Choose units with pointer and keys. Returned are two functions: one explains the chosen unit anew, one
   starts over, as another network is shown. */
function inspector(root, view, announce) {
  const get = (selector) => root.querySelector(selector);
  const sizeOf = (stage) => view.values[stage] ?? { height: 1, width: 1, channels: 10 };
  let at, stops;

  /* Go to a unit, or to the nearest one there is. */
  function go({ stage, map, row, column }) {
    const { height, width, channels } = sizeOf(stage);
    at = { stage, map: clamp(map, channels - 1), row: clamp(row, height - 1), column: clamp(column, width - 1) };
    stops[stage] = at;
  }

  function restart() {
    stops = {};
    go({ stage: 1, map: 0, row: SIDE / 2, column: SIDE / 2 });
  }

  function explain() {
    root.querySelectorAll(".dd-mark").forEach((mark) => mark.remove());
    root.querySelectorAll(".dd-here").forEach((marked) => marked.classList.remove("dd-here"));
    const explained = at.stage === view.values.length ? explainSoftmax : explainUnit;
    const { title, text, picture = "", dense } = explained(root, view, at);
    get(".dd-unit").innerHTML = `<p class="dd-caption"><b>${title}</b></p>` +
      `<div class="dd-parts${dense ? " dd-triples" : ""}">${picture}</div><p class="dd-sum">${text}</p>`;
    if (dense) paintDense(root, dense, view.signed[at.stage - 1]);
  }

  function choose(next) {
    go(next);
    explain();
    announce(`${get(".dd-unit .dd-caption").textContent}. ${get(".dd-sum").textContent}`);
  }

  /* The unit at which a pointer points. */
  function pointed({ target, clientX, clientY }) {
    const box = target.closest("[data-map]"), row = target.closest("[data-stage]");
    if (!box || !row) return undefined;
    const { left, top, width, height } = box.getBoundingClientRect(), stage = +row.dataset.stage;
    const size = sizeOf(stage);
    return { stage, map: +box.dataset.map, row: Math.floor((clientY - top) / height * size.height),
      column: Math.floor((clientX - left) / width * size.width) };
  }

  function travel(event) {
    const stage = +event.target.dataset.stage, move = ARROWS[event.key];
    const turn = { PageUp: -1, PageDown: 1 }[event.key];
    if (!stage || !(move || turn) || withModifier(event)) return;
    event.preventDefault();
    const { width, channels } = sizeOf(stage), from = stops[stage] ?? { ...at, stage };
    if (turn || width === 1) {
      choose({ ...from, map: from.map + (turn ?? sum(move)) });
      return;
    }
    let [row, column, map] = [from.row + move[0], from.column + move[1], from.map];
    // Over the side of a map lies the next one.
    if (column < 0 && map > 0) [map, column] = [map - 1, width - 1];
    else if (column === width && map < channels - 1) [map, column] = [map + 1, 0];
    choose({ stage, map, row, column });
  }

  for (const area of [get(".dd-layers"), get(".dd-bars")]) {
    let held = false;
    area.addEventListener("pointerdown", (event) => {
      const next = pointed(event);
      held = Boolean(next);
      if (next) choose(next);
    });
    area.addEventListener("pointermove", (event) => {
      if (!held || !event.buttons || event.pointerType === "touch") return;
      const next = pointed(event);
      if (next) choose(next);
    });
    area.addEventListener("keydown", travel);
    area.addEventListener("focusin", ({ target }) => {
      const stage = +target.dataset.stage;
      if (target.matches(":focus-visible") && stage !== at.stage) choose(stops[stage] ?? { ...at, stage, map: 0 });
    });
  }
  return { explain, restart };
}

function mount(root, given) {
  const networks = given.networks.map(loaded);
  const groups = given.examples.map(({ title, labels, images }) => {
    const pixels = decoded(images), area = SIDE ** 2;
    return { title, examples: labels.map((label, index) =>
      ({ label, pixels: pixels.subarray(index * area, (index + 1) * area) })) };
  });
  root.innerHTML = skeleton(networks, groups);
  const view = { networks }, announce = announcer(root);
  let frame, said;
  const later = () => { frame ??= requestAnimationFrame(update); };
  const paper = sheet(root, later, announce), change = changeButtons(root, later);
  const inspect = inspector(root, view, announce);

  function pick(network) {
    const values = forward(network, new Float32Array(SIDE * SIDE)); // For the sizes alone.
    Object.assign(view, { network, values, signed: signs(network) });
    buildStrips(root, view);
    inspect.restart();
  }

  /* Compute everything from the image, and show it. */
  function update() {
    const began = performance.now(), image = change(paper.image());
    frame = undefined;
    view.blank = isBlank(image);
    view.outside = view.blank && !isBlank(paper.image());
    view.answers = networks.map((network) => {
      const values = forward(network, image);
      if (network === view.network) view.values = values;
      return softmax(values.at(-1).data);
    });
    const picture = root.querySelector(".dd-image canvas");
    paint(picture, view.values[0], 0, 1);
    picture.setAttribute("aria-label", "The image that the networks get");
    const text = showAnswers(root, view, paper.truth()), [digit] = text.split(",");
    if (digit !== said) announce(text); // Not at every change of a probability.
    said = digit;
    paintStrips(root, view);
    inspect.explain();
    root.milliseconds = performance.now() - began;
  }

  exampleBars(root, groups, paper.lay);
  root.querySelector(".dd-networks").onsubmit = (event) => event.preventDefault();
  root.querySelector(".dd-networks").addEventListener("change", ({ target }) => {
    pick(networks[target.value]);
    update();
  });
  pick(networks[0]);
  const { pixels, label } = groups[0].examples[given.first];
  paper.lay(pixels, label);
}

start("draw", mount);
