// Questions: native radio buttons, a reason for each answer, and a guess that is shown again where the
// result stands. Guesses are kept by the page, not by a cell: JupyterLab takes cells out of the page
// that are out of sight.

const guesses = (window.courseGuesses ??= new EventTarget());
guesses.of ??= {};

const letter = (number) => String.fromCharCode(65 + number);

function make(name, text, parent) {
  const element = document.createElement(name);
  element.textContent = text;
  return parent.appendChild(element);
}

function ask(root, { name, text, answers, right }) {
  root.textContent = "";
  const field = make("fieldset", "", root), told = document.createElement("output");
  make("legend", text, field);
  const group = `question-${name ?? Math.random().toString(36).slice(2)}`;
  answers.forEach(([answer, reason], number) => {
    const label = make("label", "", field), button = document.createElement("input");
    Object.assign(button, { type: "radio", name: group, value: letter(number), checked: guesses.of[name] === number });
    button.setAttribute("data-lm-suppress-shortcuts", "");
    label.append(button, ` ${letter(number)}. ${answer}`);
    button.onchange = () => {
      if (name === undefined) {
        const good = number === right;
        told.textContent = `${good ? "✓ Right" : "✗ Not quite"}: ${reason}`;
        told.className = good ? "right" : "wrong";
      } else {
        guesses.of[name] = number;
        guesses.dispatchEvent(new Event("change"));
        told.textContent = "Noted. You will see it again beside the result.";
      }
    };
  });
  told.setAttribute("aria-live", "polite");
  root.append(told);
}

function recall(root, { name, right }) {
  const head = root.querySelector("p"), items = [...root.querySelectorAll("li")];
  function show() {
    const guess = guesses.of[name];
    items.forEach((item, number) => item.classList.toggle("chosen", number === guess));
    if (guess === undefined) head.textContent = "You have made no prediction above. What the runs say:";
    else head.textContent = `You predicted ${letter(guess)}, which is ${guess === right ? "right" : "wrong"}. What the runs say:`;
  }
  guesses.addEventListener("change", show);
  head.setAttribute("aria-live", "polite");
  show();
}

start("question", (root, state) => (state.outcome ? recall : ask)(root, state));
