/** Finds in a message's text what is written as links, code, bold, italic, quotes and lists. Makes plain data. */

const MOST = 400; // pieces that one message is divided into, and
const LOOKS = 4_000; // places in it that are looked at; the rest of it stays plain text
const DEEPEST = 3; // quotes in quotes, bold in italic
const TRIES = 20; // ends that are looked at for one beginning

const FENCE = /^ {0,3}(`{3,})([\w+#.-]*) *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^ ?(?:[-*+]|(\d{1,3})[.)]) +(?=\S)/;
const SPECIAL = /`+|\*\*?|_|@|https?:\/\/|mailto:/gi;
const ADDRESS = /(?:https?:\/\/|mailto:)[^\s<>"`\p{Cc}]{1,2048}/iuy;
const WORD = /[\p{L}\p{N}_]/u;

/** Text in which half a surrogate pair, which is no character, has become U+FFFD. */
export const mended = (text) => text.replace(/\p{Surrogate}/gu, "\ufffd");

/**
 * A list of blocks: {type: "text", inline}, {type: "code", text}, {type: "quote", blocks} or
 * {type: "list", start, items}, where `start` is null without numbers, and each item is inline.
 * Inline: strings, {type: "code", text}, {type: "strong" | "em", inline}, {type: "link", href, text} and
 * {type: "mention", text}. `names` are those that may be mentioned.
 */
export function blocksOf(text, names = []) {
  const known = [...names].sort((a, b) => b.length - a.length);
  return blocks(mended(text).split("\n"), { left: MOST, looks: LOOKS, names: known }, 0);
}

function blocks(lines, budget, depth) {
  const found = [];
  let plain = [];
  const flush = () => {
    // Empty lines between two blocks are the blocks' own distance; within text they stay.
    while (found.length && plain.length && !plain[0].trim()) {
      plain.shift();
    }
    if (plain.some((line) => line.trim())) {
      found.push({ type: "text", inline: inline(plain.join("\n").trimEnd(), budget, depth) });
    }
    plain = [];
  };
  for (let at = 0; at < lines.length;) {
    const fence = budget.left > 0 && FENCE.exec(lines[at]);
    const special = budget.left > 0 && (fence || (depth < DEEPEST && QUOTE.test(lines[at])) || ITEM.test(lines[at]));
    if (!special) {
      plain.push(lines[at++]);
      continue;
    }
    flush();
    budget.left -= 1;
    if (fence) {
      const end = closingFence(lines, at + 1, fence[1]);
      found.push({ type: "code", text: lines.slice(at + 1, end).join("\n") });
      at = end + 1;
    } else if (QUOTE.test(lines[at])) {
      const from = at;
      while (at < lines.length && QUOTE.test(lines[at])) {
        at += 1;
      }
      const inner = lines.slice(from, at).map((line) => line.replace(QUOTE, ""));
      found.push({ type: "quote", blocks: blocks(inner, budget, depth + 1) });
    } else {
      const numbered = ITEM.exec(lines[at])[1];
      const items = [];
      while (at < lines.length && (ITEM.test(lines[at]) || (/^ {2,}\S/.test(lines[at]) && items.length))) {
        const match = ITEM.exec(lines[at]);
        if (match && Boolean(match[1]) !== Boolean(numbered)) {
          break;
        }
        match ? items.push(lines[at].slice(match[0].length)) : items.push(`${items.pop()}\n${lines[at]}`);
        at += 1;
      }
      const start = numbered ? Number(numbered) : null;
      found.push({ type: "list", start, items: items.map((item) => inline(item, budget, depth)) });
    }
  }
  flush();
  return found;
}

/** The line that ends a fenced block; the end of the text, where there is none. */
function closingFence(lines, from, ticks) {
  let end = from;
  while (end < lines.length && lines[end].trim() !== ticks) {
    end += 1;
  }
  return end;
}

function inline(text, budget, depth) {
  const parts = [];
  const hopeless = new Set(); // marks that end nowhere from here on
  const special = new RegExp(SPECIAL);
  let done = 0;
  const take = (from, to, part) => {
    parts.push(text.slice(done, from), part);
    budget.left -= 1;
    done = special.lastIndex = to;
  };
  for (let match; budget.left > 0 && (budget.looks -= 1) > 0 && (match = special.exec(text));) {
    const [mark] = match;
    const at = match.index;
    const after = at + mark.length;
    if (mark.startsWith("`")) {
      const end = hopeless.has(mark) ? -1 : endOfCode(text, after, mark);
      if (end > after) {
        take(at, end + mark.length, { type: "code", text: text.slice(after, end).replace(/^ (.*\S.*) $/, "$1") });
      } else {
        hopeless.add(mark);
      }
    } else if (mark === "@") {
      const name = WORD.test(text[at - 1] ?? "") ? undefined : mentioned(text, after, budget.names);
      if (name) {
        take(at, after + name.length, { type: "mention", text: `@${name}` });
      }
    } else if (mark.length > 2) {
      const link = WORD.test(text[at - 1] ?? "") ? null : linkAt(text, at);
      if (link) {
        take(at, at + link.text.length, link);
      } else {
        ADDRESS.lastIndex = at;
        special.lastIndex = at + (ADDRESS.exec(text)?.[0].length ?? mark.length);
      }
    } else if (depth < DEEPEST && !hopeless.has(mark)) {
      const end = endOfMark(text, at, mark, hopeless);
      if (end) {
        const type = mark === "**" ? "strong" : "em";
        take(at, end + mark.length, { type, inline: inline(text.slice(after, end), budget, depth + 1) });
      }
    }
  }
  parts.push(text.slice(done));
  return parts.filter((part) => part !== "");
}

/** Where the same number of ticks is again, on the same line. */
function endOfCode(text, from, ticks) {
  for (let end = text.indexOf(ticks, from), tries = 0; end >= 0 && tries < TRIES; tries += 1) {
    let past = end;
    while (text[past] === "`") {
      past += 1;
    }
    if (past - end === ticks.length) {
      return text.slice(from, end).includes("\n") ? 0 : end;
    }
    end = text.indexOf(ticks, past);
  }
  return -1;
}

/** Where bold or italic ends. It holds on to words: 2 * 3 * 4 and snake_case_names are neither. */
function endOfMark(text, at, mark, hopeless) {
  const from = at + mark.length;
  if (WORD.test(text[at - 1] ?? "") || !/[^\s*_]/.test(text[from] ?? " ")) {
    return 0;
  }
  for (let end = text.indexOf(mark, from), tries = 0; tries < TRIES; tries += 1) {
    if (end < 0) {
      hopeless.add(mark);
      return 0;
    }
    const longer = text[end + mark.length] === mark[0] || (mark.length === 1 && text[end - 1] === mark);
    if (!longer && /\S/.test(text[end - 1]) && !WORD.test(text[end + mark.length] ?? "")) {
      return text.slice(from, end).includes("\n\n") ? 0 : end;
    }
    end = text.indexOf(mark, end + mark.length);
  }
  return 0;
}

const mentioned = (text, from, names) =>
  names.find((name) => text.startsWith(name, from) && !WORD.test(text[from + name.length] ?? ""));

/** A link ends before the punctuation of the sentence around it, and before a bracket that it did not open. */
function linkAt(text, at) {
  ADDRESS.lastIndex = at;
  let address = ADDRESS.exec(text)?.[0] ?? "";
  let open = address.split("(").length - address.split(")").length; // below 0: closed more often than opened
  for (let last; (last = /[.,;:!?'"*_\])}]$/.exec(address)?.[0]) && (last !== ")" || open < 0);) {
    open += last === ")" ? 1 : 0;
    address = address.slice(0, -1);
  }
  try {
    const { protocol, href } = new URL(address);
    return ["http:", "https:", "mailto:"].includes(protocol) ? { type: "link", href, text: address } : null;
  } catch {
    return null;
  }
}
