/** Says in plain words what codes, counts and times mean to the person who reads them. */

const CLOSINGS = {
  3500: "The server did not accept this page's token, or it has expired. Open the chat again from where you logged in.",
  3502: "The server ended this visit because it waited too long for an answer.",
  3503: "You were disconnected from this server.",
  3504: "There are too many connections. Close another tab, then connect again.",
  3509: "The server ended this visit after too many requests that it could not accept.",
};

/** Why the connection ended for good. */
export function closing(code, reason) {
  if (code === 3503 && reason && reason !== "force disconnect") {
    return `${CLOSINGS[3503]} ${sentence(reason)}`;
  }
  return CLOSINGS[code] ?? `The server closed the connection (${reason || `code ${code}`}).`;
}

export const NEEDS_TOKEN = "This server needs a token: open the chat from where you logged in.";

const REFUSALS = {
  100: "The server has a problem of its own just now. Try again in a moment.",
  101: "The server does not know you yet. Reload the page to sign in again.",
  103: "You are not allowed to do this",
  106: "That is over a limit of this server",
  108: "That is not available at the moment",
  111: "That was too fast for the server. Try again in a moment.",
};

/** What to tell somebody whose command was refused: `what` failed, and the server's reason. */
export function refusal(error, what) {
  if (typeof error.code !== "number") {
    return "The connection was lost before the server answered.";
  }
  const known = REFUSALS[error.code];
  if (known?.endsWith(".")) {
    return known;
  }
  return `${known ?? what}${error.reason ? `: ${error.reason}` : ""}.`.replace(/\.\.$/, ".");
}

const NOT_SENT = {
  changed: "This was not sent.",
  ended: "This was not sent.",
  full: "Too much waits for the connection already; this was not sent.",
  lost: "The connection was lost while this was sent. It may have arrived.",
  1009: "This message is too long for the server.",
};

/** Why an own message did not get through, as far as one knows. */
export function notSent(error, { kind, nickname }) {
  if (kind === "direct" && error.code === 108) {
    return `${nickname} is not online.`;
  }
  return NOT_SENT[error.code] ?? refusal(error, "Not sent");
}

/** The server's words as a sentence of their own. */
export const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}.`.replace(/\.\.$/, ".");

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const timeOfDay = (seconds) => clock.format(seconds * 1000);
export const fullTime = (seconds) => full.format(seconds * 1000);

/** "Today", "Yesterday", or the date; `now` in seconds. */
export function dayName(seconds, now) {
  const day = new Date(seconds * 1000);
  const today = new Date(now * 1000);
  if (day.toDateString() === today.toDateString()) {
    return "Today";
  }
  today.setDate(today.getDate() - 1);
  return day.toDateString() === today.toDateString() ? "Yesterday" : weekday.format(day);
}

/** ["ann", "bob", "cy"] as "ann, bob and cy"; more than four as "ann, bob, cy and 7 others". */
export function listing(names) {
  const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} others`] : names;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

export const people = (count) => (count === 1 ? "1 person" : `${count} people`);
export const badge = (count) => (count > 99 ? "99+" : String(count));
