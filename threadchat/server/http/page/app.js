/** Starts the page: joins model, server and views, and carries out what a person chooses. */

import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { $ } from "./dom.js";
import { Drawers } from "./drawers.js";
import { Lists } from "./lists.js";
import { Log } from "./log.js";
import { Model } from "./model.js";
import { pack, unpack } from "./session.js";
import { Shell } from "./shell.js";
import { SignIn } from "./signin.js";
import { rememberNickname, rememberSession, rememberedNickname, rememberedSession } from "./storage.js";
import { nicknameIn, takeToken } from "./token.js";

const DEFAULT_ROOM = "lobby";
const ROOMS_EVERY = 20_000; // ms between two looks at the list of rooms, while the page is in sight
const SAVE_AFTER = 500; // ms from a change to its being stored

const address = new URL("chat", document.baseURI);
address.protocol = address.protocol.replace("http", "ws");
address.hash = address.search = "";

const { token, fresh } = takeToken();
const model = new Model();
const chat = new Chat(model, address.href, token, { report: (text) => shell.report(text), changed });
const drawers = new Drawers();
const shell = new Shell(model, { reconnect: () => chat.connect(), again: (room) => chat.enter(room), close });
const signIn = new SignIn(model, { enter, rename });
const composer = new Composer(model, {
  send: (conversation, text) => {
    log.toEnd();
    chat.outbox.write(conversation, text);
  },
  typing: (conversation) => conversation.kind === "room" && chat.rooms.typing(conversation),
  stopped: () => chat.rooms.stoppedTyping(),
});
const lists = new Lists(model, {
  open: choose,
  join: joinRoom,
  write: (user) => choose(model.direct(user, model.current.people.get(user)?.nickname).key),
});
const log = new Log(model, {
  older: (room) => chat.rooms.loadOlder(room),
  read: changed,
  retry: (key) => withMessage(key, (conversation, message) => chat.outbox.retry(conversation, message)),
  discard: (key) => withMessage(key, ({ timeline }, message) => timeline.discard(message)),
});

// --- the screen follows the model, at most once a frame ---

let drawing = false;
let saving = 0;

function changed() {
  if (!drawing) {
    drawing = true;
    // A hidden page gets no animation frames, but its title still counts what came.
    document.hidden ? setTimeout(draw, 50) : requestAnimationFrame(draw);
  }
  saving ||= setTimeout(save, SAVE_AFTER);
}

function draw() {
  drawing = false;
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
  if (current && !document.hidden && log.atEnd) {
    current.timeline.markRead();
  }
  model.rooms.forEach((room) => (room !== current || log.atEnd) && room.trim());
  signIn.update();
  lists.update();
  composer.update();
  shell.update();
  log.update();
  if (arrived) {
    focusConversation();
  }
}

function save() {
  clearTimeout(saving);
  saving = 0;
  if (model.me.user) {
    rememberSession(pack(model));
  }
}

// --- what a person chooses ---

function enter(nickname) {
  model.me.nickname = nickname;
  rememberNickname(nickname);
  begin();
}

/** The address may name a room; otherwise one goes on where one was. */
function begin() {
  const asked = addressed();
  if (asked || !model.rooms.size) {
    model.room(asked?.room ?? DEFAULT_ROOM);
  }
  show(asked?.key ?? (model.current ? model.currentKey : model.conversations[0].key), { replace: true });
  chat.connect();
}

async function rename(nickname) {
  await chat.rename(nickname);
  rememberNickname(nickname);
}

/** Opens a conversation that there is; what came in it meanwhile is set off by a line. */
function show(key, { replace = false } = {}) {
  model.currentKey = key;
  model.current?.timeline.attend();
  const hash = key ? addressOf(key) : "";
  if (location.hash !== hash) {
    history[replace ? "replaceState" : "pushState"](null, "", hash || location.pathname);
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
  matchMedia("(pointer: coarse)").matches ? $("log").focus() : composer.focus();
}

function joinRoom(name) {
  const known = model.rooms.has(name);
  const room = model.room(name);
  if (!known) {
    chat.enter(room).then(() => chat.rooms.list());
  }
  choose(room.key);
}

function close(conversation) {
  if (conversation.kind === "direct") {
    model.directs.delete(conversation.key);
  } else {
    chat.rooms.leave(conversation);
  }
  show([...model.rooms.values()][0]?.key ?? [...model.directs.keys()][0] ?? null);
  composer.focus();
}

function withMessage(key, act) {
  const message = model.current.timeline.pending.find((pending) => pending.key === key);
  if (message) {
    act(model.current, message);
  }
  composer.focus();
  changed();
}

// --- addresses: #garden is the room "garden", #@7 the private conversation with user 7, #@%22ann%22 with "ann" ---

const addressOf = (key) => {
  const encoded = encodeURIComponent(key.slice(1));
  return key.startsWith("#") ? `#${encoded}` : `#@${encoded}`;
};

/** What the address names: {key} of an open conversation, {key, room} of any room, or null. */
function addressed() {
  const text = location.hash.slice(1);
  try {
    const room = decodeURIComponent(text).trim().normalize();
    if (text.startsWith("@")) {
      return model.directs.has(room) ? { key: room } : null;
    }
    return room ? { key: `#${room}`, room } : null;
  } catch {
    return null; // a stray % names no room
  }
}

function follow() {
  if (location.hash.startsWith("#token=")) {
    location.reload(); // no room: somebody followed a link with a token into this tab
    return;
  }
  const asked = addressed();
  if (!asked || asked.key === model.currentKey || model.status.phase === "starting") {
    return;
  }
  asked.room ? joinRoom(asked.room) : choose(asked.key);
}

// --- the page's own events ---

function step(by) {
  const keys = [...document.querySelectorAll("#rooms button, #directs button")];
  const place = keys.findIndex((button) => button.hasAttribute("aria-current"));
  keys[(place + by + keys.length) % keys.length]?.click();
}

$("leave").addEventListener("click", () => close(model.current));
$("skip").addEventListener("click", () => composer.focus());
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim().replace(/^#+/, "").normalize();
  if (name) {
    $("room-name").value = "";
    joinRoom(name);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && drawers.isOpen) {
    drawers.close();
  } else if (event.key === "Escape" && !$("rename").open && !event.isComposing) {
    composer.focus();
  } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    step(event.key === "ArrowUp" ? -1 : 1);
  }
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    model.current?.timeline.attend();
    draw();
  }
});
window.addEventListener("hashchange", follow);
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
  signIn.welcome(rememberedNickname(), addressed()?.room);
}
