/** Turns a timeline into the rows that are shown: days, groups of messages, folded comings and goings. */

import { dayName, listing } from "../text/phrases.js";
import { W } from "../text/words.js";

const GROUP_GAP = 300; // seconds between two messages of one person that still read as one contribution

/** Rows are plain data with a `key` that stays, so that two of them compare by what they say. `now` in seconds. */
export function rowsOf(conversation, { me, blocked = new Set() }, now) {
  const { timeline } = conversation;
  const rows = [];
  const twins = twinsIn(conversation);
  let day = null;
  let last = null; // the message row that the next one may continue
  let fold = null; // the row that gathers neighbours: comings and goings, or messages of blocked people

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
  const message = (item) => {
    const row = messageRow(item, conversation, me, conversation.unfolded ? new Set() : blocked);
    row.twin = twins.has(item.name) && item.userId !== undefined;
    place(row, item.at);
    row.head = !continues(last, item) || Boolean(item.replyTo);
    last = item;
  };

  const gather = (kind, item) => {
    if (fold?.kind !== kind || item.key === timeline.newFrom || dayName(item.at, now) !== day) {
      const row = { key: item.key, kind, items: [] };
      place(row, item.at);
      fold = row;
    }
    fold.items.push(item);
    last = null;
  };

  for (const item of timeline.items) {
    if (item.kind === "presence") {
      gather("quiet", item);
      continue;
    }
    if (item.kind === "message" && blocked.has(item.userId) && !conversation.unfolded) {
      gather("blocked", item);
      continue;
    }
    fold = null;
    if (item.kind === "notice") {
      rows.push({ key: item.key, kind: item.quiet ? "quiet" : "notice", text: item.text });
      last = null;
      continue;
    }
    message(item);
  }
  for (const pending of timeline.cut ? [] : timeline.pending.filter(({ matched }) => matched === null)) {
    message({ ...pending, userId: me.user, name: me.nickname, mine: true });
  }
  const words = { quiet: movement, blocked: ({ length }) => W.fromBlocked(length) };
  return rows.map(({ items, ...row }) => (items ? { ...row, text: words[row.kind](items) } : row));
}

function messageRow(item, conversation, me, blocked) {
  const { key, name, userId, mine, text, at, id = null, state = "", problem = "", final = false } = item;
  return {
    key,
    kind: "message",
    id,
    deleted: Boolean(item.deleted),
    edited: Boolean(item.edited),
    head: true,
    name,
    userId,
    mine,
    text,
    at,
    state,
    problem,
    final,
    mention: Boolean(item.mention) && !mine,
    names: namesIn(item, conversation, me),
    me: me.nickname,
    reply: item.replyTo ? quoted(item, conversation, blocked) : null,
    reactions: item.reactions?.length
      ? item.reactions.map(([emoji, users]) => ({
          emoji,
          count: users.length,
          mine: users.includes(me.user),
          names: listing(users.map((user) => (user === me.user ? W.You : conversation.nameOf(user)))),
        }))
      : null,
  };
}

/** The names that a text mentions, as far as they are known here. */
function namesIn({ text, mentions = [], everybody }, conversation, me) {
  if (!text.includes("@")) {
    return null;
  }
  const names = mentions.map((user) => (user === me.user ? me.nickname : conversation.nameOf(user)));
  return [...names, ...(everybody ? ["room"] : [])];
}

/** The message that another one answers, shortened. */
function quoted({ epoch = null, replyTo }, conversation, blocked) {
  const item = conversation.timeline.find(epoch ?? conversation.epoch, replyTo);
  const text = item?.deleted ? W.deleted : blocked.has(item?.userId) ? "…" : (item?.text.slice(0, 200) ?? "");
  return { id: replyTo, key: item?.key ?? null, name: item?.name ?? W.notLoaded, text };
}

/** The names that more than one person here has. */
function twinsIn({ timeline, people = new Map() }) {
  const users = new Map();
  const twins = new Set();
  const see = (name, user) => {
    if (!users.has(name)) {
      users.set(name, user);
    } else if (users.get(name) !== user) {
      twins.add(name);
    }
  };
  for (const { kind, name, userId } of timeline.items) {
    if (kind === "message") {
      see(name, userId);
    }
  }
  people.forEach(({ id, nickname }) => see(nickname, id));
  return twins;
}

const continues = (last, item) =>
  Boolean(last) && last.userId === item.userId && last.name === item.name && item.at - last.at < GROUP_GAP;

/** What several comings and goings come to, person by person: "ann and bob joined · cy left". */
function movement(moves) {
  const people = new Map();
  for (const { userId, name, mine, change } of moves) {
    const person = people.get(userId) ?? { first: change };
    people.set(userId, { ...person, name: mine ? W.You : name || W.Somebody, mine, last: change });
  }
  const outcomes = { [W.joined]: [], [W.left]: [], [W.cameBack]: [], [W.stoppedBy]: [] };
  const oneselfFirst = [...people.values()].sort((a, b) => b.mine - a.mine);
  for (const { name, first, last } of oneselfFirst) {
    const came = first === "join";
    const outcome = last === "join" ? (came ? W.joined : W.cameBack) : came ? W.stoppedBy : W.left;
    outcomes[outcome].push(name);
  }
  return Object.entries(outcomes)
    .filter(([, names]) => names.length)
    .map(([outcome, names]) => `${listing(names)} ${outcome}`)
    .join(" · ");
}
