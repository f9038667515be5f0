/** threadchat.js on a fake server and a fake clock: what holds when time, network and browser misbehave. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { ChatError, connect } from "../../threadchat/server/browser/threadchat.js";
import { Clock, FakeLocks, FakeSocket, FakeStorage, newest, open, settle } from "./fakes.js";

const HEAD = { offset: 10, epoch: "a" };
let clock;

beforeEach(() => {
  clock = new Clock();
  FakeSocket.all = [];
});
afterEach(() => clock.restore());

/** How a promise ended, or "pending". */
async function outcome(promise) {
  let result = "pending";
  promise.then(
    (value) => (result = value),
    (error) => (result = error.code),
  );
  await settle();
  return result;
}

/** Something is under way, and how it ends is looked at later. */
function begun(promise) {
  promise.catch(() => {});
  return promise;
}

/** Loses the connection, and opens the next one. */
async function reconnect(fields) {
  const before = newest();
  await before.hangUp();
  while (newest() === before) {
    await clock.pass(100);
  }
  await newest().welcome(fields);
  return newest();
}

describe("the connection", () => {
  it("comes back after pauses that are drawn, from 0 up to a bound that doubles", async (t) => {
    const random = t.mock.method(Math, "random", () => 1);
    const [chat, first] = await open();
    await first.welcome();
    const pauses = [];
    for (let attempt = 0; attempt < 8; attempt += 1) {
      await newest().hangUp();
      pauses.push(chat.state.retryIn);
      await clock.pass(chat.state.retryIn);
    }
    assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    random.mock.mockImplementation(() => 0);
    await newest().hangUp();
    assert.equal(chat.state.retryIn, 0);
    await clock.pass(0);
    await newest().welcome();
    await clock.pass(10_001); // a good connection starts over
    random.mock.mockImplementation(() => 1);
    await newest().hangUp();
    assert.equal(chat.state.retryIn, 500);
  });

  for (const [code, phase] of [
    [1001, "away"],
    [1006, "away"],
    [1011, "away"],
    [1012, "away"],
    [3001, "away"],
    [3499, "away"],
    [1000, "ended"],
    [1002, "ended"],
    [1008, "ended"],
    [3500, "ended"],
    [3503, "ended"],
    [4000, "ended"],
  ]) {
    it(`is ${phase} after a close with ${code}`, async () => {
      const [chat, socket] = await open();
      await socket.welcome();
      await socket.hangUp(code, "why");
      assert.equal(chat.state.phase, phase);
      assert.equal(chat.state.code, code);
      assert.equal(chat.state.reason, "why");
      assert.equal(
        clock.pending,
        phase === "away" ? 2 : 1,
        "an attempt is planned, or none; and what is stored",
      );
    });
  }

  it("notices silence, by a clock that nobody sets", async (t) => {
    const [chat, socket] = await open();
    await socket.welcome();
    t.mock.method(Date, "now", () => 0);
    await clock.pass(24_000);
    assert.equal(socket.last.type, "hello");
    await clock.pass(6_000);
    assert.equal(socket.last.type, "ping");
    await socket.ok();
    await clock.pass(24_000);
    assert.equal(chat.state.phase, "online");
    await clock.pass(22_000);
    assert.equal(chat.state.phase, "away");
    assert.ok(socket.closed);
  });

  it("asks, and does not judge, when the page itself was frozen", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    await clock.pass(30_000);
    assert.equal(socket.sent.filter(({ type }) => type === "ping").length, 1);
    clock.freeze(3_600_000); // the answer has come meanwhile, but nobody has read it yet
    await clock.pass(5_000);
    assert.equal(chat.state.phase, "online");
    await socket.ok();
    await clock.pass(20_000);
    assert.equal(chat.state.phase, "online");
  });

  it("gives up an attempt that leads nowhere", async () => {
    const [chat, socket] = await open();
    await clock.pass(10_000);
    assert.equal(chat.state.phase, "away");
    assert.ok(socket.closed);
    const hanging = connect("ws://test", {
      token: () => new Promise(() => {}),
      WebSocket: FakeSocket,
      storage: null,
    });
    await clock.pass(10_000);
    assert.equal(hanging.state.phase, "away");
    hanging.close();
    chat.close();
    await settle();
    assert.equal(clock.pending, 0);
  });

  it("asks for a token anew each time, and tries again where none is to be had", async (t) => {
    t.mock.method(Math, "random", () => 1);
    const tokens = [() => "first", () => Promise.reject(new Error("no network")), async () => "second"];
    const [chat, socket] = await open({ token: () => tokens.shift()() });
    await socket.welcome();
    assert.equal(socket.last.token, "first");
    await socket.hangUp();
    await clock.pass(500);
    assert.equal(chat.state.phase, "away");
    assert.equal(newest(), socket, "no socket without a token");
    await clock.pass(1000);
    await newest().welcome();
    assert.equal(newest().last.token, "second");
  });

  it("ends with the code of the error that refused the hello, and comes back from a temporary one", async () => {
    const [chat, socket] = await open();
    await socket.open();
    await socket.refuse(111, { temporary: true });
    assert.equal(chat.state.phase, "away");
    await clock.pass(500);
    await newest().open();
    await newest().refuse(101);
    assert.deepEqual(chat.state, { phase: "ended", code: 101, reason: "because" });
    assert.ok(newest().closed);
  });
});

