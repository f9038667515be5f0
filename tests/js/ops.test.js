/** Unit tests of the operators' page: sums and rates over nodes, the last hour, alerts, joined details. */

import assert from "node:assert/strict";
import test from "node:test";
import { alertsOf, titleOf } from "../../threadchat/server/admin/ops/alerts.js";
import { Cluster, SILENT } from "../../threadchat/server/admin/ops/cluster.js";
import { Details, LATELY } from "../../threadchat/server/admin/ops/details.js";
import { History } from "../../threadchat/server/admin/ops/history.js";

const report = (process, uptime, more = {}) => ({
  node: `node-${process}`, process, uptime, age: 0, ready: true, version: "1", connections: 0, rooms: 0,
  queued_bytes: 0, cpu_seconds: 0, memory: 1000, unanswered: 0, round_trip: null, closes: {}, errors: {}, ...more,
  totals: { deliveries: 0, messages_in: 0, bytes_out: 0, ...more.totals },
});
const delivered = (process, uptime, deliveries, more) => report(process, uptime, { totals: { deliveries }, ...more });

test("a rate is that of one process, by its own uptime", () => {
  const cluster = new Cluster();
  assert.equal(cluster.feed(100, [delivered("a", 50, 1000)]).rates.deliveries, null);
  assert.equal(cluster.feed(101, [delivered("a", 52, 1010)]).rates.deliveries, 5);
  assert.equal(cluster.feed(101.1, [delivered("a", 52, 1010)]).rates.deliveries, 5, "the same report again changes nothing");
});

test("polls that meet one process after the other mix no counters", () => {
  const cluster = new Cluster();
  const a = (uptime, told, age) => delivered("a", uptime, told, { age });
  const b = (uptime, told, age) => delivered("b", uptime, told, { age });
  cluster.feed(100, [a(50, 1_000_000, 0), b(500, 10, 3)]);
  cluster.feed(101, [b(504, 14, 0), a(48, 999_990, 3)]);
  const row = cluster.feed(102, [a(52, 1_000_020, 0), b(503, 13, 1)]);
  assert.equal(row.rates.deliveries, 10 + 1, "an older report, told by the other node, is ignored");
  assert.equal(row.totals.deliveries, 1_000_020 + 14);
});

test("a restart makes no rate, neither below zero nor a jump", () => {
  const cluster = new Cluster();
  cluster.feed(100, [delivered("a", 5000, 9_000_000)]);
  cluster.feed(101, [delivered("a", 5001, 9_000_100)]);
  assert.equal(cluster.feed(110, [delivered("b", 2, 70, { node: "node-a" })]).rates.deliveries, null);
  const row = cluster.feed(111, [delivered("b", 3, 75, { node: "node-a" })]);
  assert.equal(row.rates.deliveries, 5);
  assert.equal(row.nodes.length, 1, "the old process counts no more");
});

test("a server alone that is restarted early has one process", () => {
  const cluster = new Cluster();
  const alone = (process, uptime, deliveries) => delivered(process, uptime, deliveries, { node: "", connections: 1 });
  cluster.feed(100, [alone("a", 2, 10)]);
  cluster.feed(101, [alone("a", 3, 90)]);
  const row = cluster.feed(103, [alone("b", 1, 5)]);
  assert.deepEqual([row.nodes.length, row.connections, row.rates.deliveries], [1, 1, null]);
});

test("a new node that the others do not list yet still counts", () => {
  const cluster = new Cluster();
  cluster.feed(100, [report("a", 90)]);
  cluster.feed(101, [report("new", 1, { connections: 3 }), report("a", 91)]);
  assert.equal(cluster.feed(102, [report("a", 92)]).connections, 3);
  assert.equal(cluster.feed(109, [report("a", 99)]).connections, 0, "by then they should know");
  cluster.feed(110, [report("a", 100), report("new", 2, { connections: 3 })]);
  assert.equal(cluster.feed(111, [report("a", 101)]).connections, 0, "they knew of it, so it is gone");
});

test("sums are over nodes that report; one that is silent is listed, and does not count", () => {
  const cluster = new Cluster();
  const row = cluster.feed(100, [
    report("a", 60, { connections: 2, queued_bytes: 5, round_trip: 0.1 }),
    report("b", 60, { connections: 40, queued_bytes: 7, round_trip: 0.3, memory: null, ready: false }),
    report("c", 60, { connections: 900, age: SILENT }),
  ]);
  assert.deepEqual([row.connections, row.queued_bytes, row.round_trip, row.memory, row.ready], [42, 12, 0.3, 1000, false]);
  assert.deepEqual(row.nodes.map((it) => [it.report.process, it.silent]), [["a", false], ["b", false], ["c", true]]);
});

