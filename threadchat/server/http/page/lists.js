/** Shows the lists beside the conversation: rooms, other rooms, private conversations, and who is here. */

import { $, Keyed, arrowKeys, avatar, h, named, setText } from "./dom.js";
import { badge, people } from "./words.js";

export class Lists {
  #model;
  #rooms;
  #more;
  #directs;
  #people;

  /** `open(key)`, `join(name)` and `write(user)` carry out what a person chose. */
  constructor(model, { open, join, write }) {
    this.#model = model;
    this.#rooms = new Keyed($("rooms"), (row) => conversationItem(row, open));
    this.#directs = new Keyed($("directs"), (row) => conversationItem(row, open));
    this.#more = new Keyed($("more-rooms"), (row) => otherRoom(row, join));
    this.#people = new Keyed($("people-list"), (row) => person(row, write));
    arrowKeys($("lists"));
    arrowKeys($("people-list"));
  }

  update() {
    const { rooms, directs, listed, current, me } = this.#model;
    const counts = new Map(listed.map((room) => [room.name, room.people]));
    const row = ({ key, kind, title, timeline, ended = false }, count) => {
      const isCurrent = key === current?.key;
      return { key, kind, title, ended, count, unread: timeline.unread, current: isCurrent };
    };
    const joined = [...rooms.values()].map((room) =>
      row(room, room.peopleKnown ? room.people.size : counts.get(room.name)),
    );
    this.#rooms.update(joined.sort((a, b) => a.title.localeCompare(b.title)));
    this.#directs.update([...directs.values()].map((direct) => row(direct)));
    const others = listed
      .filter(({ name }) => !rooms.has(name))
      .sort((a, b) => b.people - a.people || a.name.localeCompare(b.name));
    this.#more.update(others.map((room) => ({ key: room.name, name: room.name, count: room.people })));
    $("more-section").hidden = others.length === 0;
    $("more-listed").hidden = !this.#model.moreListed;
    $("directs-empty").hidden = directs.size > 0;
    this.#people.update(current?.kind === "room" ? peopleRows(current, me) : []);
    const inRoom = current?.kind === "room" && current.peopleKnown;
    setText($("people-count"), inRoom ? String(current.people.size) : "");
  }
}

function conversationItem({ key, kind, title, ended, count, unread, current }, open) {
  const state = [
    unread ? `${unread} unread` : "",
    count === undefined ? "" : people(count),
    ended ? "ended" : "",
  ]
    .filter(Boolean)
    .join(", ");
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        class: `nav-item${unread ? " unread" : ""}${ended ? " ended" : ""}`,
        title,
        "data-testid": kind,
        "data-name": title,
        "aria-current": current ? "true" : null,
        onclick: () => open(key),
      },
      kind === "room" ? h("span", { class: "hash", "aria-hidden": "true" }, "#") : avatar(title),
      named(title, { class: "name" }),
      unread
        ? h("span", { class: "badge", "data-testid": "unread", "aria-hidden": "true" }, badge(unread))
        : null,
      !unread && count ? h("span", { class: "count", "aria-hidden": "true" }, String(count)) : null,
      state ? h("span", { class: "hidden" }, `, ${state}`) : null,
    ),
  );
}

function otherRoom({ name, count }, join) {
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        class: "nav-item other",
        title: name,
        "data-testid": "other-room",
        "data-name": name,
        onclick: () => join(name),
      },
      h("span", { class: "hash", "aria-hidden": "true" }, "#"),
      named(name, { class: "name" }),
      h("span", { class: "count", "aria-hidden": "true" }, String(count)),
      h("span", { class: "hidden" }, `, ${people(count)}, join`),
    ),
  );
}

/** Oneself first, then by name; people of one name are told apart by their number. */
function peopleRows({ people: present }, me) {
  const everybody = [...present.values()];
  const names = everybody.map(({ nickname }) => nickname);
  return everybody
    .sort(
      (a, b) =>
        (b.id === me.user) - (a.id === me.user) || a.nickname.localeCompare(b.nickname) || (a.id < b.id ? -1 : 1),
    )
    .map(({ id, nickname, sessions }) => ({
      key: id,
      id,
      nickname,
      sessions,
      self: id === me.user,
      twin: names.indexOf(nickname) !== names.lastIndexOf(nickname),
    }));
}

function person({ id, nickname, sessions, self, twin }, write) {
  const remark = [self ? "you" : "", twin ? `no. ${id}` : "", sessions > 1 ? `${sessions} devices` : ""]
    .filter(Boolean)
    .join(", ");
  const inside = [
    avatar(nickname),
    named(nickname, { class: "name" }),
    remark ? h("span", { class: "count" }, remark) : null,
    self ? null : h("span", { class: "hidden" }, ", write privately"),
  ];
  const attributes = {
    class: "nav-item person",
    title: nickname,
    "data-testid": "person",
    "data-name": nickname,
    "data-user": id,
  };
  return h(
    "li",
    {},
    self
      ? h("div", attributes, ...inside)
      : h("button", { ...attributes, type: "button", onclick: () => write(id) }, ...inside),
  );
}
