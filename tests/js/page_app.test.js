/** The whole page against a server that is made up: somebody enters, hears, speaks and leaves. */

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { $, hasDom, openPage, press, until } from "./page_dom.js";

if (!hasDom) {
  console.log("skipped: these need jsdom, which scripts/test gets by npm, and Node 20.6");
  process.exit(0);
}
openPage("http://localhost/#garden");
const sockets = [];
globalThis.WebSocket = class {
  constructor(url) {
    this.url = url;
    sockets.push(this);
  }
  sent = [];
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {}
  /** The server says something. */
  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
  /** Answers the last command of this type. */
  answer(type, fields = {}) {
    this.say({ type: "ok", re: this.sent.findLast((command) => command.type === type).id, ...fields });
  }
};


after(() => setTimeout(() => process.exit(), 50)); // the page's own timers never end

test("somebody enters, hears, speaks and leaves", async () => {
  await import("../../threadchat/server/http/page/app.js");
  assert.equal($("welcome").hidden, false);
  $("nickname").value = "ann";
  $("welcome-form").dispatchEvent(new Event("submit", { cancelable: true }));
  await until(() => sockets.length, "a connection");
  const [socket] = sockets;
  assert.equal(socket.url, "ws://localhost/chat");
  socket.onopen();
  const asked = async (type) => until(() => socket.sent.some((command) => command.type === type), type);
  await asked("hello");
  socket.answer("hello", { user: 1, session: "s", resume: "r" });
  await asked("join");
  socket.answer("join", { offset: 0, epoch: "e" });
  await asked("history");
  socket.answer("history", { events: [], offset: 0, epoch: "e" });
  await asked("who");
  socket.answer("who", { users: [{ id: 1, nickname: "ann", sessions: 1 }] });
  const event = { type: "message", id: 1, chatroomId: "garden", userId: 2, from: "bob", message: "hello", unixTime: 1_000 };
  socket.say(event);
  await until(() => $("messages").textContent.includes("hello"), "the message");
  assert.equal($("title").textContent, "#garden");
  $("message").value = "hi bob";
  $("message").dispatchEvent(new Event("input", { bubbles: true }));
  press($("message"), "Enter");
  await asked("message");
  assert.equal(socket.sent.findLast(({ type }) => type === "message").message, "hi bob");
  socket.answer("message", { offset: 2 });
  $("leave").click();
  await asked("leave");
});