test("closes and errors are those since the last answer, also of a process that is new", () => {
  const cluster = new Cluster();
  assert.deepEqual(cluster.feed(100, [report("a", 60, { closes: { 1000: 50 } })]).closes, {}, "what was before is not new");
  const row = cluster.feed(101, [report("a", 61, { closes: { 1000: 52, 3008: 1 }, errors: { 107: 4 } })]);
  assert.deepEqual([row.closes, row.errors], [{ 1000: 2, 3008: 1 }, { 107: 4 }]);
  assert.deepEqual(cluster.feed(103, [report("b", 1, { closes: { 3008: 2 } })]).closes, { 3008: 2 });
});

const row = (time, value, closes = {}) => ({ time, values: { value }, closes, errors: {} });

test("the last minutes are kept by the second, an hour by quarters of a minute", () => {
  const history = new History();
  for (let time = 0; time <= 7200; time += 1) history.add(row(time, time, { 1000: 1 }));
  assert.ok(history.rows.length < 301 + 3600 / 15 + 5, `${history.rows.length} rows`);
  assert.ok(history.span(7200) <= 3600 && history.span(7200) > 3580);
  assert.equal(history.points("value", 7190).length, 11);
  const count = history.counts("closes", 3601)[1000];
  assert.ok(Math.abs(count - 3600) <= 15, `none is lost where rows are joined: ${count}`);
});

test("a gap stays one", () => {
  const history = new History();
  history.add(row(0, 1));
  history.gap(1);
  history.add(row(20, 2));
  for (let time = 400; time < 410; time += 1) history.add(row(time, 3));
  assert.deepEqual(history.points("value", 0).slice(0, 3), [[0, 1], [1, null], [20, 2]]);
});

test("counts by time fall into their part of the window", () => {
  const history = new History();
  for (const time of [100, 139, 140, 159]) history.add(row(time, 0, { 3008: 1 }));
  assert.deepEqual(history.buckets("closes", "3008", 160, 60, 3), [1, 1, 2]);
  assert.deepEqual(history.buckets("closes", "1000", 160, 60, 3), [0, 0, 0]);
});

test("what is wrong is told, the worst first", () => {
  assert.deepEqual(alertsOf({}), []);
  const found = alertsOf({
    since: "14:03:12", ready: false, silent: ["n1"], closes: { 1000: 9, 3008: 2, 3010: 1, 1011: 1 }, errors: { 100: 1, 107: 7, 111: 3 },
    lines: [{ level: "error" }, { level: "warning" }], limits: [{ name: "max_rooms", used: 90, limit: 100 }, { name: "queued_bytes", used: 89, limit: 100 }],
  });
  assert.deepEqual(found.map((it) => it.name), ["dead", "store", "silent", "errors", "log", "refused", "busy", "limit"]);
  assert.deepEqual(found.map((it) => it.text), [
    "no answer since 14:03:12", "the message store is away, commands are refused", "node n1 is silent", "2 internal errors",
    "1 error in the log", "3 queues were full, closed as too slow", "3 commands refused as too many", "90 % of max_rooms in use",
  ]);
});

test("the title begins with the worst", () => {
  assert.equal(titleOf([], "ops"), "ops");
  assert.equal(titleOf([{ text: "one" }], "ops"), "⚠ one · ops");
  assert.equal(titleOf([{ text: "one" }, { text: "two" }, { text: "three" }], "ops"), "⚠ one (+2) · ops");
});

const spread = (counts, highest = 0) => ({ bounds: [1], counts, sum: highest, highest, median: null });
const answer = (process, nodes, more = {}) => ({
  process, node: `node-${process}`, nodes: nodes.map((it) => ({ process: it })), threads: { reader: 2 }, unanswered: 1, limits: [],
  outbox_messages: spread([1, 2], 5), outbox_age: spread([3, 0]), round_trip: spread([0, 1]), slowest: [], ...more,
});
const slow = (number, age) => ({ number, outbox_age: age, outbox_bytes: 0, round_trip: null });

test("details of processes that answered lately are joined", () => {
  const details = new Details();
  const limits = (used) => [{ name: "max_rooms", used, limit: 10 }];
  details.take(0, answer("a", ["a", "b"], { limits: limits(7), slowest: [slow(1, 2), slow(2, 0)] }));
  const joined = details.take(1, answer("b", ["a", "b"], { limits: limits(3), slowest: [slow(1, 9)], threads: { reader: 1, http: 1 } }));
  assert.deepEqual([joined.processes, joined.unanswered, joined.threads], [2, 2, { reader: 3, http: 1 }]);
  assert.deepEqual([joined.outbox_messages.counts, joined.outbox_messages.sum, joined.outbox_messages.highest], [[2, 4], 10, 5]);
  assert.deepEqual(joined.limits, limits(7));
  assert.deepEqual(joined.slowest.map((it) => it.key), ["b 1", "a 1", "a 2"], "one number may be there twice");
  assert.equal(details.take(2, answer("b", ["b"])).processes, 1, "what is gone is left out");
  details.take(3, answer("a", ["a", "b"]));
  assert.equal(details.take(3 + LATELY, answer("b", ["a", "b"])).processes, 1, "what is old, too");
});
