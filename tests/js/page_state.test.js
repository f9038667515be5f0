/** Unit tests of what the page knows: timelines, rooms, histories, settings, addresses; without a screen. */

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";

globalThis.window = { localStorage: store(), sessionStorage: store() };
globalThis.location = { hash: "", origin: "http://localhost", pathname: "/", search: "" };
globalThis.history = { replaceState: (state, title, url) => (globalThis.replaced = url) };

const page = "../../threadchat/server/http/page";
const { Timeline, KEPT } = await import(`${page}/timeline.js`);
const { Model, Room, Direct, directKey } = await import(`${page}/model.js`);
const { Loader } = await import(`${page}/history.js`);
const { Rooms } = await import(`${page}/rooms.js`);
const { Outbox } = await import(`${page}/outbox.js`);
const { Settings, pageConfig } = await import(`${page}/settings.js`);
const { addressOf, addressed, nicknameIn, takeToken } = await import(`${page}/navigation.js`);
const { W } = await import(`${page}/text/words.js`);
const storage = await import(`${page}/storage.js`);
const { pack, unpack } = storage;
const { rowsOf } = await import(`${page}/view/rows.js`);
const { Screen } = await import(`${page}/view/dom.js`);
const { candidates } = await import(`${page}/view/composer.js`);

function store() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
    clear: () => kept.clear(),
  };
}

const message = (id, more = {}) => ({ kind: "message", epoch: "e", id, userId: 2, name: "bob", text: `text ${id}`, at: 1_000 + id, mine: false, ...more });
const event = (id, more = {}) => ({ type: "message", id, userId: 2, from: "bob", message: `text ${id}`, unixTime: 1_000 + id, ...more });
const filled = (count) => {
  const timeline = new Timeline();
  timeline.read = { epoch: "e", id: 0 };
  for (let id = 1; id <= count; id += 1) {
    timeline.insert(message(id));
  }
  return timeline;
};
const ids = ({ items }) => items.map(({ id }) => id);

beforeEach(() => window.localStorage.clear());

// --- timelines ---

test("items stand in order, and each once", () => {
  const timeline = new Timeline();
  [3, 1, 2, 3].forEach((id) => timeline.insert(message(id)));
  assert.deepEqual(ids(timeline), [1, 2, 3]);
  assert.equal(timeline.insert(message(2)), false);
  timeline.insert(message(1, { epoch: "f" }));
  assert.deepEqual(ids(timeline), [1, 2, 3, 1]);
});

test("unread is what follows the position that was read; mentions are counted apart", () => {
  const timeline = filled(3);
  timeline.insert(message(4, { mention: true }));
  timeline.insert(message(5, { mine: true }));
  assert.deepEqual(timeline.unread, { messages: 4, mentions: 1 });
  assert.equal(timeline.markRead("e:2"), true);
  assert.deepEqual(timeline.unread, { messages: 2, mentions: 1 });
  assert.equal(timeline.markRead("e:1"), false, "it goes no way back");
  timeline.attend();
  assert.equal(timeline.newFrom, "e:3");
  timeline.learn({ epoch: "e", id: 4 });
  assert.deepEqual(timeline.unread, { messages: 0, mentions: 0 });
  timeline.erase("e", 4);
  assert.equal(timeline.find("e", 4).text, "");
});

test("a long timeline lets go of what is old, and still counts what was not read of it", () => {
  const timeline = filled(500);
  assert.equal(timeline.trim(), true);
  assert.equal(timeline.items.length, KEPT);
  assert.deepEqual(timeline.unread, { messages: 500, mentions: 0 });
  assert.equal(timeline.markRead(), false, "what is before it was not on the screen");
});

test("while somebody reads further up, what is new goes, and is counted", () => {
  const timeline = filled(801);
  assert.equal(timeline.trim(true), false);
  assert.equal(timeline.cut, true);
  assert.equal(timeline.newest.id, 700);
  timeline.insert(message(802, { mention: true }));
  assert.equal(timeline.newest.id, 700);
  assert.deepEqual(timeline.unread, { messages: 802, mentions: 1 });
  timeline.extend(() => [701, 702].forEach((id) => timeline.insert(message(id))));
  assert.deepEqual(timeline.unread, { messages: 802, mentions: 1 });
  assert.equal(timeline.newest.id, 702);
});

