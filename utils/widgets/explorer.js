// A convolution to take apart: change its settings and numbers, point at an output cell, and see
// the window, the products and the sum behind it.
//
// It takes the place of a picture of the first state. What is exported is arithmetic, and needs no page.

// ---- Sizes along one axis: all settings are the same on both

export function paddingWidths(size, { kernel, stride, padding, dilation }) {
  const reach = dilation * (kernel - 1) + 1;
  if (padding === "valid") return [0, 0];
  if (padding === "full") return [reach - 1, reach - 1];
  if (padding !== "same") return [padding, padding];
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + reach - size, 0);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}

/* Lay out an axis: `wide` cells, of which those at the places `real` are input and the others zeros,
   and `outputs` windows, `step` cells apart. A transposed convolution is laid out as a convolution
   with stride 1 over the input with zeros between and around its cells. */
export function plan(settings) {
  const { size, kernel, stride, padding, dilation, transposed } = settings;
  const reach = dilation * (kernel - 1) + 1, cells = range(size);
  if (!transposed) {
    const [before, after] = paddingWidths(size, settings), wide = before + size + after;
    if (reach > wide) {
      return { error: `No output: the kernel reaches over ${reach} cells, and the input` +
        `${wide > size ? " with its padding" : ""} has only ${wide}.` };
    }
    const outputs = Math.floor((wide - reach) / stride) + 1;
    return { reach, wide, outputs, step: stride, real: cells.map((cell) => before + cell),
      unused: wide - (outputs - 1) * stride - reach,
      formula: `⌊(${size} + ${before + after} − ${reach}) / ${stride}⌋ + 1 = ${outputs}` };
  }
  const spread = (size - 1) * stride + reach;
  let outputs = spread - sum(paddingWidths(size, settings));
  if (padding === "valid") outputs += Math.max(stride - reach, 0);
  if (padding === "same") outputs = size * stride;
  if (outputs < 1) {
    return { error: `No output: the kernel spreads the input over ${spread} cells, and the padding ` +
      `crops ${spread - outputs}.` };
  }
  const [before, after] = paddingWidths(outputs, settings), more = outputs - spread + before + after;
  return { reach, wide: outputs + reach - 1, outputs, step: 1, unused: 0,
    real: cells.map((cell) => reach - 1 - before + cell * stride),
    formula: `${stride} · (${size} − 1) + ${reach} − ${before + after}${more ? ` + ${more}` : ""}` +
      ` = ${outputs}` };
}

/* The taps of one window: the place each lies on, the input cell there (-1 for a zero), and the
   weight on it. A transposed convolution lays its kernel turned round. */
function taps({ kernel, dilation, transposed }, laid, index) {
  return range(kernel).map((tap) => {
    const place = index * laid.step + tap * dilation;
    return { place, cell: laid.real.indexOf(place), weight: transposed ? kernel - 1 - tap : tap };
  });
}

// ---- Numbers: image[channel][row][column], weights[filter][channel][row][column], bias[filter]

/* Each channel's factors, row by row as they lie in the window: x of the input, w of the kernel. */
export function factors({ settings, image, weights }, laid, { filter, row, column }) {
  const rows = taps(settings, laid, row), columns = taps(settings, laid, column);
  return range(settings.channels).map((channel) => rows.map((r) => columns.map((c) => ({
    x: r.cell < 0 || c.cell < 0 ? 0 : image[channel][r.cell][c.cell],
    w: weights[filter][channel][r.weight][c.weight],
  }))));
}

const channelSums = (channels) => channels.map((rows) => sum(rows.flat().map(({ x, w }) => x * w)));

export function convolve(state, laid) {
  const cells = range(laid.outputs);
  return range(state.settings.filters).map((filter) => cells.map((row) => cells.map((column) =>
    sum(channelSums(factors(state, laid, { filter, row, column }))) + state.bias[filter])));
}

export function written(value) {
  const rounded = Number(value.toFixed(10)) + 0; // What rounding left of a zero has no sign.
  const whole = Number.isInteger(rounded) && Math.abs(rounded) < 1e6;
  return String(whole ? rounded : Number(rounded.toPrecision(3))).replaceAll("-", "−");
}

