// Font Awesome replaces <i> by <svg>; a widget's button that waits for its <i> then throws,
// and every script after it stays unrun. "nest" puts the drawing inside the <i> instead.
window.FontAwesomeConfig = { autoReplaceSvg: "nest" };

// The widgets ask MathJax to typeset a label in the way of its version 2; the book has version 3.
document.addEventListener("DOMContentLoaded", () => {
  const mathjax = window.MathJax;
  if (!mathjax?.startup) return;
  mathjax.Hub = {
    Queue: ([, , element]) => mathjax.startup.promise.then(() => mathjax.typesetPromise([element])),
  };
});

// Paper is white: a page in the dark theme is printed in the light one.
{
  const { dataset } = document.documentElement;
  let shown;
  window.addEventListener("beforeprint", () => { shown = dataset.theme; dataset.theme = "light"; });
  window.addEventListener("afterprint", () => { dataset.theme = shown; });
}
