// One of several pictures, chosen by a slider or played one by one. All of them stand in the page; the
// script lays its controls in the place of the first one's name.

const CONTROLS = `${PLAY_BUTTON}<label><span></span> <input type="range" min="0" value="0" ` +
  `autocomplete="off" ${OWN_KEYS}></label><output></output>`; // Firefox would bring back an old value.

function mount(root, { label }) {
  const states = [...root.querySelectorAll(".slider-state")], controls = root.querySelector(".slider-controls");
  controls.innerHTML = CONTROLS;
  const get = (selector) => controls.querySelector(selector), slider = get("input"), output = get("output");
  get("span").textContent = label;
  slider.max = states.length - 1;

  function show() {
    states.forEach((state, number) => { state.hidden = number !== +slider.value; });
    output.textContent = states[slider.value].dataset.name;
    slider.setAttribute("aria-valuetext", output.textContent);
  }

  const player = playback(root, get("button"), label, () => {
    // The slider says its value itself; what moves without it is said here.
    output.setAttribute("aria-live", "polite");
    slider.value = (+slider.value + 1) % states.length;
    show();
    return +slider.value === states.length - 1;
  });
  slider.oninput = () => {
    output.setAttribute("aria-live", "off");
    player.stop();
    show();
  };
  output.setAttribute("aria-live", "off");
  show();
}

start("slider", mount);
