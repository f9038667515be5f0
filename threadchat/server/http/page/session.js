/** Packs what a tab has to know after a reload, and unpacks it into a model. */

import { Direct, Room } from "./model.js";

const KEPT_DIRECT = 200; // messages kept of each private conversation

/** What is still on its way, the client keeps; what failed, the person decides about. */
const packTimeline = ({ pending, read }) => ({
  pending: pending.filter(({ state }) => state === "failed"),
  read,
});

/** A plain object for `unpack`; rooms go without their messages, which the server has. */
export function pack(model) {
  return {
    me: model.me,
    current: model.currentKey,
    rooms: [...model.rooms.values()].map(({ name, draft, timeline }) => ({
      name,
      draft,
      ...packTimeline(timeline),
    })),
    directs: [...model.directs.values()].map(({ id, nickname, key, ended, draft, timeline }) => ({
      id,
      nickname,
      key,
      ended,
      draft,
      items: timeline.items.slice(-KEPT_DIRECT),
      ...packTimeline(timeline),
    })),
  };
}

export function unpack(session, model) {
  model.me = session.me;
  model.currentKey = session.current;
  for (const { name, draft, pending, read } of session.rooms) {
    const room = new Room(name);
    room.draft = draft;
    restore(room.timeline, pending, read);
    model.rooms.set(name, room);
  }
  for (const { id, nickname, key, ended, draft, items, pending } of session.directs) {
    const direct = new Direct(id, nickname, key);
    Object.assign(direct, { ended, draft });
    for (const item of items) {
      direct.add(item);
    }
    // The ids are counted anew, what was read is known by each item.
    direct.timeline.items.forEach((item, index) => (item.unread = items[index].unread));
    restore(direct.timeline, pending, null);
    model.directs.set(key, direct);
  }
}

function restore(timeline, pending, read) {
  timeline.pending = pending;
  timeline.read = read;
}
