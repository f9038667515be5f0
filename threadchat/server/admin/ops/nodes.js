// The table of nodes, which is there if there are several.

import { make } from "./charts.js";
import { bytes, count, rate, span, together } from "./words.js";

const find = (id) => document.getElementById(id);

const COLUMNS = [
  ["Node", "", ({ report }) => report.node.slice(0, 8) || report.process.slice(0, 8)],
  ["State", "", ({ report, silent }) => (silent ? "silent" : report.ready ? "ready" : "store away")],
  ["Up", "number", ({ report }) => span(report.uptime)],
  ["Connections", "number", ({ report }) => count(report.connections)],
  ["Deliveries", "number", ({ rates }) => (rates.deliveries === null ? "–" : `${rate(rates.deliveries)}/s`)],
  ["Waiting", "number", ({ report }) => together(bytes(report.queued_bytes))],
  ["Processor", "number", ({ rates }) => (rates.cpu_seconds === null ? "–" : `${(100 * rates.cpu_seconds).toFixed(0)} %`)],
  ["Memory", "number", ({ report }) => (report.memory === null ? "–" : together(bytes(report.memory)))],
  ["Version", "", ({ report }) => report.version],
];

/** Shows the `nodes` of `Cluster.feed`. */
export function nodeRows(nodes) {
  find("nodes-panel").hidden = nodes.length < 2;
  if (nodes.length < 2) return;
  const cell = (tag, role, properties, text) => {
    const element = make(tag, properties, text);
    element.setAttribute("role", role);
    return element;
  };
  const head = COLUMNS.map(([title, kind]) => cell("th", "columnheader", { className: kind, scope: "col" }, title));
  find("nodes-head").replaceChildren(...head);
  find("nodes").replaceChildren(...nodes.map((node) => cell("tr", "row", { className: node.silent ? "silent" : "", data: { node: node.report.node } }, "")));
  [...find("nodes").children].forEach((element, place) => {
    element.replaceChildren(...COLUMNS.map(([title, kind, say]) =>
      cell("td", "cell", { className: kind, data: { label: title } }, say(nodes[place]))));
  });
}