test("own messages are pending until their event and their confirmation were here, in either order", () => {
  const timeline = new Timeline();
  const first = timeline.write("a", 1);
  timeline.acknowledge(first, "e", 1);
  assert.equal(first.state, "sent");
  timeline.insert(message(1, { text: "a", mine: true }));
  assert.deepEqual(timeline.pending, []);
  const second = timeline.write("b", 2);
  second.state = "sending";
  timeline.insert(message(2, { text: "b", mine: true }));
  assert.equal(second.matched, 2);
  timeline.acknowledge(second, "e", 2);
  assert.deepEqual(timeline.pending, []);
});

// --- rooms ---

function room() {
  const made = new Room("lobby");
  Object.assign(made, { epoch: "e", phase: "joined" });
  made.timeline.read = { epoch: "e", id: 0 };
  return made;
}

test("edits, reactions and deletions change the message", () => {
  const lobby = room();
  lobby.take(event(1), 1);
  lobby.take({ type: "edit", id: 2, target: 1, userId: 2, message: "better @ann", mentions: [1] }, 1);
  const item = lobby.timeline.find("e", 1);
  assert.deepEqual([item.text, item.edited, item.mention], ["better @ann", 2, true]);
  lobby.take({ type: "react", id: 3, target: 1, userId: 1, emoji: "👍" }, 1);
  lobby.take({ type: "react", id: 4, target: 1, userId: 2, emoji: "👍" }, 1);
  lobby.take({ type: "react", id: 5, target: 1, userId: 2, emoji: "👍" }, 1);
  assert.deepEqual(item.reactions, [["👍", [1, 2]]]);
  lobby.take({ type: "unreact", id: 6, target: 1, userId: 1, emoji: "👍" }, 1);
  lobby.take({ type: "unreact", id: 7, target: 1, userId: 2, emoji: "👍" }, 1);
  assert.deepEqual(item.reactions, []);
  lobby.take({ type: "delete", id: 8, target: 1 }, 1);
  assert.deepEqual([item.text, item.deleted], ["", true]);
  assert.equal(lobby.take({ type: "edit", id: 9, target: 77, message: "x" }, 1), false);
});

test("in a history, messages show what became of them, and its edits and reactions are not done again", () => {
  const lobby = room();
  const past = { live: false };
  lobby.take(event(1, { edited: 2, reactions: { "👍": [2] } }), 1, past);
  lobby.take({ type: "edit", id: 2, target: 1, message: "old" }, 1, past);
  lobby.take({ type: "react", id: 3, target: 1, userId: 3, emoji: "👎" }, 1, past);
  const item = lobby.timeline.find("e", 1);
  assert.deepEqual([item.text, item.edited, item.reactions], ["text 1", 2, [["👍", [2]]]]);
  assert.equal(lobby.take(event(1, { message: "newer" }), 1, past), false);
  assert.equal(item.text, "newer", "what is here already is brought up to date");
});

test("a rename is told, and known at once", () => {
  const lobby = room();
  lobby.people = new Map([[2, { id: 2, nickname: "bob", sessions: 1 }]]);
  const rename = { type: "rename", id: 3, userId: 2, was: "bob", from: "robert", unixTime: 5 };
  assert.equal(lobby.take(rename, 1), true);
  lobby.follow(rename);
  assert.equal(lobby.people.get(2).nickname, "robert");
  assert.equal(lobby.nameOf(2), "robert");
  assert.match(lobby.timeline.newest.text, /bob is now called robert/);
});

test("who is kicked sees nobody any more", () => {
  const lobby = room();
  lobby.people = new Map([[2, { id: 2, nickname: "bob" }]]);
  lobby.refuse("Out.");
  assert.deepEqual([lobby.phase, lobby.people.size, lobby.peopleKnown], ["refused", 0, false]);
});

