/** Says in plain words what codes, counts and times mean to the person who reads them. */

import { W } from "./words.js";

/** Why the connection ended for good. */
export function closing(code, reason) {
  if (code === 3503 && reason && reason !== "force disconnect") {
    return `${W.closings[3503]} ${sentence(reason)}`;
  }
  return W.closings[code] ?? W.closedBecause(reason || W.code(code));
}

/** What to tell somebody whose command was refused: `what` failed, and the server's reason. */
export function refusal(error, what) {
  if (typeof error.code !== "number") {
    return W.lostBefore;
  }
  const known = W.refusals[error.code];
  const reason = error.reason ? `: ${localTimes(error.reason)}` : "";
  return known?.endsWith(".") ? known : fullStop(`${known ?? what}${reason}`);
}

/** Why an own message did not get through, as far as one knows. */
export function notSent(error, { kind, nickname }) {
  if (kind === "direct" && error.code === 108) {
    return W.notOnline(nickname);
  }
  return W.notSent[error.code] ?? refusal(error, W.notSentBecause);
}

const fullStop = (words) => (words.endsWith(".") ? words : `${words}.`);

/** The server's words as a sentence of their own. */
export const sentence = (words) => localTimes(fullStop(`${words.charAt(0).toUpperCase()}${words.slice(1)}`));

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const timeOfDay = (seconds) => clock.format(seconds * 1000);
export const fullTime = (seconds) => full.format(seconds * 1000);

/** The server writes times in UTC; whoever reads them has a clock on the wall. */
const UTC = /\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?: ?UTC|Z)/g;
export const localTimes = (words) =>
  words.replace(UTC, (time) => short.format(new Date(time.replace(" ", "T").replace(/ ?UTC$/, "Z"))));

/** "Today", "Yesterday", or the date; `now` in seconds. */
export function dayName(seconds, now) {
  const day = new Date(seconds * 1000);
  const today = new Date(now * 1000);
  if (day.toDateString() === today.toDateString()) {
    return W.today;
  }
  today.setDate(today.getDate() - 1);
  return day.toDateString() === today.toDateString() ? W.yesterday : weekday.format(day);
}

/** ["ann", "bob", "cy"] as "ann, bob and cy"; more than four as "ann, bob, cy and 7 others". */
export function listing(names) {
  const shown = names.length > 4 ? [...names.slice(0, 3), W.others(names.length - 3)] : names;
  return shown.length < 2 ? shown.join("") : W.and(shown.slice(0, -1).join(", "), shown.at(-1));
}

export const badge = (count) => (count > 99 ? "99+" : String(count));