describe("the browser", () => {
  let browser;
  let page;

  beforeEach(() => {
    browser = new EventTarget();
    page = Object.assign(new EventTarget(), { hidden: false, baseURI: "https://example.org/app/" });
    globalThis.addEventListener = browser.addEventListener.bind(browser);
    globalThis.document = page;
  });
  afterEach(() => {
    delete globalThis.addEventListener;
    delete globalThis.document;
  });

  const tell = async (event, more = {}) => {
    browser.dispatchEvent(Object.assign(new Event(event), more));
    await settle();
  };

  it("says where the page is", async () => {
    const chat = connect("/chat", { WebSocket: FakeSocket, storage: null });
    await settle();
    assert.equal(newest().url, "wss://example.org/chat");
    chat.close();
  });

  it("says that the network is back: the next attempt is now, and a connection is asked", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    await socket.hangUp();
    await tell("online");
    assert.equal(FakeSocket.all.length, 2);
    await tell("online");
    assert.equal(FakeSocket.all.length, 2, "one attempt at a time");
    await newest().welcome();
    await tell("offline");
    assert.equal(newest().last.type, "ping");
    await clock.pass(20_000);
    assert.equal(chat.state.phase, "away");
    await tell("online");
    await newest().welcome();
    page.dispatchEvent(new Event("visibilitychange"));
    assert.equal(newest().last.type, "ping", "a tab that is looked at again finds out");
  });

  it("takes the page into its back/forward cache, and out of it", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("garden");
    room.join();
    await socket.ok(HEAD);
    await tell("pagehide", { persisted: true });
    assert.ok(socket.closed);
    assert.equal(chat.state.phase, "away");
    await clock.pass(60_000);
    await tell("online");
    chat.connect();
    assert.equal(FakeSocket.all.length, 1, "nothing happens in there");
    await tell("pageshow", { persisted: true });
    assert.equal(FakeSocket.all.length, 2);
    await newest().welcome();
    assert.deepEqual(newest().last.since, HEAD);
  });

  it("hears nothing any more once the chat is closed", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    chat.close();
    assert.deepEqual(chat.state, { phase: "ended", code: 1000, reason: "the chat was closed" });
    await tell("online");
    await tell("pageshow", { persisted: true });
    assert.equal(FakeSocket.all.length, 1);
    assert.equal(clock.pending, 0);
  });
});

describe("calls", () => {
  it("resolve with the application's data and reject with its error", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const done = chat.call("order.cancel", { id: 17 });
    assert.deepEqual(socket.last, {
      type: "call",
      id: socket.last.id,
      name: "order.cancel",
      data: { id: 17 },
    });
    await socket.ok({ data: { left: 3 } });
    assert.deepEqual(await done, { left: 3 });
    const refused = begun(chat.call("order.cancel", {}));
    await socket.refuse(111, { temporary: true });
    await assert.rejects(refused, { name: "ChatError", code: 111, reason: "because", temporary: true });
    await refused.catch((error) => assert.ok(error instanceof ChatError && error instanceof Error));
  });

  it("are answered out of order", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const [slow, fast] = [chat.call("slow"), chat.call("fast")];
    await socket.ok({ data: 2 });
    await socket.ok({ data: 1 }, socket.sent.at(-2));
    assert.deepEqual(await Promise.all([slow, fast]), [1, 2]);
  });

  it("time out, on the way or before", async () => {
    const [chat, socket] = await open({ timeout: 3_000 });
    const early = begun(chat.call("early"));
    await clock.pass(3_000);
    assert.equal(await outcome(early), "timeout");
    await socket.welcome();
    assert.equal(socket.last.type, "hello", "what has timed out is not sent later");
    const late = begun(chat.call("late", null, { timeout: 100 }));
    await clock.pass(100);
    assert.equal(await outcome(late), "timeout");
    await socket.ok({ data: "too late" });
  });

  it("are sent once: what was under way is lost, what was not goes out", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const under = begun(chat.call("under way"));
    await socket.hangUp();
    assert.equal(await outcome(under), "lost");
    const waiting = chat.call("waiting");
    await clock.pass(500);
    await newest().welcome();
    assert.equal(newest().last.name, "waiting");
    await newest().ok({ data: 1 });
    assert.equal(await waiting, 1);
  });

  it("are bounded", async () => {
    const [chat, socket] = await open({ queue: 2 });
    const calls = ["a", "b", "c"].map((name) => begun(chat.call(name)));
    assert.deepEqual(await Promise.all(calls.map(outcome)), ["pending", "pending", "full"]);
    await socket.hangUp(3503);
    assert.deepEqual(await Promise.all(calls.map(outcome)), ["ended", "ended", "full"]);
    assert.equal(await outcome(chat.call("d")), "ended");
  });
});

