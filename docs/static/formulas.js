// SPDX-License-Identifier: MIT
// Draws the formulas of a page, which Sphinx leaves between \\( \\) and \\[ \\].
document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll(".math").forEach((formula) =>
    renderMathInElement(formula, {
      delimiters: [
        { left: "\\[", right: "\\]", display: true },
        { left: "\\(", right: "\\)", display: false },
      ],
    }),
  ),
);
