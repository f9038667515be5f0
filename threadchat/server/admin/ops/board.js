// Draws the board from the server's answers: sums of all nodes, and details of those that answered lately.

import { alertsOf, RECENT } from "./alerts.js";
import { bars } from "./charts.js";
import { Cluster } from "./cluster.js";
import { codes, PARTS } from "./codes.js";
import { Connections } from "./connections.js";
import { Details } from "./details.js";
import { History } from "./history.js";
import { LogLines } from "./loglines.js";
import { nodeRows } from "./nodes.js";
import { Tile, TILES } from "./tiles.js";
import { bytes, classes, clock, depthClass, span, together, tripClass } from "./words.js";

const WINDOWS = [60, 120, 300]; // seconds that the line charts show; the window grows with the data
const HOUR = 3600;
const GAP = 5; // seconds without an answer after which a line has a gap

const find = (id) => document.getElementById(id);
const now = () => Date.now() / 1000;

export class Board {
  #cluster = new Cluster();
  #details = new Details();
  #history = new History();
  #log = new LogLines();
  #reasons = {};
  #row = null; // the sums of the last answer
  #detail = null;
  #away = null; // {since, status} while the server does not answer

  /** `onKick` is called with a connection. */
  constructor(onKick) {
    this.hour = false;
    this.tiles = TILES.map((tile) => new Tile(tile));
    this.connections = new Connections(onKick);
    find("tiles").replaceChildren(...this.tiles.map((tile) => tile.element));
  }

  /** What the next request asks for. */
  get wanted() {
    return { history: this.#row === null, logged: this.#log.known };
  }

  get alerts() {
    const at = this.#row?.time ?? 0;
    return alertsOf({
      since: this.#away && clock(this.#away.since),
      status: this.#away?.status ?? null,
      ready: this.#row?.ready,
      silent: (this.#row?.nodes ?? []).filter((it) => it.silent).map((it) => it.report.node.slice(0, 8) || it.report.process),
      closes: this.#history.counts("closes", at - RECENT),
      errors: this.#history.counts("errors", at - RECENT),
      lines: this.#log.since(at - RECENT),
      limits: this.#detail?.limits,
    });
  }

  /** Shows an answer. All times are those of this computer's clock, whatever the server's says. */
  show(answer) {
    const at = now();
    if (answer.history) {
      this.#reasons = answer.reasons;
      for (const { time, nodes } of answer.history) this.#note(this.#cluster.feed(time + at - answer.time, nodes));
    } else if (this.#row && at - this.#row.time > GAP) {
      this.#history.gap(this.#row.time + 1);
    }
    this.#away = null;
    this.#row = this.#cluster.feed(at, answer.nodes);
    this.#detail = this.#details.take(at, answer);
    this.#note(this.#row);
    this.#log.take(answer, at - answer.time);
    this.#draw(answer);
    this.drawHistory();
  }

  /** The server does not answer: says since when, and dims what was true then. Returns the time. */
  dim(status = null) {
    this.#away ??= { since: this.#row?.time ?? now(), status };
    find("board").dataset.state = "away";
    for (const tile of this.tiles) tile.line.right.textContent = clock(this.#away.since);
    return clock(this.#away.since);
  }

  /** Draws what depends on the window of time. */
  drawHistory() {
    if (!this.#row) return;
    const at = this.#row.time;
    const known = this.#history.span(at);
    const seconds = this.hour ? HOUR : WINDOWS.find((each) => known <= each) ?? WINDOWS.at(-1);
    for (const tile of this.tiles) tile.draw(this.#history.points(tile.name, at - seconds), at, seconds);
    for (const kind of ["closes", "errors"]) {
      const total = {};
      for (const { report, silent } of this.#row.nodes) {
        if (!silent) for (const [code, number] of Object.entries(report[kind])) total[code] = (total[code] ?? 0) + number;
      }
      codes(find(kind), Object.entries(total).map(([code, count]) => ({
        code, count, reason: this.#reasons[code] ?? "", parts: this.#history.buckets(kind, code, at, seconds, PARTS),
      })));
    }
  }

  #note(row) {
    const values = Object.fromEntries(TILES.map((tile) => [tile.name, tile.value(row)]));
    this.#history.add({ time: row.time, values, closes: row.closes, errors: row.errors });
  }

  #draw(answer) {
    const [row, detail] = [this.#row, this.#detail];
    find("board").dataset.state = "";
    find("about").textContent = [`threadchat ${answer.version}`,
      row.nodes.length > 1 ? `${row.nodes.length} nodes` : answer.node && `node ${answer.node}`,
      row.nodes.length > 1 ? "" : `up ${span(answer.uptime)}`].filter(Boolean).join(" · ");
    for (const tile of this.tiles) {
      tile.show(row, detail);
      tile.line.right.textContent = "now";
    }
    bars(find("depths"), classes(detail.outbox_messages, depthClass));
    bars(find("trips"), [...classes(detail.round_trip, tripClass), { label: "no answer", count: detail.unanswered }]);
    find("unanswered").textContent = `${(row.totals.pings_unanswered ?? 0).toLocaleString("en")} pings were not answered since the start`;
    bars(find("threads"), Object.entries(detail.threads).map(([label, number]) => ({ label, count: number }))
      .sort((one, other) => other.count - one.count || one.label.localeCompare(other.label)));
    bars(find("limits"), detail.limits.map(({ name, used, limit, unit }) => {
      const say = (value) => (unit === "bytes" ? together(bytes(value)) : value.toLocaleString("en"));
      return { label: name, count: used, share: used / limit, figure: `${say(used)} of ${say(limit)}` };
    }));
    const several = row.nodes.length > 1;
    find("scope").textContent = several ? `details are of ${detail.processes} of ${row.nodes.length} nodes, those that answered lately` : "";
    this.connections.show(detail.slowest, several);
    nodeRows(row.nodes);
  }
}
