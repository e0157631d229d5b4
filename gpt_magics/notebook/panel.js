// The live panel. One trait, `snapshot`, is replaced as a whole four or five times a second; the
// DOM is built once and only what changed is written. All text is untrusted: `textContent` only.

const SVG = "http://www.w3.org/2000/svg";
const LOW = 0.25;
const VERY_LOW = 0.1;
const STALE_AFTER_S = 10;
const SLOTS = 60; // bars of the sparkline
const ENDED = new Set(["stopped", "cancelled", "failed", "done"]);
const STATE_ICONS = {
  queued: "M6 2.2a3.8 3.8 0 1 1 0 7.6a3.8 3.8 0 0 1 0-7.6zM6 3.6a2.4 2.4 0 1 0 0 4.8a2.4 2.4 0 0 0 0-4.8z",
  running: "M3.5 2v8l6.5-4z",
  pausing: "M3 2.5h2v7H3zM7 2.5h2v7H7z",
  paused: "M3 2.5h2v7H3zM7 2.5h2v7H7z",
  stopped: "M2.8 2.8h6.4v6.4H2.8z",
  cancelled: "M6 1.8a4.2 4.2 0 1 1 0 8.4a4.2 4.2 0 0 1 0-8.4zM3.2 5.3v1.4h5.6V5.3z",
  failed: "M3.2 2.2L6 5l2.8-2.8l1 1L7 6l2.8 2.8l-1 1L6 7L3.2 9.8l-1-1L5 6L2.2 3.2z",
  done: "M4.8 7.6L10 2.4l1 1l-6.2 6.2L1.4 6.2l1-1z",
};
const ENDED_WORDS = { queued: "not sent", "in flight": "no answer" };
const ACTION_WORDS = {
  pause: ["Pause", "Pausing…"],
  resume: ["Resume", "Resuming…"],
  cancel: ["Cancel", "Cancelling…"],
};

// Numbers in words, as gpt_magics/wording.py says them (a test compares the two).

const round = (value, digits) => Math.floor(value * 10 ** digits + 0.5) / 10 ** digits;
const grouped = (digits) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const exact = (n) => grouped(String(Math.floor(n + 0.5)));
const tenth = (value) => value.toFixed(1).replace(/\.0$/, "");

function count(n) {
  const whole = Math.floor(n + 0.5);
  if (whole < 10000) return exact(whole);
  let shown = whole;
  let scaled = whole;
  for (const unit of ["k", "M", "B", "T"]) {
    scaled /= 1000;
    shown = round(scaled, scaled < 100 ? 1 : 0);
    if (shown < 1000 || unit === "T") return tenth(shown) + unit;
  }
  return exact(whole);
}

function dollars(cost) {
  if (cost >= 10 || cost === 0) {
    const [whole, cents] = round(cost, 2).toFixed(2).split(".");
    return `${grouped(whole)}.${cents}`;
  }
  if (cost >= 0.01) {
    const cents = cost * 100;
    return round(cost, 4).toFixed(Math.abs(cents - Math.floor(cents + 0.5)) < 1e-6 ? 2 : 4);
  }
  let decimals = 2;
  while (cost * 10 ** decimals < 10 && decimals < 12) decimals += 1;
  return round(cost, decimals).toFixed(decimals);
}

function money(cost, known = true) {
  if (!isNumber(cost) || (cost === 0 && !known)) return "unknown cost";
  return `${known ? "" : "≥ "}$${dollars(cost)}`;
}

function duration(seconds) {
  if (seconds < 0.1 && seconds > 0) return `${Math.max(1, Math.floor(seconds * 1000 + 0.5))} ms`;
  const tenths = round(Math.max(0, seconds), 1);
  if (tenths < 10) return `${tenth(tenths)} s`;
  const whole = Math.floor(seconds + 0.5);
  for (const [size, unit, part, parts] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"]]) {
    if (whole >= size) return two(Math.floor(whole / size), unit, Math.floor((whole % size) / part), parts);
  }
  return two(Math.floor(whole / 60), "min", whole % 60, "s");
}

