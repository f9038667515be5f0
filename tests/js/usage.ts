/** Never run: what the types have to accept, and what not. */

import { ChatError, connect } from "../../threadchat/server/browser/threadchat.js";
import type { Message, Sent, State } from "../../threadchat/server/browser/threadchat.js";

interface Order {
  id: number;
  total: string;
}

export async function use(): Promise<void> {
  const chat = connect("/chat", {
    token: async () => "token",
    nickname: "ann",
    timeout: 5_000,
    queue: 50,
    storage: null,
  });
  connect(new URL("https://example.org/chat"));

  const off: () => void = chat.room("orders").on<Order>("order.created", (data, event) => {
    const total: string = data.total + event.name;
    console.log(total);
  });
  off();
  chat
    .room("lobby", { names: ["a"], users: [7, "7"] })
    .on("message", (message: Message) => console.log(message.from));
  chat.room("lobby").on("gap", ({ before, after }) => console.log(before.offset, after.epoch));
  chat.inbox.on("direct", ({ from, message }) => console.log(from, message));
  chat.inbox.on("notice", (data) => console.log(data.text));
  chat.on("state", (state: State) => console.log(state.phase === "away" && state.retryIn));

  const { left } = await chat.call<{ left: number }>("order.cancel", { id: 17 });
  const sent: Sent = await chat.room("lobby").message("hi");
  await chat.direct("3f2b", "psst", { key: "k" });
  await chat.block("3f2b");
  await chat.unblock(7);
  const blocked: (number | string)[] = await chat.blocked();
  console.log(blocked.length);
  await chat.logout();
  await chat.room("lobby").request("history", { limit: 50 }, { retry: true });
  const lobby = chat.room("lobby");
  await lobby.message("hi", { reply_to: sent.offset, epoch: sent.epoch ?? undefined });
  const { offset }: { offset: number | null } = await lobby.edit(17, "ho");
  await lobby.react(17, "👍", { epoch: "e" });
  await lobby.unreact(17, "👍");
  await lobby.remove(17);
  await lobby.read(17);
  lobby.on("edit", ({ target, message }) => console.log(target + 1, message, offset));
  lobby.on("react", ({ emoji, userId }) => console.log(emoji, userId));
  lobby.on("rename", ({ was, from }) => console.log(was + from));
  lobby.on("message", ({ reactions, mentions, everybody, edited, reply_to }) => {
    console.log(reactions?.["👍"]?.length, mentions?.includes(7), everybody, edited, reply_to);
  });
  console.log(chat.unread["lobby"]?.mentions);
  console.log(left + sent.offset);
  try {
    await chat.call("x", undefined, { timeout: 1 });
  } catch (error) {
    if (error instanceof ChatError && (error.code === 103 || error.code === "timeout")) {
      console.log(error.reason, error.temporary);
    }
  }

  // @ts-expect-error a room has a name
  chat.room();
  // @ts-expect-error text, and not an object
  chat.room("lobby").message({ text: "hi" });
  // @ts-expect-error it is read only
  ((chat.state.phase = "online"), (chat.state = { phase: "online" }));
  // @ts-expect-error there is no such phase
  console.log(chat.state.phase === "offline");
  // @ts-expect-error there is no such event of a chat
  chat.on("message", () => {});
  // @ts-expect-error only the application emits
  chat.emit("orders", "order.created", {});
}
