/** Unit tests of the page's views, on its own document; what only a browser knows is left to the tests in one. */

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { $, hasDom, openPage, press, tick } from "./page_dom.js";

if (!hasDom) {
  console.log("skipped: these need jsdom, which scripts/test gets by npm, and Node 20.6");
  process.exit(0);
}
const window = openPage("http://localhost/#garden");
const page = "../../threadchat/server/http/page";
const { W } = await import(`${page}/text/words.js`);
const { Keyed, alike, avatar, fillWords, guardFocus, h, named, roving } = await import(`${page}/view/dom.js`);
const { rowNode } = await import(`${page}/view/message.js`);
const { Completion, Composer, composing, trimmed } = await import(`${page}/view/composer.js`);
const { Popup, ask, checkbox, choice, text } = await import(`${page}/view/overlays.js`);
const { Lists } = await import(`${page}/view/lists.js`);
const { Tools } = await import(`${page}/view/tools.js`);
const { Shell, dress, showTheme } = await import(`${page}/view/shell.js`);
const { SignIn, problemOf } = await import(`${page}/view/signin.js`);
const { Drawers } = await import(`${page}/view/drawers.js`);
const { Log } = await import(`${page}/view/log.js`);
const { Announcer, Notifier } = await import(`${page}/view/notify.js`);
const { askPreferences, askSanction, showProfile } = await import(`${page}/view/dialogs.js`);
const { Settings } = await import(`${page}/settings.js`);
const { Model } = await import(`${page}/model.js`);
const { Loader } = await import(`${page}/history.js`);
const { Actions } = await import(`${page}/actions.js`);

const row = (more = {}) => ({
  ...{ key: "e:1", kind: "message", id: 1, head: true, name: "bob", userId: 2, mine: false, text: "hello", at: 1_000 },
  ...{ state: "", problem: "", final: false, names: [], me: "ann", reply: null, reactions: null, ...more },
});
const found = (testid, root = document) => root.querySelector(`[data-testid="${testid}"], #${testid}`);
const input = (element, value) => {
  element.value = value;
  element.dispatchEvent(new Event("input", { bubbles: true }));
};

function lobby() {
  const model = new Model();
  model.me = { user: 1, nickname: "ann" };
  model.status = { phase: "online" };
  const room = Object.assign(model.room("lobby"), { epoch: "e", phase: "joined", loaded: true, older: "none", peopleKnown: true });
  room.people = new Map([[1, { id: 1, nickname: "ann", sessions: 1 }], [2, { id: 2, nickname: "bob", sessions: 2, about: "gardener" }]]);
  room.timeline.read = { epoch: "e", id: 0 };
  model.currentKey = room.key;
  return { model, room };
}

after(() => setTimeout(() => process.exit(), 50)); // the page's own timers never end

test("elements are made of plain data, and text stays text", () => {
  const node = h("p", { class: "a", hidden: false, title: null, "aria-pressed": "true" }, "<b>", null, h("i", {}, "x"));
  assert.equal(node.outerHTML, '<p class="a" aria-pressed="true">&lt;b&gt;<i>x</i></p>');
  assert.equal(named("").textContent, W.somebody);
  assert.equal(avatar("ann lee").textContent, "AL");
  assert.ok(alike({ a: [1], b: 2 }, { a: [1], b: 2 }) && !alike({ a: 1 }, { a: 1, b: 2 }));
  fillWords();
  assert.equal(document.querySelector('label[for="nickname"]').textContent, W.nickname);
});

test("rows that stay the same keep their nodes", () => {
  const list = h("ul");
  const keyed = new Keyed(list, ({ text: words }) => h("li", {}, words));
  keyed.update([{ key: 1, text: "a" }, { key: 2, text: "b" }]);
  const [first] = list.children;
  keyed.update([{ key: 3, text: "c" }, { key: 1, text: "a" }, { key: 2, text: "B" }]);
  assert.equal(list.textContent, "caB");
  assert.equal(list.children[1], first);
});

