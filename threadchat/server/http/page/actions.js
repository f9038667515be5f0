/** What a person can do with a message, a room, a private conversation, or another person: menus and deeds. */

import { W } from "./text/words.js";
import { ask } from "./view/overlays.js";
import { askBlock, askSanction, showProfile } from "./view/dialogs.js";

export class Actions {
  #model;
  #chat;
  #settings;
  #navigation;
  #handlers;

  /** `handlers`: reply(item), edit(item), report(text), changed(). */
  constructor(model, chat, settings, navigation, handlers) {
    this.#model = model;
    this.#chat = chat;
    this.#settings = settings;
    this.#navigation = navigation;
    this.#handlers = handlers;
  }

  get #room() {
    const { current } = this.#model;
    return current?.kind === "room" ? current : null;
  }

  /** A message of the open conversation that the server has. */
  #item(key) {
    return this.#model.current?.timeline.items.find((item) => item.key === key && item.kind === "message");
  }

  /** Whether one may "reply" or "react" to a message: in a room that one is in, and that still has it. */
  may(key) {
    const item = this.#item(key);
    return Boolean(item && this.#room && !item.deleted && item.epoch === this.#room.epoch);
  }

  reply(key) {
    this.#handlers.reply(this.#item(key));
  }

  react(key, emoji) {
    const item = this.#item(key);
    if (item && this.may(key)) {
      const users = new Map(item.reactions).get(emoji) ?? [];
      const how = users.includes(this.#model.me.user) ? "unreact" : "react";
      this.#chat.alter(this.#room, how, item, emoji);
    }
  }

  edit(conversation, { id, epoch }, text) {
    this.#chat.alter(conversation, "edit", { id, epoch }, text);
  }

  /** Begins to edit the last message of one's own. False where there is none. */
  editLast() {
    const items = this.#room?.timeline.items ?? [];
    const item = items.findLast(({ kind, mine, deleted }) => kind === "message" && mine && !deleted);
    if (!item || item.epoch !== this.#room.epoch) {
      return false;
    }
    this.#handlers.edit(item);
    return true;
  }

  /** A message's menu; `pick()` offers the emoji. */
  entries(key, pick) {
    const item = this.#item(key);
    if (!item || item.deleted) {
      return [];
    }
    const may = this.may(key);
    const moderator = may && this.#room.moderated === true;
    const own = may && item.mine;
    return [
      may && { label: W.reply, icon: "reply", testid: "menu-reply", act: () => this.reply(key) },
      may && { label: W.react, icon: "react", testid: "menu-react", act: pick },
      own && { label: W.edit, icon: "edit", testid: "menu-edit", act: () => this.#handlers.edit(item) },
      { label: W.copyText, testid: "menu-copy", act: () => this.#copy(item.text) },
      may && { label: W.copyLink, testid: "menu-link", act: () => this.#copy(this.linkTo(this.#room, item.id)) },
      !item.mine && { label: W.profile, testid: "menu-profile", act: () => this.profile(item.userId, item.name) },
      !item.mine && this.#blocking(item.userId, item.name),
      (own || moderator) && { label: W.delete, testid: "menu-delete", danger: true, act: () => this.#delete(item) },
    ];
  }

  linkTo(room, id) {
    const { origin, pathname } = location;
    return `${origin}${pathname}#${encodeURIComponent(room.name)}${id ? `/${id}` : ""}`;
  }

  /** The menu of the open room or private conversation. */
  about() {
    const { current } = this.#model;
    const room = this.#room;
    const muted = this.#settings.muted.has(current.key);
    return [
      room && { label: W.invite, testid: "invite", act: () => this.#copy(this.linkTo(room)) },
      !room && { label: W.profile, testid: "menu-profile", act: () => this.profile(current.id, current.nickname) },
      {
        label: muted ? W.unmuteRoom : W.muteRoom,
        testid: "mute-room",
        act: () => {
          this.#settings.mute(current.key, !muted);
          this.#handlers.changed();
        },
      },
      { label: room ? W.leaveRoom : W.hideDirect, testid: "menu-leave", act: () => this.#navigation.close(current) },
      !room && !current.ended && this.#blocking(current.id, current.nickname),
      room?.moderated && { label: W.closeRoom, testid: "close-room", danger: true, act: () => this.#close(room) },
    ];
  }

  /** Shows who somebody is, with what one can do about them. */
  profile(id, name) {
    const { me, rooms } = this.#model;
    const room = this.#room;
    const shared = [...rooms.values()].filter(({ people }) => people.has(id));
    const known = shared.map(({ people }) => people.get(id));
    const nickname = known[0]?.nickname ?? name ?? this.#model.nameOf(id);
    const about = known.map((person) => person.about).find(Boolean);
    const self = id === me.user;
    const sanction = (type, title, timed) => ({
      label: title,
      danger: true,
      testid: `profile-${type}`,
      act: () =>
        askSanction(title, { timed, name: nickname }, async (fields) => {
          await this.#chat.moderate(type, { user: id, room: room.name, ...fields });
          this.#handlers.report(W.moderationDone);
        }),
    });
    const actions = [
      !self && { label: W.write, testid: "profile-write", act: () => this.write(id, nickname) },
      !self && this.#blocking(id, nickname),
      ...(!self && room?.moderated
        ? [sanction("mute", W.mute, true), sanction("kick", W.kick, false), sanction("ban", W.ban, true)]
        : []),
    ].filter(Boolean);
    const blocked = this.#model.blocked.has(id);
    showProfile({ id, nickname, about, self, blocked, rooms: shared.map((one) => one.name) }, actions);
  }

  #blocking(id, name) {
    const blocked = this.#model.blocked.has(id);
    const block = () => this.#chat.block(id, !blocked);
    const act = () => (blocked ? block() : askBlock(name, block));
    return { label: blocked ? W.unblock : W.block, testid: "block", danger: !blocked, act };
  }

  write(id, nickname) {
    this.#navigation.choose(this.#model.direct(id, nickname).key);
  }

  #delete(item) {
    const act = () => this.#chat.alter(this.#room, "remove", item);
    ask({ title: W.deleteSure, save: W.delete, danger: true, testid: "delete-sure", act });
  }

  #close(room) {
    const act = async () => void (await this.#chat.moderate("close", { room: room.name }));
    ask({ title: W.closeSure(room.name), save: W.closeRoom, danger: true, testid: "close-sure", act });
  }

  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.#handlers.report(W.copied);
    } catch {
      this.#handlers.report(W.notCopied);
    }
  }
}