describe("a room", () => {
  it("brings each event once, also those that come in one packet with the reply", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("orders");
    const heard = [];
    room.on("order.created", (data, { id }) => heard.push([id, data]));
    const event = (id) => ({
      type: "event",
      id,
      chatroomId: "orders",
      name: "order.created",
      data: { n: id },
    });
    await settle();
    assert.equal(socket.last.type, "subscribe");
    const { id: re } = socket.last;
    await socket.say({ type: "ok", re, ...HEAD }, event(11), event(11), event(9), event(12));
    await socket.say(
      { ...event(13), name: "order.paid" },
      { type: "event", chatroomId: "orders", name: "order.created", data: "kept nowhere" },
    );
    assert.deepEqual(heard, [
      [11, { n: 11 }],
      [12, { n: 12 }],
      [undefined, "kept nowhere"],
    ]);
    assert.deepEqual(room.position, { offset: 13, epoch: "a" });
  });

  it("never takes what a person said for what the application emitted", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("orders");
    const heard = { message: [], "order.created": [], event: [] };
    for (const name of Object.keys(heard)) {
      room.on(name, (data) => heard[name].push(data));
    }
    await socket.ok(HEAD);
    await socket.say(
      { type: "message", id: 11, chatroomId: "orders", message: "x", name: "order.created", data: "forged" },
      { type: "event", id: 12, chatroomId: "orders", name: "message", data: "emitted" },
    );
    assert.deepEqual(heard["order.created"], []);
    assert.deepEqual(
      heard.message.map(({ id }) => id),
      [11],
    );
    assert.deepEqual(heard.event, ["emitted"]);
  });

  it("tells a gap from a reset, and says nothing where all is there", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("orders");
    const told = [];
    for (const what of ["gap", "reset", "subscribed"]) {
      room.on(what, (details) => told.push([what, details]));
    }
    await socket.ok(HEAD);
    for (const reply of [
      { ...HEAD, recovered: true },
      { offset: 99, epoch: "a", recovered: false },
      { offset: 3, epoch: "b", recovered: false },
    ]) {
      const next = await reconnect();
      assert.deepEqual(next.last.since, room.position);
      await next.ok(reply);
    }
    assert.deepEqual(
      told.filter(([what]) => what !== "subscribed"),
      [
        ["gap", { before: HEAD, after: { offset: 99, epoch: "a" } }],
        ["reset", { before: { offset: 99, epoch: "a" }, after: { offset: 3, epoch: "b" } }],
      ],
    );
    assert.deepEqual(
      told.filter(([what]) => what === "subscribed").map(([, { recovered }]) => recovered),
      [undefined, true, false, false],
    );
  });

  it("is gone into and out of by the application, too, and gone back into", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    await socket.say(
      { type: "joined", chatroomId: "orders", ...HEAD },
      { type: "message", id: 11, chatroomId: "orders" },
    );
    const room = chat.room("orders");
    assert.deepEqual(room.position, { offset: 11, epoch: "a" });
    const next = await reconnect();
    assert.deepEqual([next.last.type, next.last.since], ["join", { offset: 11, epoch: "a" }]);
    await next.ok({ ...HEAD, recovered: true });
    const told = [];
    room.on("left", () => told.push("left"));
    await next.say({ type: "left", chatroomId: "orders" });
    assert.deepEqual(told, ["left"]);
    assert.equal((await reconnect()).last.type, "hello");
  });

  it("that the application is faster to go into is the same room", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("orders");
    room.on("refused", () => assert.fail("it is in"));
    const joined = room.join();
    await settle();
    assert.equal(socket.last.type, "join", "and not a subscription for the listener first");
    await socket.say({ type: "joined", chatroomId: "orders", ...HEAD });
    await socket.refuse(105);
    assert.deepEqual(await joined, HEAD);
    room.message("1");
    await settle();
    assert.equal(socket.last.type, "message");
  });

  it("does not tell what this tab is not to hear, over a reconnect either", async () => {
    const [chat, socket] = await open();
    await socket.welcome({ session: "first" });
    const heard = [];
    chat.room("orders").on("moved", (data) => heard.push(data));
    await socket.ok(HEAD);
    const next = await reconnect({ session: "second" });
    await next.ok({ ...HEAD, recovered: true });
    const moved = (id, skip) => ({ type: "event", id, chatroomId: "orders", name: "moved", data: id, skip });
    await next.say(moved(11, "first"), moved(12, "other"), moved(13));
    assert.deepEqual(heard, [12, 13]);
  });

  it("is no longer waited for when the chat has ended, and gone into when it begins anew", async () => {
    const [chat, socket] = await open();
    const room = chat.room("orders");
    const joined = begun(room.join());
    await socket.welcome();
    await socket.hangUp(3503);
    assert.equal(await outcome(joined), "ended");
    assert.equal(await outcome(room.join()), "ended");
    chat.connect();
    await settle();
    await newest().welcome();
    await settle();
    assert.equal(newest().last.type, "join");
  });

  it("asks for what its filter lets through", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    chat.room("orders", { names: ["order.created"], users: [7, "7"] }).on("order.created", () => {});
    await settle();
    const { type, names, users } = socket.last;
    assert.deepEqual(
      { type, names, users },
      { type: "subscribe", names: ["order.created"], users: [7, "7"] },
    );
  });

  it("goes on where one listener throws", async (t) => {
    const reported = t.mock.method(console, "error", () => {});
    const [chat, socket] = await open();
    await socket.welcome();
    const heard = [];
    const room = chat.room("orders");
    room.on("message", () => assert.fail("a bug"));
    const off = room.on("message", () => (off(), heard.push("once")));
    room.on("message", ({ id }) => heard.push(id));
    await socket.ok(HEAD);
    await socket.say(
      { type: "message", id: 11, chatroomId: "orders" },
      { type: "message", id: 12, chatroomId: "orders" },
    );
    assert.deepEqual(heard, ["once", 11, 12]);
    assert.equal(reported.mock.callCount(), 2);
  });

  it("tries a temporary refusal again, and takes any other for an answer", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("staff");
    const refusals = [];
    room.on("refused", ({ code }) => refusals.push(code));
    await socket.refuse(100, { temporary: true });
    await clock.pass(1_000);
    assert.equal(socket.sent.filter(({ type }) => type === "subscribe").length, 2);
    await socket.refuse(103);
    await clock.pass(20_000);
    assert.deepEqual(refusals, [103]);
    assert.equal(socket.sent.filter(({ type }) => type === "subscribe").length, 2);
    const joining = begun(room.join());
    await socket.refuse(106);
    assert.equal(await outcome(joining), 106);
  });

  it("is tried for as long as the refusals are temporary", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const heard = [];
    chat.room("orders").on("message", ({ id }) => heard.push(id));
    for (let attempt = 0; attempt < 20; attempt += 1) {
      await socket.refuse(111, { temporary: true });
      await clock.pass(8_000);
      assert.equal(socket.last.type, "subscribe");
    }
    await socket.ok(HEAD);
    await socket.say({ type: "message", id: 11, chatroomId: "orders" });
    assert.deepEqual(heard, [11]);
  });

  it("has one name, however that is written", async () => {
    const [chat] = await open();
    assert.equal(chat.room("cafe\u0301"), chat.room("caf\u00e9"));
    assert.equal(chat.room("cafe\u0301").name, "caf\u00e9");
    assert.equal(chat.room("a\ud83d😀").name, "a\ufffd😀");
  });

  it("does not wait for a former connection's pause", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    chat.room("orders").on("message", () => {});
    await socket.refuse(100, { temporary: true });
    await socket.hangUp();
    await clock.pass(500);
    await newest().welcome();
    assert.equal(newest().last.type, "subscribe");
  });

  for (const [what, frame, code] of [
    ["kicked", { type: "kicked", reason: "enough" }, 103],
    ["close", { type: "close", id: 11 }, 102],
  ]) {
    it(`is not gone back into after "${what}", and what waits for it is refused`, async () => {
      const [chat, socket] = await open();
      await socket.welcome();
      const room = chat.room("garden");
      const told = [];
      room.on(what, (details) => told.push(details.type));
      await socket.ok(HEAD);
      const joined = room.join();
      await socket.ok();
      await socket.ok({ ...HEAD, recovered: true });
      await joined;
      const [sent, waits] = ["sent", "waits"].map((text) => begun(room.message(text)));
      await socket.say({ chatroomId: "garden", ...frame });
      assert.deepEqual(told, [what]);
      assert.deepEqual([await outcome(sent), await outcome(waits)], ["lost", code]);
      const next = await reconnect();
      assert.equal(next.last.type, "hello");
      room.join();
      await settle();
      assert.equal(next.last.type, "join");
    });
  }
});