test("a list is one tab stop", () => {
  const list = h("ul", {}, ...["a", "b", "c"].map((name) => h("li", {}, h("button", { class: "x" }, name))));
  document.body.append(list);
  const refresh = roving(list, ".x");
  refresh();
  const stops = () => [...list.querySelectorAll('[tabindex="0"]')].map((each) => each.textContent);
  assert.deepEqual(stops(), ["a"]);
  list.querySelector("button").focus();
  press(document.activeElement, "ArrowDown");
  press(document.activeElement, "End");
  press(document.activeElement, "ArrowUp");
  assert.deepEqual(stops(), ["b"]);
  list.children[1].remove();
  refresh();
  assert.deepEqual(stops(), ["a"]);
  list.remove();
});

test("focus that is lost comes back", () => {
  let back = 0;
  const guard = guardFocus(() => (back += 1));
  const button = h("button");
  document.body.append(button);
  button.focus();
  guard();
  button.remove();
  guard();
  assert.equal(back, 1);
});

test("a message's row: name, time, text, reactions, and what became of it", () => {
  const calls = [];
  const handlers = Object.fromEntries(["profile", "goTo", "react", "retry", "discard"].map((name) => [name, (...details) => calls.push([name, ...details])]));
  const node = rowNode(
    row({ text: "**hi** @ann", names: ["ann"], mention: true, edited: true, twin: true, reactions: [{ emoji: "👍", count: 2, mine: true, names: "You and bob" }], reply: { id: 7, key: null, name: "cy", text: "what?" } }),
    handlers,
  );
  assert.equal(found("text", node).innerHTML, '<p dir="auto"><strong>hi</strong> <span class="mention me">@ann</span></p>');
  assert.ok(node.className.includes("mentioned") && node.textContent.includes(`(${W.edited})`));
  assert.equal(found("which", node).textContent, W.number(2));
  found("author", node).click();
  found("reaction", node).click();
  found("quote", node).click();
  assert.deepEqual(calls.map(([name]) => name), ["profile", "react", "goTo"]);
  assert.match(rowNode(row({ state: "waiting" }), handlers).textContent, new RegExp(W.waiting));
  const failed = rowNode(row({ state: "failed", problem: "No." }), handlers);
  found("retry", failed).click();
  found("discard", failed).click();
  assert.deepEqual(calls.slice(3).map(([name]) => name), ["retry", "discard"]);
  assert.equal(found("text", rowNode(row({ deleted: true }), handlers)).textContent, W.deleted);
  assert.ok(rowNode(row({ text: "x\n".repeat(40) }), handlers).className.includes("folded"));
  assert.equal(rowNode({ key: "new", kind: "new" }, handlers).textContent, W.new);
});

function composer(model, more = {}) {
  $("composer").replaceWith($("composer").cloneNode(true)); // without the listeners of another test
  const calls = [];
  const note = (name) => (...details) => calls.push([name, ...details]);
  const handlers = { send: note("send"), edit: note("edit"), editLast: () => false, names: () => ["bob"], enterSends: () => true, typing: note("typing"), stopped: () => {}, ...more };
  const made = new Composer(model, handlers);
  made.update();
  return { made, calls, box: $("message") };
}

test("the message box: Enter sends, an input method's does not, and nothing is cut off", () => {
  const { model } = lobby();
  const { calls, box } = composer(model);
  input(box, "  indented\n\n");
  assert.equal(press(box, "Enter", { isComposing: true }), true);
  assert.equal(press(box, "Enter", { keyCode: 229 }), true);
  assert.equal(press(box, "Enter", { shiftKey: true }), true);
  assert.equal(calls.filter(([name]) => name === "send").length, 0);
  press(box, "Enter");
  assert.deepEqual(calls.findLast(([name]) => name === "send").slice(2), ["  indented", { replyTo: 0 }]);
  input(box, "y".repeat(64_001));
  press(box, "Enter");
  assert.equal(box.value.length, 64_001);
  assert.match($("composer-limit").textContent, /64,001/);
  input(box, "");
  assert.ok(composing({ keyCode: 229 }) && !composing({ keyCode: 13 }));
  assert.equal(trimmed("\n \n  a \n"), "  a");
});

