/** What the page keeps of a conversation, and what it puts into the browser's storage. */

import assert from "node:assert/strict";
import { test } from "node:test";

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
