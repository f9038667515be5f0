// Joins what only the process that answered can tell: one poll meets one process, the next maybe another.

export const LATELY = 15; // seconds after which the answer of a process is too old to be shown
const LISTED = 12; // connections

export class Details {
  #answers = new Map(); // process -> {at, answer}

  /** Takes an answer that came at `time`; returns the joined details of the processes that answered lately. */
  take(time, answer) {
    const alive = new Set(answer.nodes.map((it) => it.process));
    this.#answers.set(answer.process, { at: time, answer });
    for (const [process, { at }] of this.#answers) {
      if (!alive.has(process) || time - at >= LATELY) this.#answers.delete(process);
    }
    return join([...this.#answers.values()].map((it) => it.answer));
  }
}

/** Histograms and threads are added up, of each limit the fullest is taken, and the slowest connections sorted. */
export function join(answers) {
  const threads = {};
  for (const answer of answers) {
    for (const [name, number] of Object.entries(answer.threads)) threads[name] = (threads[name] ?? 0) + number;
  }
  return {
    processes: answers.length,
    threads,
    outbox_messages: spread(answers.map((it) => it.outbox_messages)),
    outbox_age: spread(answers.map((it) => it.outbox_age)),
    round_trip: spread(answers.map((it) => it.round_trip)),
    median: highest(answers.map((it) => it.round_trip.median)),
    unanswered: answers.reduce((sum, it) => sum + it.unanswered, 0),
    limits: limits(answers),
    slowest: answers
      .flatMap((it) => it.slowest.map((each) => ({ ...each, node: it.node, key: `${it.process} ${each.number}` })))
      .sort((one, other) => other.outbox_age - one.outbox_age || other.outbox_bytes - one.outbox_bytes || (other.round_trip ?? 0) - (one.round_trip ?? 0))
      .slice(0, LISTED),
  };
}

function spread(all) {
  return {
    bounds: all[0].bounds,
    counts: all[0].counts.map((_, place) => all.reduce((sum, it) => sum + it.counts[place], 0)),
    sum: all.reduce((sum, it) => sum + it.sum, 0),
    highest: Math.max(...all.map((it) => it.highest)),
  };
}

function highest(values) {
  const known = values.filter((it) => it !== null);
  return known.length ? Math.max(...known) : null;
}

function limits(answers) {
  const fullest = new Map();
  for (const each of answers.flatMap((it) => it.limits)) {
    const known = fullest.get(each.name);
    if (!known || each.used / each.limit > known.used / known.limit) fullest.set(each.name, each);
  }
  return [...fullest.values()];
}
