// Draws a series as a line with a filled area into an <svg>; the value under the pointer stands
// above it. Decoration: the number beside it tells.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 56;
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const shown = new WeakMap();

/** `values` are one a second, oldest first, the last one a second or less ago. */
export function drawSparkline(svg, values) {
  if (!svg.firstChild) setUp(svg);
  const [area, line] = svg.children;
  const highest = Math.max(1, ...values);
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map(
    (value, i) => `${(i * step).toFixed(1)} ${(HEIGHT - 2 - (value / highest) * (HEIGHT - 6)).toFixed(1)}`,
  );
  line.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`);
  const drawn = shown.get(svg);
  drawn.values = values;
  if (drawn.at !== null) point(svg, drawn);
}

function setUp(svg) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const name of ["spark-area", "spark-line", "spark-mark"]) {
    const path = document.createElementNS(NS, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  const frame = document.createElement("div");
  frame.className = "sparkline-frame";
  svg.replaceWith(frame);
  const value = document.createElement("span");
  value.className = "spark-value";
  value.setAttribute("aria-hidden", "true");
  value.hidden = true;
  frame.append(svg, value);
  const drawn = { values: [], at: null, value };
  shown.set(svg, drawn);
  // Between 0, the left edge, and 1. A tap counts as pointing, until the next one elsewhere.
  const move = (event) => {
    const { left, width } = frame.getBoundingClientRect();
    drawn.at = Math.min(1, Math.max(0, (event.clientX - left) / width));
    point(svg, drawn);
  };
  frame.addEventListener("pointermove", move);
  frame.addEventListener("pointerdown", move);
  frame.addEventListener("pointerleave", () => {
    drawn.at = null;
    value.hidden = true;
    svg.children[2].removeAttribute("d");
  });
}

function point(svg, { values, at, value }) {
  const last = values.length - 1;
  const index = Math.round(at * last);
  const x = ((WIDTH * index) / Math.max(1, last)).toFixed(1);
  svg.children[2].setAttribute("d", `M${x} 0V${HEIGHT}`);
  const age = last - index;
  value.textContent = `${number.format(values[index])} · ${age === 0 ? "now" : `${age} s ago`}`;
  value.hidden = false;
}