test("the message box: answers and edits", () => {
  const { model } = lobby();
  const { made, calls, box } = composer(model);
  made.reply(row({ id: 5 }));
  assert.match($("context-text").textContent, /bob/);
  input(box, "yes");
  press(box, "Enter");
  assert.deepEqual(calls.at(-1).slice(2), ["yes", { replyTo: 5 }]);
  input(box, "draft");
  made.edit(row({ id: 6, text: "old" }));
  assert.equal(box.value, "old");
  press(box, "Escape");
  assert.equal(box.value, "draft");
  made.edit(row({ id: 6, text: "old" }));
  input(box, "new");
  press(box, "Enter");
  assert.deepEqual([calls.at(-1)[0], calls.at(-1)[3], box.value], ["edit", "new", "draft"]);
  input(box, "");
});

test("names are completed by keyboard", () => {
  const box = h("textarea");
  document.body.append(box);
  const completion = new Completion(box, () => ["bob", "bill"]);
  box.value = "hi @b";
  box.setSelectionRange(5, 5);
  completion.update();
  const key = (name) => completion.key({ key: name, preventDefault() {}, stopPropagation() {} });
  assert.equal($("completions").children.length, 2);
  assert.ok(key("ArrowDown") && key("Enter") && !key("x"));
  assert.equal(box.value, "hi @bob ");
  assert.ok($("completions").hidden);
  box.remove();
});

test("a menu gives the focus back, and does what was chosen", () => {
  const popup = new Popup();
  const opener = h("button");
  document.body.append(opener);
  opener.focus();
  let chosen = "";
  popup.open(opener, [{ label: "a", act: () => (chosen = "a") }, null, { row: [{ label: "b", act: () => (chosen = "b") }] }], "Menu");
  assert.equal(document.activeElement.textContent, "a");
  press(document.activeElement, "ArrowDown");
  assert.equal(document.activeElement.textContent, "b");
  document.activeElement.click();
  assert.deepEqual([chosen, popup.isOpen, document.activeElement], ["b", false, opener]);
  opener.remove();
});

test("a dialog stays open with a problem, and closes without one", async () => {
  let fails = true;
  const name = text("Name", "x");
  const closed = ask({ title: "T", content: [...name.nodes, ...checkbox("C", true).nodes, ...choice("K", [[1, "one"]], 1).nodes], save: "S", act: async () => {
    if (fails) {
      throw new Error("No.");
    }
  } });
  const submit = () => $("dialog").querySelector("form").dispatchEvent(new Event("submit", { cancelable: true }));
  submit();
  await tick();
  assert.equal(found("dialog-problem").textContent, "No.");
  fails = false;
  submit();
  await closed;
  assert.equal($("dialog").children.length, 0);
});

test("lists: unread first, filtered, one person each", () => {
  const { model, room } = lobby();
  const garden = model.room("garden");
  garden.timeline.insert({ kind: "message", epoch: "e", id: 1, userId: 2, text: "", mention: true });
  garden.timeline.insert({ kind: "message", epoch: "e", id: 2, userId: 2, text: "" });
  model.listed = [{ name: "kitchen", people: 3 }, { name: "attic", people: 9 }];
  model.direct(2, "bob");
  const calls = [];
  const note = (name) => (thing) => calls.push([name, thing]);
  const lists = new Lists(model, new Settings({}), ["kitchen"], { choose: note("choose"), join: note("join") }, note("profile"));
  lists.update();
  const names = (id) => [...$(id).querySelectorAll(".name")].map((each) => each.textContent);
  assert.deepEqual(names("rooms"), ["garden", "lobby"]);
  assert.match($("rooms").textContent, /1 mention, 2 unread/);
  assert.deepEqual(names("more-rooms"), ["kitchen", "attic"], "the operator's come first");
  assert.deepEqual(names("people-list"), ["ann", "bob"]);
  assert.equal(document.querySelectorAll('#lists [tabindex="0"]').length, 1);
  $("people-list").querySelectorAll("button")[1].click();
  $("rooms").querySelector("button").click();
  assert.deepEqual(calls, [["profile", 2], ["choose", "#garden"]]);
  input($("room-name"), "gar");
  assert.deepEqual([names("rooms"), $("room-hint").textContent], [["garden"], W.createRoom("gar")]);
  input($("room-name"), "x".repeat(129));
  assert.equal($("room-hint").textContent, W.longRoom(128));
  input($("room-name"), "");
  model.direct(2, "bob").hidden = true;
  lists.update();
  assert.deepEqual(names("directs"), []);
  assert.equal(room.key, "#lobby");
});

