// Decides what an operator must know even if the page is in a background tab.

export const RECENT = 60; // seconds for which something that happened is an alert

const FULL = ["3008", "3009", "3010"]; // closes of connections whose queue was full
const BUSY = ["111"]; // commands that were refused because there were too many
const BROKEN = { closes: ["1011"], errors: ["100"] };
const ALMOST = 0.9; // the part of a limit from which it is an alert

/**
 * The alerts, the worst first: {name, text}. `since` is when the server stopped to answer, as text, or null.
 * `closes` and `errors` are the counts by code of the last minute, `lines` the lines of the log in it.
 */
export function alertsOf({ since = null, status = null, ready = true, silent = [], closes = {}, errors = {}, lines = [], limits = [] }) {
  const found = [];
  const tell = (name, text) => found.push({ name, text });
  const sum = (counts, codes) => codes.reduce((total, code) => total + (counts[code] ?? 0), 0);
  if (since !== null) tell("dead", status === null ? `no answer since ${since}` : `status ${status} since ${since}`);
  if (!ready) tell("store", "the message store is away, commands are refused");
  for (const name of silent) tell("silent", `node ${name} is silent`);
  const broken = sum(closes, BROKEN.closes) + sum(errors, BROKEN.errors);
  if (broken) tell("errors", `${broken} internal ${broken === 1 ? "error" : "errors"}`);
  const bad = lines.filter((it) => ["error", "critical"].includes(it.level)).length;
  if (bad) tell("log", `${bad} ${bad === 1 ? "error" : "errors"} in the log`);
  const full = sum(closes, FULL);
  if (full) tell("refused", `${full} ${full === 1 ? "queue was" : "queues were"} full, closed as too slow`);
  const busy = sum(errors, BUSY);
  if (busy) tell("busy", `${busy} ${busy === 1 ? "command" : "commands"} refused as too many`);
  for (const { name, used, limit } of limits) {
    if (used >= ALMOST * limit) tell("limit", `${Math.floor((100 * used) / limit)} % of ${name} in use`);
  }
  return found;
}

/** The document's title: the worst alert before the plain title. */
export function titleOf(alerts, plain) {
  if (!alerts.length) return plain;
  const more = alerts.length > 1 ? ` (+${alerts.length - 1})` : "";
  return `⚠ ${alerts[0].text}${more} · ${plain}`;
}
