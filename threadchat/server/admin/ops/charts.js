// Line charts and bars in plain SVG and HTML. Nothing here depends on what the numbers mean.

import { span } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 56;

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { data = {}, ...rest } = properties;
  Object.assign(element, rest);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

export function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Rounds up to a number that is easy to read: 1, 2 or 5 times a power of ten. */
export function round(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}

/** Rounds bytes up to a power of two. */
export function roundBytes(value) {
  return value > 1 ? 2 ** Math.ceil(Math.log2(value)) : 1;
}

/** A line chart of values over time. `say` formats a value; the top of the axis is at least `least`. */
export class Line {
  constructor(say, least = 1, nice = round) {
    this.seconds = 60;
    this.say = say;
    this.least = least;
    this.nice = nice;
    this.points = [];
    this.now = 0;
    this.area = draw("path", { class: "area" });
    this.path = draw("path", { class: "line" });
    this.mark = draw("line", { class: "mark", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.svg.append(
      draw("line", { class: "grid", x1: 0, x2: WIDTH, y1: 0.5, y2: 0.5 }),
      draw("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }),
      this.area, this.path,
      draw("line", { class: "grid base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
      this.mark,
    );
    this.top = make("span", { className: "top-label" });
    this.left = make("span");
    this.unpoint();
    this.element = make("div", { className: "chart" },
      make("div", { className: "plot" }, this.svg, this.top),
      make("div", { className: "axis" }, this.left, (this.right = make("span", { textContent: "now" }))));
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.unpoint());
  }

  /** `points` are [time, value] pairs of the last `seconds`. An unknown value is null and leaves a gap. */
  update(points, now, seconds) {
    if (seconds !== this.seconds) {
      this.seconds = seconds;
      this.unpoint();
    }
    this.points = points;
    this.now = now;
    const highest = points.reduce((most, [, value]) => Math.max(most, value ?? 0), 0);
    const top = Math.max(this.least, this.nice(highest));
    this.top.textContent = this.say(top);
    const x = (time) => (WIDTH * (1 - (now - time) / this.seconds)).toFixed(1);
    const y = (value) => (HEIGHT - 1 - ((HEIGHT - 3) * value) / top).toFixed(1);
    let line = "";
    let area = "";
    for (const run of runs(points)) {
      const steps = run.map(([time, value]) => `${x(time)} ${y(value)}`).join("L");
      line += `M${steps}`;
      area += `M${x(run[0][0])} ${HEIGHT}L${steps}L${x(run[run.length - 1][0])} ${HEIGHT}Z`;
    }
    this.path.setAttribute("d", line);
    this.area.setAttribute("d", area);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const time = this.now - this.seconds * (1 - (event.clientX - box.left) / box.width);
    const known = this.points.filter(([, value]) => value !== null);
    if (!known.length) return;
    const near = known.reduce((best, each) => (Math.abs(each[0] - time) < Math.abs(best[0] - time) ? each : best));
    const place = WIDTH * (1 - (this.now - near[0]) / this.seconds);
    this.mark.setAttribute("x1", place);
    this.mark.setAttribute("x2", place);
    this.mark.setAttribute("visibility", "visible");
    this.left.textContent = `${this.say(near[1])}, ${span(this.now - near[0])} ago`;
  }

  unpoint() {
    this.mark.setAttribute("visibility", "hidden");
    this.left.textContent = this.seconds < 3600 ? `${this.seconds / 60} min ago` : "1 h ago";
  }
}

function runs(points) {
  const found = [];
  let run = [];
  for (const each of points) {
    if (each[1] === null) {
      if (run.length) found.push(run);
      run = [];
    } else {
      run.push(each);
    }
  }
  if (run.length) found.push(run);
  return found;
}

/** Horizontal bars: `rows` are {label, count}, and may have a `share` of 0 to 1 and a `figure`. Elements are reused. */
export function bars(container, rows, empty = "none so far") {
  const most = rows.reduce((top, row) => Math.max(top, row.count), 0);
  const kept = new Map([...container.children].map((element) => [element.dataset.name, element]));
  const shown = rows.map((row) => {
    const element = kept.get(row.label) ?? bar(row.label);
    const [label, track, figure] = element.children;
    element.dataset.value = row.count;
    element.classList.toggle("zero", row.count === 0);
    label.textContent = row.label;
    const share = row.share ?? (most ? row.count / most : 0);
    track.firstChild.style.width = `${100 * Math.min(1, share)}%`;
    element.classList.toggle("full", row.share >= 0.9);
    figure.textContent = row.figure ?? row.count.toLocaleString("en");
    return element;
  });
  if (!shown.length) shown.push(make("p", { className: "nothing soft", textContent: empty }));
  container.replaceChildren(...shown);
}

function bar(name) {
  return make("div", { className: "bar", data: { name } },
    make("span", { className: "bar-label" }),
    make("span", { className: "track" }, make("span", { className: "fill" })),
    make("span", { className: "figure" }));
}
