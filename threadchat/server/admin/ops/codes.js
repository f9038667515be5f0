// Counts by code, each with its last minutes or its last hour as small bars.

import { draw, make } from "./charts.js";

const PARTS = 60; // bars
const HEIGHT = 16;

/** `rows` are {code, reason, count, parts}. Elements are reused, so that nothing flickers. */
export function codes(container, rows, empty = "none so far") {
  const kept = new Map([...container.children].map((element) => [element.dataset.name, element]));
  const shown = rows.map((row) => {
    const element = kept.get(row.code) ?? bar(row.code);
    const [label, chart, figure] = element.children;
    element.dataset.value = row.count;
    label.lastChild.textContent = row.reason && ` ${row.reason}`;
    label.title = `${row.code} ${row.reason}`;
    chart.firstChild.setAttribute("d", path(row.parts));
    figure.textContent = row.count.toLocaleString("en");
    return element;
  });
  if (!shown.length) shown.push(make("p", { className: "nothing soft", textContent: empty }));
  container.replaceChildren(...shown);
}

export { PARTS };

function path(parts) {
  const most = Math.max(1, ...parts);
  return parts.map((number, place) => (number ? `M${place + 0.5} ${HEIGHT}V${HEIGHT - 2 - ((HEIGHT - 2) * number) / most}` : "")).join("");
}

function bar(code) {
  const chart = draw("svg", { viewBox: `0 0 ${PARTS} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "spark" });
  chart.append(draw("path", {}));
  return make("div", { className: "bar", data: { name: code } },
    make("span", { className: "bar-label" }, code, make("span", { className: "soft" })),
    chart,
    make("span", { className: "figure" }));
}
