/** Types of threadchat.js, the browser's client of a threadchat server. */

/** An integer from 1, or text, is somebody known; an integer below 0 is always a stranger. 7 is not "7". */
export type UserId = number | string;

/** A place in a log: the events with an id above `offset` follow. It means nothing in another `epoch`. */
export interface Position {
  offset: number;
  epoch: string;
}

export interface Options {
  /** A token, or a function that fetches one; it is called before each connection. */
  token?: string | (() => string | Promise<string>);
  /** Needed to join, to write and to type, unless the application gives a name. */
  nickname?: string;
  /** Milliseconds that a command may take, the wait for a connection counted; 10,000 unless given. */
  timeout?: number;
  /** Messages, and commands too, that may wait at a time; 200 unless given. */
  queue?: number;
  /**
   * Where the tab keeps who the user is, and unsent messages, over a reload; `sessionStorage` unless given. null
   * keeps nothing. Two chats of one page with the same server need a storage each.
   */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** The WebSocket to use where the environment has none. */
  WebSocket?: new (url: string) => SocketLike;
}

export interface RequestOptions {
  timeout?: number;
  /** Tries again where the refusal was temporary: for what may be done twice. */
  retry?: boolean;
}

/** As much of a WebSocket as is used. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** What there is of a connection. It comes back by itself from "away", and never from "ended". */
export interface State {
  phase: "connecting" | "online" | "away" | "ended";
  /** Why it is away or ended: a close code (from 1000 on), or the code of the error that refused hello. */
  code?: number;
  reason?: string;
  /** Milliseconds from now to the next attempt; absent while one is under way, or none is planned. */
  retryIn?: number;
}

/** The user, as the server knows them. */
export interface Me {
  user: UserId;
  session: string;
  nickname: string;
  /** Whether the application, or a token, says who this is. */
  known: boolean;
  /** Whether it is the user of the connection before, or of before the reload. */
  same: boolean;
}

/** A number is the server's error code, or 1009 for a message that was too long. The words are the client's. */
export type ErrorCode =
  | number
  /** No reply in time. It may have been carried out. */
  | "timeout"
  /** The connection ended before the reply came. It may have been carried out. */
  | "lost"
  /** As much as may wait waits already. */
  | "full"
  /** The server has ended the connection for good, or `close` was called. */
  | "ended"
  /** Not done: the user is another one after a reconnect, or `leave` was called. */
  | "changed"
  /** Not sent from here: another tab, of which this one is a copy, sends it. */
  | "taken";

/** Why a command was not carried out, or may not have been. */
export class ChatError extends Error {
  constructor(code: ErrorCode, reason: string, temporary?: boolean);
  readonly code: ErrorCode;
  readonly reason: string;
  /** Whether the same may be tried again as it is. */
  readonly temporary: boolean;
}

/** Every frame has a `type`; threadchat/docs/protocol.md lists them, with their other fields. */
export interface Frame {
  type: string;
  chatroomId?: string;
  inbox?: true;
  /** Its place in the log; what is in no log has none. */
  id?: number;
  unixTime?: number;
  [field: string]: unknown;
}

/** Something that the application emitted; no client can. */
export interface AppEvent<Data = any> extends Frame {
  type: "event";
  name: string;
  data: Data;
}

export interface Message extends Frame {
  type: "message";
  id: number;
  userId?: UserId;
  from?: string;
  message?: string;
  /** The id of the message that this one answers, in the same room. */
  reply_to?: number;
  /** Whom the text mentions by `@nickname`. */
  mentions?: UserId[];
  /** The text says `@room`, and whoever wrote it may moderate the room. */
  everybody?: true;
  /** The id of the last `edit` event. */
  edited?: number;
  /** Who put which emoji: the count is the length, and one's own is there if one's id is. */
  reactions?: Record<string, UserId[]>;
  deleted?: true;
}

