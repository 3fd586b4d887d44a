"use strict";
// Shows what the page's data hold. Places things on the screen; computes no
// value, formula, gradient or check.
const D = JSON.parse(document.getElementById("data").textContent);
const W = JSON.parse(document.getElementById("words").textContent);
const A = D.about;
// Five characters a number: 30 bits, of which the lower 18 are five digits and
// the upper 12 a power of ten. What is no number is null.
const DIGITS = new Map([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"].map((c, i) => [c, i]));
const unpack = text => {
  const all = [];
  for (let i = 0; i < text.length; i += 5) {
    let bits = 0;
    for (let k = i; k < i + 5; k++) bits = bits * 64 + DIGITS.get(text[k]);
    const power = bits >> 18;
    all.push(power === 4095 ? null : Number((bits & 0x3ffff) - 131072 + "e" + (power - 1024)));
  }
  return all;
};
const inTurn = (text, names) => { const flat = unpack(text), all = []; for (let i = 0; i < flat.length; i += names.length) all.push(Object.fromEntries(names.map((n, k) => [n, flat[i + k]]))); return all; };
// Rows of the data as the values they are; labels follow from symbol and shape.
let begins = 0;
const V = D.values.rows.map(([symbol, formula, rows, columns, pass, role, template, step, from, of, operands, places, parts, finite, difference], id) => {
  const word = i => D.values.words[i], known = x => x === null ? undefined : x, count = rows * columns;
  const v = { id, symbol, formula: formula === 0 ? "" : formula === 1 ? symbol : formula, shape: [rows, columns], pass: word(pass), role: word(role), template: word(template), step: known(step), from: known(from) && word(from), of: known(of), begins, places: places ? places.split(";") : null, parts: parts.map(unpack), finite: unpack(finite), difference };
  const name = v.role === "product" ? "(" + symbol + ")" : symbol;
  v.labels = Array.from({ length: count }, (_, i) => count === 1 ? name : rows === 1 ? `${name}[${i + 1}]` : `${name}[${Math.floor(i / columns) + 1},${i % columns + 1}]`);
  v.operands = operands.map(flat => { const all = []; for (let i = 0; i < flat.length; i += 2) all.push([flat[i], flat[i + 1]]); return all; });
  begins += count;
  return v;
});
const LETTERS = { v: "vanishing", h: "healthy", e: "exploding" };
const seen = new Map();
// A recorded training step, read when it is first shown.
function frame(step) {
  if (seen.has(step)) return seen.get(step);
  const [loss, numbers, norms, connectivity, prediction] = D.training[step];
  const f = { step, loss, numbers: unpack(numbers), connectivity: unpack(connectivity), prediction: unpack(prediction) };
  f.norms = norms.map(([text, letters], k) => {
    const [layer, reverse, state, first, count] = D.norms[k], [factor, crossed_after, ...flat] = unpack(text), steps = [];
    for (let i = 0; i < flat.length; i += 4) steps.push({ step: first + i / 4 + 1, norm: flat[i], from_loss: flat[i + 1], from_next: flat[i + 2], factor: flat[i + 3], verdict: LETTERS[letters[i / 4 + 1]] });
    return { layer, reverse, state, count, factor, crossed_after, verdict: LETTERS[letters[0]], steps };
  });
  seen.set(step, f);
  return f;
}
const CURVES = D.landscape.map(c => ({ ...c, points: inTurn(c.points, ["w", "loss"]), balls: c.balls.map(b => inTurn(b, ["w", "loss"])), path: inTurn(c.path, ["w", "loss"]) }));
const $ = id => document.getElementById(id);
const S = { lang: (navigator.language || "en").startsWith("ja") ? "ja" : "en", frame: 0, step: 0, pass: "forward", held: null, timer: 0, weight: 0, roll: -1 };
const w = (k, o = {}) => Object.entries(o).reduce((t, [n, v]) => t.replaceAll("{" + n + "}", v), W[k][S.lang]);
const el = (tag, cls, html) => { const e = document.createElement(tag); if (cls) e.className = cls; if (html !== undefined) e.innerHTML = html; return e; };
const esc = s => String(s).replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
// h_l0^2 with its index below and its step above.
const math = s => esc(s).replace(/\^([0-9]+)/g, "<sup>$1</sup>").replace(/_([a-z0-9]+)((?:_[a-z0-9]+)?)/gi, (m, a, b) => "<sub>" + a + b.replace("_", ",") + "</sub>");
const num = x => {
  if (x === null || x === undefined) return "–";
  if (x === 0) return "0";
  const t = Math.abs(x) < 1e-4 || Math.abs(x) >= 1e6 ? x.toExponential(4).replace(/\.?0*e/, "e") : String(Number(x.toPrecision(5)));
  return t.replaceAll("-", "−");
};
const F = () => frame(S.frame);
const at = (v, i) => F().numbers[V[v].begins + i];
const stop = () => { clearInterval(S.timer); S.timer = 0; document.querySelectorAll("[data-play]").forEach(b => b.classList.remove("on")); document.querySelectorAll(".now").forEach(e => e.classList.remove("now")); };

function texts() {
  document.documentElement.lang = S.lang;
  document.title = w("title");
  document.querySelectorAll("[data-w]").forEach(e => { e.textContent = w(e.dataset.w); });
  const sizes = { l: A.layers, h: A.hidden };
  const parts = [A.cell.toUpperCase(), w(A.layers === 1 ? "one_layer" : "layers", sizes)];
  if (A.bidirectional) parts.push(w("both_directions"));
  parts.push(w("bias_" + A.bias), w("is_" + A.configuration.replaceAll("-", "_")));
  $("network").textContent = parts.join(w("comma"));
  $("notes").innerHTML = A.notes.map(n => `<p>${esc(w(n.key, n.values))}</p>`).join("");
  document.querySelectorAll("[data-label]").forEach(e => e.setAttribute("aria-label", w(e.dataset.label)));
}
function tiles() {
  const join = a => a.map(num).join(" ");
  const rows = A.readable ? [["t_input", "[" + A.input.map(join).join(A.input[0].length > 1 ? ", " : " ") + "] → " + join(A.target)], ["t_prediction", join(F().prediction)]] : [["t_params", String(A.parameters)]];
  rows.push(["t_loss", num(F().loss)]);
  if (D.check) rows.push(["t_check", D.check.largest.toExponential(1)]);
  $("tiles").innerHTML = rows.map(([k, v]) => `<div><dt>${w(k)}</dt><dd>${esc(v)}</dd></div>`).join("");
}

// The network: places come from the data, in columns and rows.
function sketch() {
  if (!A.readable) return;
  const G = D.sketch, cw = 128, rh = 76, bw = 74, bh = 34;
  const nodes = G.nodes.map(([id, column, row]) => ({ id, column, row, ...V[id] }));
  const X = n => 58 + n.column * cw, Y = n => 30 + n.row * rh;
  let s = `<svg role="group" width="${116 + G.columns * cw}" height="${G.rows * rh}" aria-label="${esc(w("network"))}"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="var(--soft)"/></marker></defs>`;
  const by = new Map(nodes.map(n => [n.id, n]));
  let labels = "";
  for (const [from, to] of G.wires) {
    const a = by.get(from), b = by.get(to);
    let x1 = X(a), y1 = Y(a), x2 = X(b), y2 = Y(b);
    if (a.row === b.row) { const d = x2 > x1 ? 1 : -1; x1 += d * bw / 2; x2 -= d * (bw / 2 + 2); }
    else { const d = y2 > y1 ? 1 : -1; y1 += d * bh / 2; y2 -= d * (bh / 2 + 2); }
    const bend = a.row === b.row && Math.abs(a.column - b.column) > 1 ? 34 : 0;
    s += `<path class="wire" marker-end="url(#arrow)" d="M${x1} ${y1}Q${(x1 + x2) / 2} ${(y1 + y2) / 2 + bend} ${x2} ${y2}"/>`;
    const p = a.row === b.row ? .5 : .38;
    labels += `<text class="wlabel" x="${x1 + (x2 - x1) * p}" y="${y1 + (y2 - y1) * p + (a.row === b.row ? -7 : 3)}">${V[from].shape[0]} × ${V[from].shape[1]}</text>`;
  }
  s += labels;
  for (const n of nodes) s += `<g class="node ${n.role}" tabindex="0" role="button" data-v="${n.id}" aria-label="${esc(n.symbol)}"><rect x="${X(n) - bw / 2}" y="${Y(n) - bh / 2}" width="${bw}" height="${bh}" rx="9"/><text x="${X(n)}" y="${Y(n)}">${svgmath(n.symbol)}</text></g>`;
  $("sketch").innerHTML = s + "</svg>";
}
const svgmath = s => esc(s).replace(/\^([0-9]+)/g, '<tspan dy="-6" font-size="10">$1</tspan>').replace(/_([a-z0-9]+)/gi, '<tspan dy="4" font-size="10">$1</tspan><tspan dy="-4"> </tspan>');

function value(v) {
  const same = v.formula === v.symbol || !v.formula;
  const tag = v.from && v.role === "share" ? ` <span class="tag">${w("from_" + v.from)}</span>` : "";
  const box = el("div", "value " + v.pass, `<div class="f"><b>${math(v.symbol)}</b>${same ? "" : " = " + math(v.formula)}<span class="dim">${v.shape[0]} × ${v.shape[1]}</span>${tag}</div>`);
  box.dataset.box = v.id;
  const m = el("div", "mat");
  m.style.gridTemplateColumns = `repeat(${v.shape[1]}, auto)`;
  v.labels.forEach((label, i) => {
    const b = el("button", "num", num(at(v.id, i)));
    b.dataset.n = v.id + ":" + i;
    b.setAttribute("aria-label", label + " = " + b.textContent);
    m.append(b);
  });
  box.append(m);
  return box;
}
function place(t) { return t === undefined ? w("whole") : t === 0 || t > A.steps ? w("before") : w("step_n", { n: t }); }
function numbers() {
  if (!A.readable) return;
  const given = $("given"), list = $("list");
  given.replaceChildren(...V.filter(v => v.pass === "given" && !v.symbol.endsWith("°")).map(value));
  list.replaceChildren();
  let last = null, row = null;
  for (const v of V) {
    if (v.pass !== S.pass) continue;
    if (S.step && v.step !== undefined && v.step !== S.step) continue;
    const here = S.pass === "update" ? "" : place(v.step);
    if (here !== last) { last = here; if (here) list.append(el("h3", "", here)); row = el("div", "values"); list.append(row); }
    row.append(value(v));
  }
  document.querySelectorAll("[data-pass]").forEach(b => { b.classList.toggle("on", b.dataset.pass === S.pass); b.setAttribute("aria-pressed", b.dataset.pass === S.pass); });
  mark();
}
function light(v, i) {
  document.querySelectorAll(".lit,.held").forEach(e => e.classList.remove("lit", "held"));
  if (v === undefined) return;
  for (const [a, k] of V[v].operands[i] || []) {
    document.querySelectorAll(`[data-n="${a}:${k}"]`).forEach(e => e.classList.add("lit"));
    document.querySelectorAll(`.node[data-v="${a}"]`).forEach(e => e.classList.add("lit"));
  }
  document.querySelectorAll(`[data-n="${v}:${i}"]`).forEach(e => e.classList.add("held"));
}
// A formula with what `show` makes of its operands; of those that stand alone in
// brackets, what `inside` makes of them.
function fill(v, i, show, inside = show) {
  const ops = V[v].operands[i];
  if (!ops.length) return "0";
  const marked = math(V[v].template.replace(/\{(\d+)\}/g, (m, k) => "\u0001" + k + "\u0002"));
  return marked.replace(/\(\u0001(\d+)\u0002\)/g, (m, k) => "(" + inside(ops[k]) + ")").replace(/\u0001(\d+)\u0002/g, (m, k) => show(ops[k]));
}
function inspect(v, i) {
  const x = V[v], box = $("inspector"), n = at(v, i);
  const number = ([a, k]) => num(at(a, k)), signed = o => { const t = number(o); return t.startsWith("−") ? "(" + t + ")" : t; };
  let s = `<div class="sym">${math(x.labels[i])}</div>`;
  if (x.operands[i].length || x.formula) {
    s += `<div class="formula"><span class="eq">=</span> ${fill(v, i, ([a, k]) => math(V[a].labels[k]))}<br><span class="eq">=</span> ${fill(v, i, signed, number)}`;
    if (S.frame === 0 && x.parts[i] && x.parts[i].length) s += `<br><span class="eq">=</span> ${x.parts[i].map(num).join(" + ")}`;
    s += `<br><span class="eq">=</span> <b>${num(n)}</b></div>`;
    if (x.operands[i].length) {
      const seen = new Set(), ops = x.operands[i].filter(o => !seen.has(o + "") && seen.add(o + ""));
      s += `<h3>${w("operands")}</h3><div class="chips">${ops.map(([a, k]) => `<button class="chip" data-go="${a}:${k}">${math(V[a].labels[k])} = ${num(at(a, k))}</button>`).join("")}</div>`;
    }
  } else s += `<div class="formula">${w("is_given")} <b>${num(n)}</b></div>`;
  if (x.finite.length && S.frame === 0) s += `<h3>${w("finite")}</h3><div class="formula">${x.finite[i] === null ? w("kink") : num(x.finite[i])} <span class="dim">${w("apart")} ${x.difference.toExponential(1)}</span></div>`;
  if (x.places) s += `<h3>${w("in_file")}</h3><div class="formula"><code>${esc(x.places[i])}</code></div>`;
  const g = V.find(y => y.of === v && y.role === "gradient");
  if (g) s += `<h3>${w("gradient_is")}</h3><div class="chips"><button class="chip" data-go="${g.id}:${i}">${math(g.labels[i])} = ${num(at(g.id, i))}</button></div>`;
  if (S.held) s += `<p></p><button class="btn" data-release>${w("release")}</button>`;
  box.innerHTML = s;
}
function mark() {
  if (S.held) { light(...S.held); inspect(...S.held); }
  else { light(); $("inspector").innerHTML = `<p class="soft">${w("inspect_none")}</p>`; }
}
function go(v, i) {
  const x = V[v];
  S.held = [v, i];
  if (x.pass !== "given") { S.pass = x.pass; if (S.step && x.step !== undefined && x.step !== S.step) { S.step = x.step > 0 && x.step <= A.steps ? x.step : 0; $("step").value = S.step; stepText(); } }
  numbers();
  const b = document.querySelector(`[data-n="${v}:${i}"]`);
  if (b) { b.scrollIntoView({ block: "center", behavior: "smooth" }); b.focus({ preventScroll: true }); }
}
function play(pass) {
  const on = S.timer && S.playing === pass;
  stop();
  if (on) return;
  S.playing = pass; S.pass = pass; S.held = null; S.step = 0; $("step").value = 0; stepText(); numbers();
  document.querySelector(`[data-play="${pass}"]`).classList.add("on");
  const all = V.filter(v => v.pass === pass);
  let k = 0;
  const tick = () => {
    document.querySelectorAll(".now").forEach(e => e.classList.remove("now"));
    if (k >= all.length) { stop(); return; }
    const v = all[k++], of = v.of !== undefined ? v.of : v.id;
    document.querySelectorAll(`[data-box="${v.id}"],.node[data-v="${of}"]`).forEach(e => e.classList.add("now"));
    light(v.id, 0); inspect(v.id, 0);
  };
  S.timer = setInterval(tick, 450); tick();
}

const colour = (x, [lo, hi]) => { const most = Math.max(Math.abs(lo), Math.abs(hi)) || 1; return `rgba(var(--${x < 0 ? "neg" : "pos"}),${(Math.abs(x) / most * .85).toFixed(3)})`; };
const layerName = h => math(h.name) + (A.layers > 1 ? " · l" + h.layer : "") + (A.bidirectional ? (h.reverse ? " ←" : " →") : "");
function heat() {
  const box = $("heats");
  box.replaceChildren();
  for (const h of D.heat) {
    const saturated = h.percent === null ? "" : w("saturated", { p: num(h.percent) });
    const d = el("div", "heat", `<h4>${layerName(h)} <small>${saturated}</small></h4>`);
    if (A.readable) {
      const g = el("div", "cells scroll");
      g.style.gridTemplateColumns = `repeat(${h.steps}, auto)`;
      for (let u = 0; u < h.units; u++) h.ids.forEach(id => {
        const b = el("button", "", num(at(id, u)));
        b.dataset.n = id + ":" + u; b.style.background = colour(at(id, u), h.span);
        b.setAttribute("aria-label", V[id].labels[u] + " = " + b.textContent);
        g.append(b);
      });
      d.append(g);
    } else {
      const flat = unpack(h.cells), steps = flat.length / h.shown;
      d.append(canvas(steps, h.shown, (t, u) => flat[t * h.shown + u], h.span, layerName(h), t => stepName(h.first + t + 1), u => "[" + (u + 1) + "]"));
      if (steps < h.steps || h.shown < h.units) d.append(el("div", "soft", w("part", { a: h.first + 1, b: h.steps, u: h.shown, n: h.units })));
    }
    box.append(d);
  }
}
const stepName = t => w("step_n", { n: t }) + (A.step_names[t - 1] ? " (" + esc(A.step_names[t - 1]) + ")" : "");
// A row for each prediction, a column for each step of the input.
function connectivity() {
  const now = F().connectivity, c = D.connectivity, flat = now.length ? now : frame(0).connectivity, steps = flat.length / c.outputs.length, span = [0, c.largest];
  const name = t => stepName(c.first + t + 1);
  if (A.readable) {
    const head = Array.from({ length: steps }, (_, t) => `<th>${A.configuration === "one-to-many" ? "v" : math("x^" + (t + 1))}</th>`).join("");
    const rows = c.outputs.map((o, k) => `<tr><td>${math(o)}</td>${Array.from({ length: steps }, (_, t) => { const x = flat[k * steps + t]; return `<td style="background:${colour(x, span)}">${num(x)}</td>`; }).join("")}</tr>`).join("");
    $("connect").innerHTML = `<div class="card scroll" tabindex="0"><table><thead><tr><th></th>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
  } else {
    $("connect").replaceChildren(canvas(steps, c.outputs.length, (t, k) => flat[k * steps + t], span, w("connect"), name, k => c.outputs[k]));
  }
  if (c.beside) {
    const flat = unpack(c.beside.rows), count = c.beside.count;
    $("beside").replaceChildren(canvas(count, c.outputs.length, (i, k) => flat[k * count + i], [0, c.beside.largest], w("beside"), i => esc(c.beside.names[i] || "u[" + (i + 1) + "]"), k => c.outputs[k]));
  }
  $("connect_note").textContent = w("connect_note") + (now.length && D.training.length > 1 && A.readable ? "" : " " + w("connect_first"));
}
function canvas(steps, units, get, span, name, stepText, unitText) {
  const c = el("canvas"), css = getComputedStyle(document.documentElement);
  c.width = steps; c.height = units;
  c.style.width = Math.max(180, Math.min(560, steps * 9)) + "px"; c.style.height = Math.max(24, Math.min(300, units * 7)) + "px";
  const g = c.getContext("2d");
  for (let t = 0; t < steps; t++) for (let u = 0; u < units; u++) { g.fillStyle = colour(get(t, u), span).replace(/var\((--\w+)\)/, (m, v) => css.getPropertyValue(v)); g.fillRect(t, u, 1, 1); }
  c.setAttribute("role", "img"); c.setAttribute("aria-label", name.replace(/<[^>]+>/g, ""));
  const tip = el("div", "soft tip", "&nbsp;");
  c.onpointermove = e => { const b = c.getBoundingClientRect(), t = Math.max(0, Math.min(steps - 1, Math.floor((e.clientX - b.left) / b.width * steps))), u = Math.max(0, Math.min(units - 1, Math.floor((e.clientY - b.top) / b.height * units))); tip.innerHTML = `${stepText(t)}, ${math(unitText(u))}: ${num(get(t, u))}`; };
  const d = el("div"); d.append(c, tip);
  return d;
}
function norms() {
  const box = $("norms");
  box.replaceChildren();
  for (const n of F().norms) {
    const v = x => `<span class="${x === "healthy" ? "ok" : "bad"}">${w(x)}</span>`;
    box.append(el("h3", "", `dL/d${layerName({ ...n, name: n.state })}: ${v(n.verdict)}`));
    if (n.steps.length > 24) {
      const line = (name, ink) => ({ name: w(name === "from_loss" ? "part_here" : name), ink, points: n.steps.filter(s => s[name] > 0).map(s => [s.step, s[name]]) });
      const card = el("div", "card");
      card.innerHTML = plot([line("norm", "--accent"), line("from_loss", "--upd"), line("from_next", "--back")], [], "t", w("norm"), { log: true });
      box.append(card);
    } else {
      const most = Math.max(...n.steps.map(s => Math.max(s.norm, s.from_loss, s.from_next))) || 1;
      const bar = (x, c) => `<span class="bar" style="width:${(x / most * 90).toFixed(1)}px;background:var(${c})"></span> ${num(x)}`;
      const rows = n.steps.map(s => `<tr><td>${s.step}</td><td class="l">${bar(s.norm, "--accent")}</td><td class="l">${bar(s.from_loss, "--upd")}</td><td class="l">${bar(s.from_next, "--back")}</td><td>${s.factor === null ? "–" : "× " + num(s.factor)}</td><td>${v(s.verdict)}</td></tr>`).join("");
      const card = el("div", "card scroll", `<table><thead><tr><th>t</th><th class="l">${w("norm")}</th><th class="l">${w("part_here")}</th><th class="l">${w("from_next")}</th><th>${w("factor")}</th><th>${w("verdict")}</th></tr></thead><tbody>${rows}</tbody></table>`);
      card.tabIndex = 0;
      box.append(card);
    }
    box.append(el("p", "soft", n.crossed_after === null ? w("why_none") : w("why", { f: num(n.factor), n: n.crossed_after })));
  }
}

// Lines and marks, upwards from `from`; `log` puts the powers of ten at equal
// distances.
function plot(series, marks, xlab, ylab, { log, from } = {}) {
  const Wd = 640, H = 300, l = 88, r = 16, t = 16, b = 38;
  const pts = series.flatMap(s => s.points).concat(marks);
  const xs = pts.map(p => p[0]), ys = pts.map(p => p[1]);
  const x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = from === undefined ? Math.min(...ys) : from, y1 = Math.max(...ys);
  const up = log ? Math.log10 : y => y;
  const X = x => l + (x - x0) / ((x1 - x0) || 1) * (Wd - l - r), Y = y => H - b - (up(y) - up(y0)) / ((up(y1) - up(y0)) || 1) * (H - t - b);
  let s = `<svg class="plot" viewBox="0 0 ${Wd} ${H}" role="img" aria-label="${esc(ylab)}, ${esc(xlab)}"><path d="M${l} ${t}V${H - b}H${Wd - r}" fill="none" stroke="var(--line)"/>`;
  if (!pts.length) return s + "</svg>";
  s += `<text x="${l}" y="${H - b + 17}">${num(x0)}</text><text x="${Wd - r}" y="${H - b + 17}" text-anchor="end">${num(x1)}</text><text x="${(l + Wd - r) / 2}" y="${H - 5}" text-anchor="middle">${esc(xlab)}</text><text x="${l - 6}" y="${H - b}" text-anchor="end">${num(y0)}</text><text x="${l - 6}" y="${t + 8}" text-anchor="end">${num(y1)}</text><text x="${l + 6}" y="${t + 8}">${esc(ylab)}</text>`;
  for (const q of series) s += `<path d="M${q.points.map(p => X(p[0]).toFixed(1) + " " + Y(p[1]).toFixed(1)).join("L")}" fill="none" stroke="var(${q.ink})" stroke-width="${q.wide || 2}" ${q.dots ? 'stroke-dasharray="2 4" stroke-linecap="round"' : ""}/>`;
  for (const m of marks) s += `<circle cx="${X(m[0]).toFixed(1)}" cy="${Y(m[1]).toFixed(1)}" r="${m[3] || 5}" fill="var(${m[2]})" stroke="var(--card)" stroke-width="1.5"/>` + (m[4] ? `<text x="${Math.max(l + 40, Math.min(Wd - 60, X(m[0])))}" y="${Y(m[1]) + (Y(m[1]) > H - 90 ? -10 : 18)}" text-anchor="middle">${esc(m[4])}</text>` : "");
  const keys = series.filter(q => q.name).map(q => `<span style="color:var(${q.ink})">━</span> ${esc(q.name)}`).join(" &nbsp; ");
  return s + "</svg>" + (keys ? `<div class="soft">${keys}</div>` : "");
}
function landscape() {
  if (!A.readable) return;
  const c = CURVES[S.weight], p = q => [q.w, q.loss];
  const marks = c.turns.map(t => [...p(t), "--soft", 4, t.global ? w(t.minimum ? "lowest" : "highest") : w(t.minimum ? "minimum" : "maximum")]);
  const k = S.roll;
  c.balls.forEach((b, i) => marks.push([...p(b[k < 0 ? 0 : Math.min(k, b.length - 1)]), i ? "--back" : "--upd", 8]));
  if (c.path[S.frame]) marks.push([...p(c.path[S.frame]), "--accent", 5]);
  $("landscape").innerHTML = plot([{ points: c.points.map(p), ink: "--ink" }, { points: c.path.map(p), ink: "--accent", dots: 1 }], marks, `${c.symbol} · ${c.name}`, "L");
}
function losses() { $("losses").innerHTML = plot([{ points: D.training.map(([loss], step) => [step, loss]), ink: "--accent" }], [[F().step, F().loss, "--back", 5]], w("train_step"), "L", { from: 0 }); }
function tables() {
  $("shapes").innerHTML = `<table><thead><tr><th>${w("name")}</th><th class="l">${w("shape")}</th><th class="l">${w("letters")}</th><th class="l">${w("symbols")}</th></tr></thead><tbody>` + D.shapes.map(s => `<tr><td><code>${esc(s.name)}</code></td><td class="l">${s.shape.join(" × ")}</td><td class="l">${esc(s.letters)}</td><td class="l">${s.symbols.map((name, i) => math(name) + (s.rows ? ` <span class="dim">${w("rows", { a: s.rows[i][0], b: s.rows[i][1] })}</span>` : "")).join(" &nbsp;")}</td></tr>`).join("") + "</tbody></table>";
  if (D.check) $("check_note").textContent = w("check_note", { n: D.check.numbers, s: D.check.step, at: D.check.at, d: D.check.largest.toExponential(1), m: D.check.smallest, k: D.check.skipped });
}
// What the answers are for this network.
function answers() {
  const here = (q, text) => { document.querySelector(`#${q} .here`).innerHTML = text; };
  const size = name => D.shapes.find(s => s.name === name).shape.join(" × ");
  here("q1", w("a1_here", { i: size("input"), o: size("output"), h: size("h_0"), n: size("h_n") }));
  const row = ids => `[${ids.map(id => math(V[id].symbol)).join(" ")}] = [${ids.flatMap(id => V[id].labels.map((_, i) => num(at(id, i)))).join(" ")}]`;
  here("q2", A.readable ? w(A.bidirectional ? "a2_both" : "a2_one", { h: row(D.ends.h_n), o: row(D.ends.output) }) : "");
  const stacked = D.shapes.filter(s => s.rows && /weight_ih/.test(s.name));
  here("q3", stacked.length ? w("a3_here") + " " + stacked.map(s => `<code>${esc(s.name)}</code>: ` + s.symbols.map((name, i) => `${w("rows", { a: s.rows[i][0], b: s.rows[i][1] })} ${math(name)}`).join(", ")).join("; ") : A.cell === "rnn" ? w("a3_rnn") : "");
  here("q4", F().norms.filter(n => n.factor !== null).map(n => w("a4_here", { s: `dL/d${layerName({ ...n, name: n.state })}`, f: num(n.factor), v: w(n.verdict) })).join(" "));
}
function stepText() { $("step_out").textContent = S.step ? S.step : w("all_steps"); }
function all() { texts(); tiles(); sketch(); numbers(); heat(); connectivity(); norms(); landscape(); losses(); tables(); answers(); if (A.readable) stepText(); }

document.addEventListener("pointerover", e => {
  if (S.timer) return;
  const b = e.target.closest("[data-n]");
  if (b && !S.held) { const [v, i] = b.dataset.n.split(":").map(Number); light(v, i); inspect(v, i); }
});
document.addEventListener("focusin", e => { const b = e.target.closest("[data-n]"); if (b && !S.held && !S.timer) { const [v, i] = b.dataset.n.split(":").map(Number); light(v, i); inspect(v, i); } });
document.addEventListener("click", e => {
  const q = s => e.target.closest(s);
  let b;
  if ((b = q("[data-n]"))) { stop(); const [v, i] = b.dataset.n.split(":").map(Number); S.held = S.held && S.held[0] === v && S.held[1] === i ? null : [v, i]; if (b.closest("#heats") && S.held) go(v, i); else mark(); }
  else if ((b = q("[data-go]"))) { stop(); go(...b.dataset.go.split(":").map(Number)); }
  else if ((b = q("[data-v]"))) { stop(); go(Number(b.dataset.v), 0); }
  else if (q("[data-release]")) { S.held = null; mark(); }
  else if ((b = q("[data-pass]"))) { stop(); S.pass = b.dataset.pass; numbers(); }
  else if ((b = q("[data-play]"))) play(b.dataset.play);
  else if (q("#lang")) { S.lang = S.lang === "en" ? "ja" : "en"; all(); }
  else if (q("#theme")) { const r = document.documentElement, dark = r.dataset.theme ? r.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches; r.dataset.theme = dark ? "light" : "dark"; heat(); connectivity(); }
  else if (q("#copy")) { navigator.clipboard && navigator.clipboard.writeText(D.code); $("copy").textContent = w("copied"); setTimeout(() => { $("copy").textContent = w("copy"); }, 1500); }
  else if (q("#roll")) { clearInterval(S.rolling); S.roll = 0; const most = Math.max(...CURVES[S.weight].balls.map(x => x.length)); S.rolling = setInterval(() => { S.roll++; landscape(); if (S.roll >= most) clearInterval(S.rolling); }, 90); landscape(); }
});
document.addEventListener("keydown", e => {
  const b = e.target.closest && e.target.closest(".node");
  if (b && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); go(Number(b.dataset.v), 0); }
  if (e.key === "Escape") { stop(); S.held = null; if (A.readable) mark(); }
});
if (A.readable) {
  $("step").oninput = e => { S.step = Number(e.target.value); stepText(); numbers(); };
  $("weight").innerHTML = CURVES.map((c, i) => `<option value="${i}">${esc(c.symbol)} · ${esc(c.name)}</option>`).join("");
  // A weight whose loss has a valley, if possible the lowest place of the curve, is
  // the first to be seen.
  const valley = deepest => CURVES.findIndex(c => c.turns.some(t => t.minimum && (t.global || !deepest)));
  S.weight = Math.max(0, valley(true) < 0 ? valley(false) : valley(true));
  $("weight").value = S.weight;
  $("weight").onchange = e => { clearInterval(S.rolling); S.weight = Number(e.target.value); S.roll = -1; landscape(); };
  $("frame").oninput = e => { S.frame = Number(e.target.value); $("frame_out").textContent = S.frame; tiles(); numbers(); heat(); connectivity(); norms(); landscape(); losses(); answers(); };
}
$("codetext").textContent = D.code;
all();