const factor = (value) => written(value).replace(/^−.*/, "($&)");
const numbered = (count, index, after = "") => (count > 1 ? ` ${index + 1}${after}` : "");

export function sentence(state, laid, at) {
  const { channels, filters } = state.settings, window = factors(state, laid, at);
  const sums = channelSums(window), bias = state.bias[at.filter];
  let terms = window.flat(2).map(({ x, w }) => `${factor(x)}·${factor(w)}`);
  if (channels > 1) terms = sums.map((part, c) => `${factor(part)} (channel ${c + 1})`);
  else if (terms.length > 9) terms = [...terms.slice(0, 3), "…", terms.at(-1)];
  return `output${numbered(filters, at.filter, ",")} row ${at.row + 1}, column ${at.column + 1}: ` +
    `${terms.join(" + ")} + bias ${written(bias)} = ${written(sum(sums) + bias)}`;
}

/* The layers that do the same in Keras, and what Keras has to say. */
export function keras({ kernel, stride, padding, dilation, transposed, filters }) {
  const own = padding === "valid" || padding === "same", reach = dilation * (kernel - 1) + 1;
  const cells = own ? 0 : padding === "full" ? reach - 1 : padding, notes = [];
  const layers = [`Conv2D${transposed ? "Transpose" : ""}(${filters}, ${kernel}` +
    (stride > 1 ? `, strides=${stride}` : "") + (padding === "same" ? ', padding="same"' : "") +
    (transposed && !own && stride > reach ? ", output_padding=0" : "") +
    (dilation > 1 ? `, dilation_rate=${dilation}` : "") + ")"];
  if (cells && transposed) layers.push(`Cropping2D(${cells})`);
  else if (cells) layers.unshift(`ZeroPadding2D(${cells})`);
  if (cells) notes.push('Keras has only "valid" and "same" padding; any other is a layer of its own.');
  const refused = stride > 1 && dilation > 1;
  if (refused) notes.push("Keras refuses a stride and a dilation above 1 together: here stands what " +
    "the definition gives.");
  return { layers, notes, refused };
}

const NAMES = { size: "Input size", kernel: "Kernel size", stride: "Stride", padding: "Padding width",
  dilation: "Dilation", channels: "Channels in", filters: "Channels out" };

// ---- Drawing

const UNIT = 30, WIDE = 44, MARGIN = 3;

function label(x, y, text, colour, room, most = 14) {
  const size = Math.min(most, room / (0.6 * text.length)).toFixed(1);
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${colour}">${text}</text>`;
}

function cell(row, column, value, top, kind, attributes, product) {
  const unit = product ? WIDE : UNIT, x = column * unit, y = row * unit, text = written(value);
  const colour = shade(SOFT * value / top), room = unit - 6, middle = x + unit / 2;
  const ink = inkOn(colour);
  return `<g class="xp-cell xp-${kind}" ${attributes}><rect x="${x + 2}" y="${y + 2}" ` +
    `width="${unit - 4}" height="${unit - 4}" rx="${kind === "output" ? 10 : 1}" ` +
    `fill="rgb(${colour})"/>${product ? label(middle, y + unit * 0.3, product, ink, room, 11) +
      label(middle, y + unit * 0.68, `= ${text}`, ink, room)
      : label(middle, y + unit / 2, text, ink, room)}</g>`;
}

/* A drawing of so many cells along both axes, under a caption of two lines. */
function part(name, title, more, cells, body, unit = UNIT) {
  const width = cells * unit + 2 * MARGIN, kind = name.split("-")[0];
  return `<div data-part="${name}"><div class="xp-caption xp-caption-${kind}"><b>${title}</b><br>` +
    `${more}</div><div class="xp-box" style="--wide:${width}px;--least:${cells * 24}px"><svg ` +
    `viewBox="${-MARGIN} ${-MARGIN} ${width} ${width}" role="${kind === "product" ? "img" : "grid"}" ` +
    `aria-label="${title}, ${more}">${body}</svg></div></div>`;
}

