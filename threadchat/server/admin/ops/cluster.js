// Adds up what the nodes report. Rates are those of each process by itself, so a restart never makes one jump.

export const SILENT = 15; // seconds without a new report after which a node no longer counts
const NEW = 8; // seconds after which the other nodes know of a new one
const SHORTEST = 0.5; // seconds between two reports from which a rate is calculated

const RATES = {
  deliveries: (it) => it.totals.deliveries,
  messages_in: (it) => it.totals.messages_in,
  bytes_out: (it) => it.totals.bytes_out,
  cpu_seconds: (it) => it.cpu_seconds,
};
const SUMS = ["connections", "rooms", "queued_bytes", "unanswered"];

export class Cluster {
  #known = new Map(); // process -> {report, rates, told, shared}: when it was told, and whether by others, too
  #fed = null; // the time of the last answer

  /**
   * Takes the reports of one answer, which came at `time`, in seconds; the first is of who answers. Returns the sums over all nodes that
   * are not silent: `connections`, `rates`, `totals` and so on; the `closes` and `errors` by code that are new
   * since the last call; and the `nodes`, each with its `report`, `rates` and whether it is `silent`.
   */
  feed(time, reports) {
    const fresh = { closes: {}, errors: {} };
    const elapsed = this.#fed === null ? 0 : time - this.#fed;
    reports.forEach((report, place) => this.#take(time, report, fresh, elapsed, place > 0));
    const listed = new Set(reports.map((it) => it.process));
    for (const [process, { report, told, shared }] of this.#known) {
      const unknownToOthers = report.node !== "" && !shared && report.uptime < SILENT && time - told < NEW;
      if (!listed.has(process) && !unknownToOthers) this.#known.delete(process);
    }
    this.#fed = time;
    const nodes = [...this.#known.values()].map((it) => ({ ...it, silent: time - it.told >= SILENT }))
      .sort((one, other) => `${one.report.node} ${one.report.process}`.localeCompare(`${other.report.node} ${other.report.process}`));
    return { time, nodes, ...fresh, ...sums(nodes.filter((it) => !it.silent)) };
  }

  #take(time, report, fresh, elapsed, byOther) {
    const before = this.#known.get(report.process);
    const told = time - report.age;
    const shared = byOther || (before?.shared ?? false);
    if (before) before.shared = shared;
    if (before && report.uptime - before.report.uptime < SHORTEST) return; // no newer than what is known
    if (before || (this.#fed !== null && report.uptime <= elapsed + SILENT)) {
      for (const kind of ["closes", "errors"]) count(report[kind], before?.report[kind] ?? {}, fresh[kind]);
    }
    this.#known.set(report.process, { report, rates: rates(before?.report, report), told, shared });
  }
}

function count(after, before, into) {
  for (const [code, number] of Object.entries(after)) {
    const more = number - (before[code] ?? 0);
    if (more > 0) into[code] = (into[code] ?? 0) + more;
  }
}

function rates(before, after) {
  const seconds = before ? after.uptime - before.uptime : 0;
  return Object.fromEntries(Object.entries(RATES).map(([name, of]) =>
    [name, seconds > 0 ? Math.max(0, of(after) - of(before)) / seconds : null]));
}

function sums(nodes) {
  const add = (values) => {
    const known = values.filter((it) => it !== null && it !== undefined);
    return known.length ? known.reduce((sum, it) => sum + it, 0) : null;
  };
  const reports = nodes.map((it) => it.report);
  const totals = {};
  for (const { totals: each } of reports) {
    for (const [name, number] of Object.entries(each)) totals[name] = (totals[name] ?? 0) + number;
  }
  const trips = reports.map((it) => it.round_trip).filter((it) => it !== null);
  return {
    ...Object.fromEntries(SUMS.map((name) => [name, add(reports.map((it) => it[name])) ?? 0])),
    memory: add(reports.map((it) => it.memory)),
    round_trip: trips.length ? Math.max(...trips) : null,
    ready: reports.every((it) => it.ready),
    totals,
    rates: Object.fromEntries(Object.keys(RATES).map((name) => [name, add(nodes.map((it) => it.rates[name]))])),
  };
}