function loading(total, { read = 0, last = total } = {}) {
  const model = new Model();
  model.me.user = 1;
  const lobby = model.room("lobby");
  Object.assign(lobby, { epoch: "e", phase: "joined", last });
  lobby.timeline.read = { epoch: "e", id: read };
  model.currentKey = lobby.key;
  const asked = [];
  const all = Array.from({ length: total }, (_, at) => event(at + 1));
  lobby.source = {
    async request(type, query) {
      asked.push(query);
      const { since, reverse, limit } = query;
      const events = !since
        ? all.slice(-limit)
        : reverse
          ? all.slice(0, since.offset - 1).reverse().slice(0, limit)
          : all.slice(since.offset, since.offset + limit);
      return { events, offset: total, epoch: "e" };
    },
  };
  const attempt = (promise) => promise;
  return { lobby, asked, loader: new Loader(model, { attempt, changed: () => {} }) };
}

test("a room begins with its newest events, and older ones follow", async () => {
  const { lobby, loader } = loading(120, { read: 120 });
  await loader.begin(lobby);
  assert.deepEqual([lobby.first, lobby.older, lobby.timeline.items.length], [71, "more", 50]);
  await loader.older(lobby);
  assert.deepEqual([lobby.first, lobby.timeline.items.length], [21, 100]);
  await loader.older(lobby);
  assert.deepEqual([lobby.first, lobby.older], [1, "none"]);
});

test("with much unread, a room begins where that does", async () => {
  const { lobby, loader } = loading(1_000, { read: 300 });
  await loader.begin(lobby);
  assert.equal(lobby.timeline.oldest.id, 291);
  assert.equal(lobby.timeline.newFrom, "e:301");
  assert.equal(lobby.timeline.cut, true);
  assert.equal(lobby.timeline.unread.messages, 700);
  await loader.newer(lobby);
  assert.equal(lobby.timeline.newest.id, 690);
  await loader.newest(lobby);
  assert.deepEqual([lobby.timeline.newest.id, lobby.timeline.cut, lobby.timeline.items.length], [1_000, false, 50]);
});

test("where each unread event was loaded, no more is unread than the messages among them", async () => {
  const { lobby, loader } = loading(300, { read: 100 });
  const { request } = lobby.source;
  lobby.source.request = async (...query) => {
    const { events } = await request(...query);
    return { events: events.map((one) => (one.id === 101 ? event(101, { type: "leave" }) : one)) };
  };
  await loader.begin(lobby);
  assert.deepEqual([lobby.timeline.newFrom, lobby.timeline.unread.messages], ["e:102", 200]);
  await loader.newer(lobby);
  assert.deepEqual([lobby.timeline.cut, lobby.timeline.unread.messages], [false, 199]);
});

test("a room whose history is refused has all that comes; one that was interrupted asks again", async () => {
  for (const [phase, loaded] of [["joined", true], ["joining", false]]) {
    const model = new Model();
    const listeners = new Map();
    const source = {
      on: (what, listener) => (listeners.set(what, listener), () => {}),
      join: async () => {},
      request: async (type) => (type === "history" ? Promise.reject(new Error("none")) : { users: [] }),
    };
    const attempt = (promise) => promise.catch(() => undefined);
    const rooms = new Rooms(model, { client: () => ({ room: () => source }), attempt, changed: () => {}, heard: () => {} });
    const lobby = model.room("lobby");
    await rooms.join(lobby);
    listeners.get("subscribed")({ offset: 5, epoch: "e" });
    lobby.phase = phase;
    await new Promise(setImmediate);
    assert.equal(lobby.loaded, loaded);
  }
});

test("one can go to any event", async () => {
  const { lobby, loader } = loading(500, { read: 500 });
  await loader.begin(lobby);
  await loader.around(lobby, 40);
  assert.ok(lobby.timeline.find("e", 40));
  assert.equal(lobby.timeline.cut, true);
  await loader.unread(lobby);
});

