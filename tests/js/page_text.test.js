/** Unit tests of the page's text modules: what is found in a message, and how things are said. */

import assert from "node:assert/strict";
import test from "node:test";
import { blocksOf, mended } from "../../threadchat/server/http/page/text/format.js";
import { badge, closing, dayName, listing, localTimes, notSent, refusal, sentence } from "../../threadchat/server/http/page/text/phrases.js";
import { W } from "../../threadchat/server/http/page/text/words.js";

const inline = (text, names) => {
  const blocks = blocksOf(text, names);
  assert.equal(blocks.length, 1);
  assert.equal(blocks[0].type, "text");
  return blocks[0].inline;
};
const code = (text) => ({ type: "code", text });
const link = (href, text = href) => ({ type: "link", href, text });
const strong = (...parts) => ({ type: "strong", inline: parts });
const em = (...parts) => ({ type: "em", inline: parts });

test("bold, italic and code, also in each other", () => {
  assert.deepEqual(inline("a **b** *c* _d_ `e`"), ["a ", strong("b"), " ", em("c"), " ", em("d"), " ", code("e")]);
  assert.deepEqual(inline("**a *b* `c`**"), [strong("a ", em("b"), " ", code("c"))]);
  assert.deepEqual(inline("``a`b``"), [code("a`b")]);
});

test("what only looks like it stays text", () => {
  for (const text of ["2 * 3 * 4", "2*3*4", "snake_case_name", "__init__", "**a", "`a", "a `b\nc`", "***", "@", "-a", "1.a", "#"]) {
    assert.deepEqual(inline(text), [text], text);
  }
});

test("links to http, https and mailto, without the sentence around them", () => {
  assert.deepEqual(inline("(see https://example.org/a_(b)?c=d.)"), ["(see ", link("https://example.org/a_(b)?c=d"), ".)"]);
  assert.deepEqual(inline("http://a.org, mailto:ann@example.org!"), [link("http://a.org/", "http://a.org"), ", ", link("mailto:ann@example.org"), "!"]);
  for (const text of ["javascript:alert(1)", "data:text/html,x", "xhttp://a.org", "https://", "ftp://a.org", "https://[", "//a.org"]) {
    assert.deepEqual(inline(text), [text], text);
  }
});

test("blocks: fences, quotes, lists, and the text between", () => {
  const text = "one\n```js\n  if (a) {\n\n  }\n```\n> two\n> - three\nfour\n- five\n  more\n* six\n1. seven\n2) eight";
  assert.deepEqual(blocksOf(text), [
    { type: "text", inline: ["one"] },
    { type: "code", text: "  if (a) {\n\n  }" },
    { type: "quote", blocks: [{ type: "text", inline: ["two"] }, { type: "list", start: null, items: [["three"]] }] },
    { type: "text", inline: ["four"] },
    { type: "list", start: null, items: [["five\n  more"], ["six"]] },
    { type: "list", start: 1, items: [["seven"], ["eight"]] },
  ]);
  assert.deepEqual(blocksOf("```\nnever closed"), [code("never closed")]);
});

test("indentation and empty lines of pasted text are kept", () => {
  const text = "    def f():\n\n        return 1";
  assert.deepEqual(inline(text), [text]);
});

test("mentions are of known names, the longest first, and at the beginning of a word", () => {
  const mention = (text) => ({ type: "mention", text });
  const names = ["ann", "ann lee", "bob"];
  assert.deepEqual(inline("@ann lee, @ann!", names), [mention("@ann lee"), ", ", mention("@ann"), "!"]);
  assert.deepEqual(inline("@anna x@bob @cy", names), ["@anna x@bob @cy"]);
});

test("half a surrogate pair becomes a character", () => {
  assert.equal(mended("a\ud83d b\ude00 😀"), "a\ufffd b\ufffd 😀");
  assert.deepEqual(inline("\ud83d"), ["\ufffd"]);
});

test("no text makes many pieces, or takes long", { timeout: 10_000 }, () => {
  for (const part of ["`", "`a ", "**a ", "*a ", "_a_", "`a`", "http://a ", "http://a)))", ">", "> ", "mailto:", "@", "- a\n", "```\n"]) {
    const blocks = blocksOf(part.repeat(500_000 / part.length), ["a"]);
    const pieces = JSON.stringify(blocks).match(/"type"/g).length;
    assert.ok(pieces <= 900, `${part}: ${pieces}`);
  }
});

test("endings and refusals are said in words, times in local ones", () => {
  assert.match(closing(3503, "banned"), /disconnected from this server\. Banned\.$/);
  assert.match(closing(4711, ""), /code 4711/);
  assert.equal(refusal({ code: "lost" }, "x"), W.lostBefore);
  assert.equal(refusal({ code: 107, reason: "no." }, "Not done"), "Not done: no.");
  assert.equal(notSent({ code: 108 }, { kind: "direct", nickname: "ann" }), "ann is not online.");
  const local = localTimes("until 2026-11-30 15:06:49 UTC: spam");
  assert.ok(!local.includes("UTC") && local.includes("2026"));
  assert.match(sentence("muted"), /^Muted\.$/);
});

test("days, lists and badges", () => {
  const now = new Date(2026, 10, 30, 12).getTime() / 1000;
  assert.equal(dayName(now - 60, now), W.today);
  assert.equal(dayName(now - 86_400, now), W.yesterday);
  assert.notEqual(dayName(now - 10 * 86_400, now), W.yesterday);
  assert.equal(listing(["a"]), "a");
  assert.equal(listing(["a", "b", "c"]), "a, b and c");
  assert.equal(listing(["a", "b", "c", "d", "e"]), "a, b, c and 2 others");
  assert.equal(badge(100), "99+");
});

test("every word is a word", () => {
  for (const [name, word] of Object.entries(W)) {
    assert.ok(["string", "function", "object"].includes(typeof word), name);
  }
});
