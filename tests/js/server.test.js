/** threadchat.js against the real server. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";

import { closeAll, cut, next, open, state, withServer } from "./helpers.js";
import { Server, until } from "./server.js";
import { sockets } from "./websocket.js";

const enter = (server, nickname, more = {}) => open(server.url, { nickname, ...more });

/** The texts that a room brings from now on. */
function texts(room) {
  const heard = [];
  room.on("message", ({ message }) => heard.push(message));
  return heard;
}

afterEach(closeAll);

describe("on one server", () => {
  let server;

  before(async () => (server = await Server.start()));
  after(() => server.stop());

  it("says and hears", async () => {
    const [ann, bob] = [enter(server, "ann"), enter(server, "bob")];
    const heard = texts(bob.room("garden"));
    await next(bob.room("garden"), "live");
    const sent = await ann.room("garden").message("hi");
    assert.equal(sent.offset, 1);
    await until(() => heard.length === 1, "the message");
    assert.deepEqual(heard, ["hi"]);
    assert.equal(ann.me.nickname, "ann");
    assert.equal(ann.me.known, false);
  });

  it("mends half a surrogate pair, wherever it is, and nothing else", async () => {
    const ann = enter(server, "ann");
    const heard = texts(ann.room("emoji"));
    await next(ann.room("emoji"), "live");
    const whole = 'é "\\ud83d" \\\\ud83d \u0001 😀';
    await ann.room("emoji").message(`${"😀".slice(0, 1)}|${whole}|${"😀".slice(1)}`);
    await until(() => heard.length, "it");
    assert.deepEqual(heard, [`\ufffd|${whole}|\ufffd`]);
  });

  it("recovers what it missed, in order and once, and sends once what it does not know to have arrived", async () => {
    const [ann, bob] = [enter(server, "ann"), enter(server, "bob")];
    const room = ann.room("cut");
    const heard = texts(room);
    await room.join();
    await room.message("1");
    await bob.room("cut").message("2");
    await until(() => heard.length === 2, "2 messages");
    const [socket] = sockets;
    socket.deaf = true; // what ann says arrives, and she never hears that it did
    const unsure = room.message("3");
    await until(
      async () => (await bob.room("cut").request("history")).events.some((e) => e.message === "3"),
      "3",
    );
    socket.cut();
    const waiting = room.message("5");
    assert.deepEqual(
      room.waiting.map(({ message }) => message),
      ["3", "5"],
    );
    await bob.room("cut").message("4");
    assert.ok((await unsure).offset < (await waiting).offset);
    await until(() => heard.length === 5, "all of it");
    assert.deepEqual(heard, ["1", "2", "3", "4", "5"]);
    assert.deepEqual(room.waiting, []);
    assert.equal(ann.me.same, true);
  });

  it("subscribes with the first listener and unsubscribes with the last", async () => {
    const [ann, bob] = [enter(server, "ann"), enter(server, "bob")];
    const room = ann.room("quiet");
    const [off, offToo] = [room.on("message", () => {}), room.on("typing", () => {})];
    await next(room, "live");
    assert.equal((await room.request("who")).users.length, 0, "to listen is not to be there");
    off();
    offToo();
    await until(() => room.position === null, "the end of the subscription");
    await assert.rejects(room.request("unsubscribe"), { code: 102 });
    await bob.room("quiet").message("not heard");
    const heard = texts(room);
    await next(room, "live");
    await bob.room("quiet").message("heard");
    await until(() => heard.length, "the second one");
    assert.deepEqual(heard, ["heard"]);
  });

  it("turns a listener into a member and back, and misses nothing", async () => {
    const [ann, bob] = [enter(server, "ann"), enter(server, "bob")];
    const room = ann.room("turns");
    const heard = texts(room);
    await next(room, "live");
    const talk = (async () => {
      for (let number = 0; number < 40; number += 1) {
        await bob.room("turns").message(String(number));
      }
    })();
    for (let turn = 0; turn < 5; turn += 1) {
      await room.join();
      await room.leave();
    }
    await talk;
    await until(() => heard.length === 40, "all of it");
    assert.deepEqual(
      heard,
      Array.from({ length: 40 }, (_, number) => String(number)),
    );
    assert.deepEqual((await room.request("who")).users, []);
  });

  it("ends up where it was sent last, however fast one changes one's mind", async () => {
    const ann = enter(server, "ann");
    const room = ann.room("mind");
    for (let turn = 0; turn < 10; turn += 1) {
      room.join().catch(() => {});
      room.leave();
    }
    await room.join();
    assert.equal((await room.request("who")).users.length, 1);
  });

  it("reaches one person, and says who is not there", async () => {
    const [ann, bob] = [enter(server, "ann"), enter(server, "bob")];
    await Promise.all([next(ann, "hello"), next(bob, "hello")]);
    const heard = next(bob.inbox, "direct");
    await ann.direct(bob.me.user, "psst");
    assert.equal((await heard).message, "psst");
    await assert.rejects(ann.direct(999_999, "anybody?"), { name: "ChatError", code: 108, temporary: false });
  });

  it("refuses private messages from whom one blocks", async () => {
    const [ann, bob] = [enter(server, "ann"), enter(server, "bob")];
    await Promise.all([next(ann, "hello"), next(bob, "hello")]);
    await ann.block(bob.me.user);
    assert.deepEqual(await ann.blocked(), [bob.me.user]);
    await assert.rejects(bob.direct(ann.me.user, "no"), { code: 108 });
    await ann.unblock(bob.me.user);
    const heard = next(ann.inbox, "direct");
    await bob.direct(ann.me.user, "yes");
    assert.equal((await heard).message, "yes");
    await assert.rejects(ann.block(ann.me.user), { code: 107 });
  });

  it("logs out: nobody comes back with what the tab had", async () => {
    const kept = new Map();
    const storage = {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
    const ann = enter(server, "ann", { storage });
    const { user } = await next(ann, "hello");
    await until(() => kept.size && JSON.parse([...kept.values()][0]).resume, "it is kept");
    const stolen = new Map(kept);
    await ann.logout();
    assert.equal(kept.size, 0);
    assert.equal(ann.state.phase, "ended");
    const thief = enter(server, "mallory", { storage: { ...storage, getItem: (key) => stolen.get(key) ?? null } });
    const me = await next(thief, "hello");
    assert.notEqual(me.user, user);
    assert.equal(me.same, false);
    await assert.rejects(ann.logout(), { code: "ended" });
  });

  it("rejects what is refused, with code and reason", async () => {
    const ann = enter(server, "ann");
    await assert.rejects(ann.request("nonsense"), { code: 104, temporary: false });
    await assert.rejects(ann.room("/ws").join(), { code: 103 });
    const [refused] = await Promise.all([
      next(ann.room("/ws"), "refused"),
      ann
        .room("/ws")
        .join()
        .catch(() => {}),
    ]);
    assert.equal(refused.code, 103);
  });

  it("is told that a frame was too long, and comes back", async () => {
    const ann = enter(server, "ann");
    const long = ann.room("long").message("x".repeat(600_000));
    const short = ann.room("short").message("short");
    await assert.rejects(long, { code: 1009 });
    assert.equal((await short).offset, 1);
  });

  it("is somebody else than another one, and the same after it comes back", async () => {
    const ann = enter(server, "ann");
    const { user, same } = await next(ann, "hello");
    assert.equal(same, false);
    const hello = next(ann, "hello");
    cut();
    assert.deepEqual(await hello.then((me) => [me.user, me.same, me.nickname]), [user, true, "ann"]);
    await ann.rename("anna");
    const again = next(ann, "hello");
    cut();
    assert.equal((await again).nickname, "anna");
  });
});

it("goes over two kills of the server: each message once, in order, and a reset is told", () =>
  withServer(Server.start(), async (server) => {
    const ann = enter(server, "ann");
    const room = ann.room("garden");
    const heard = texts(room);
    const resets = [];
    room.on("reset", (missed) => resets.push(missed));
    await room.join();
    const said = [];
    const talk = (count) => {
      for (let number = 0; number < count; number += 1) {
        said.push(room.message(String(said.length)));
      }
    };
    talk(20);
    await Promise.all(said);
    for (let kill = 0; kill < 2; kill += 1) {
      await server.stop("SIGKILL");
      await state(ann, "away");
      talk(20);
      await server.start();
      await Promise.all(said);
    }
    await until(() => heard.length === 60, `all of it, there are ${heard.length}`);
    assert.deepEqual(
      heard,
      said.map((_, number) => String(number)),
    );
    assert.equal(resets.length, 2);
    assert.notEqual(resets[0].before.epoch, resets[0].after.epoch);
  }));

it("says what ended it, and can be told to try anew", () =>
  withServer(Server.start("--token-key", "k".repeat(32), "--anonymous", "no"), async (server) => {
    const bad = enter(server, "", { token: "no token at all" });
    await state(bad, "ended");
    assert.equal(bad.state.code, 3500);
    await assert.rejects(bad.call("x"), { code: "ended" });
    let asked = 0;
    const old = enter(server, "", { token: async () => `no token ${(asked += 1)}` });
    await state(old, "ended");
    assert.equal(asked, 2, "one that is fetched may have grown old, once");
    const none = enter(server, "ann");
    await state(none, "ended");
    assert.equal(none.state.code, 101);
    none.connect();
    assert.equal(none.state.phase, "connecting");
    await state(none, "ended");
  }));