test("rooms hear of events, and tell of messages only", async () => {
  const model = new Model();
  model.me.user = 1;
  const heard = [];
  const asked = [];
  const listeners = new Map();
  const source = {
    on: (what, listener) => (listeners.set(what, listener), () => listeners.delete(what)),
    join: async () => {},
    request: async (type) => (type === "who" ? { users: [] } : { events: [] }),
  };
  const rooms = new Rooms(model, {
    client: () => ({ room: () => source, request: async (...details) => asked.push(details) }),
    attempt: async (promise) => promise.catch(() => undefined),
    changed: () => {},
    heard: (lobby, { id }) => heard.push(id),
  });
  const lobby = model.room("lobby");
  await rooms.join(lobby);
  listeners.get("subscribed")({ offset: 0, epoch: "e" });
  listeners.get("message")(event(1));
  listeners.get("react")({ type: "react", id: 2, target: 1, userId: 2, emoji: "👍" });
  listeners.get("join")({ type: "join", userId: 3, from: "cy" });
  assert.deepEqual(heard, [1]);
  assert.equal(lobby.last, 2);
  assert.equal(lobby.people.get(3).nickname, "cy", "what is in no log is seen all the same");
  await rooms.askModerated(lobby);
  assert.equal(lobby.moderated, true);
  const bob = model.direct(2, "bob");
  rooms.typing(bob);
  rooms.typing(bob);
  assert.deepEqual(asked, [["typing_to", { to: 2 }]], "seldom enough");
  rooms.typist(bob, { userId: 2, from: "bob" });
  assert.deepEqual(bob.typists(Date.now()), ["bob"]);
  bob.add({ userId: 2, name: "bob", text: "psst", at: 5, mine: false });
  assert.deepEqual(bob.typists(Date.now()), [], "what was typed is here");
  model.blocked.add(2);
  rooms.typist(bob, { userId: 2, from: "bob" });
  assert.deepEqual(bob.typists(Date.now()), []);
  listeners.get("kicked")({ reason: "kicked: until 2026-01-01 10:00:00 UTC" });
  assert.equal(lobby.phase, "refused");
});

test("what was read is told to the server, and learnt from it", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const model = new Model();
  const listeners = new Map();
  const told = [];
  const source = {
    on: (what, listener) => (listeners.set(what, listener), () => {}),
    join: async () => {},
    request: async () => ({ users: [], events: [] }),
    read: async (...details) => told.push(details),
  };
  const client = { me: { known: true }, room: () => source, unread: { lobby: { offset: 3, epoch: "e", messages: 2 } } };
  const rooms = new Rooms(model, { client: () => client, attempt: async (promise) => promise, changed: () => {}, heard: () => {} });
  const lobby = model.room("lobby");
  await rooms.join(lobby);
  listeners.get("subscribed")({ offset: 5, epoch: "e" });
  assert.deepEqual(lobby.timeline.read, { epoch: "e", id: 3 });
  lobby.take(event(4), 1);
  lobby.take(event(5), 1);
  assert.equal(lobby.timeline.unread.messages, 2);
  lobby.timeline.markRead("e:4");
  rooms.tellRead(lobby);
  rooms.tellRead(lobby);
  context.mock.timers.tick(1_000);
  assert.deepEqual(told, [[4, { epoch: "e" }]]);
  listeners.get("read")({ target: 5, epoch: "e" });
  assert.equal(lobby.timeline.unread.messages, 0);
});

test("the outbox sends an answer with what it answers", async () => {
  const model = new Model();
  model.status = { phase: "online" };
  const lobby = Object.assign(model.room("lobby"), { epoch: "e" });
  const sent = [];
  const client = { room: () => ({ message: async (text, options) => (sent.push([text, options]), { offset: 7, epoch: "e" }) }) };
  const outbox = new Outbox(model, () => client, () => {});
  outbox.write(lobby, "yes", { replyTo: 3 });
  assert.equal(lobby.timeline.pending[0].state, "sending");
  await null;
  assert.equal(sent[0][1].reply_to, 3);
});

// --- what is kept ---

test("a tab's session comes back", () => {
  const model = new Model();
  model.me = { user: 1, nickname: "ann" };
  model.room("lobby").draft = "half";
  const bob = model.direct(2, "bob");
  bob.add({ userId: 2, name: "bob", text: "psst", at: 5, mine: false });
  Object.assign(bob, { kept: true, hidden: true });
  const again = new Model();
  unpack(JSON.parse(JSON.stringify(pack(model))), again);
  assert.equal(again.rooms.get("lobby").draft, "half");
  const direct = again.directs.get(directKey(2));
  assert.deepEqual([direct.kept, direct.hidden, direct.timeline.items[0].text], [true, true, "psst"]);
  assert.equal(again.unread(), 1);
  direct.add({ userId: 2, name: "bob", text: "again", at: 6, mine: false });
  assert.equal(direct.hidden, false, "what is new brings it back");
  assert.ok(direct instanceof Direct);
});