describe("messages that exist", () => {
  /** A room that is subscribed to. */
  async function listening() {
    const [chat, socket] = await open();
    await socket.welcome({ known: true, unread: { lobby: { ...HEAD, messages: 2, mentions: 1 } } });
    const room = chat.room("lobby");
    const heard = [];
    for (const what of ["message", "edit", "react", "unreact", "rename", "delete", "read"]) {
      room.on(what, (frame) => heard.push([what, frame.target]));
    }
    await settle();
    await socket.ok(HEAD);
    return { chat, socket, room, heard };
  }

  it("are named by their id, and by the log that one listens to", async () => {
    const { socket, room } = await listening();
    for (const [does, sent] of [
      [() => room.edit(7, "ho"), { type: "edit", event: 7, message: "ho", epoch: "a" }],
      [() => room.remove(7), { type: "delete", event: 7, epoch: "a" }],
      [() => room.react(7, "x"), { type: "react", event: 7, emoji: "x", epoch: "a" }],
      [() => room.unreact(7, "x"), { type: "unreact", event: 7, emoji: "x", epoch: "a" }],
      [() => room.edit(7, "ho", { epoch: "b" }), { type: "edit", event: 7, message: "ho", epoch: "b" }],
    ]) {
      const promise = begun(does());
      await settle();
      const { id, ...command } = socket.last;
      assert.deepEqual(command, { ...sent, room: "lobby" });
      await socket.ok({ offset: 17 });
      assert.deepEqual(await promise, { offset: 17 });
    }
    const nothing = room.react(7, "x");
    await socket.ok();
    assert.deepEqual(await nothing, { offset: null });
    const refused = begun(room.edit(7, "ho"));
    await socket.refuse(103);
    assert.equal(await outcome(refused), 103);
  });

  it("are answered, in that log", async () => {
    const { socket, room } = await listening();
    begun(room.message("hi", { reply_to: 7 }));
    await settle();
    assert.equal(socket.last.reply_to, 7);
    assert.equal(socket.last.epoch, "a");
    await socket.ok({ offset: 11 });
    begun(room.message("hi"));
    await settle();
    assert.ok(!("reply_to" in socket.last) && !("epoch" in socket.last));
  });

  it("bring what becomes of them", async () => {
    const { socket, heard } = await listening();
    const frame = { chatroomId: "lobby", userId: 2, target: 7 };
    await socket.say(
      { ...frame, type: "edit", id: 11, message: "ho" },
      { ...frame, type: "react", id: 12, emoji: "x" },
      { ...frame, type: "unreact", id: 13, emoji: "x" },
      { ...frame, type: "rename", id: 14, from: "bo", was: "bob" },
      { ...frame, type: "delete", id: 15 },
      { ...frame, type: "read", epoch: "a" },
    );
    const what = ["edit", "react", "unreact", "rename", "delete", "read"];
    assert.deepEqual(
      heard,
      what.map((name) => [name, 7]),
    );
  });

  it("are read, and told once", async () => {
    const { chat, socket, room } = await listening();
    assert.deepEqual(chat.unread, { lobby: { ...HEAD, messages: 2, mentions: 1 } });
    begun(room.read(7));
    await settle();
    const { id, ...command } = socket.last;
    assert.deepEqual(command, { type: "read", room: "lobby", event: 7, epoch: "a" });
    await socket.ok();
    await room.read(6);
    assert.equal(socket.last.id, id);
    const refused = begun(room.read(8));
    await socket.refuse(108);
    assert.equal(await outcome(refused), 108);
    begun(room.read(8));
    await settle();
    assert.equal(socket.last.event, 8, "it was not noted, so it is told again");
  });
});

