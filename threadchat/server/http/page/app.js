/** Starts the page: joins model, server and views, and carries out what a person chooses. */

import { Actions } from "./actions.js";
import { addressOf, addressed, nicknameIn, takeToken } from "./address.js";
import { Chat } from "./chat.js";
import { Model } from "./model.js";
import { Settings, pageConfig } from "./settings.js";
import {
  forgetMe,
  pack,
  rememberNickname,
  rememberSession,
  rememberVisit,
  rememberedNickname,
  rememberedSession,
  unpack,
} from "./storage.js";
import { W } from "./text/words.js";
import { Composer, composing } from "./view/composer.js";
import { $, guardFocus } from "./view/dom.js";
import { Drawers } from "./view/drawers.js";
import { Lists } from "./view/lists.js";
import { Log } from "./view/log.js";
import { Announcer, Notifier } from "./view/notify.js";
import { Popup } from "./view/overlays.js";
import { askPreferences, dress, showTheme } from "./view/preferences.js";
import { Screen } from "./view/screen.js";
import { Shell } from "./view/shell.js";
import { SignIn } from "./view/signin.js";
import { Tools } from "./view/tools.js";

const ROOMS_EVERY = 20_000; // ms between two looks at the list of rooms, while the page is in sight
const SAVE_AFTER = 500; // ms from a change to its being stored

const address = new URL("chat", document.baseURI);
address.protocol = address.protocol.replace("http", "ws");
address.hash = address.search = "";

const { token, fresh } = takeToken();
const touch = matchMedia("(pointer: coarse)");
const config = pageConfig();
const page = dress(config);
const settings = new Settings();
showTheme(settings.theme);
const model = new Model();
const screen = new Screen(draw);
const chat = new Chat(model, address.href, token, { report: (text) => shell.report(text), changed, heard });
const announcer = new Announcer();
const popup = new Popup();
const notifier = new Notifier(settings, (key) => choose(key));
const drawers = new Drawers();
const shell = new Shell(model, settings, page, {
  reconnect: () => chat.connect(),
  again: (room) => chat.enter(room),
  close,
});
const signIn = new SignIn(model, { enter });
const actions = new Actions(model, chat, settings, {
  reply: (item) => composer.reply(item),
  edit: (item) => composer.edit(item),
  choose,
  close,
  report: (text) => shell.report(text),
  changed,
});
const composer = new Composer(model, {
  send: (conversation, text, options) => {
    log.toEnd();
    chat.outbox.write(conversation, text, options);
  },
  edit: (conversation, row, text) => actions.edit(conversation, row, text),
  editLast: () => actions.editLast(),
  names: () => mentionable(),
  enterSends: () => settings.enter(touch.matches) === "send",
  typing: (conversation) => conversation.kind === "room" && chat.rooms.typing(conversation),
  stopped: () => chat.rooms.stoppedTyping(),
});
const lists = new Lists(model, settings, config.rooms, {
  open: choose,
  join: joinRoom,
  profile: (user) => actions.profile(user),
});
const log = new Log(model, {
  older: (room) => chat.rooms.loader.older(room),
  newer: (room) => chat.rooms.loader.newer(room),
  newest: (room) => chat.rooms.loader.newest(room),
  unread: (room) => room.kind === "room" && chat.rooms.loader.unread(room),
  changed,
  profile: (user, name) => actions.profile(user, name),
  goTo: ({ key, id }) => (key && log.goTo(key)) || find(model.current, id),
  react: (key, emoji) => actions.react(key, emoji),
  retry: (key) => withMessage(key, (conversation, message) => chat.outbox.retry(conversation, message)),
  discard: (key) => withMessage(key, ({ timeline }, message) => timeline.discard(message)),
});
new Tools(popup, actions);
const keepFocus = guardFocus(() => focusConversation());

// --- the screen follows the model ---

let saving = 0;

function changed() {
  screen.ask();
  saving ||= setTimeout(save, SAVE_AFTER);
}

