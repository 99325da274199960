// What all widgets need. utils/widgets/page.py puts this file in front of a widget's own, and both
// are one module: a page asks for no second file, and no name gets out.

const range = (count) => Array.from({ length: count }, (_, index) => index);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const clamp = (value, most) => Math.min(Math.max(value, 0), most);
const topOf = (numbers) => numbers.reduce((top, number) => Math.max(top, Math.abs(number)), 1e-12);

// ---- Colours: those of the figures

const SHADES = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582",
  "d6604d", "b2182b", "67001f"].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/* Of a share from -1 to 1, blue to red (matplotlib's RdBu_r); or of one from 0 to 1, black to white. */
export function shade(share, signed = true) {
  if (!signed) return Array(3).fill(Math.round(255 * share));
  const place = (share + 1) * 5, below = Math.min(Math.floor(place), 9);
  return SHADES[below].map((from, c) => Math.round(from + (SHADES[below + 1][c] - from) * (place - below)));
}

// Of the signed colours the middle alone, where numbers stand on them.
const SOFT = 0.65;

/* Black or white, whichever is read more easily on a colour. */
function inkOn(colour) {
  const light = sum([0.2126, 0.7152, 0.0722].map((part, c) => part * (colour[c] / 255) ** 2.2));
  return light < 0.18 ? "#fff" : "#000";
}

// ---- Keys

// JupyterLab takes keys for its own shortcuts, arrows among them, unless what has the focus says so.
const OWN_KEYS = "data-lm-suppress-shortcuts";
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const withModifier = ({ ctrlKey, metaKey, altKey }) => ctrlKey || metaKey || altKey;

// ---- Playing

// Milliseconds a state: enough to read its name and look at its picture.
const PACE = 1500;
const ICONS = { Play: "M4 2v12l10-6z", Pause: "M3 2h4v12H3zM9 2h4v12H9z", Next: "M3 2v12l7-6zM11 2h3v12h-3z" };
const PLAY_BUTTON = `<button type="button" name="play" class="play" ${OWN_KEYS}><svg viewBox="0 0 16 16" ` +
  `width="16" height="16" aria-hidden="true"><path fill="currentColor"/></svg></button>`;

/* Let a button play. `step` goes one state on, and says whether it is the last one. Nothing moves until
   a reader asks for it. For whoever asked their system for less motion the button shows the next state,
   or is gone where other buttons do that. */
function playback(root, button, label, step, { otherButtons = false } = {}) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)"), icon = button.querySelector("path");
  let timer;
  function dress() {
    const name = calm.matches ? "Next" : "Play";
    button.hidden = calm.matches && otherButtons;
    button.setAttribute("aria-label", `${name}: ${label}`);
    if (calm.matches) button.removeAttribute("aria-pressed");
    else button.setAttribute("aria-pressed", timer !== undefined);
    icon.setAttribute("d", ICONS[timer === undefined ? name : "Pause"]);
  }
  function stop() {
    clearInterval(timer);
    timer = undefined;
    dress();
  }
  // A widget that has left its page, as when its cell runs again, stops by itself.
  const tick = () => { if (!root.isConnected || step()) stop(); };
  button.onclick = () => {
    if (timer !== undefined) return stop();
    if (!calm.matches) timer = setInterval(tick, PACE);
    dress();
    return tick();
  };
  calm.addEventListener("change", stop);
  stop();
  return { stop, playing: () => timer !== undefined };
}

// ---- Start

/* Start all widgets of a kind that stand on the page by now. A page may hold the same one twice, and
   some programs that show notebooks run a script somewhere else, or once more: so none goes by its own
   place, and each is started once. */
function start(kind, mount) {
  document.querySelectorAll(`.${kind}[data-state]`).forEach((root) => {
    if (!root.started) mount(root, JSON.parse(root.dataset.state));
    root.started = true;
  });
}