describe("messages", () => {
  const known = { user: 3, known: true, inbox: HEAD };

  it("go out one after the other, with keys, and again with the same ones", async () => {
    const [chat, socket] = await open();
    const said = [
      chat.room("a").message("1"),
      chat.room("a").message("2"),
      chat.room("b").message("3"),
      chat.direct("7", "4"),
      chat.direct(7, "5"),
    ];
    await socket.welcome(known);
    const texts = (where) => where.sent.slice(1).map(({ message }) => message);
    assert.deepEqual(texts(socket), ["1", "3", "4", "5"]);
    const next = await reconnect(known);
    assert.deepEqual(texts(next), ["1", "3", "4", "5"]);
    const keys = (where) => where.sent.slice(1).map(({ key }) => key);
    assert.deepEqual(keys(next), keys(socket));
    assert.equal(new Set(keys(next)).size, 4);
    for (const [index, command] of next.sent.slice(1).entries()) {
      await next.ok({ offset: index }, command);
    }
    assert.equal(next.last.message, "2");
    await next.ok({ offset: 9 });
    assert.deepEqual(
      (await Promise.all(said)).map(({ offset }) => offset),
      [0, 9, 1, 2, 3],
    );
  });

  for (const [who, to, repeated] of [
    [{ user: 3, known: true, inbox: HEAD }, 7, true],
    [{ user: 3, known: true, inbox: HEAD }, "7", true],
    [{ user: 3, known: true, inbox: HEAD }, -7, false],
    [{ user: 3, known: true }, 7, false], // nobody has an inbox here
    [{ user: -3 }, 7, true],
    [{ user: 3 }, 7, false], // nobody is known here
  ]) {
    const [whom, whose] = [JSON.stringify(to), JSON.stringify(who)];
    it(`to ${whom} are ${repeated ? "" : "not "}repeated by ${whose}: only inboxes know keys`, async () => {
      const [chat, socket] = await open();
      await socket.welcome(who);
      const said = begun(chat.direct(to, "1"));
      const next = await reconnect({ ...who, resumed: true });
      assert.equal(await outcome(said), repeated ? "pending" : "lost");
      assert.equal(next.last.type, repeated ? "direct" : "hello");
    });
  }

  it("are not repeated once their key may be forgotten", async () => {
    const [chat, socket] = await open();
    await socket.welcome(known);
    const said = begun(chat.room("a").message("1"));
    const direct = begun(chat.direct(7, "2"));
    await socket.hangUp();
    clock.freeze(271_000);
    await clock.pass(500);
    await newest().welcome(known);
    assert.deepEqual([await outcome(said), await outcome(direct)], ["lost", "lost"]);
    assert.equal(newest().last.type, "hello");
  });

  it("are not said by somebody else: known people", async () => {
    const [chat, socket] = await open();
    await socket.welcome({ user: "ann", known: true });
    const tried = begun(chat.room("a").message("tried"));
    await socket.hangUp();
    const fresh = begun(chat.room("b").message("fresh"));
    await clock.pass(500);
    await newest().welcome({ user: "bob", known: true });
    assert.equal(chat.me.same, false);
    assert.deepEqual([await outcome(tried), await outcome(fresh)], ["lost", "changed"]);
    assert.equal(newest().last.type, "hello");
  });

  it("go on with a login that lost its resume", async () => {
    const [chat, socket] = await open();
    await socket.welcome({ user: "ann", known: true });
    const fresh = chat.room("b").message("fresh");
    await reconnect({ user: "ann", known: true });
    assert.equal(chat.me.same, true);
    await newest().ok({ offset: 1 });
    assert.deepEqual(await fresh, { offset: 1, epoch: null });
  });

  it("of a stranger who came back as another: rooms get them, people do not", async () => {
    const [chat, socket] = await open();
    await socket.welcome({ user: 1 });
    await socket.hangUp();
    const [room, direct] = [chat.room("a").message("1"), begun(chat.direct(2, "a secret"))];
    await clock.pass(500);
    await newest().welcome({ user: 1 });
    assert.equal(await outcome(direct), "changed");
    assert.equal(newest().last.message, "1");
    await newest().ok({ offset: 1 });
    await room;
  });

  it("are bounded while one is away", async () => {
    const [chat] = await open({ queue: 3 });
    const said = [1, 2, 3, 4].map((text) => begun(chat.room("a").message(String(text))));
    assert.deepEqual(await Promise.all(said.map(outcome)), ["pending", "pending", "pending", "full"]);
    assert.deepEqual(
      chat.room("a").waiting.map(({ message }) => message),
      ["1", "2", "3"],
    );
    chat.close();
    assert.deepEqual(await Promise.all(said.map(outcome)), ["ended", "ended", "ended", "full"]);
  });

  it("wait until one is in the room", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const room = chat.room("a");
    room.join();
    const said = room.message("1");
    await settle();
    assert.equal(socket.last.type, "join");
    await socket.ok(HEAD);
    assert.equal(socket.last.message, "1");
    await socket.ok({ offset: 11 });
    assert.deepEqual(await said, { offset: 11, epoch: "a" });
  });

  it("are tried again where the refusal was temporary, and then no longer", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const said = begun(chat.room("a").message("1"));
    const next = chat.room("a").message("2");
    for (let attempt = 0; attempt < 5; attempt += 1) {
      assert.equal(socket.last.message, "1");
      await socket.refuse(111, { temporary: true });
      await clock.pass(8_000);
    }
    assert.equal(await outcome(said), 111);
    assert.equal(socket.last.message, "2");
    await socket.ok({ offset: 1 });
    await next;
  });

  it("of which one was too long for the server: that one", async () => {
    const [chat, socket] = await open();
    await socket.welcome();
    const long = begun(chat.room("a").message("x".repeat(1000)));
    const short = chat.room("b").message("x");
    await socket.hangUp(1009);
    assert.equal(await outcome(long), 1009);
    assert.equal(await outcome(short), "pending");
    assert.equal(chat.state.phase, "away");
  });
});

