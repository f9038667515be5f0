/** Shows the lists beside the conversation: rooms, other rooms, private conversations, and who is here. */

import { badge } from "../text/phrases.js";
import { W } from "../text/words.js";
import { $, Keyed, avatar, h, icon, named, roving, setText } from "./dom.js";

const LONGEST = 128; // characters of a room's name

export class Lists {
  #model;
  #settings;
  #first;
  #lists;
  #refresh;
  #peopleShown = null;

  /** `first` are names of rooms. What a person chose is carried out by `choose(key)`, `join(name)`, `profile(user)`. */
  constructor(model, settings, first, navigation, profile) {
    this.#model = model;
    this.#settings = settings;
    this.#first = first;
    const list = (id, create) => new Keyed($(id), create);
    const open = (key) => navigation.choose(key);
    this.#lists = {
      rooms: list("rooms", (row) => conversationItem(row, open)),
      directs: list("directs", (row) => conversationItem(row, open)),
      more: list("more-rooms", (row) => conversationItem(row, (name) => navigation.join(name))),
      people: list("people-list", (row) => person(row, profile)),
    };
    const refreshers = [roving($("lists"), ".nav-item"), roving($("people-list"), ".nav-item")];
    this.#refresh = () => refreshers.forEach((refresh) => refresh());
    $("room-name").addEventListener("input", () => this.update());
  }

  update() {
    const { rooms, directs, listed, current } = this.#model;
    const { muted } = this.#settings;
    const counts = new Map(listed.map((room) => [room.name, room.people]));
    const wanted = $("room-name").value.trim().replace(/^#+/, "").normalize().toLocaleLowerCase();
    const fits = (name) => name.toLocaleLowerCase().includes(wanted);
    const row = ({ key, kind, title, timeline, ended = false }, count) => {
      const { messages, mentions } = timeline.unread;
      const quiet = muted.has(key);
      return { key, kind, title, ended, count, unread: messages, mentions, muted: quiet, current: key === current?.key };
    };
    const order = (name) => (this.#first.includes(name) ? this.#first.indexOf(name) : Infinity);
    const urgency = ({ unread, mentions, muted: quiet }) => (mentions ? 2 : unread && !quiet ? 1 : 0);
    const joined = [...rooms.values()]
      .filter(({ name }) => fits(name))
      .map((room) => row(room, room.peopleKnown ? room.people.size : counts.get(room.name)))
      .sort((a, b) => urgency(b) - urgency(a) || order(a.title) - order(b.title) || a.title.localeCompare(b.title));
    this.#lists.rooms.update(joined);
    const shown = [...directs.values()].filter((direct) => fits(direct.title) && (!direct.hidden || direct === current));
    this.#lists.directs.update(shown.map((direct) => row(direct)));
    const others = listed
      .filter(({ name }) => !rooms.has(name) && fits(name))
      .sort((a, b) => order(a.name) - order(b.name) || b.people - a.people || a.name.localeCompare(b.name));
    this.#lists.more.update(others.map(({ name, people }) => ({ key: name, kind: "other-room", title: name, count: people })));
    $("more-section").hidden = others.length === 0;
    $("more-listed").hidden = !this.#model.moreListed;
    $("directs-empty").hidden = shown.length > 0;
    setText($("room-hint"), hint($("room-name").value.trim().replace(/^#+/, ""), [...rooms.keys(), ...counts.keys()]));
    this.#updatePeople();
    this.#refresh();
  }

  /** A room may have a thousand people: they are listed anew only where they have changed. */
  #updatePeople() {
    const { current, me } = this.#model;
    const room = current?.kind === "room" ? current : null;
    const shown = `${room?.key} ${room?.moves} ${room?.peopleKnown} ${room?.people.size} ${me.user} ${me.nickname}`;
    if (shown === this.#peopleShown?.sign && room?.people === this.#peopleShown.people) {
      return;
    }
    this.#peopleShown = { sign: shown, people: room?.people };
    this.#lists.people.update(room ? peopleRows(room, me) : []);
    setText($("people-count"), room?.peopleKnown ? String(room.people.size) : "");
  }
}

/** What Enter would do with a name that is typed. */
function hint(name, known) {
  if ([...name].length > LONGEST) {
    return W.longRoom(LONGEST);
  }
  return name ? (known.includes(name.normalize()) ? W.openRoom : W.createRoom)(name) : "";
}

function conversationItem({ key, kind, title, ended, count, unread, mentions, muted, current }, open) {
  const state = [
    mentions ? W.mentions(mentions) : "",
    unread ? W.unread(unread) : "",
    count === undefined ? "" : W.people(count),
    muted ? W.muted : "",
    ended ? W.ended : "",
    kind === "other-room" ? W.join : "",
  ]
    .filter(Boolean)
    .join(", ");
  const marked = unread && (!muted || mentions);
  return h(
    "li",
    {},
    h(
      "button",
      {
        class: `nav-item${marked ? " unread" : ""}${ended ? " ended" : ""}`,
        title,
        "data-testid": kind,
        "data-name": title,
        "aria-current": current ? "true" : null,
        onclick: () => open(key),
      },
      kind === "direct" ? avatar(title) : h("span", { class: "hash", "aria-hidden": "true" }, "#"),
      named(title, { class: "name" }),
      muted ? icon("mute") : null,
      mentions
        ? h("span", { class: "badge mentions", "data-testid": "mentions", "aria-hidden": "true" }, `@${badge(mentions)}`)
        : null,
      unread && !(mentions === unread)
        ? h("span", { class: muted ? "count" : "badge", "data-testid": "unread", "aria-hidden": "true" }, badge(unread))
        : null,
      !unread && count ? h("span", { class: "count", "aria-hidden": "true" }, String(count)) : null,
      state ? h("span", { class: "hidden" }, `, ${state}`) : null,
    ),
  );
}

/** Oneself first, then by name; people of one name are told apart by their number. */
function peopleRows({ people: present }, me) {
  const everybody = [...present.values()];
  const times = new Map();
  everybody.forEach(({ nickname }) => times.set(nickname, (times.get(nickname) ?? 0) + 1));
  const compare = new Intl.Collator().compare;
  return everybody
    .sort(
      (a, b) => (b.id === me.user) - (a.id === me.user) || compare(a.nickname, b.nickname) || (a.id < b.id ? -1 : 1),
    )
    .map(({ id, nickname, sessions }) => ({
      key: id,
      id,
      nickname,
      sessions,
      self: id === me.user,
      twin: times.get(nickname) > 1,
    }));
}

function person({ id, nickname, sessions, self, twin }, profile) {
  const remark = [self ? W.you : "", twin ? W.number(id) : "", sessions > 1 ? W.devices(sessions) : ""]
    .filter(Boolean)
    .join(", ");
  const attributes = {
    class: "nav-item person",
    title: nickname,
    "data-testid": "person",
    "data-name": nickname,
    "data-user": id,
    onclick: () => profile(id),
  };
  return h(
    "li",
    {},
    h(
      "button",
      attributes,
      avatar(nickname),
      named(nickname, { class: "name" }),
      remark ? h("span", { class: "count" }, remark) : null,
      h("span", { class: "hidden" }, `, ${W.openProfile}`),
    ),
  );
}
