// The name that a screen reader says of a control has to hold the words that stand on it.
document.addEventListener("DOMContentLoaded", () => {
  const all = (selector) => document.querySelectorAll(selector);
  for (const summary of all("summary[aria-label]")) summary.removeAttribute("aria-label");
  for (const button of all(".search-button__button[aria-label]")) {
    button.ariaLabel = button.textContent.replace(/\s+/g, " ").trim();
  }
  // Font Awesome makes a <title> of an icon's title, and names the drawing after it, now or a
  // moment later. The button has its name; the drawing needs none.
  for (const button of all(".theme-switch-button")) {
    const mend = () => {
      for (const icon of button.querySelectorAll("[title]")) icon.removeAttribute("title");
      for (const title of button.querySelectorAll("title")) title.remove();
      for (const drawing of button.querySelectorAll("svg")) {
        drawing.removeAttribute("role");
        drawing.removeAttribute("aria-labelledby");
        drawing.setAttribute("aria-hidden", "true");
      }
    };
    mend();
    new MutationObserver(mend).observe(button, { childList: true, subtree: true });
  }
  // A list holds items, and the entries of the bibliography do not say that they are.
  for (const entry of all('.citation-list[role="list"] > [role]')) entry.role = "listitem";
});

// Paper is white: a page in the dark theme is printed in the light one. And it cannot be unfolded: what
// is folded there is printed open, but for code.
{
  const { dataset } = document.documentElement;
  let shown, folded;
  window.addEventListener("beforeprint", () => {
    shown = dataset.theme;
    dataset.theme = "light";
    folded = [...document.querySelectorAll("details.sd-dropdown:not([open])")];
    for (const each of folded) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    dataset.theme = shown;
    for (const each of folded) each.open = false;
  });
}