test("tools: what can be done with the message that one is on", () => {
  const { model } = lobby();
  const popup = new Popup();
  const done = [];
  const tools = new Tools(popup, {
    entries: (key, pick) => [{ label: "Pick", act: pick }, { label: "Done", act: () => done.push(key) }],
    may: () => true,
    reply: (key) => done.push(`reply ${key}`),
    react: (key, emoji) => done.push(emoji),
  });
  const node = rowNode(row(), {});
  $("messages").append(node);
  node.focus();
  found("tool-reply").click();
  press(node, "Enter");
  document.activeElement.click();
  document.activeElement.click();
  assert.deepEqual(done, ["reply e:1", "👍"]);
  assert.ok(tools && model);
  node.remove();
});

test("actions: by what one may", async () => {
  const { model, room } = lobby();
  room.take({ type: "message", id: 1, userId: 2, from: "bob", message: "hello", unixTime: 1 }, 1);
  room.take({ type: "message", id: 2, userId: 1, from: "ann", message: "mine", unixTime: 2 }, 1);
  const calls = [];
  const note = (...details) => calls.push(details);
  const chat = { alter: (...details) => calls.push(details.slice(1)), moderate: async (...details) => note(...details), block: async (...details) => note(...details) };
  const reports = [];
  const actions = new Actions(model, chat, new Settings({}), { choose: (key) => calls.push(["choose", key]), close: () => {} }, { reply: (item) => calls.push(["reply", item.id]), edit: (item) => calls.push(["edit", item.id]), report: (words) => reports.push(words), changed: () => {} });
  const labels = (key) => actions.entries(key, () => {}).filter(Boolean).map(({ label }) => label);
  assert.deepEqual(labels("e:1"), [W.reply, W.react, W.copyText, W.copyLink, W.profile, W.block]);
  assert.deepEqual(labels("e:2"), [W.reply, W.react, W.edit, W.copyText, W.copyLink, W.delete]);
  room.moderated = true;
  assert.ok(labels("e:1").includes(W.delete));
  actions.react("e:1", "👍");
  assert.deepEqual(calls.pop().slice(0, 1), ["react"]);
  assert.equal(actions.editLast(), true);
  assert.deepEqual(calls.pop(), ["edit", 2]);
  assert.equal(actions.linkTo(room, 2), "http://localhost/#lobby/2");
  actions.profile(2, "bob");
  assert.match($("dialog").textContent, /gardener/);
  found("profile-mute").click();
  found("reason").value = "spam";
  $("dialog").querySelector("form").dispatchEvent(new Event("submit", { cancelable: true }));
  await tick();
  assert.deepEqual(calls.pop(), ["mute", { user: 2, room: "lobby", reason: "spam", seconds: 3_600 }]);
  assert.deepEqual(reports, [W.moderationDone]);
  const menu = () => actions.about().filter(Boolean).map(({ label }) => label);
  assert.deepEqual(menu(), [W.invite, W.muteRoom, W.leaveRoom, W.closeRoom]);
  actions.profile(2, "bob");
  found("block").click();
  await tick();
  assert.match(found("block-sure").textContent, /folded/, "what it does is said first");
  found("block-sure").dispatchEvent(new Event("submit", { cancelable: true }));
  await tick();
  assert.deepEqual(calls.pop(), [2, true]);
  model.blocked.add(2);
  actions.write(2, "bob");
  model.currentKey = calls.pop()[1];
  assert.deepEqual(menu(), [W.profile, W.muteRoom, W.hideDirect, W.unblock]);
  actions.about().find((entry) => entry?.label === W.unblock).act();
  assert.deepEqual(calls.pop(), [2, false], "which nobody needs to think about");
});