describe("the inbox", () => {
  const notice = (id) => ({ type: "event", id, inbox: true, name: "notice", data: id });

  it("is subscribed with hello, and goes on where it was", async () => {
    const [chat, socket] = await open();
    const heard = [];
    const missed = [];
    chat.inbox.on("notice", (data) => heard.push(data));
    chat.inbox.on("gap", (details) => missed.push(["gap", details.after.offset]));
    chat.inbox.on("reset", (details) => missed.push(["reset", details.after.offset]));
    await socket.open();
    const { id: re } = socket.last;
    await socket.say({ type: "ok", re, user: 7, known: true, inbox: HEAD }, notice(11));
    await socket.say({ type: "direct", id: 12, inbox: true, from: 3, to: 7, message: "hi" });
    const next = await reconnect({ user: 7, known: true, inbox: { ...HEAD, offset: 12, recovered: true } });
    assert.deepEqual(next.last.inbox, { offset: 12, epoch: "a" });
    await next.say(notice(12), notice(13));
    assert.deepEqual(heard, [11, 13]);
    await reconnect({ user: 7, known: true, inbox: { offset: 50, epoch: "a", recovered: false } });
    await reconnect({ user: 7, known: true, inbox: { offset: 2, epoch: "b", recovered: false } });
    assert.deepEqual(missed, [
      ["gap", 50],
      ["reset", 2],
    ]);
  });

  it("that begins to exist later is followed, too", async () => {
    const [chat, socket] = await open();
    const missed = [];
    chat.inbox.on("reset", (details) => missed.push(details));
    await socket.welcome({ user: 7, known: true, inbox: { offset: 0, epoch: "" } });
    await socket.say({ type: "inbox", offset: 0, epoch: "a" }, notice(1));
    const next = await reconnect({ user: 7, known: true, inbox: { offset: 1, epoch: "a", recovered: true } });
    assert.deepEqual(next.sent[0].inbox, { offset: 1, epoch: "a" });
    assert.deepEqual(missed, []);
  });

  it("brings what the application tells this tab alone", async () => {
    const [chat, socket] = await open();
    const heard = [];
    chat.inbox.on("hint", (data) => heard.push(data));
    await socket.welcome();
    await socket.say({ type: "event", name: "hint", data: "from a command" });
    assert.deepEqual(heard, ["from a command"]);
  });

  it("brings strangers what is said to them, which is in no log", async () => {
    const [chat, socket] = await open();
    const heard = [];
    chat.inbox.on("direct", ({ message }) => heard.push(message));
    await socket.welcome();
    await socket.say(
      { type: "direct", from: 3, to: 1, message: "hi" },
      { type: "direct", from: 3, to: 1, message: "hi" },
    );
    assert.deepEqual(heard, ["hi", "hi"]);
  });

  it("and complaints that are no replies have their listeners", async () => {
    const [chat, socket] = await open();
    const complaints = [];
    chat.on("error", ({ code }) => complaints.push(code));
    await socket.welcome();
    await socket.say({ type: "error", code: 107, reason: "not JSON", temporary: false });
    assert.deepEqual(complaints, [107]);
  });
});

