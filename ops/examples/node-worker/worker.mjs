// A worker for Warrener in Node: takes orders, calls functions, reports. What it must do, and why, is
// in ops/protocol/README.md. Functions come from modules that export `endpoints`, a map by name.

import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import amqp from "amqplib";
import { checkedResult, failure, orderIn, UnknownEndpoint } from "./protocol.mjs";

const { values: given } = parseArgs({
  options: {
    url: { type: "string", default: process.env.WARRENER_BROKER_URL ?? "amqp://localhost" },
    endpoints: { type: "string", multiple: true, default: [] },
    queues: { type: "string", default: "default" }, // only those whose endpoints are known here
    slots: { type: "string", default: "4" },
    name: { type: "string", default: `${os.hostname()}-node-${process.pid}` },
    "beat-seconds": { type: "string", default: "10" },
    "drain-seconds": { type: "string", default: "30" },
  },
});
const { name: worker, url } = given;
const queues = given.queues.split(",");
const slots = Number(given.slots);
const beatSeconds = Number(given["beat-seconds"]);
const endpoints = {};
for (const file of given.endpoints)
  Object.assign(endpoints, (await import(pathToFileURL(path.resolve(file)))).endpoints);

const log = (event, more) => console.error(JSON.stringify({ event, worker, ...more }));
const exit = () => process.exit(0);
let drain = exit; // what SIGTERM does; without a connection there is nothing to wait for
let draining = false;
let waitSeconds = 0.1; // before the next connection

async function serve(connection, lost) {
  const incoming = await connection.createChannel();
  const outgoing = await connection.createConfirmChannel();
  for (const channel of [incoming, outgoing]) channel.on("error", lost);
  const waiting = []; // tasks without a slot
  const running = new Set();
  const returned = new Set(); // ids of messages that no queue took
  outgoing.on("return", ({ properties }) => returned.add(properties.messageId));
  let sent = 0;

  // Resolves once the broker is answerable for the message.
  const publish = (exchange, key, messageId, message) =>
    new Promise((resolve, reject) => {
      const mandatory = exchange === "warrener.results";
      const options = { messageId, mandatory, persistent: true, contentType: "application/json" };
      outgoing.publish(exchange, key, Buffer.from(JSON.stringify(message)), options, (error) => {
        if (error || returned.delete(messageId)) reject(error ?? new Error(`no queue is bound for ${key}`));
        else resolve();
      });
    });

  function announce(type) {
    const who = { worker, host: os.hostname(), pid: process.pid, beat_seconds: beatSeconds };
    const what = { endpoints: Object.keys(endpoints), queues, slots, busy: running.size };
    const key = type.replace("Worker", "worker.").toLowerCase();
    publish("warrener.fleet", key, `${worker}/${process.pid}/${++sent}`, { type, ...who, ...what }).catch(lost);
  }

  async function perform({ delivery, order, name, abort }) {
    const { job, step, path, attempt, token, endpoint, args, reply_to } = order;
    // The parent of all spans of this attempt; calls to other services hand it on in a header.
    const traceparent = delivery.properties.headers?.traceparent ?? order.context?.traceparent;
    const head = { job, step, attempt, token, worker };
    const send = (id, message) => publish("warrener.results", reply_to, `${name}/${id}`, message);
    const said = {};
    const progress = (share, note) => Object.assign(said, { progress: share, note });
    const beat = () => send(`beat/${++sent}`, { type: "Beat", ...head, at: new Date(), ...said });
    const every = Math.min(beatSeconds, order.beat_seconds ?? beatSeconds); // its timeouts need that
    const beats = setInterval(() => beat().catch(lost), every * 1000);
    const started_at = new Date();
    let fate;
    try {
      if (!Object.hasOwn(endpoints, endpoint)) throw new UnknownEndpoint(endpoint);
      const result = await endpoints[endpoint](args, { order, progress, signal: abort.signal, traceparent });
      fate = { outcome: "succeeded", result: checkedResult(result) };
    } catch (error) {
      fate = failure(error, attempt);
      log("step.failed", { job, path, attempt, endpoint, traceparent, code: fate.error.code });
    }
    clearInterval(beats);
    const report = { type: "StepReport", ...head, started_at, ended_at: new Date(), ...fate };
    if (!abort.signal.aborted) await send("report", report);
    incoming.ack(delivery); // never before the report is confirmed
  }

  function receive(delivery) {
    const order = orderIn(delivery.content);
    if (!order) return incoming.reject(delivery, false); // the reactor looks at it and says why
    waiting.push({ delivery, order, name: `${order.step}/${order.attempt}`, abort: new AbortController() });
    takeUp();
  }

  function takeUp() {
    while (waiting.length > 0 && running.size < slots && !draining) {
      const task = waiting.shift();
      running.add(task);
      perform(task).then(() => {
        running.delete(task);
        takeUp();
      }, lost);
    }
  }

  function obey({ content }) {
    const { type, step, attempt } = JSON.parse(content);
    if (type === "CallWorkers") announce("WorkerBeat");
    if (type !== "CancelStep") return;
    const cancelled = (task) => task.name === `${step}/${attempt}`;
    for (const task of running) if (cancelled(task)) task.abort.abort(); // perform acknowledges it
    for (const task of waiting.filter(cancelled)) {
      waiting.splice(waiting.indexOf(task), 1);
      incoming.ack(task.delivery);
    }
  }

  const own = `warrener.worker.${worker}`;
  await incoming.assertQueue(own, { exclusive: true, autoDelete: true, durable: false });
  for (const key of ["step.cancel", "worker.call"]) await incoming.bindQueue(own, "warrener.control", key);
  await incoming.consume(own, obey, { noAck: true });
  await incoming.prefetch(2 * slots + 2);
  const consumers = [];
  for (const queue of queues.map((name) => `warrener.orders.${name}`)) {
    await incoming.checkQueue(queue); // `warrener broker declare` makes it
    const take = (delivery) => (delivery ? receive(delivery) : lost(new Error(`${queue} is gone`)));
    consumers.push((await incoming.consume(queue, take)).consumerTag);
  }
  announce("WorkerHello");
  const beats = setInterval(announce, beatSeconds * 1000, "WorkerBeat");
  connection.once("close", () => clearInterval(beats));
  waitSeconds = 0.1;
  log("worker.ready", { queues, slots });

  return new Promise((finished) => {
    const stop = async () => {
      const deadline = Date.now() + Number(given["drain-seconds"]) * 1000;
      for (const tag of consumers) await incoming.cancel(tag);
      while (running.size > 0 && Date.now() < deadline) await pause(20);
      announce("WorkerBye");
      await outgoing.waitForConfirms();
      finished(); // what was not begun, or not finished in time, goes back when the connection closes
    };
    drain = () => stop().catch(lost);
  });
}

for (const signal of ["SIGTERM", "SIGINT"])
  process.on(signal, () => {
    if (draining) process.exit(1);
    draining = true;
    drain();
  });
while (!draining) {
  let connection;
  try {
    connection = await amqp.connect(url, { clientProperties: { connection_name: worker } });
    await new Promise((finished, lost) => {
      connection.on("error", lost);
      connection.on("close", () => lost(new Error("the connection was closed")));
      serve(connection, lost).then(finished, lost);
    });
  } catch (error) {
    log("broker.lost", { reason: error.message || error.code });
    drain = exit;
    await connection?.close().catch(() => {});
    await pause(waitSeconds * (500 + 500 * Math.random()));
    waitSeconds = Math.min(waitSeconds * 2, 10);
    continue;
  }
  await connection.close();
}
log("worker.stopped");
exit();