test("settings have defaults, outlive the page, and ignore nonsense", () => {
  const settings = new Settings();
  assert.deepEqual([settings.theme, settings.enter(false), settings.enter(true), settings.notify, settings.sound], ["system", "send", "break", false, false]);
  settings.change({ theme: "dark", enter: "send" });
  settings.mute("#lobby", true);
  const again = new Settings();
  assert.deepEqual([again.theme, again.enter(true), [...again.muted]], ["dark", "send", ["#lobby"]]);
  again.mute("#lobby", false);
  assert.equal(again.muted.size, 0);
  assert.equal(new Settings({ theme: "pink" }).theme, "system");
  const root = { querySelector: () => ({ content: '{"title":"T","rooms":["a"]}' }) };
  assert.deepEqual(pageConfig(root), { title: "T", color: "", logo: "", rooms: ["a"] });
  assert.deepEqual(pageConfig({ querySelector: () => null }).rooms, []);
});

test("what the blocked write counts for nothing, and keeps nobody from seeing that they are", () => {
  const model = new Model();
  model.me = me;
  model.blocked.add(2);
  const lobby = Object.assign(model.room("lobby"), { epoch: "e" });
  lobby.take(event(1, { mentions: [1] }), 1);
  assert.equal(model.unread(), 0);
  lobby.take(event(2, { userId: 3 }), 1);
  assert.equal(model.unread(), 1);
  model.currentKey = "#lobby";
  assert.equal(model.obstacle, "");
  model.currentKey = model.direct(2, "bob").key;
  assert.equal(model.obstacle, "blocked");
  model.current.ended = true;
  assert.equal(model.obstacle, "ended");
});

test("a muted room counts mentions only", () => {
  const model = new Model();
  const { timeline, key } = model.room("lobby");
  timeline.insert(message(1));
  timeline.insert(message(2, { mention: true }));
  assert.equal(model.unread(), 2);
  assert.equal(model.unread(new Set([key])), 1);
});

test("storage remembers and forgets", () => {
  const { nickname, session, token, settings } = storage.remembered;
  nickname.set("ann");
  session.set({ me: 1 });
  token.set("t");
  settings.set({ sound: true });
  assert.deepEqual([nickname.get(), session.get(), token.get()], ["ann", { me: 1 }, "t"]);
  storage.forgetMe();
  assert.deepEqual([nickname.get(), session.get(), token.get()], ["", null, null]);
  assert.deepEqual(settings.get(), { sound: true });
  window.localStorage.getItem = () => {
    throw new Error("forbidden");
  };
  assert.equal(nickname.get(), "");
  window.localStorage = store();
});

test("addresses name rooms, messages, people and tokens", () => {
  assert.deepEqual(addressed("#garden"), { key: "#garden", room: "garden", event: 0 });
  assert.deepEqual(addressed("#a%2Fb/17"), { key: "#a/b", room: "a/b", event: 17 });
  assert.deepEqual(addressed("#@%22ann%22"), { key: '@"ann"' });
  assert.equal(addressed(""), null);
  assert.equal(addressed("#%"), null);
  assert.deepEqual(addressed(addressOf("#a/b")).key, "#a/b");
  location.hash = "#token=abc&garden";
  assert.deepEqual(takeToken(), { token: "abc", fresh: true });
  assert.equal(globalThis.replaced, "#garden");
  location.hash = "";
  assert.deepEqual(takeToken(), { token: "abc", fresh: false });
  assert.equal(nicknameIn(`x.${btoa('{"nickname":" Ann "}')}.y`), "Ann");
  assert.equal(nicknameIn("rubbish"), "");
});

// --- what is shown ---

const me = { user: 1, nickname: "ann" };

test("rows: groups, days, the line before what is new, and quotes", () => {
  const lobby = room();
  lobby.take(event(1), 1);
  lobby.take(event(2), 1);
  lobby.take(event(3, { reply_to: 1 }), 1);
  lobby.timeline.newFrom = "e:2";
  const rows = rowsOf(lobby, { me }, 2_000);
  assert.deepEqual(rows.map(({ kind, head }) => head ?? kind), ["day", true, "new", true, true]);
  assert.deepEqual(rows.at(-1).reply, { id: 1, key: "e:1", name: "bob", text: "text 1" });
});