function draw() {
  const { current, status } = model;
  if (status.phase === "unwelcome") {
    signIn.welcome(model.me.nickname, null, status.problem);
    return;
  }
  if (status.phase === "starting") {
    return;
  }
  const arrived = signIn.done();
  log.open(current);
  model.rooms.forEach((room) => room.trim(room === current && !log.atEnd));
  log.update();
  if (current && !document.hidden && log.read()) {
    chat.rooms.tellRead(current);
  }
  log.updateButtons();
  signIn.update();
  lists.update();
  composer.update();
  shell.update();
  if (current?.kind === "room") {
    chat.rooms.askModerated(current);
  }
  if (arrived) {
    focusConversation();
  }
  keepFocus();
}

function save() {
  clearTimeout(saving);
  saving = 0;
  if (model.me.user) {
    rememberSession(pack(model));
    document.hidden || rememberVisit(Math.floor(Date.now() / 1000));
  }
}

/** A message has just been said: a screen reader reads it, and whoever looks elsewhere is told. */
function heard(conversation, { userId, name, text, mine, mention }) {
  if (model.blocked.has(userId)) {
    return;
  }
  const inSight = conversation === model.current && !document.hidden;
  if (inSight) {
    announcer.message(mine ? W.You : name, text);
  }
  if (mention && !mine && !(inSight && document.hasFocus()) && !settings.muted.has(conversation.key)) {
    const where = conversation.kind === "room" ? conversation.name : "";
    notifier.tell({ key: conversation.key, name, where, text });
    if (notifier.toBeOffered) {
      settings.change({ asked: true });
      shell.report(W.offerNotifications, W.allow, () => notifier.allow());
    }
  }
}

function mentionable() {
  const { current, me } = model;
  if (current?.kind !== "room") {
    return [];
  }
  const names = [...current.people.values()].filter(({ id }) => id !== me.user).map(({ nickname }) => nickname);
  return current.moderated ? [...names, "room"] : names;
}

// --- what a person chooses ---

function enter(nickname) {
  model.me.nickname = nickname;
  rememberNickname(nickname);
  begin();
}

/** The address may name a room; otherwise one goes on where one was. */
function begin() {
  const asked = addressed(location.hash);
  const wanted = asked?.room || (asked && model.directs.has(asked.key)) ? asked : null;
  if (wanted?.room || !model.rooms.size) {
    model.room(wanted?.room ?? config.rooms[0] ?? "lobby");
  }
  const key = wanted?.key ?? (model.current ? model.currentKey : model.conversations[0].key);
  show(key, { replace: true });
  chat.connect();
  if (wanted?.event) {
    find(model.current, wanted.event);
  }
}

async function rename(nickname) {
  await chat.rename(nickname);
  rememberNickname(nickname);
}

async function signOut() {
  await chat.signOut();
  clearTimeout(saving);
  window.removeEventListener("pagehide", save);
  forgetMe();
  location.replace(location.pathname);
}

/** Opens a conversation that there is; what came in it meanwhile is set off by a line. */
function show(key, { replace = false } = {}) {
  model.currentKey = key;
  model.current?.timeline.attend();
  model.current?.kind === "room" && chat.rooms.loader.unread(model.current);
  const hash = key ? addressOf(key) : "";
  if (location.hash !== hash) {
    history[replace ? "replaceState" : "pushState"]({ key }, "", hash || location.pathname);
  } else {
    history.replaceState({ key }, "");
  }
  changed();
}

function choose(key) {
  drawers.close({ focus: false });
  show(key);
  draw();
  focusConversation();
}

/** On a touch screen, focus in the message box would raise the keyboard over what one wants to read. */
function focusConversation() {
  if ($("app").hidden) {
    $("nickname").focus();
  } else if (touch.matches || $("composer").hidden) {
    $("log").focus({ preventScroll: true });
  } else {
    composer.focus();
  }
}

function joinRoom(name) {
  const known = model.rooms.has(name);
  const room = model.room(name);
  if (!known) {
    chat.enter(room).then(() => chat.rooms.list());
  }
  choose(room.key);
}

