// Draws a series as a line with a filled area into an <svg>. Decoration: the number beside it tells.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 56;

export function drawSparkline(svg, values) {
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    for (const name of ["spark-area", "spark-line"]) {
      const path = document.createElementNS(NS, "path");
      path.setAttribute("class", name);
      svg.append(path);
    }
  }
  const [area, line] = svg.children;
  const highest = Math.max(1, ...values);
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map(
    (value, i) => `${(i * step).toFixed(1)} ${(HEIGHT - 2 - (value / highest) * (HEIGHT - 6)).toFixed(1)}`,
  );
  line.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`);
}
