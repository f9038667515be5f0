// Draws the board from the server's data: figures with line charts, bars, and the slowest connections.

import { bars, Line, make, roundBytes } from "./charts.js";
import { bytes, classes, count, depthClass, moment, rate, several, span, together, tripClass } from "./words.js";

const WINDOWS = [60, 120, 300]; // seconds that the line charts show; the window grows with the data
const LONGEST = WINDOWS[WINDOWS.length - 1];
const GAP = 5; // seconds without an answer after which a line has a gap

/** The tiles: the text of the figure, the value of the line chart, and a second line of text. */
const TILES = [
  { name: "connections", title: "Connections", value: (it) => it.connections, say: (it) => [count(it), ""],
    more: (it) => `${count(it.totals.connected)} since the start, in ${several(it.rooms, "room")}` },
  { name: "deliveries", title: "Deliveries", value: (it) => it.rates.deliveries, say: (it) => [rate(it), "/s"],
    more: (it) => `${count(it.totals.deliveries)} since the start` + (it.rates.bytes_out === null ? "" : `, ${together(bytes(it.rates.bytes_out))}/s`) },
  { name: "messages-in", title: "Messages in", value: (it) => it.rates.messages_in, say: (it) => [rate(it), "/s"],
    more: (it) => `${count(it.totals.events)} events published since the start` },
  { name: "round-trip", title: "Ping round trip", value: (it) => it.round_trip.p99, say: moment, least: 0.005,
    more: (it) => `at 99 of 100 connections; at half of them ${together(moment(it.round_trip.median))}` },
  { name: "queued", title: "Waiting in outboxes", value: (it) => it.queued_bytes, say: bytes, least: 1024, nice: roundBytes,
    more: (it) => it.outbox_messages.sum === 0 ? "nothing waits" : `${several(it.outbox_messages.sum, "message")}, ` +
      `at most ${count(it.outbox_messages.highest)} for one, for up to ${together(moment(it.outbox_age.highest))}` },
  { name: "cpu", title: "Processor", value: (it) => it.rates.cpu_seconds, say: (it) => [percent(it), "% of a core"], least: 0.1,
    more: (it) => `${several(it.totals.fell_behind, "subscription")} fell behind, ${count(it.threads.producer ?? 0)} catching up` },
];

const percent = (share) => share === null ? "–" : (100 * share).toFixed(share < 0.1 ? 1 : 0);

const find = (id) => document.getElementById(id);

export class Board {
  constructor() {
    this.history = [];
    this.last = null;
    this.tiles = TILES.map((tile) => new Tile(tile));
    find("tiles").replaceChildren(...this.tiles.map((tile) => tile.element));
  }

  /** Shows an answer of the server. The same answer twice changes nothing. */
  show(seen) {
    if (this.last && seen.time === this.last.time) return;
    if (this.last && seen.uptime < this.last.uptime) this.last = null; // another process answers
    seen.rates = rates(this.last, seen);
    if (this.last && seen.time - this.last.time > GAP) this.history.push({ ...nothing, time: this.last.time + 1 });
    this.last = seen;
    this.history.push({ time: seen.time, values: TILES.map((tile) => tile.value(seen)) });
    while (this.history[0].time < seen.time - LONGEST) this.history.shift();
    const known = seen.time - this.history[0].time;
    const window = WINDOWS.find((each) => known <= each) ?? LONGEST;
    this.tiles.forEach((tile, place) => tile.show(seen, this.history.map((it) => [it.time, it.values[place]]), window));
    find("about").textContent = [`threadchat ${seen.version}`, seen.node && `node ${seen.node}`, `up ${span(seen.uptime)}`]
      .filter(Boolean).join(" · ");
    bars(find("depths"), classes(seen.outbox_messages, depthClass));
    bars(find("trips"), classes(seen.round_trip, tripClass));
    bars(find("threads"), Object.entries(seen.threads).map(([label, number]) => ({ label, count: number }))
      .sort((one, other) => other.count - one.count || one.label.localeCompare(other.label)));
    for (const name of ["closes", "errors"]) {
      bars(find(name), seen[name].map(({ code, reason, count: number }) => ({ label: `${code}`, title: reason, count: number })));
    }
    find("nobody").hidden = seen.slowest.length > 0;
    find("slowest").replaceChildren(...seen.slowest.map(row));
  }
}

const nothing = { values: TILES.map(() => null) };

function rates(before, after) {
  const seconds = before ? after.time - before.time : 0;
  const per = (name, of = (it) => it.totals[name]) => (seconds > 0 ? Math.max(0, of(after) - of(before)) / seconds : null);
  return {
    deliveries: per("deliveries"),
    messages_in: per("messages_in"),
    bytes_out: per("bytes_out"),
    cpu_seconds: per("cpu_seconds", (it) => it.cpu_seconds),
  };
}

class Tile {
  constructor({ name, title, value, say, more, least, nice }) {
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

  show(seen, points, window) {
    const value = this.value(seen);
    const [figure, unit] = this.say(value);
    this.figure.textContent = figure;
    this.figure.dataset.value = value ?? "";
    this.unit.textContent = unit;
    this.note.textContent = this.more(seen);
    this.line.update(points, seen.time, window);
  }
}

function row(each) {
  const cells = [
    ["number", `${each.number}`],
    ["", each.nickname || (each.user === null ? "nobody yet" : `user ${each.user}`), each.nickname && each.user !== null ? `${each.user}` : ""],
    ["", each.address || "–"],
    ["", each.state.toLowerCase().replaceAll("_", " ")],
    ["number", each.outbox_age ? together(moment(each.outbox_age)) : "–"],
    ["number", count(each.outbox_messages)],
    ["number", together(bytes(each.outbox_bytes))],
    ["number", each.last_write === null ? "never" : `${together(moment(each.last_write))} ago`],
    ["number", together(moment(each.round_trip))],
    ["number", together(bytes(each.bytes_out))],
    ["number", span(each.age)],
  ];
  return make("tr", { data: { number: each.number, user: each.user ?? "" }, className: each.outbox_age >= 1 ? "stuck" : "" },
    ...cells.map(([kind, text, beside]) => make("td", { className: kind }, text,
      ...(beside ? [make("span", { className: "soft", textContent: ` ${beside}` })] : []))));
}