/** Goes to a message of a room, which may have to be loaded. */
async function find(room, event) {
  await chat.rooms.loader.around(room, event);
  if (room === model.current) {
    log.atEnd = false;
    draw();
    log.goTo(`${room.epoch}:${event}`);
  }
}

function close(conversation) {
  if (conversation.kind === "direct") {
    conversation.hidden = true; // it stays what it is, and comes back with the next message
    conversation.ended && model.directs.delete(conversation.key);
  } else {
    chat.rooms.leave(conversation);
  }
  const other = model.conversations.find((one) => one !== conversation && !one.hidden);
  show(other?.key ?? null, { replace: true });
  draw();
  focusConversation();
}

function withMessage(key, act) {
  const message = model.current.timeline.pending.find((pending) => pending.key === key);
  if (message) {
    act(model.current, message);
  }
  composer.focus();
  changed();
}

// --- the page's own events ---

/** The address changed: by a link, by hand, or by going back, which never joins a room that was left. */
function follow({ state }) {
  if (location.hash.startsWith("#token=")) {
    location.reload(); // no room: somebody followed a link with a token into this tab
    return;
  }
  const asked = addressed(location.hash);
  if (!asked || model.status.phase === "starting" || model.status.phase === "unwelcome") {
    return;
  }
  if (model.find(asked.key)) {
    asked.key === model.currentKey || choose(asked.key);
  } else if (asked.room && !state) {
    joinRoom(asked.room);
  } else if (model.currentKey) {
    show(model.currentKey, { replace: true });
  }
  if (asked.event && asked.key === model.currentKey) {
    find(model.current, asked.event);
  }
}

function step(by) {
  const keys = [...document.querySelectorAll("#rooms button, #directs button")];
  const place = keys.findIndex((button) => button.hasAttribute("aria-current"));
  keys[(place + by + keys.length) % keys.length]?.click();
}

$("me").addEventListener("click", ({ currentTarget }) => {
  const preferences = { touch: touch.matches, changed: () => (composer.showKeys(), changed()) };
  popup.open(
    currentTarget,
    [
      { label: W.rename, testid: "menu-rename", act: () => signIn.askRename(rename) },
      { label: W.settings, testid: "menu-settings", act: () => askPreferences(settings, notifier, preferences) },
      { label: W.signOut, testid: "menu-sign-out", act: signOut },
    ],
    W.youAre(model.me.nickname),
  );
});
$("about").addEventListener("click", ({ currentTarget }) => popup.open(currentTarget, actions.about(), W.roomMenu));
$("leave").addEventListener("click", () => close(model.current));
$("skip").addEventListener("click", () => composer.focus());
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim().replace(/^#+/, "").normalize();
  if (name && [...name].length <= 128) {
    $("room-name").value = "";
    joinRoom(name);
  }
});
document.addEventListener("keydown", (event) => {
  if (composing(event) || $("dialog").open || popup.isOpen) {
    return;
  }
  if (event.key === "Escape" && drawers.isOpen) {
    drawers.close();
  } else if (event.key === "Escape" && !$("app").hidden) {
    composer.focus();
  } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    step(event.key === "ArrowUp" ? -1 : 1);
  }
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && model.current) {
    model.current.timeline.attend();
    log.atEnd && log.land();
    model.current.kind === "room" && chat.rooms.loader.unread(model.current);
    draw();
  }
});
window.addEventListener("popstate", follow);
window.addEventListener("pagehide", save);
setInterval(() => {
  if (!document.hidden && model.status.phase === "online") {
    chat.rooms.list();
  }
}, ROOMS_EVERY);

const session = fresh ? null : rememberedSession(); // whoever brings a token may be somebody else
const given = token && nicknameIn(token);
if (session) {
  unpack(session, model);
  begin();
} else if (given) {
  enter(given);
} else {
  signIn.welcome(rememberedNickname(), addressed(location.hash)?.room);
}