/** The message with the id `target` has another text from now on. */
export interface Edit extends Frame {
  type: "edit";
  id: number;
  target: number;
  userId?: UserId;
  from?: string;
  /** The new text; absent in an edit that is `deleted`, because another one or the deletion followed. */
  message?: string;
  mentions?: UserId[];
  everybody?: true;
  deleted?: true;
}

/** Somebody put an emoji to the message with the id `target`, or took it back. */
export interface Reaction extends Frame {
  type: "react" | "unreact";
  id: number;
  target: number;
  userId: UserId;
  from?: string;
  emoji: string;
}

/** Somebody in the room has another nickname, `from`. */
export interface Rename extends Frame {
  type: "rename";
  id: number;
  userId: UserId;
  from: string;
  was: string;
}

/** Another tab of one's own has read the room up to the event `target`. It is in no log. */
export interface Read extends Frame {
  type: "read";
  target: number;
  epoch: string;
}

/** What one has not read of a room: what follows the position, messages and mentions counted apart. */
export interface Unread extends Position {
  messages: number;
  mentions: number;
  /** There may be others, which were not counted. */
  more?: true;
}

/** Says in which log the id of a message was read: the room's present one, unless given. */
export interface InLog {
  epoch?: string;
}

export interface Changed {
  /** The id of the event that tells of it; null where nothing had to be changed. */
  offset: number | null;
}

export interface Direct extends Frame {
  type: "direct";
  from: UserId;
  to: UserId;
  nickname?: string;
  message: string;
}

/** Events between the two are missing for good: the log no longer has them (gap), or is a new one (reset). */
export interface Missed {
  before: Position;
  after: Position;
}

export interface Subscribed extends Position {
  /** Whether all that was missed follows; absent where nothing was asked for. */
  recovered?: boolean;
}

/** What a room or the inbox brings, in order and each event once. */
export interface Feed {
  /** The last event that came; null before the first subscription. */
  readonly position: Position | null;
  on(what: "gap" | "reset", listener: (missed: Missed) => void): () => void;
  /**
   * Listens to events of this name, or to frames of this type: `message`, `join`, `typing` and so on. `event`
   * brings every event that the application emits; one that is named like a type comes as `event` only. Returns
   * a function that removes the listener.
   */
  on<Data = any>(name: string, listener: (data: Data, event: AppEvent<Data>) => void): () => void;
}

export interface Inbox extends Feed {
  on(what: "direct", listener: (direct: Direct) => void): () => void;
  on(what: "gap" | "reset", listener: (missed: Missed) => void): () => void;
  on<Data = any>(name: string, listener: (data: Data, event: AppEvent<Data>) => void): () => void;
}

export interface Filter {
  types?: string[];
  users?: UserId[];
  names?: string[];
}

export interface Sent {
  /** The event's id in the room. */
  offset: number;
  /** The log that it is in, where one listens to the room. */
  epoch: string | null;
}

/** A message that the server has not confirmed yet. */
export interface Waiting {
  readonly key: string;
  readonly message: string;
  /** Milliseconds of Unix time. */
  readonly at: number;
  /** Settles as the promise of `message` or `direct` does. */
  readonly done: Promise<any>;
}

