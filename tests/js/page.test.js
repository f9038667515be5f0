/** How the page starts, what it keeps of a conversation, and what it puts into the browser's storage. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";

import { Model } from "../../threadchat/server/http/page/model.js";
import { pack } from "../../threadchat/server/http/page/storage.js";

test("of a deleted message nothing is kept, not even an attempt to send it", () => {
  const model = new Model();
  model.me = { user: 7, nickname: "ann" };
  const room = model.room("lobby");
  room.epoch = "e";
  const { timeline } = room;
  const twin = timeline.write("secret twin", 1);
  twin.state = "sending";
  const confirmed = timeline.write("secret answer", 2);
  const other = timeline.write("mine still", 3);
  other.state = "failed";
  const event = { type: "message", userId: 7, from: "ann", unixTime: 1 };
  room.take({ ...event, id: 1, message: "secret twin" }, 7);
  timeline.acknowledge(confirmed, "e", 2); // before its event
  twin.state = "failed"; // the answer was lost
  confirmed.state = "failed";
  assert.match(JSON.stringify(pack(model)), /secret twin.*secret answer/);
  for (const [id, target] of [[3, 1], [4, 2]]) {
    room.take({ type: "delete", id, target, userId: 1, unixTime: 2 }, 7);
  }
  assert.doesNotMatch(JSON.stringify(pack(model)), /secret/);
  assert.match(JSON.stringify(pack(model)), /mine still/);
  assert.doesNotMatch(JSON.stringify(timeline.items), /secret/);
});

test("before the first paint the chosen theme is there, and the chat is loaded once something is seen", async () => {
  const text = await readFile(new URL("../../threadchat/server/http/page/start.js", import.meta.url), "utf8");
  const run = vm.compileFunction(text.replace("import(source)", "loaded.push(source.href)"), [
    "document", "localStorage", "requestAnimationFrame", "setTimeout", "loaded",
  ]);
  const start = (stored, hidden = false) => {
    const frames = [];
    const timers = [];
    const loaded = [];
    const page = { documentElement: { dataset: {} }, hidden, currentScript: { src: "http://localhost/page/start.js" } };
    run(page, { getItem: stored }, (does) => frames.push(does), (does) => timers.push(does), loaded);
    return { theme: page.documentElement.dataset.theme, frames, timers, loaded };
  };
  const seen = start(() => '{"theme":"dark"}');
  assert.equal(seen.theme, "dark");
  assert.deepEqual(seen.loaded, []);
  seen.frames[0]();
  seen.timers[0]();
  assert.deepEqual(seen.loaded, ["http://localhost/page/app.js"]);
  assert.deepEqual(start(() => null, true).loaded, ["http://localhost/page/app.js"], "nobody sees it");
  assert.equal(start(() => null).theme, "system");
  const forbidden = () => {
    throw new Error("storage is forbidden");
  };
  assert.equal(start(forbidden).theme, "system");
});