function two(much, unit, rest, small) {
  const tail = rest || !much ? `${rest} ${small}` : "";
  return `${much ? `${much} ${unit}` : ""} ${tail}`.trim();
}

function pace(perSecond, unit = "rows") {
  let [value, per] = [perSecond, "s"];
  for (const slower of ["min", "h"]) {
    if (value >= 0.1 || value <= 0) break;
    [value, per] = [value * 60, slower];
  }
  const shown = round(value, 1);
  return `${shown < 10 ? tenth(shown) : count(value)}${unit && ` ${unit}`}/${per}`;
}

export const wording = { count, exact, money, duration, pace };

// The page: small tools that touch the DOM only where something changed.

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const number = (value) => (isNumber(value) ? value : 0);
const text = (value) => (value === null || value === undefined ? "" : String(value).slice(0, 600));
const list = (value) => (Array.isArray(value) ? value : []);
const within = (value) => Math.min(1, Math.max(0, number(value)));
const share = (part, whole) => (whole > 0 ? within(number(part) / whole) : 0);
const joined = (...parts) => parts.filter(Boolean).join(" · ");

function make(tag, name, parent, attributes = {}) {
  const node = tag.startsWith("svg:")
    ? document.createElementNS(SVG, tag.slice(4))
    : document.createElement(tag);
  if (name) node.setAttribute("class", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent?.append(node);
  return node;
}

function say(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

function mark(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Keep one child per item, by key: known ones are updated, never rebuilt (focus stays). */
function keyed(parent, keyOf, build) {
  const parts = new Map();
  return (items) => {
    const seen = new Set();
    items.forEach((item, index) => {
      const key = `${keyOf(item)}`;
      if (seen.has(key)) return;
      seen.add(key);
      if (!parts.has(key)) parts.set(key, build(parent, item));
      const part = parts.get(key);
      if (parent.children[index] !== part.node) parent.insertBefore(part.node, parent.children[index] ?? null);
      part.update(item);
    });
    for (const [key, part] of parts) {
      if (!seen.has(key)) {
        part.node.remove();
        parts.delete(key);
      }
    }
  };
}

function bar(parent, label, ...segments) {
  const node = make("div", "gm-bar", parent, { role: "progressbar", "aria-label": label, "aria-valuemin": 0 });
  const parts = segments.map((segment) => make("div", `gm-fill gm-${segment}`, node));
  return {
    node,
    update(shares, now, max, words) {
      shares.forEach((part, i) => {
        const width = `${(100 * part).toFixed(2)}%`;
        if (parts[i].style.width !== width) parts[i].style.width = width;
        show(parts[i], part > 0);
      });
      mark(node, "aria-valuenow", now);
      mark(node, "aria-valuemax", max);
      mark(node, "aria-valuetext", words);
    },
  };
}

// Headroom: a gauge per limit, a group per lane.

function tone(left) {
  if (left < VERY_LOW) return ["danger", "very low"];
  return left < LOW ? ["warn", "low"] : ["calm", ""];
}

const ARC = "M7 57A45 45 0 0 1 97 57";

/** Where on the arc a fraction lies, `radius` from its centre. */
function onArc(fraction, radius) {
  const angle = Math.PI * (1 - fraction);
  return `${(52 + radius * Math.cos(angle)).toFixed(2)} ${(57 - radius * Math.sin(angle)).toFixed(2)}`;
}

function buildGauge(parent) {
  const node = make("div", "gm-gauge", parent, { role: "meter", "aria-valuemin": 0 });
  const svg = make("svg:svg", "", node, { viewBox: "0 0 104 62", "aria-hidden": "true" });
  make("svg:path", "gm-arc", svg, { d: ARC, pathLength: 100 });
  const value = make("svg:path", "gm-arc gm-level", svg, { d: ARC, pathLength: 100 });
  for (const at of [VERY_LOW, LOW]) {
    make("svg:path", "gm-notch", svg, { d: `M${onArc(at, 40)}L${onArc(at, 50)}` });
  }
  const left = make("div", "gm-left", node);
  const of = make("div", "gm-of", node);
  const note = make("div", "gm-note", node);
  return { node, update: (limit) => updateGauge(limit, { node, value, left, of, note }) };
}

function updateGauge(limit, { node, value, left, of, note }) {
  const level = Math.max(0, Math.floor(number(limit.level)));
  const part = share(level, number(limit.limit));
  const [colour, word] = tone(part);
  const rest = `of ${count(number(limit.limit))} ${text(limit.label)} left`;
  const refill = number(limit.per_second) > 0 ? `+${pace(limit.per_second, "")}` : "";
  mark(node, "data-tone", colour);
  mark(value, "stroke-dasharray", `${(100 * part).toFixed(1)} 200`);
  mark(value, "visibility", level > 0 ? "visible" : "hidden");
  say(left, count(level));
  name(of, rest);
  say(note, joined(level === 0 ? "used up" : word, refill));
  mark(node, "aria-label", `${text(limit.label)} headroom`);
  mark(node, "aria-valuemax", number(limit.limit));
  mark(node, "aria-valuenow", Math.min(level, number(limit.limit)));
  mark(node, "aria-valuetext", `${count(level)} ${rest}${word && `, ${word}`}`);
}

function buildLane(parent) {
  const node = make("section", "gm-lane", parent, { role: "group" });
  const head = make("div", "gm-lane-head", node);
  const model = make("div", "gm-model", head);
  const server = make("div", "gm-server", head);
  const gauges = make("div", "gm-gauges", node);
  const none = make("div", "gm-none", node);
  const tail = make("div", "gm-lane-tail", node);
  const flow = make("div", "gm-flow", tail);
  const state = make("div", "gm-lane-state", tail);
  say(none, "no rate-limit headers seen");
  const updateGauges = keyed(gauges, (limit) => `${limit.dimension}/${limit.label}`, buildGauge);
  function update(lane) {
    const limits = list(lane.limits);
    mark(node, "aria-label", `Limits of ${text(lane.model)} at ${text(lane.server)}`);
    name(model, text(lane.model));
    name(server, text(lane.server));
    say(flow, joined(`${exact(number(lane.in_flight))} in flight`, `${exact(number(lane.queued))} queued`));
    name(state, text(lane.state));
    show(gauges, limits.length > 0);
    show(none, limits.length === 0);
    updateGauges(limits);
  }
  return { node, update };
}

/** Say a name that may be cut off by the space there is; its tooltip has all of it. */
function name(node, words) {
  say(node, words);
  mark(node, "title", words || null);
}

// Jobs.

function buildJob(parent, job, send) {
  const node = make("section", "gm-job", parent, { role: "group" });
  const parts = [buildHead, buildProgress, buildSpend, buildHistory, buildCounters, buildQuiet].map(
    (build) => build(node, send),
  );
  function update(next) {
    mark(node, "aria-label", `Job ${text(next.title)}`);
    mark(node, "data-state", text(next.state));
    for (const part of parts) part(next);
  }
  return { node, update };
}

function buildHead(node, send) {
  const head = make("header", "gm-head", node);
  const title = make("div", "gm-title", head);
  const line = make("div", "gm-state-line", head);
  const pill = make("span", "gm-pill", line);
  const icon = make("svg:path", "", make("svg:svg", "", pill, { viewBox: "0 0 12 12", "aria-hidden": "true" }));
  icon.setAttribute("fill-rule", "evenodd");
  const state = make("span", "", pill);
  const sub = make("span", "gm-sub", line);
  const updateActions = buildActions(head, send);
  const why = make("div", "gm-why", node);
  return (job) => {
    name(title, text(job.title));
    mark(icon, "d", STATE_ICONS[job.state] ?? STATE_ICONS.queued);
    say(state, text(job.state));
    const tokens = `${count(number(job.tokens_in))} tokens in, ${count(number(job.tokens_out))} out`;
    say(sub, joined(text(job.model), duration(number(job.elapsed)), tokens));
    say(why, reasonOf(job));
    show(why, Boolean(why.textContent));
    updateActions(job);
  };
}

/** Rows that no request went out for. */
const unsentRows = (job) =>
  Math.max(0, number(job.rows) - number(job.done) - number(job.failed) - number(job.in_flight));

function reasonOf(job) {
  if (!job.reason) return "";
  const left = unsentRows(job);
  const unsent = left > 0 ? ` — ${exact(left)} ${left === 1 ? "row" : "rows"} not sent` : "";
  return `${text(job.reason)}${unsent}`;
}

function buildActions(head, send) {
  const box = make("div", "gm-actions", head);
  const first = button(box, () => click(first.action));
  const cancel = button(box, () => click("cancel"));
  const hint = make("span", "gm-hint", box);
  say(hint, "use ■ to stop");
  let job = {};
  let asked = null; // the click that waits for the kernel: {action, state}
  function click(action) {
    asked = { action, state: job.state };
    send(job.id, action);
    update(job);
  }
  function update(next) {
    job = next;
    if (asked && asked.state !== job.state) asked = null;
    const ended = ENDED.has(job.state);
    show(first.node, !ended && Boolean(job.controls));
    show(cancel.node, !ended && Boolean(job.controls));
    show(hint, !ended && !job.controls);
    const pausing = job.state === "pausing";
    first.update(job.state === "paused" ? "resume" : "pause", pausing || asked !== null, pausing || asked?.action !== "cancel" && asked !== null, job);
    cancel.update("cancel", asked?.action === "cancel", asked?.action === "cancel", job);
  }
  return update;
}

function button(parent, onClick) {
  // Notebook shortcuts (Enter, space) must not take a key that is meant for this button.
  const node = make("button", "gm-button", parent, { type: "button", "data-lm-suppress-shortcuts": "true" });
  const part = { node, action: "", update: () => {} };
  node.addEventListener("click", () => {
    if (node.getAttribute("aria-disabled") !== "true") onClick();
  });
  part.update = (action, disabled, waiting, job) => {
    part.action = action;
    mark(node, "data-action", action);
    // Not `disabled`: that would throw the keyboard's focus away.
    mark(node, "aria-disabled", disabled ? "true" : null);
    say(node, ACTION_WORDS[action][waiting ? 1 : 0]);
    mark(node, "aria-label", `${node.textContent} ${text(job.title)}`);
  };
  return part;
}

function buildProgress(node) {
  const line = make("div", "gm-line", node);
  const left = make("span", "gm-strong", line);
  const right = make("span", "gm-aside", line);
  const rows = bar(node, "Rows", "done", "failed", "flying");
  return (job) => {
    const total = number(job.rows);
    const [done, failed, flying] = [number(job.done), number(job.failed), number(job.in_flight)];
    say(left, `${exact(done)} of ${exact(total)} rows`);
    say(right, tempo(job));
    const words = `${left.textContent} done${failed ? `, ${exact(failed)} failed` : ""}`;
    const shares = [share(done, total), share(failed, total), ENDED.has(job.state) ? 0 : share(flying, total)];
    rows.update(shares, done + failed, total, words);
  };
}

function tempo(job) {
  if (ENDED.has(job.state)) return joined(`took ${duration(number(job.elapsed))}`, pace(number(job.rate)));
  if (job.state === "queued") return "not started";
  if (job.state === "paused") return "on hold";
  return joined(pace(number(job.rate)), timeLeft(job.eta));
}

function timeLeft(eta) {
  if (!isNumber(eta)) return "time left unknown";
  return eta < 1 ? "under 1 s left" : `about ${duration(Math.ceil(eta))} left`;
}

function buildSpend(node) {
  const line = make("div", "gm-line", node);
  const left = make("span", "gm-strong", line);
  const right = make("span", "gm-aside", line);
  const spent = bar(node, "Spend", "spent");
  const end = make("div", "gm-end", spent.node);
  return (job) => {
    const cost = money(job.cost, job.cost_known);
    const walled = isNumber(job.budget);
    const part = walled ? share(job.cost, job.budget) : 0;
    const words = walled ? `${cost} of ${money(job.budget)} budget` : cost === "unknown cost" ? cost : `${cost} spent`;
    say(left, words);
    say(right, forecast(job, walled));
    show(spent.node, walled);
    mark(spent.node, "data-tone", tone(1 - part)[0]);
    mark(spent.node, "data-unknown", job.cost_known ? null : "true");
    spent.update([part], number(job.cost), number(job.budget), words);
    const ahead = walled && isNumber(job.projected) && !ENDED.has(job.state);
    show(end, ahead);
    if (ahead) end.style.left = `${(100 * share(job.projected, job.budget)).toFixed(2)}%`;
  };
}

function forecast(job, walled) {
  if (walled && share(job.cost, job.budget) >= 1) return "▲ budget used up";
  if (ENDED.has(job.state) || !isNumber(job.projected)) return "";
  const rounded = money(round(job.projected, job.projected >= 0.1 ? 2 : 6));
  const about = `${job.cost_known ? "about" : "at least"} ${rounded} in all`;
  return walled && job.projected > job.budget ? `▲ ${about}, over budget` : about;
}

function buildHistory(node) {
  const svg = make("svg:svg", "gm-history", node, {
    role: "img",
    "aria-label": "rows finished over time",
    preserveAspectRatio: "none",
  });
  const bars = make("svg:path", "", svg);
  return (job) => {
    const history = list(job.history).map(number);
    const top = Math.max(1, ...history);
    const drawn = history.map((n, x) => (n > 0 ? `M${x} 24v${((-24 * n) / top).toFixed(2)}h.7V24z` : ""));
    mark(svg, "viewBox", `0 0 ${Math.max(SLOTS, history.length) - 0.3} 24`);
    mark(bars, "d", drawn.join(""));
  };
}

function buildCounters(node) {
  const box = make("div", "gm-counters", node);
  const counters = ["done", "in flight", "queued", "retries", "failed"].map((label) => {
    const cell = make("div", "gm-counter", box, { "data-count": label });
    const term = make("div", "gm-term", cell);
    return [label, cell, term, make("div", "gm-number", cell)];
  });
  return (job) => {
    const ended = ENDED.has(job.state);
    for (const [label, cell, term, value] of counters) {
      const n = ended && label === "queued" ? unsentRows(job) : number(job[label.replace(" ", "_")]);
      say(term, (ended && ENDED_WORDS[label]) || label);
      say(value, exact(n));
      mark(cell, "data-zero", n === 0 ? "true" : null);
    }
  };
}

function buildQuiet(node) {
  const reasons = make("div", "gm-quiet", node);
  const message = make("div", "gm-quiet gm-message", node);
  return (job) => {
    const retries = reasonWords("Retries", job.retries, job.retry_reasons);
    const failures = reasonWords("Failures", job.failed, job.failures);
    name(reasons, joined(retries, failures) || "No retries, no failures");
    name(message, text(job.last_message));
    show(message, Boolean(job.last_message));
  };
}

function reasonWords(label, total, pairs) {
  if (!(number(total) > 0)) return "";
  const words = list(pairs).map((pair) => `${text(list(pair)[0])} ${exact(number(list(pair)[1]))}`);
  return `${label}: ${words.join(", ") || exact(total)}`;
}

// The whole panel.

/** Who sent the requests, if it was more than one; the most first. */
function originWords(origins) {
  if (!Array.isArray(origins) || origins.length < 2) return "";
  const said = origins.slice(0, 4).map(([who, requests]) => `${who} ${exact(number(requests))}`);
  if (origins.length > said.length) said.push(`${origins.length - said.length} others`);
  return ` (${said.join(", ")})`;
}

function sessionWords(session) {
  if (!session) return "";
  const requests = number(session.requests);
  const parts = [`${exact(requests)} ${requests === 1 ? "request" : "requests"}${originWords(session.origins)}`];
  for (const key of ["refused", "retries"]) {
    if (number(session[key]) > 0) parts.push(`${exact(session[key])} ${key}`);
  }
  const budget = isNumber(session.budget) ? ` of ${money(session.budget)} budget` : "";
  parts.push(money(session.cost, session.cost_known) + budget);
  parts.push(`${count(number(session.tokens_in))} tokens in, ${count(number(session.tokens_out))} out`);
  return parts.join(" · ");
}

/** Announce that a job changed its state: to a screen reader a tick is noise, a state is news. */
function buildNews(parent) {
  const node = make("div", "gm-news", parent, { role: "status", "aria-live": "polite" });
  let states = null;
  return (jobs) => {
    const now = new Map(jobs.map((job) => [job.id, job]));
    const changed = states === null ? [] : jobs.filter((job) => states.get(job.id)?.state !== job.state);
    if (changed.length > 0) {
      say(node, changed.map((job) => `${text(job.title)}: ${text(job.state)}${job.reason ? `, ${text(job.reason)}` : ""}`).join(". "));
    }
    states = now;
  };
}

function build(el, send) {
  const root = make("div", "gpt-magics", el);
  const card = make("div", "gm-card", root, { role: "group", "aria-label": "Rate limits and spend" });
  const body = make("div", "gm-body", card);
  const lanes = make("div", "gm-lanes", body);
  const jobs = make("div", "gm-jobs", body);
  const foot = make("div", "gm-foot", card);
  const session = make("span", "", foot);
  const silence = make("span", "gm-silence", foot);
  const updateLanes = keyed(lanes, (lane) => `${lane.server}\n${lane.model}`, buildLane);
  const updateJobs = keyed(jobs, (job) => job.id, (parent, job) => buildJob(parent, job, send));
  const announce = buildNews(card);
  let [heard, live] = [Date.now(), false];
  function update(snapshot) {
    const view = { lanes: list(snapshot?.lanes), jobs: list(snapshot?.jobs) };
    const controls = snapshot?.controls !== false;
    [heard, live] = [Date.now(), view.jobs.some((job) => job.state === "running")];
    mark(card, "data-compact", snapshot?.compact ? "true" : null);
    mark(card, "data-layout", view.lanes.length === 1 && view.jobs.length === 1 ? "side" : "stack");
    show(lanes, view.lanes.length > 0);
    show(jobs, view.jobs.length > 0);
    show(body, view.lanes.length + view.jobs.length > 0);
    updateLanes(view.lanes);
    updateJobs(view.jobs.map((job) => ({ ...job, controls })));
    say(session, sessionWords(snapshot?.session) ? `Session: ${sessionWords(snapshot.session)}` : "Nothing sent yet");
    announce(view.jobs);
    watch();
  }
  /** A picture that no longer changes must say so: the kernel may be gone. */
  function watch() {
    const silent = (Date.now() - heard) / 1000;
    const stale = live && silent > STALE_AFTER_S;
    say(silence, stale ? `No news from the kernel for ${duration(Math.floor(silent))}` : "");
    mark(card, "data-stale", stale ? "true" : null);
  }
  return { root, update, watch };
}

function render({ model, el }) {
  const send = (job, action) => model.send({ type: "command", job, action });
  const { root, update, watch } = build(el, send);
  const onChange = () => update(model.get("snapshot"));
  model.on("change:snapshot", onChange);
  onChange();
  const timer = setInterval(watch, 1000);
  return () => {
    clearInterval(timer);
    model.off("change:snapshot", onChange);
    root.remove();
  };
}

export default { render };