export interface Room extends Feed {
  readonly name: string;
  /** Subscribes to the room with the first listener, and unsubscribes with the last. */
  on(what: "message", listener: (message: Message) => void): () => void;
  on(what: "edit", listener: (edit: Edit) => void): () => void;
  on(what: "react" | "unreact", listener: (reaction: Reaction) => void): () => void;
  on(what: "rename", listener: (rename: Rename) => void): () => void;
  on(what: "read", listener: (read: Read) => void): () => void;
  on(what: "gap" | "reset", listener: (missed: Missed) => void): () => void;
  /** Each time that the server grants the subscription, also after a reconnect. */
  on(what: "subscribed", listener: (reply: Subscribed) => void): () => void;
  /** The server refuses it for good: no event follows until `join` or `on` is called again. */
  on(what: "refused", listener: (error: ChatError) => void): () => void;
  on<Data = any>(name: string, listener: (data: Data, event: AppEvent<Data>) => void): () => void;
  /** Becomes a member of the room, whom others see, and stays one over reconnects. */
  join(): Promise<Subscribed>;
  /** Ends the membership. Listeners stay subscribed. */
  leave(): Promise<void>;
  /**
   * Sends a message once there is a connection: in order, and once. Rejects with a ChatError: `lost` where it may
   * have arrived, `ended` where there will be no connection. `reply_to` is the id of the message that it answers.
   */
  message(text: string, options?: { key?: string; reply_to?: number } & InLog): Promise<Sent>;
  /** Gives one's own message another text, within the server's `edit_window`. */
  edit(event: number, text: string, options?: InLog): Promise<Changed>;
  /** Deletes one's own message, or as a moderator anybody's. */
  remove(event: number, options?: InLog): Promise<Changed>;
  /** Puts an emoji to a message. One's own counts once for each emoji. */
  react(event: number, emoji: string, options?: InLog): Promise<Changed>;
  /** Takes one's own emoji back. */
  unreact(event: number, emoji: string, options?: InLog): Promise<Changed>;
  /** Messages to this room that are not confirmed yet, those from before a reload among them. */
  readonly waiting: Waiting[];
  /**
   * Notes that one has read the room up to this event, and tells one's other tabs, where the room hears `read`.
   * Kept for those who are `known`; rejects with 108 for others.
   */
  read(event: number, options?: InLog): Promise<void>;
  /** Does any other command about this room: `room.request("history", { limit: 50 })`. */
  request(type: string, fields?: object, options?: RequestOptions): Promise<any>;
}

export interface Chat {
  readonly state: State;
  /** The user. Until the first hello is answered: the user before the reload, or null. */
  readonly me: Me | null;
  /**
   * What one had not read at the last hello, by room, where `read` once told a position; `rooms` has it, too.
   * Empty for those who are not `known`.
   */
  readonly unread: Record<string, Unread>;
  /** What is for this user alone. */
  readonly inbox: Inbox;
  on(what: "state", listener: (state: State) => void): () => void;
  /** After each hello. */
  on(what: "hello", listener: (me: Me) => void): () => void;
  /** The server reports an error that answers no command. */
  on(what: "error", listener: (error: ChatError) => void): () => void;
  /** The room of that name, always the same object. Only the filter of the first call counts. */
  room(name: string, filter?: Filter): Room;
  /** Calls a command of the application. Rejects with a ChatError. It is sent once at most. */
  call<Reply = any>(name: string, data?: unknown, options?: { timeout?: number }): Promise<Reply>;
  /** Sends a message to one person, as `Room.message` does to a room. */
  direct(to: UserId, text: string, options?: { key?: string }): Promise<any>;
  /** Messages to that person that are not confirmed yet. */
  waitingFor(to: UserId): Waiting[];
  /** Does any other command of the protocol, over one connection only. Resolves with the whole reply. */
  request(type: string, fields?: object, options?: RequestOptions): Promise<any>;
  /** Takes no more private messages from somebody: theirs are refused. */
  block(user: UserId): Promise<void>;
  unblock(user: UserId): Promise<void>;
  /** Whom the user blocks. */
  blocked(): Promise<UserId[]>;
  /**
   * Has the server refuse what this tab could come back with: a stranger's identity, or the token. Ends the chat and
   * forgets the user in any case; rejects with a ChatError where the server could not be told.
   */
  logout(): Promise<void>;
  /** Takes another nickname. */
  rename(nickname: string): Promise<void>;
  /** Connects now, or again after the end: with another nickname, if the server refused the first. */
  connect(nickname?: string): void;
  /** Ends the chat and forgets the user. A page need not call it when it is left. */
  close(): void;
}

/** Opens a chat. `url` is the socket's, relative to the page if you like; http(s) means ws(s). */
export function connect(url: string | URL, options?: Options): Chat;
