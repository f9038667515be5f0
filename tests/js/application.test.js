/** Events, calls and inboxes: threadchat.js against application.py. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";

import { closeAll, cut, next, open, state, withServer } from "./helpers.js";
import { Server, until } from "./server.js";

const enter = (server, user, more = {}) => open(user ? `${server.url}?user=${user}` : server.url, more);
const numbers = (count) => Array.from({ length: count }, (_, index) => index + 1);

afterEach(closeAll);

describe("with one application", () => {
  let server;

  before(async () => (server = await Server.startApplication()));
  after(() => server.stop());

  it("calls it, and hears what it emits", async () => {
    const ann = enter(server, "ann");
    const heard = next(ann.room("orders"), "order.created");
    await next(ann.room("orders"), "live");
    assert.deepEqual(await ann.call("order.create", { id: 1 }), { id: 1 });
    assert.deepEqual(await heard, { id: 1 });
    assert.equal(ann.me.user, "ann");
    assert.equal(ann.me.known, true);
    await assert.rejects(ann.call("order.cancel", {}), { code: 103, reason: "not yours", temporary: false });
    await assert.rejects(ann.call("order.create", { id: "x" }), { code: 107 });
    await assert.rejects(ann.call("no.such.command"), { code: 104 });
  });

  it("is put into rooms by it, and goes back into them", async () => {
    const ann = enter(server, "ann", { nickname: "ann" });
    const hint = next(ann.inbox, "hint");
    assert.deepEqual(await ann.call("watch", "vault"), { user: "ann" });
    assert.deepEqual(await hint, { text: "welcome to vault" });
    const vault = ann.room("vault");
    await until(() => vault.position, "being in");
    const back = next(vault, "subscribed");
    cut();
    assert.equal((await back).recovered, true);
    assert.equal((await vault.request("who")).users[0].id, "ann");
  });

  it("has one inbox in all tabs, and finds there what it missed", async () => {
    const [here, there] = [enter(server, "zoe"), enter(server, "zoe")];
    const heard = { here: [], there: [] };
    here.inbox.on("notice", ({ id }) => heard.here.push(id));
    there.inbox.on("notice", ({ id }) => heard.there.push(id));
    await Promise.all([next(here, "hello"), next(there, "hello")]);
    await here.call("order.create", { id: 11 });
    await until(() => heard.there.length === 1, "a notice in the other tab");
    const bob = enter(server, "bob", { nickname: "bob" });
    const direct = next(there.inbox, "direct");
    await bob.direct("zoe", "psst");
    assert.deepEqual([(await direct).from, (await direct).message], ["bob", "psst"]);
    cut();
    await here.call("order.create", { id: 12 });
    await here.call("order.create", { id: 13 });
    await until(() => heard.there.length === 3 && heard.here.length === 3, "all of it");
    assert.deepEqual(heard, { here: [11, 12, 13], there: [11, 12, 13] });
  });

  it("keeps for one who is away what is said to them", async () => {
    const ann = enter(server, "amy", { nickname: "amy" });
    assert.deepEqual(await ann.direct("away", "are you there?"), { stored: true });
    const said = ann.direct("away", "twice?", { key: "k" });
    await said;
    await ann.direct("away", "twice?", { key: "k" });
    const missing = [];
    const away = enter(server, "away");
    away.inbox.on("gap", () => missing.push("gap"));
    await next(away, "hello");
    assert.equal(away.inbox.position.offset, 2);
    assert.deepEqual(missing, []);
  });

  it("does not hear again what it said itself", async () => {
    const ann = enter(server, "eva", { nickname: "eva" });
    const heard = [];
    ann.inbox.on("direct", ({ message }) => heard.push(message));
    await ann.direct("uli", "1");
    cut();
    await ann.direct("uli", "2");
    const other = enter(server, "uli", { nickname: "uli" });
    await other.direct("eva", "3");
    await until(() => heard.length, "an answer");
    assert.deepEqual(heard, ["3"]);
  });

  it("is told progress, of which nothing is kept", async () => {
    const ann = enter(server, "ann");
    const heard = [];
    ann.room("job").on("progress", ({ done }) => heard.push(done));
    await next(ann.room("job"), "live");
    const { position } = ann.room("job");
    await ann.call("progress", 1000);
    await until(() => heard.at(-1) === 1000, "the newest");
    assert.deepEqual(
      heard,
      [...heard].sort((a, b) => a - b),
    );
    assert.deepEqual(ann.room("job").position, position);
  });
});

it("goes over two kills of the server: each event once, in order, and nothing is missing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "threadchat-"));
  try {
    await withServer(Server.startApplication(`sqlite:${join(folder, "chat.db")}`), async (server) => {
      const [caller, listener] = [enter(server, "ann"), enter(server, "bob")];
      const heard = { orders: [], notices: [] };
      const missed = [];
      listener.room("orders").on("order.created", ({ id }) => heard.orders.push(id));
      listener.room("orders").on("gap", () => missed.push("gap"));
      listener.room("orders").on("reset", () => missed.push("reset"));
      caller.inbox.on("notice", ({ id }) => heard.notices.push(id));
      caller.inbox.on("reset", () => missed.push("inbox"));
      await next(listener.room("orders"), "live");
      /** A call is not repeated by the client: here the application knows it by its number. */
      const create = (id) =>
        caller.call("order.create", { id }, { timeout: 20_000 }).catch((error) => {
          assert.equal(error.code, "lost");
          return create(id);
        });
      for (const id of numbers(200)) {
        const calling = create(id);
        if (id % 80 === 0) {
          await server.stop("SIGKILL");
          await state(caller, "away");
          await server.start();
        }
        await calling;
      }
      await until(() => heard.orders.length >= 200 && heard.notices.length >= 200, "all of it");
      assert.deepEqual(heard, { orders: numbers(200), notices: numbers(200) });
      assert.deepEqual(missed, []);
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