test("the heading, the banner and the title", () => {
  const { model, room } = lobby();
  room.timeline.insert({ kind: "message", epoch: "e", id: 1, userId: 2, text: "" });
  const calls = [];
  const shell = new Shell(model, new Settings({}), "Our chat", { reconnect: () => calls.push("reconnect"), again: () => calls.push("again"), close: () => {}, unblock: () => calls.push("unblock") });
  shell.update();
  assert.equal(document.title, "(1) #lobby · Our chat");
  assert.equal($("title").textContent, "#lobby");
  model.status = { phase: "away", retryAt: 0 };
  shell.update();
  $("banner-button").click();
  room.refuse("Out.");
  shell.update();
  $("notice-button").click();
  assert.ok($("people-toggle").hidden, "who is out sees no people");
  assert.deepEqual(calls, ["reconnect", "again"]);
  model.currentKey = model.direct(2, "bob").key;
  model.blocked.add(2);
  shell.update();
  assert.equal($("notice-text").textContent, W.youBlock("bob"));
  $("notice-button").click();
  assert.equal(calls.pop(), "unblock");
  shell.report("Well?", "Yes", () => calls.push("yes"));
  $("toast-act").click();
  assert.equal(calls.at(-1), "yes");
});

test("names that cannot be are told so", () => {
  assert.equal(problemOf("  "), W.emptyName);
  assert.equal(problemOf("x".repeat(65)), W.longName(64));
  assert.equal(problemOf("😀".repeat(64)), "");
  const entered = [];
  const signIn = new SignIn(new Model(), { enter: (name) => entered.push(name) });
  signIn.welcome("", "garden");
  assert.match($("welcome-text").textContent, /#garden/);
  const submit = () => $("welcome-form").dispatchEvent(new Event("submit", { cancelable: true }));
  input($("nickname"), " ");
  submit();
  assert.equal($("welcome-problem").textContent, W.emptyName);
  input($("nickname"), " ann ");
  submit();
  assert.deepEqual(entered, ["ann"]);
  assert.equal(signIn.done(), true);
});

test("a profile offers what can be done", async () => {
  let wrote = false;
  const closed = showProfile({ id: 2, nickname: "bob", about: "hi", rooms: ["lobby"], self: false }, [{ label: "Write", testid: "w", act: () => (wrote = true) }]);
  found("w").click();
  await closed;
  await tick();
  assert.equal(wrote, true);
  askSanction("Ban", { timed: true, name: "bob" }, async () => {
    throw Object.assign(new Error(), { code: 103, reason: "not you" });
  });
  $("dialog").querySelector("form").dispatchEvent(new Event("submit", { cancelable: true }));
  await tick();
  assert.match(found("dialog-problem").textContent, /not you/);
  $("dialog").close();
});

test("preferences are saved, and the page is dressed", async () => {
  const settings = new Settings({});
  showTheme("light");
  const closed = askPreferences(settings, { possible: false, denied: false }, { touch: false, changed: () => {} });
  found("theme").value = "dark";
  found("theme").dispatchEvent(new Event("change"));
  assert.equal(document.documentElement.dataset.theme, "dark");
  found("enter-key").value = "break";
  $("dialog").querySelector("form").dispatchEvent(new Event("submit", { cancelable: true }));
  await closed;
  assert.deepEqual([settings.theme, settings.enter(false)], ["dark", "break"]);
  assert.equal(dress({ title: "Garden", color: "#803010", logo: "/logo.svg" }), "Garden");
  assert.equal($("brand-name").textContent, "Garden");
  assert.equal(document.querySelectorAll("img.mark").length, 2);
  assert.equal(document.documentElement.style.getPropertyValue("--brand"), "#803010");
});

test("notifications: where they are wanted, and with a sound only then", async () => {
  const notes = [];
  globalThis.Notification = window.Notification = class {
    static permission = "default";
    static requestPermission = async () => (this.permission = "granted");
    constructor(title, { body }) {
      notes.push([title, body, this]);
    }
    close() {}
  };
  window.focus = () => {};
  const opened = [];
  const settings = new Settings({});
  const notifier = new Notifier(settings, (key) => opened.push(key));
  const message = { key: "#lobby", name: "bob", where: "lobby", text: "hi" };
  notifier.tell(message);
  assert.equal(notifier.toBeOffered, true);
  assert.equal(await notifier.allow(), true);
  notifier.tell(message);
  assert.deepEqual(notes.map(([title, body]) => [title, body]), [["bob in #lobby", "hi"]]);
  notes[0][2].onclick();
  assert.deepEqual(opened, ["#lobby"]);
  assert.equal(notifier.toBeOffered, false);
});

test("a screen reader hears each message once, and of many how many", async () => {
  const announcer = new Announcer();
  announcer.message("bob", "hi");
  await tick(350);
  assert.equal($("announcer").textContent, "bob: hi");
  for (let number = 0; number < 9; number += 1) {
    announcer.message("bob", String(number));
  }
  await tick(350);
  assert.match($("announcer").lastChild.textContent, /9 new/);
});

test("drawers open and close", () => {
  const drawers = new Drawers();
  $("menu").click();
  assert.equal(drawers.isOpen, true);
  drawers.close();
  assert.deepEqual([drawers.isOpen, document.activeElement.id], [false, "menu"]);
});

test("the log shows the open conversation, and what stands above it", () => {
  const { model, room } = lobby();
  room.take({ type: "message", id: 1, userId: 2, from: "bob", message: "hello", unixTime: 1 }, 1);
  room.first = 1;
  const log = new Log(model, { older: () => {}, newer: () => {}, newest: () => {}, unread: () => {} }, { changed: () => {} });
  log.open(room);
  log.update();
  assert.match($("messages").textContent, /hello/);
  assert.match($("start").textContent, new RegExp(W.roomBegins.slice(0, 20)));
  assert.equal(log.read(), true);
  log.updateButtons();
  assert.equal($("jump").hidden, true);
  assert.equal(log.goTo("e:1"), true);
  assert.equal(log.goTo("e:9"), false);
});

for (const [missed, how] of [[5, "its newest events"], [300, "a stretch of it"]]) {
  test(`an event that comes before a room's history, ${how}, leaves what came before it new`, async () => {
    const { model, room } = lobby();
    const said = (id) => ({ type: "message", id, userId: 2, from: "bob", message: `text ${id}`, unixTime: id });
    const all = Array.from({ length: missed + 1 }, (_, at) => said(at + 1));
    Object.assign(room, { loaded: false, last: all.length, older: "unknown" });
    room.timeline.read = { epoch: "e", id: 1 };
    room.source = { request: async (type, { since, limit }) => ({ events: since ? all.slice(0, limit) : all.slice(-limit) }) };
    const loader = new Loader(model, { attempt: (promise) => promise, changed: () => {} });
    const log = new Log(model, { older: () => {}, newer: () => {}, newest: () => {}, unread: () => {} }, { changed: () => {} });
    const loading = loader.begin(room);
    room.last += 1;
    room.take({ type: "join", id: room.last, userId: 1, from: "ann", unixTime: room.last }, 1);
    log.open(room);
    log.update();
    assert.equal(log.read(), false);
    assert.equal(room.timeline.read.id, 1);
    await loading;
    log.update();
    assert.equal(found("new", $("messages"))?.nextSibling.dataset.key, "e:2");
    assert.equal(room.timeline.newCount, missed);
    assert.equal(log.read(), true);
  });
}
