// Formats numbers for people: short, with a unit, and of constant width where they change often.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function count(value) {
  return value < 100_000 ? WHOLE.format(value) : SHORT.format(value);
}

/** Formats a rate, with one decimal if it is small. */
export function rate(value) {
  if (value === null) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return [unit === 0 || value >= 100 ? WHOLE.format(value) : value.toFixed(1), units[unit]];
}

/** Formats a short time in seconds, such as that of a ping. */
export function moment(seconds) {
  if (seconds === null) return ["–", ""];
  if (seconds < 0.01) return [(seconds * 1000).toFixed(1), "ms"];
  if (seconds < 1) return [(seconds * 1000).toFixed(0), "ms"];
  if (seconds < 100) return [seconds.toFixed(1), "s"];
  return [span(seconds), ""];
}

/** Formats a long time in seconds, such as an uptime. */
export function span(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** The local time of day of a Unix time. */
export function clock(time) {
  return new Date(time * 1000).toTimeString().slice(0, 8);
}

export function several(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

export function together([figure, unit]) {
  return unit ? `${figure} ${unit}` : figure;
}

/** The buckets of a histogram, each with its label and its count. */
export function classes(spread, word) {
  return spread.counts.map((number, place) => {
    const low = place === 0 ? null : spread.bounds[place - 1];
    const high = place === spread.bounds.length ? null : spread.bounds[place];
    return { label: word(low, high), count: number };
  });
}

export function depthClass(low, high) {
  if (low === null) return "nothing";
  if (high === null) return `over ${low}`;
  return low + 1 === high ? `${high}` : `${low + 1} – ${high}`;
}

export function tripClass(low, high) {
  const word = (seconds) => (seconds < 1 ? `${seconds * 1000} ms` : `${seconds} s`);
  return high === null ? `over ${word(low)}` : `up to ${word(high)}`;
}