test("rows: the line before what is new parts what is folded, and stands before a message where more is above", () => {
  const lobby = room();
  lobby.take({ type: "rename", id: 1, userId: 2, from: "bob", was: "rob", unixTime: 1_000 }, 1);
  lobby.take(event(2), 1);
  lobby.take(event(3), 1);
  const kinds = (blocked) => rowsOf(lobby, { me, blocked: new Set(blocked) }, 2_000).map(({ kind }) => kind);
  lobby.timeline.newFrom = "e:3";
  assert.deepEqual(kinds([2]), ["quiet", "day", "blocked", "new", "blocked"]);
  lobby.timeline.below = { messages: 1, mentions: 0 };
  lobby.timeline.attend();
  assert.deepEqual(kinds([]), ["quiet", "day", "new", "message", "message"]);
});

test("rows: people of one name are told apart, the blocked are folded, reactions say whose they are", () => {
  const lobby = room();
  lobby.take(event(1, { reactions: { "👍": [1, 2] } }), 1);
  lobby.take(event(2, { userId: 3 }), 1);
  lobby.take(event(3, { userId: 4, from: "cy" }), 1);
  lobby.take(event(4, { userId: 4, from: "cy" }), 1);
  lobby.take(event(5, { userId: 5, from: "di", reply_to: 4 }), 1);
  const blocked = new Set([4]);
  const all = rowsOf(lobby, { me, blocked }, 2_000);
  assert.equal(all.find(({ kind }) => kind === "blocked").text, W.fromBlocked(2));
  const rows = all.filter(({ kind }) => kind === "message");
  assert.deepEqual(rows.map(({ twin }) => twin), [true, true, false]);
  assert.equal(rows[2].reply.text, "…");
  lobby.unfolded = true;
  assert.equal(rowsOf(lobby, { me, blocked }, 2_000).filter(({ kind }) => kind === "message").length, 5);
  assert.deepEqual(rows[0].reactions, [{ emoji: "👍", count: 2, mine: true, names: "You and bob" }]);
});

test("rows: what is pending is last, and not shown where the timeline is cut", () => {
  const lobby = room();
  lobby.timeline.write("mine", 1_500);
  assert.equal(rowsOf(lobby, { me }, 2_000).at(-1).text, "mine");
  lobby.timeline.cut = true;
  assert.deepEqual(rowsOf(lobby, { me }, 2_000), []);
});

test("rows: comings and goings are one line", () => {
  const lobby = room();
  const move = (id, type, userId, from) => lobby.take({ id, type, userId, from, unixTime: 1_000 }, 1);
  move(1, "join", 1, "ann");
  move(2, "join", 2, "bob");
  move(3, "leave", 2, "bob");
  assert.equal(rowsOf(lobby, { me }, 2_000).at(-1).text, "You joined · bob stopped by");
});

test("names are completed after an @ that begins a word", () => {
  const names = ["bob", "Bo", "ann", "bob"];
  assert.deepEqual(candidates("hi @b", names), { begin: 4, names: ["Bo", "bob"] });
  assert.deepEqual(candidates("@", names).names, ["ann", "Bo", "bob"]);
  assert.equal(candidates("a@b", names), null);
  assert.equal(candidates("@b c", names), null);
  assert.equal(candidates("@x", names), null);
});

test("the screen is drawn once a frame, and waits after a long drawing", () => {
  const frames = [];
  const timers = [];
  let now = 0;
  let drawn = 0;
  globalThis.document = { hidden: false };
  globalThis.requestAnimationFrame = (act) => frames.push(act);
  const realTimer = globalThis.setTimeout;
  const realNow = performance.now;
  globalThis.setTimeout = (act, ms) => timers.push([act, ms]);
  performance.now = () => now;
  try {
    const screen = new Screen(() => {
      drawn += 1;
      now += 20;
    });
    screen.ask();
    screen.ask();
    assert.equal(frames.length, 1);
    frames.pop()();
    screen.ask();
    assert.deepEqual([drawn, frames.length, timers[0][1]], [1, 0, 60]);
    document.hidden = true;
    timers.pop()[0]();
    frames.pop()();
    screen.ask();
    assert.equal(drawn, 2);
    assert.equal(timers.length, 1, "a hidden page gets no frames");
  } finally {
    globalThis.setTimeout = realTimer;
    performance.now = realNow;
  }
});
