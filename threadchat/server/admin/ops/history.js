// Keeps the figures of the last hour: each second of the last minutes, and a quarter of a minute before that.

const LONGEST = 3600; // seconds
const FINE = 300; // seconds for which every row is kept
const COARSE = 15; // seconds that one older row stands for

/** Rows are {time, values, closes, errors}: `values` by name, or null for a gap; the others are counts by code. */
export class History {
  #older = [];
  #recent = [];

  get rows() {
    return [...this.#older, ...this.#recent];
  }

  add(row) {
    this.#recent.push(row);
    while (this.#recent.length && this.#recent[0].time < row.time - FINE) this.#keep(this.#recent.shift());
    while (this.#older.length && this.#older[0].time < row.time - LONGEST) this.#older.shift();
  }

  /** Notes that nothing is known after `time`, so that a line has a gap there. */
  gap(time) {
    this.add({ time, values: null, closes: {}, errors: {} });
  }

  /** The seconds from the first row to `now`. */
  span(now) {
    const first = this.#older[0] ?? this.#recent[0];
    return first ? now - first.time : 0;
  }

  /** Pairs of time and value from `since` on; the value is null in a gap. */
  points(name, since) {
    return this.#since(since).map((row) => [row.time, row.values?.[name] ?? null]);
  }

  /** The counts by code of `kind`, which is closes or errors, after `since`. */
  counts(kind, since) {
    const found = {};
    for (const row of this.#since(since)) add(row[kind], found);
    return found;
  }

  /** The counts of one code in `number` equal parts of the `seconds` before `now`. */
  buckets(kind, code, now, seconds, number) {
    const found = new Array(number).fill(0);
    for (const row of this.#since(now - seconds)) {
      const place = Math.floor((number * (row.time - (now - seconds))) / seconds);
      found[Math.min(number - 1, Math.max(0, place))] += row[kind][code] ?? 0;
    }
    return found;
  }

  #since(time) {
    return this.rows.filter((row) => row.time >= time);
  }

  #keep(row) {
    const last = this.#older.at(-1);
    const slot = (it) => Math.floor(it.time / COARSE);
    if (!last || slot(last) !== slot(row) || !last.values || !row.values) {
      this.#older.push({ ...row, closes: { ...row.closes }, errors: { ...row.errors } });
      return;
    }
    last.values = row.values;
    add(row.closes, last.closes);
    add(row.errors, last.errors);
  }
}

function add(counts, into) {
  for (const [code, number] of Object.entries(counts)) into[code] = (into[code] ?? 0) + number;
}
