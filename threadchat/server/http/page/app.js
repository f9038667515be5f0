/** Starts the page: joins model, server and views, and carries out what a person chooses. */

import { Actions } from "./actions.js";
import { Chat } from "./chat.js";
import { Model } from "./model.js";
import { Navigation, addressed, nicknameIn, takeToken } from "./navigation.js";
import { Settings, pageConfig } from "./settings.js";
import { forgetMe, pack, remembered, unpack } from "./storage.js";
import { W } from "./text/words.js";
import { Composer, composing } from "./view/composer.js";
import { askPreferences, askRename } from "./view/dialogs.js";
import { $, Screen, guardFocus } from "./view/dom.js";
import { Drawers } from "./view/drawers.js";
import { Lists } from "./view/lists.js";
import { Log } from "./view/log.js";
import { Announcer, Notifier } from "./view/notify.js";
import { Popup } from "./view/overlays.js";
import { Shell, dress, showTheme } from "./view/shell.js";
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
const notifier = new Notifier(settings, (key) => navigation.choose(key));
const drawers = new Drawers();
const shell = new Shell(model, settings, page, {
  reconnect: () => chat.connect(),
  again: (room) => chat.enter(room),
  close: (direct) => navigation.close(direct),
  unblock: ({ id }) => chat.block(id, false),
});
const navigation = new Navigation(model, chat, {
  changed,
  arrived: () => {
    drawers.close({ focus: false });
    draw();
    focusConversation();
  },
  reveal: (key) => {
    log.atEnd = false;
    draw();
    log.goTo(key);
  },
});
const signIn = new SignIn(model, { enter });
const actions = new Actions(model, chat, settings, navigation, {
  reply: (item) => composer.reply(item),
  edit: (item) => composer.edit(item),
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
  names: () => model.mentionable,
  enterSends: () => settings.enter(touch.matches) === "send",
  typing: (conversation) => chat.rooms.typing(conversation),
  stopped: () => chat.rooms.stoppedTyping(),
});
const lists = new Lists(model, settings, config.rooms, navigation, (user) => actions.profile(user));
const log = new Log(model, chat.rooms.loader, {
  unfold: () => {
    model.current.unfolded = true;
    changed();
  },
  changed,
  profile: (user, name) => actions.profile(user, name),
  goTo: ({ key, id }) => (key && log.goTo(key)) || navigation.find(model.current, id),
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
    remembered.session.set(pack(model));
    document.hidden || remembered.visit.set(Math.floor(Date.now() / 1000));
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

// --- what a person chooses ---

function enter(nickname) {
  model.me.nickname = nickname;
  remembered.nickname.set(nickname);
  begin();
}

const begin = () => navigation.begin(config.rooms[0] ?? "lobby");

async function rename(nickname) {
  await chat.rename(nickname);
  remembered.nickname.set(nickname);
}

async function signOut() {
  await chat.signOut();
  clearTimeout(saving);
  window.removeEventListener("pagehide", save);
  forgetMe();
  location.replace(location.pathname);
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

function withMessage(key, act) {
  const message = model.current.timeline.pending.find((pending) => pending.key === key);
  if (message) {
    act(model.current, message);
  }
  composer.focus();
  changed();
}

// --- the page's own events ---

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
      { label: W.rename, testid: "menu-rename", act: () => askRename(model.me.nickname, rename) },
      { label: W.settings, testid: "menu-settings", act: () => askPreferences(settings, notifier, preferences) },
      { label: W.signOut, testid: "menu-sign-out", act: signOut },
    ],
    W.youAre(model.me.nickname),
  );
});
$("about").addEventListener("click", ({ currentTarget }) => popup.open(currentTarget, actions.about(), W.roomMenu));
$("leave").addEventListener("click", () => navigation.close(model.current));
$("skip").addEventListener("click", () => composer.focus());
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim().replace(/^#+/, "").normalize();
  if (name && [...name].length <= 128) {
    $("room-name").value = "";
    navigation.join(name);
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
    chat.rooms.loader.unread(model.current);
    draw();
  }
});
window.addEventListener("pagehide", save);
setInterval(() => {
  if (!document.hidden && model.status.phase === "online") {
    chat.rooms.list();
  }
}, ROOMS_EVERY);

const session = fresh ? null : remembered.session.get(); // whoever brings a token may be somebody else
const given = token && nicknameIn(token);
if (session) {
  unpack(session, model);
  begin();
} else if (given) {
  enter(given);
} else {
  signIn.welcome(remembered.nickname.get(), addressed(location.hash)?.room);
}
