/** Turns a timeline into the rows that are shown: days, groups of messages, folded comings and goings. */

import { dayName, listing } from "./words.js";

const GROUP_GAP = 300; // seconds between two messages of one person that still read as one contribution

/** Rows are plain data with a `key` that stays, so that two of them compare as JSON. `now` in seconds. */
export function rowsOf(timeline, me, now) {
  const rows = [];
  let day = null;
  let last = null; // the message row that the next one may continue
  let fold = null; // the row that gathers neighbouring comings and goings

  const place = (row, at) => {
    const name = dayName(at, now);
    if (name !== day) {
      day = name;
      rows.push({ key: `day:${row.key}`, kind: "day", text: name });
      last = fold = null;
    }
    if (row.key === timeline.newFrom) {
      rows.push({ key: "new", kind: "new" });
      last = fold = null;
    }
    rows.push(row);
  };

  for (const item of timeline.items) {
    if (item.kind === "presence") {
      if (!fold || dayName(item.at, now) !== day) {
        const row = { key: item.key, kind: "quiet", moves: [] };
        place(row, item.at);
        fold = row;
      }
      fold.moves.push(item);
      last = null;
      continue;
    }
    fold = null;
    if (item.kind === "notice") {
      rows.push({ key: item.key, kind: "notice", text: item.text });
      last = null;
      continue;
    }
    const row = messageRow(item);
    place(row, item.at);
    row.head = !continues(last, item);
    last = item;
  }
  for (const message of timeline.pending.filter(({ matched }) => matched === null)) {
    const item = { ...message, userId: me.user, name: me.nickname, mine: true };
    const row = messageRow(item);
    place(row, item.at);
    row.head = !continues(last, item);
    last = item;
  }
  return rows.map((row) => (row.moves ? { ...row, moves: undefined, text: movement(row.moves) } : row));
}

const messageRow = ({ key, name, userId, mine, text, at, deleted, state = "", problem = "", final = false }) => ({
  key,
  kind: "message",
  deleted: Boolean(deleted),
  head: true,
  name,
  userId,
  mine,
  text,
  at,
  state,
  problem,
  final,
});

const continues = (last, item) =>
  Boolean(last) && last.userId === item.userId && last.name === item.name && item.at - last.at < GROUP_GAP;

/** What several comings and goings come to, person by person: "ann and bob joined · cy left". */
function movement(moves) {
  const people = new Map();
  for (const { userId, name, mine, change } of moves) {
    const person = people.get(userId) ?? { first: change };
    people.set(userId, { ...person, name: mine ? "You" : name || "Somebody", mine, last: change });
  }
  const outcomes = { joined: [], left: [], "came back": [], "stopped by": [] };
  const oneselfFirst = [...people.values()].sort((a, b) => b.mine - a.mine);
  for (const { name, first, last } of oneselfFirst) {
    const arrived = last === "join";
    const outcome = arrived
      ? first === "join"
        ? "joined"
        : "came back"
      : first === "join"
        ? "stopped by"
        : "left";
    outcomes[outcome].push(name);
  }
  return Object.entries(outcomes)
    .filter(([, names]) => names.length)
    .map(([outcome, names]) => `${listing(names)} ${outcome}`)
    .join(" · ");
}
