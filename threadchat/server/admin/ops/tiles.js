// The figures of all nodes together, each with the line chart of its last minutes or its last hour.

import { Line, make, roundBytes } from "./charts.js";
import { bytes, count, moment, rate, several, together } from "./words.js";

/** The text of the figure, the value of the line chart, and a second line of text. */
export const TILES = [
  { name: "connections", title: "Connections", value: (it) => it.connections, say: (it) => [count(it), ""],
    more: (it) => `${count(it.totals.connected ?? 0)} since the start` },
  { name: "deliveries", title: "Deliveries", value: (it) => it.rates.deliveries, say: (it) => [rate(it), "/s"],
    more: (it) => `${count(it.totals.deliveries ?? 0)} since the start` + (it.rates.bytes_out === null ? "" : `, ${together(bytes(it.rates.bytes_out))}/s`) },
  { name: "messages-in", title: "Messages in", value: (it) => it.rates.messages_in, say: (it) => [rate(it), "/s"],
    more: (it) => `${several(it.totals.events ?? 0, "event")} published since the start` },
  { name: "round-trip", title: "Ping round trip", value: (it) => it.round_trip, say: moment, least: 0.005,
    more: (it, details) => `for 99 of 100; median ${together(moment(details.median))}` },
  { name: "queued", title: "Waiting in outboxes", value: (it) => it.queued_bytes, say: bytes, least: 1024, nice: roundBytes,
    more: (it, { outbox_messages: waiting, outbox_age: age }) => waiting.sum === 0 ? "nothing waits" : `${several(waiting.sum, "message")}, ` +
      `at most ${count(waiting.highest)} for one, for up to ${together(moment(age.highest))}` },
  { name: "cpu", title: "Processor", value: (it) => it.rates.cpu_seconds, say: (it) => [percent(it), "% of a core"], least: 0.1,
    more: (it, { threads }) => `${several(it.totals.fell_behind ?? 0, "subscription")} fell behind, ${count(threads.producer ?? 0)} catching up` },
  { name: "memory", title: "Memory", value: (it) => it.memory, say: (it) => (it === null ? ["–", ""] : bytes(it)), least: 1024 * 1024, nice: roundBytes,
    more: (it) => (it.memory === null ? "unknown on this system" : "in RAM, of all threadchat processes") },
  { name: "rooms", title: "Rooms", value: (it) => it.rooms, say: (it) => [count(it), ""],
    more: (it) => (it.nodes.length > 1 ? "counted on each node" : "open now") },
];

const percent = (share) => share === null ? "–" : (100 * share).toFixed(share < 0.1 ? 1 : 0);

export class Tile {
  constructor({ name, title, value, say, more, least, nice }) {
    this.name = name;
    this.value = value;
    this.say = say;
    this.more = more;
    this.line = new Line((it) => together(say(it)), least, nice);
    this.figure = make("span", { className: "big", data: { testid: name } });
    this.unit = make("span", { className: "unit soft" });
    this.note = make("p", { className: "note soft" });
    this.element = make("article", { className: "panel tile" },
      make("h2", { textContent: title }),
      make("p", { className: "headline" }, this.figure, this.unit),
      this.note,
      this.line.element);
  }

  /** Shows the sums of all nodes, with `details` of the processes that answered lately. */
  show(row, details) {
    const value = this.value(row);
    const [figure, unit] = this.say(value);
    this.figure.textContent = figure;
    this.figure.dataset.value = value ?? "";
    this.unit.textContent = unit;
    this.note.textContent = this.more(row, details);
  }

  draw(points, now, seconds) {
    this.line.update(points, now, seconds);
  }
}