describe("a tab", () => {
  const named = { user: 1, resume: "proof" };

  /** Opens a page in a tab, which has this storage. */
  const page = (storage) => open({ storage });

  /** A page that waits for its connection, with one message; its storage; and how it is left. */
  async function waiting() {
    const browser = new EventTarget();
    globalThis.addEventListener = browser.addEventListener.bind(browser);
    const storage = new FakeStorage();
    const [chat, socket] = await page(storage);
    delete globalThis.addEventListener; // other pages hear of themselves
    await socket.welcome(named);
    await socket.hangUp();
    const said = begun(chat.room("a").message("once"));
    await clock.pass(100);
    const tell = (event, more) => browser.dispatchEvent(Object.assign(new Event(event), more));
    return { storage, chat, said, tell };
  }

  const browserWithLocks = () => (navigator.locks = new FakeLocks());
  const texts = (chat) => chat.room("a").waiting.map(({ message }) => message);

  for (const locks of [true, false]) {
    it(`that is loaded again is the same person, and sends what waited, ${locks ? "with" : "without"} locks`, async () => {
      locks && browserWithLocks();
      const { storage, tell } = await waiting();
      tell("pagehide");
      const [chat, socket] = await page(storage);
      assert.deepEqual(texts(chat), ["once"]);
      const [{ done }] = chat.room("a").waiting;
      await socket.welcome({ ...named, resumed: true });
      assert.equal(socket.sent[0].resume, "proof");
      assert.equal(socket.last.message, "once");
      await socket.ok({ offset: 3 });
      assert.deepEqual(await done, { offset: 3, epoch: null });
      await clock.pass(100);
      const [later] = await page(storage);
      assert.deepEqual(texts(later), []);
    });
  }

  it("that is duplicated copies nothing that waits where there are no locks", async () => {
    const { storage, chat, tell } = await waiting();
    const [copy] = await page(storage.copy());
    assert.deepEqual(texts(copy), []);
    assert.deepEqual(texts(chat), ["once"]);
    tell("pagehide", { persisted: true });
    tell("pageshow", { persisted: true });
    const [another] = await page(storage.copy());
    assert.deepEqual(texts(another), []);
    assert.deepEqual(texts(chat), ["once"]);
  });

  it("whose page comes back finds that a copy of it has sent what waited", async () => {
    browserWithLocks();
    const { storage, said, tell } = await waiting();
    tell("pagehide", { persisted: true });
    const [copy] = await page(storage.copy());
    await settle();
    assert.deepEqual(texts(copy), ["once"]);
    tell("pageshow", { persisted: true });
    await clock.pass(1_000);
    assert.equal(await outcome(said), "taken");
  });

  it("that is duplicated sends nothing of what waits in the other one", async () => {
    browserWithLocks();
    const { storage, chat: original } = await waiting();
    const [copy, socket] = await page(storage.copy());
    const [{ done }] = copy.room("a").waiting;
    const own = copy.room("a").message("own");
    await socket.welcome({ ...named, resumed: true });
    assert.equal(socket.last.type, "hello", "not before it is clear who has it");
    await clock.pass(1_000);
    assert.equal(await outcome(done), "taken");
    assert.equal(socket.last.message, "own");
    await socket.ok({ offset: 1 });
    await own;
    assert.deepEqual(
      original.room("a").waiting.map(({ message }) => message),
      ["once"],
    );
  });

  it("that is loaded again waits for its former page to be gone", async () => {
    browserWithLocks();
    const { storage, tell } = await waiting();
    const [, socket] = await page(storage);
    await socket.welcome({ ...named, resumed: true });
    assert.equal(socket.last.type, "hello");
    tell("pagehide");
    await settle();
    assert.equal(socket.last.message, "once");
  });

  it("forgets on reload where nothing can be stored, and works", async () => {
    const forbidden = () => {
      throw new Error("denied");
    };
    const [chat, socket] = await page({ getItem: forbidden, setItem: forbidden, removeItem: forbidden });
    await socket.welcome();
    await clock.pass(100);
    assert.equal(chat.state.phase, "online");
    chat.close();
  });

  it("has no storage left once the chat was closed", async () => {
    const { storage, chat, said } = await waiting();
    chat.close();
    assert.equal(await outcome(said), "ended");
    await clock.pass(1_000);
    const [again] = await page(storage);
    assert.equal(again.me, null);
    assert.deepEqual(again.room("a").waiting, []);
  });
});