/* Cells that keys and pointer reach, at `places` along both axes. Tab leads to the one at `stop`. */
function grid(name, kind, values, top, places, stop = { row: 0, column: 0 }, chosen = false) {
  return values.map((cells, row) => `<g role="row">${cells.map((value, column) => {
    const here = stop.row === row && stop.column === column;
    return cell(places[row], places[column], value, top, kind, `role="gridcell" ` +
      `tabindex="${here ? 0 : -1}" ${OWN_KEYS} data-row="${row}" data-column="${column}" aria-label="${name} row ` +
      `${row + 1}, column ${column + 1}: ${written(value)}" aria-selected="${chosen && here}"`);
  }).join("")}</g>`).join("");
}

/* The zeros, and a cross on what no window reads. */
function surroundings(settings, laid, start, count) {
  const read = new Set(range(laid.outputs)
    .flatMap((index) => taps(settings, laid, index).map(({ place }) => place)));
  let zeros = "", crosses = "";
  const inner = UNIT - 6, long = UNIT - 12;
  for (const row of range(count)) {
    for (const column of range(count)) {
      const x = column * UNIT, y = row * UNIT, both = [row + start, column + start];
      if (!both.every((place) => laid.real.includes(place))) {
        zeros += `<g class="xp-zero"><rect x="${x + 3}" y="${y + 3}" width="${inner}" height="${inner}"/>` +
          `${label(x + UNIT / 2, y + UNIT / 2, "0", "currentColor", UNIT, 12)}</g>`;
      }
      if (!both.every((place) => read.has(place))) {
        crosses += `M${x + 6} ${y + 6}l${long} ${long}m0 ${-long}l${-long} ${long}`;
      }
    }
  }
  return [`<g aria-hidden="true">${zeros}</g>`, `<path class="xp-unused" d="${crosses}"/>`];
}

function frame(settings, laid, start, at) {
  const box = (row, column, side, inset = 0) => `<rect x="${(column - start) * UNIT + inset}" ` +
    `y="${(row - start) * UNIT + inset}" width="${side - 2 * inset}" height="${side - 2 * inset}"/>`;
  const spots = taps(settings, laid, at.row).map((r) => taps(settings, laid, at.column)
    .map((c) => box(r.place, c.place, UNIT, 2)).join("")).join("");
  const whole = box(at.row * laid.step, at.column * laid.step, laid.reach * UNIT);
  return `<g class="xp-window">${settings.dilation > 1 ? spots : ""}${whole}${whole}</g>`;
}

/* All the drawings as HTML; `stops` says where Tab leads to in the input and the kernel. */
function drawings(state, laid, at, stops) {
  const { settings, image, weights, bias } = state, { size, kernel, channels, filters } = settings;
  const cut = (grids, side) => grids.slice(0, channels)
    .map((rows) => rows.slice(0, side).map((cells) => cells.slice(0, side)));
  const inputs = cut(image, size), kernels = cut(weights[at.filter], kernel);
  const window = factors(state, laid, at), sums = channelSums(window), outputs = convolve(state, laid);
  const [topIn, topKernel, topOut] = [inputs, kernels, outputs].map((grids) => topOf(grids.flat(2)));
  const topProduct = topOf(window.flat(2).map(({ x, w }) => x * w));
  const start = Math.min(0, laid.real[0]), count = Math.max(laid.wide, laid.real.at(-1) + 1) - start;
  const [zeros, crosses] = surroundings(settings, laid, start, count);
  const padded = count > size ? `with zeros ${count}×${count}` : "no padding";
  const whose = filters > 1 ? `of output ${at.filter + 1}` : `bias ${written(bias[0])}`;
  const turned = settings.transposed && kernel > 1 ? "laid turned round" : whose;
  const rows = range(channels).map((c) => {
    const name = (kind, after) => kind + numbered(channels, c, after), places = laid.real.map((place) => place - start);
    const products = window[c].map((cells, row) => cells.map(({ x, w }, column) =>
      cell(row, column, x * w, topProduct, "product", "", `${factor(x)}·${factor(w)}`)).join(""));
    return `<div class="xp-channel">${
      part(`input-${c}`, `${name("Input")}: ${size}×${size}`, padded, count, zeros +
        grid(name("input", ","), "input", inputs[c], topIn, places, stops[`input-${c}`]) + crosses +
        frame(settings, laid, start, at)) +
      part(`kernel-${c}`, `${name("Kernel")}: ${kernel}×${kernel}`, turned, kernel,
        grid(name("kernel", ","), "kernel", kernels[c], topKernel, range(kernel), stops[`kernel-${c}`])) +
      part(`product-${c}`, name("Products"), `sum ${written(sums[c])}`, kernel, products.join(""), WIDE)}</div>`;
  });
  const maps = outputs.map((values, f) => {
    const here = f === at.filter, n = laid.outputs, name = (kind, after) => kind + numbered(filters, f, after);
    return part(`output-${f}`, `${name("Output")}: ${n}×${n}`,
      here ? `row ${at.row + 1}, column ${at.column + 1}` : "point at a cell", n,
      grid(name("output", ","), "output", values, topOut, range(n), here ? at : undefined, here));
  });
  return `<div class="xp-inputs">${rows.join("")}</div><div class="xp-outputs">${maps.join("")}</div>`;
}

/* Change what is there as little as needed: a cell with the focus or the pointer stays itself. */
function morph(old, fresh) {
  const children = [...fresh.childNodes];
  if (old.nodeName !== fresh.nodeName || old.childNodes.length !== children.length) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else {
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    [...old.childNodes].forEach((child, index) => morph(child, children[index]));
  }
}

// ---- The page

const MOST = 999, MOVES = { ...ARROWS, Home: [0, -99], End: [0, 99] };

function skeleton(limits) {
  const number = (name) => `<label>${NAMES[name]} <input type="number" name="${name}" ` +
    `min="${limits[name][0]}" max="${limits[name][1]}"></label>`;
  const button = (text) => `<button type="button" name="${text.toLowerCase()}">${text}</button>`;
  const kinds = ["valid", "same", "full", "number"].map((kind) => `<option>${kind}</option>`).join("");
  return `<div class="xp-controls" role="group" aria-label="Settings">${number("size")}` +
    `${number("kernel")}${number("stride")}<label>Padding <select name="kind">${kinds}</select></label>` +
    `${["padding", "dilation", "channels", "filters"].map(number).join("")}<label><input ` +
    `type="checkbox" name="transposed"> Transposed</label><label><span></span> <input type="number" ` +
    `name="bias" step="any"></label>${button("Reset")}</div><p class="xp-facts"></p>` +
    `<p class="xp-note" role="status"></p><div class="xp-steps" role="group" aria-label="Output cell">` +
    `${button("Back")}${PLAY_BUTTON}${button("Step")}</div><div class="xp-grids"><div></div><div></div></div>` +
    `<p class="xp-sum" role="status"></p><p class="xp-hint">Point at an output cell, or go there with ` +
    `the arrow keys. To change a number of the input or the kernel, click on it, or go there and type. ` +
    `Crossed out is what no window reads.</p>`;
}

/* The text of a note; a problem is set apart. */
function say(root, text, problem = false) {
  const note = root.querySelector(".xp-note");
  note.textContent = text;
  note.classList.toggle("xp-problem", problem);
}

/* Say the output size, the layers of Keras, and what else there is to know of the settings. */
function explain(root, { state, laid }) {
  const { layers, notes } = keras(state.settings), last = laid.unused;
  root.querySelector(".xp-facts").innerHTML = `Output size ${laid.formula}. In Keras: ` +
    `${layers.map((layer) => `<code>${layer}</code>`).join(", then ")}.`;
  const many = last > 1 ? `${last} rows and columns` : "row and column";
  if (last) notes.unshift(`The last ${many} are in no window.`);
  say(root, notes.join(" "));
}

/* Draw everything anew. `view` is what the parts of the page share: the state, how it is laid out, the
   output cell `at` which a reader is, and the cells `stops` to which Tab leads in each drawing. */
function show(root, { state, laid, at, stops }) {
  const fresh = document.createElement("div"), bias = root.querySelector('[name="bias"]');
  fresh.innerHTML = drawings(state, laid, at, stops);
  morph(root.querySelector(".xp-grids"), fresh);
  root.querySelector(".xp-sum").textContent = sentence(state, laid, at);
  bias.previousElementSibling.textContent = `Bias${numbered(state.settings.filters, at.filter)}`;
  // Not while a reader types: "1." is 1 already.
  if (parseFloat(bias.value) !== state.bias[at.filter]) bias.value = state.bias[at.filter];
}

/* The controls of the settings and of the bias. Returned is what puts them to a state's settings. */
function settingControls(root, view, limits, stop) {
  const names = Object.keys(limits), control = (name) => root.querySelector(`[name="${name}"]`);
  const bias = control("bias");

  /* What the controls say: the settings, and the names of those that are out of their limits. */
  function chosen() {
    const settings = { transposed: control("transposed").checked }, kind = control("kind").value;
    for (const name of names) settings[name] = parseFloat(control(name).value);
    control("padding").parentElement.hidden = kind !== "number";
    if (kind !== "number") settings.padding = kind;
    const faults = names.filter((name) => {
      const [least, most] = limits[name], value = settings[name];
      return typeof value !== "string" && !(Number.isInteger(value) && value >= least && value <= most);
    });
    return { settings, faults };
  }

  /* Take over what the controls say. What cannot be is said, and then nothing is drawn. */
  function read() {
    stop();
    const { settings, faults } = chosen(), next = faults.length ? {} : plan(settings);
    for (const name of names) control(name).setAttribute("aria-invalid", faults.includes(name));
    const problem = next.error ?? faults.map((name) => `${NAMES[name]} must be a whole number from ` +
      `${limits[name].join(" to ")}.`).join(" ");
    for (const part of ["grids", "steps", "facts", "sum", "hint"]) {
      root.querySelector(`.xp-${part}`).hidden = problem;
    }
    if (problem) return say(root, problem, true);
    view.state.settings = settings;
    Object.assign(view, { laid: next, stops: {} });
    view.at.filter = Math.min(view.at.filter, settings.filters - 1);
    for (const axis of ["row", "column"]) view.at[axis] = Math.min(view.at[axis], next.outputs - 1);
    show(root, view);
    return explain(root, view);
  }

  root.querySelector(".xp-controls").addEventListener("input", ({ target }) => {
    if (target !== bias) return read();
    const value = parseFloat(bias.value), good = Math.abs(value) <= MOST;
    bias.setAttribute("aria-invalid", !good);
    if (!good) return say(root, `Bias must be a number from −${MOST} to ${MOST}.`, true);
    view.state.bias[view.at.filter] = value;
    return read();
  });

  return function put({ padding, transposed, ...numbers }) {
    const width = typeof padding === "number" ? padding : 1;
    for (const name of names) control(name).value = name === "padding" ? width : numbers[name];
    control("kind").value = padding === width ? "number" : padding;
    control("transposed").checked = transposed;
    read();
  };
}

/* Open a field over a cell of the input or the kernel, with `text` or the cell's own number in it. */
function edit(root, view, { cell, kind, number, row, column }, text) {
  const { state, at } = view, values = (kind === "input" ? state.image : state.weights[at.filter])[number];
  const box = cell.getBoundingClientRect(), around = root.getBoundingClientRect();
  const [name] = cell.getAttribute("aria-label").split(":"), editor = document.createElement("input");
  const close = (keep) => {
    editor.onblur = null;
    editor.remove();
    const typed = editor.value.trim().replace(",", ".").replace("−", "-"), value = Number(typed);
    const good = typed !== "" && Math.abs(value) <= MOST;
    if (keep && good) values[row][column] = value;
    show(root, view);
    explain(root, view);
    if (keep && !good) {
      say(root, `“${editor.value}” is no number from −${MOST} to ${MOST}; ${name} stays ` +
        `${written(values[row][column])}.`, true);
    }
  };
  editor.className = "xp-editor";
  editor.setAttribute(OWN_KEYS, "");
  editor.value = text ?? values[row][column];
  editor.setAttribute("aria-label", name);
  editor.style.cssText = `left:${Math.min(box.left - around.left, around.width - 52)}px;` +
    `top:${box.top - around.top}px;width:${box.width}px;height:${box.height}px`;
  editor.onblur = () => close(true);
  editor.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    close(event.key === "Enter");
    cell.focus();
  };
  root.append(editor);
  editor.focus();
  if (text === undefined) editor.select();
}

/* The cell an event is about: its part, "input", "kernel" or "output", and where it stands. */
function cellOf({ target }) {
  const cell = target.closest(".xp-cell[tabindex]");
  if (!cell) return {};
  const name = cell.closest("[data-part]").dataset.part, [kind, number] = name.split("-");
  return { cell, name, kind, number: +number, row: +cell.dataset.row, column: +cell.dataset.column };
}

/* Go to an output cell. */
function point(root, view, filter, row, column) {
  const { at } = view;
  if (at.filter === filter && at.row === row && at.column === column) return;
  view.at = { filter, row, column };
  show(root, view);
}

/* Go on by so many output cells, and say whether the last one is reached. */
function step(root, view, by) {
  const { laid: { outputs: n }, at, state } = view, count = n * n * state.settings.filters;
  const index = ((at.filter * n + at.row) * n + at.column + by + count) % count;
  point(root, view, Math.floor(index / (n * n)), Math.floor(index / n) % n, index % n);
  return index === count - 1;
}

/* Pointer and keys on the cells: an output cell is pointed at, any other number is changed. */
function cellKeys(root, view, player) {
  const grids = root.querySelector(".xp-grids");
  const visit = (event) => {
    const { kind, name, number, row, column } = cellOf(event);
    if (kind === "output" && !player.playing()) point(root, view, number, row, column);
    else if (kind && kind !== "output" && event.type === "focusin") {
      view.stops[name] = { row, column };
      show(root, view);
    }
  };
  grids.addEventListener("pointerover", visit);
  grids.addEventListener("focusin", visit);
  grids.addEventListener("click", (event) => {
    const target = cellOf(event);
    if (target.kind) player.stop();
    if (target.kind === "output") point(root, view, target.number, target.row, target.column);
    else if (target.kind) edit(root, view, target);
  });
  grids.addEventListener("keydown", (event) => {
    const target = cellOf(event), move = MOVES[event.key];
    if (!target.kind || withModifier(event)) return;
    const types = target.kind !== "output" && /^([-−\d.]|Enter)$/.test(event.key);
    if (!move && !types) return;
    event.preventDefault();
    player.stop();
    if (types) {
      edit(root, view, target, event.key === "Enter" ? undefined : event.key);
      return;
    }
    const cells = target.cell.closest("svg"), last = cells.querySelectorAll("[role=row]").length - 1;
    const [row, column] = [clamp(target.row + move[0], last), clamp(target.column + move[1], last)];
    cells.querySelector(`[data-row="${row}"][data-column="${column}"]`).focus();
  });
}

function mount(root, { limits, ...first }) {
  root.innerHTML = skeleton(limits);
  for (const control of root.querySelectorAll("input, select, button")) {
    control.setAttribute(OWN_KEYS, "");
    control.autocomplete = "off"; // After a reload Firefox would bring back old settings.
  }
  const view = {}, control = (name) => root.querySelector(`[name="${name}"]`);
  const player = playback(root, control("play"), "output cells", () => step(root, view, 1),
    { otherButtons: true });
  const put = settingControls(root, view, limits, player.stop);
  const reset = () => {
    Object.assign(view, { state: structuredClone(first), at: { filter: 0, row: 0, column: 0 } });
    put(view.state.settings);
  };
  cellKeys(root, view, player);
  control("reset").onclick = reset;
  control("back").onclick = () => { player.stop(); step(root, view, -1); };
  control("step").onclick = () => { player.stop(); step(root, view, 1); };
  reset();
}

start("explorer", mount);
