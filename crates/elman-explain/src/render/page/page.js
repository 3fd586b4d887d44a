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
const V = D.values.rows.map(([symbol, formula, rows, columns, pass, role, template, step, from, of, operands, places, parts, finite, difference, matrix], id) => {
  const word = i => D.values.words[i], known = x => x === null ? undefined : x, count = rows * columns;
  const v = { id, symbol, formula: formula === 0 ? "" : formula === 1 ? symbol : formula, shape: [rows, columns], pass: word(pass), role: word(role), template: word(template), step: known(step), from: known(from) && word(from), of: known(of), begins, places: places ? places.split(";") : null, parts: parts.map(unpack), finite: unpack(finite), difference };
  const name = v.role === "product" ? "(" + symbol + ")" : symbol;
  v.labels = Array.from({ length: count }, (_, i) => count === 1 ? name : rows === 1 && !matrix ? `${name}[${i + 1}]` : `${name}[${Math.floor(i / columns) + 1},${i % columns + 1}]`);
  v.operands = operands.map(flat => { const all = []; for (let i = 0; i < flat.length; i += 2) all.push([flat[i], flat[i + 1]]); return all; });
  begins += count;
  return v;
});
// What is no value: where its number stands, its formula, and what it is made
// from: values, each with a place, or other figures. What is not recorded at every
// training step brings its numbers.
const FIGURES = D.figures.rows.map(([path, symbol, template, operands, filled, fixed]) => ({ path: path.split("/").slice(1), symbol, template: D.figures.words[template], operands, filled, fixed }));
D.figures.outputs.forEach((y, k) => D.figures.inputs.forEach((x, t) => FIGURES.push({ path: ["connectivity", "rows", k, t], symbol: D.figures.derivative.replace("{0}", D.connectivity.outputs[k]).replace("{1}", V[x[0][0]].symbol), template: "", operands: [y, ...x] })));
const STANDS = new Map(FIGURES.map((f, k) => ["/" + f.path.join("/"), k]));
const LETTERS = { n: "no_gradient", v: "vanishing", h: "healthy", e: "exploding" };
const seen = new Map();
// A recorded training step, read when it is first shown.
function frame(step) {
  if (seen.has(step)) return seen.get(step);
  const [loss, numbers, norms, connectivity, prediction, saturated] = D.training[step];
  const shares = unpack(saturated), maps = shares.length / 2;
  const f = { step, loss, numbers: unpack(numbers), connectivity: unpack(connectivity), prediction: unpack(prediction), outside: shares.slice(0, maps), percent: shares.slice(maps) };
  f.norms = norms.map(([text, letters], k) => {
    const [layer, reverse, state, first, count, enters] = D.norms[k], [factor, crossed_after, ...flat] = unpack(text), steps = [];
    for (let i = 0; i < flat.length; i += 4) steps.push({ step: first + i / 4 + 1, norm: flat[i], from_loss: flat[i + 1], from_next: flat[i + 2], factor: flat[i + 3], verdict: LETTERS[letters[i / 4 + 1]] });
    return { layer, reverse, state, enters, count, factor, crossed_after, verdict: LETTERS[letters[0]], steps };
  });
  seen.set(step, f);
  return f;
}
const CURVES = D.landscape.map(c => ({ ...c, points: inTurn(c.points, ["w", "loss"]), balls: c.balls.map(b => inTurn(b, ["w", "loss"])), path: inTurn(c.path, ["w", "loss"]) }));
const $ = id => document.getElementById(id);
const S = { lang: (navigator.language || "en").startsWith("ja") ? "ja" : "en", frame: 0, step: 0, pass: "forward", held: null, timer: 0, weight: 0, roll: -1, trail: [] };
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
// A number as it was given: dividing and multiplying it again has left twelve digits.
const given = x => String(Number(x.toPrecision(12))).replaceAll("-", "−");
const tiny = x => x === null || x === undefined ? "–" : x.toExponential(1).replaceAll("-", "−");
const F = () => frame(S.frame);
const at = (v, i) => F().numbers[V[v].begins + i];
// The number of a figure; of an operand.
function figure(k) {
  const { path: [what, i, ...rest], fixed } = FIGURES[k], f = F();
  if (fixed !== undefined) return fixed;
  if (what === "heat") return f[rest[0]][i];
  if (what === "connectivity") { const flat = f.connectivity.length ? f.connectivity : frame(0).connectivity; return flat[rest[0] * (flat.length / D.connectivity.outputs.length) + Number(rest[1])]; }
  return rest.reduce((x, key) => x[key], f.norms[i]);
}
const read = o => o.length > 1 ? at(...o) : figure(o[0]);
// A text that tells the figure that stands at a place, where there is one.
function pointable(path, text) {
  const k = STANDS.get(path), x = k === undefined ? null : figure(k);
  return x === null ? text : `<button class="plain" data-f="${k}">${text}</button>`;
}
function texts() {
  document.documentElement.lang = S.lang;
  document.title = w(A.readable ? "title" : "large_title");
  $("intro").innerHTML = A.readable ? w("intro") : w("large_intro", { n: A.numbers, m: A.most, c: A.cell }).replace(/`([^`]+)`/g, (m, code) => `<code>${code.split(" ").map(word => `<span>${word}</span>`).join(" ")}</code>`);
  $("heat_note").textContent = w("heat_note") + " " + w("heat_ends") + (A.readable ? "" : " " + w("map_hint"));
  document.querySelectorAll("[data-w]").forEach(e => { e.textContent = w(e.dataset.w); });
  const sizes = { l: A.layers, u: w(A.hidden === 1 ? "one_unit" : "units", { h: A.hidden }) };
  const parts = [A.cell.toUpperCase(), w(A.layers === 1 ? "one_layer" : "layers", sizes)];
  if (A.bidirectional) parts.push(w("both_directions"));
  parts.push(w("bias_" + A.bias), w("is_" + A.configuration.replaceAll("-", "_")));
  $("network").textContent = parts.join(w("comma"));
  $("notes").innerHTML = A.notes.map(n => `<p>${esc(w(n.key, n.values))}</p>`).join("");
  document.querySelectorAll("[data-label]").forEach(e => e.setAttribute("aria-label", w(e.dataset.label)));
}
function tiles() {
  // A number in the units of the input; pointing at it shows the value it is of.
  const unit = (text, v, i) => `<button class="plain" data-o="${v.id}:${i}">${text}</button>`;
  const of = role => V.filter(v => v.role === role), flat = all => all.flatMap(v => v.labels.map((_, i) => [v, i]));
  const join = (numbers, places, show = given) => numbers.map((x, i) => unit(show(x), ...places[i])).join(" ");
  const rows = [];
  if (A.readable) {
    const inputs = flat(of("input")), features = A.input[0].length;
    // What a forecaster reads and predicts has a section of its own.
    const input = A.forecast ? "" : A.input.map((row, t) => join(row, inputs.slice(t * features))).join(features > 1 ? ", " : " ");
    if (!A.forecast) rows.push(["t_input", `[${input}] → ${join(A.target, flat(of("target")))}`], ["t_prediction", join(F().prediction, flat(of("prediction")), num)]);
  } else rows.push(["t_params", String(A.parameters)]);
  rows.push(["t_loss", A.readable ? `<button class="plain" data-n="${of("loss")[0].id}:0">${num(F().loss)}</button>` : num(F().loss)]);
  if (D.check) rows.push([S.frame ? "t_check_first" : "t_check", pointable("/check/largest", tiny(D.check.largest))]);
  $("tiles").innerHTML = rows.map(([k, v]) => `<div><dt>${w(k)}</dt><dd data-grid>${v}</dd></div>`).join("");
  rove($("tiles"));
}

// What a forecaster predicts, and what is known.
function outlook() {
  const f = A.forecast;
  if (!f) return;
  const first = f.known.length, last = [first, f.known[first - 1]], rows = A.target.map((y, k) => [first + k + 1, y, F().prediction[k]]);
  $("outlook_title").textContent = w("outlook", { n: f.name });
  const line = (name, ink, points, dots) => ({ name: w(name), ink, points, dots });
  plot($("outlook"), [line("known", "--soft", f.known.map((x, t) => [t + 1, x])), line("target", "--upd", [last, ...rows.map(r => [r[0], r[1]])]), line("prediction", "--back", [last, ...rows.map(r => [r[0], r[2]])], 1)], rows.flatMap(r => [[r[0], r[1], "--upd", 4], [r[0], r[2], "--back", 4]]), w("step"), f.name, { names: stepTitle });
  const flat = role => V.filter(v => v.role === role).flatMap(v => v.labels.map((_, i) => v.id + ":" + i)), places = { target: flat("target"), prediction: flat("prediction") };
  const cell = (role, k, x) => `<td>${A.readable ? `<button class="plain" data-o="${places[role][k]}">${num(x)}</button>` : num(x)}</td>`;
  $("outlook_table").innerHTML = `<div class="card scroll"><table data-grid><thead><tr><th>${w("step")}</th><th>${w("target")}, ${esc(f.name)}</th><th>${w("prediction")}, ${esc(f.name)}</th></tr></thead><tbody>${rows.map(([t, y, p], k) => `<tr data-t="${t}"><td>${t}${dated(t)}</td>${cell("target", k, y)}${cell("prediction", k, p)}</tr>`).join("")}</tbody></table></div>`;
  rove($("outlook_table"));
}
// The network: boxes, wires and labels stand where the data say. A wire that
// crosses another one is drawn over a gap in it.
const DIRECTIONS = ["", "forth", "back"];
function sketch() {
  if (!A.readable) return;
  const G = D.sketch, arrow = d => `<marker id="arrow${d}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="tip ${d}" d="M0 0L8 4L0 8z"/></marker>`;
  let s = `<svg role="group" data-grid width="${G.width}" height="${G.height}" aria-label="${esc(w("network"))}"><defs>${DIRECTIONS.map(arrow).join("")}</defs>`, labels = "";
  for (const [from, to, direction, points, at] of G.wires) {
    const d = "M" + points.map(p => p.join(" ")).join("L"), way = DIRECTIONS[direction];
    s += `<path class="gap" d="${d}"/><path class="wire ${way}" marker-end="url(#arrow${way})" d="${d}" data-from="${from}" data-to="${to}"/>`;
    if (at) labels += `<text class="wlabel" x="${at[0]}" y="${at[1]}">${V[from].shape[0]} × ${V[from].shape[1]}</text>`;
  }
  for (const [x, y] of G.joints) s += `<circle class="joint" cx="${x}" cy="${y}" r="3"/>`;
  s += labels;
  for (const [id, left, top, width, names] of G.nodes) {
    const n = V[id];
    s += `<g class="node ${n.role}" tabindex="0" role="button" data-v="${id}" data-t="${n.step}" aria-label="${esc(n.symbol)}"><rect x="${left}" y="${top}" width="${width}" height="${G.tall}" rx="9"/>${names.map(x => `<text x="${x}" y="${top}" dy="${G.tall / 2}">${svgmath(n.symbol)}</text>`).join("")}</g>`;
    if (n.role === "input" && n.step && A.step_names.length) s += `<text class="wlabel date" x="${names[0]}" y="${top}" dy="${G.tall + 10}">${esc(stepTitle(n.step))}</text>`;
  }
  $("sketch").innerHTML = s + "</svg>";
  rove($("sketch"));
  $("directions").innerHTML = A.bidirectional ? ["forth", "back"].map(d => `<span class="way ${d}"></span> ${w("way_" + d)}`).join(" &emsp; ") : "";
}
const svgmath = s => esc(s).replace(/\^([0-9]+)/g, '<tspan dy="-6" font-size="11">$1</tspan>').replace(/_([a-z0-9]+)/gi, '<tspan dy="4" font-size="11">$1</tspan><tspan dy="-4"> </tspan>');

function value(v) {
  const same = v.formula === v.symbol || !v.formula;
  const tag = v.from && v.role === "share" ? ` <span class="tag">${w("from_" + v.from)}</span>` : "";
  const box = el("div", "value " + v.pass, `<div class="f"><b>${math(v.symbol)}</b>${same ? "" : " = " + math(v.formula)}<span class="dim">${v.shape[0]} × ${v.shape[1]}</span>${v.role === "input" && v.step ? dated(v.step) : ""}${tag}</div>`);
  box.dataset.box = v.id;
  const m = el("div", "mat");
  m.dataset.grid = v.shape[1];
  const axis = called(v), rows = axis && axis.way === "rows", name = text => { const e = el("span", "axis"); e.textContent = text; m.append(e); };
  m.style.gridTemplateColumns = `${rows ? "auto " : ""}repeat(${v.shape[1]}, auto)`;
  if (axis && !rows) axis.names.forEach(name);
  v.labels.forEach((label, i) => {
    if (rows && i % v.shape[1] === 0) name(axis.names[i / v.shape[1]]);
    const b = el("button", "num", num(at(v.id, i)));
    b.dataset.n = v.id + ":" + i;
    b.setAttribute("aria-label", label + " = " + b.textContent);
    m.append(b);
  });
  box.append(m);
  return box;
}
function place(t) { return t === undefined ? w("whole") : t === 0 || t > A.steps ? w("before") : stepName(t); }
function numbers() {
  if (!A.readable) return;
  const given = $("given"), list = $("list");
  given.replaceChildren(...V.filter(v => v.pass === "given").map(value));
  list.replaceChildren();
  let last = null, row = null;
  for (const v of V) {
    if (v.pass !== S.pass) continue;
    if (S.step && v.step !== undefined && v.step !== S.step) continue;
    const here = S.pass === "update" ? "" : place(v.step);
    if (here !== last) { last = here; if (here) list.append(el("h3", "", here)); row = el("div", "values"); list.append(row); }
    row.append(value(v));
  }
  document.querySelectorAll(".mat").forEach(shade);
  rove(given); rove(list);
  atStep();
  document.querySelectorAll("[data-pass]").forEach(b => { b.classList.toggle("on", b.dataset.pass === S.pass); b.setAttribute("aria-pressed", b.dataset.pass === S.pass); });
  mark();
}
// The step that the slider has chosen, wherever it is drawn.
function atStep() { document.querySelectorAll("[data-t]").forEach(e => e.classList.toggle("at", S.step > 0 && Number(e.dataset.t) === S.step)); }
// An operand that can be lit: a figure that is not on the page by what it is made
// from.
const drawn = o => o.length > 1 || document.querySelector(`[data-f="${o[0]}"]`) ? [o] : FIGURES[o[0]].operands.flatMap(drawn);
function light(operands = [], held) {
  document.querySelectorAll(".lit,.held").forEach(e => e.classList.remove("lit", "held"));
  for (const [a, k] of operands.flatMap(drawn)) {
    if (k === undefined) { document.querySelectorAll(`[data-f="${a}"]`).forEach(e => e.classList.add("lit")); continue; }
    document.querySelectorAll(`[data-n="${a}:${k}"],[data-o="${a}:${k}"]`).forEach(e => e.classList.add("lit"));
    document.querySelectorAll(`.node[data-v="${a}"]`).forEach(e => e.classList.add("lit"));
  }
  if (held) document.querySelectorAll(`[data-n="${held[0]}:${held[1]}"]`).forEach(e => e.classList.add("held"));
}
// A formula with what `show` makes of its operands; of those that stand alone in
// brackets, what `inside` makes of them.
function fill(v, i, show, inside = show) {
  const ops = V[v].operands[i];
  return ops.length ? filled(V[v].template, ops, show, inside) : "0";
}
function filled(template, ops, show, inside = show) {
  const marked = math(template.replace(/\{(\d+)\}/g, (m, k) => "\u0001" + k + "\u0002"));
  return marked.replace(/([(|])\u0001(\d+)\u0002([)|])/g, (m, a, k, b) => a + inside(ops[k]) + b).replace(/\u0001(\d+)\u0002/g, (m, k) => show(ops[k]));
}
const number = o => num(read(o));
const bracketed = x => { const t = num(x); return t.startsWith("−") ? "(" + t + ")" : t; };
const signed = o => bracketed(read(o));
const label = o => math(o.length > 1 ? V[o[0]].labels[o[1]] : FIGURES[o[0]].symbol);
// Operands, each once, to go to.
function chips(operands) {
  const seen = new Set(), once = operands.filter(o => !seen.has(o + "") && seen.add(o + ""));
  return `<h3>${w("operands")}</h3><div class="chips">${once.map(o => `<button class="chip" data-go="${o[0]}:${o[1]}">${label(o)} = ${number(o)}</button>`).join("")}</div>`;
}
// A number of a value: its formula, and what else is known of it.
function told(v, i) {
  const x = V[v], n = at(v, i), operands = x.operands[i];
  const axis = called(x), step = x.step > 0 && x.step <= A.steps && A.step_names[x.step - 1] ? stepName(x.step) : "";
  const what = [axis ? axis.names[axis.way === "columns" ? i : Math.floor(i / x.shape[1])] : "", step].filter(Boolean);
  let s = `<div class="sym">${label([v, i])}</div>` + (what.length ? `<div class="soft what">${what.map((t, k) => k || !axis ? t : esc(t)).join(" · ")}</div>` : "");
  if (operands.length || x.formula) {
    s += `<div class="formula"><span class="eq">=</span> ${fill(v, i, label)}<br><span class="eq">=</span> ${fill(v, i, signed, number)}`;
    if (S.frame === 0 && x.parts[i] && x.parts[i].length) s += `<br><span class="eq">=</span> ${x.parts[i].map(bracketed).join(" + ")}`;
    s += `<br><span class="eq">=</span> <b>${num(n)}</b></div>`;
    // A sum of which nearly all cancels: its terms are shown to five digits.
    if (/ [+−] /.test(x.template) && operands.some(o => Math.abs(n) < 1e-3 * Math.abs(read(o)))) s += `<p class="soft">${w("cancels")}</p>`;
    if (operands.length) s += chips(operands);
  } else s += `<div class="formula">${w("is_given")} <b>${num(n)}</b></div>`;
  if (x.finite.length && S.frame === 0) s += `<h3>${w("finite")}</h3><div class="formula">${w("is_finite", { w: label([x.of, i]) })}<br><span class="eq">=</span> ${x.finite[i] === null ? w("kink") : num(x.finite[i])} <span class="dim">${w("apart")} ${tiny(x.difference)}</span></div>`;
  if (x.places) s += `<h3>${w("in_file")}</h3><div class="formula"><code>${esc(x.places[i])}</code></div>`;
  const g = V.find(y => y.of === v && y.role === "gradient");
  if (g) s += `<h3>${w("gradient_is")}</h3><div class="chips"><button class="chip" data-go="${g.id}:${i}">${label([g.id, i])} = ${number([g.id, i])}</button></div>`;
  return s;
}
// A figure: its formula, where that holds at this training step, and what it is.
const TOLD = { connectivity: "is_connect", check: "is_check", heat: "is_saturated" };
function explained(k) {
  const f = FIGURES[k], [what, i, field] = f.path, eq = '<span class="eq">=</span> ';
  // A mean may be of other steps than at the first training step.
  const same = what !== "norms" || field !== "factor" || F().norms[i].steps.filter(s => s.factor !== null).length === f.operands.length;
  const formula = f.template && same && f.operands.every(o => read(o) !== null && (field !== "crossed_after" || read(o) !== 0)) ? `${eq}${filled(f.template, f.operands, label)}<br>${eq}${f.filled ? esc(f.filled) : filled(f.template, f.operands, signed, number)}<br>` : "";
  const parts = f.filled ? f.operands.filter(o => o.length < 2).map(o => FIGURES[o[0]]).filter(p => p.template).map(p => `<div class="formula">${math(p.symbol)}<br>${eq}${filled(p.template, p.operands, label)}<br>${eq}${esc(p.filled)}</div>`).join("") : "";
  const word = TOLD[what];
  return `<div class="sym">${math(f.symbol)}</div><div class="formula">${formula}${eq}<b>${what === "check" ? tiny(f.fixed) : num(figure(k))}</b></div>${parts}${word ? `<p>${w(word)}</p>` : ""}`;
}
// A grid of numbers, or the drawing, is one stop of the tab key; arrows go on
// inside of it.
const CELLS = "button,.node";
function rove(box) {
  for (const grid of box.matches("[data-grid]") ? [box] : box.querySelectorAll("[data-grid]"))
    grid.querySelectorAll(CELLS).forEach((e, i) => e.setAttribute("tabindex", i ? -1 : 0));
}
function gridRows(grid) {
  const all = [...grid.querySelectorAll(CELLS)], columns = Number(grid.dataset.grid) || all.length, rows = new Map();
  const row = (e, i) => grid.tagName === "TABLE" ? e.closest("tr").rowIndex : grid.tagName === "svg" ? Number(e.querySelector("rect").getAttribute("y")) : Math.floor(i / columns);
  all.forEach((e, i) => { const k = row(e, i); rows.set(k, (rows.get(k) || []).concat([e])); });
  return [...rows].sort((a, b) => a[0] - b[0]).map(r => r[1].sort((a, b) => leftOf(a) - leftOf(b)));
}
const leftOf = e => { const b = e.getBoundingClientRect(); return b.left + b.width / 2; };
// Where an arrow key leads from a cell of a grid.
function beyond(cell, key) {
  const rows = gridRows(cell.closest("[data-grid]")), r = rows.findIndex(row => row.includes(cell)), row = rows[r], k = row.indexOf(cell);
  const nearest = other => other && other.reduce((a, b) => Math.abs(leftOf(b) - leftOf(cell)) < Math.abs(leftOf(a) - leftOf(cell)) ? b : a);
  return { ArrowLeft: row[k - 1], ArrowRight: row[k + 1], ArrowUp: nearest(rows[r - 1]), ArrowDown: nearest(rows[r + 1]), Home: row[0], End: row[row.length - 1] }[key];
}
const POINTED = "[data-n],[data-o],[data-f]";
// What is pointed at: the words, the operands, and where a click leads.
function pointed(b) {
  const d = b.dataset, places = (d.n || d.o || d.f).split(":").map(Number);
  if (d.n || d.o) {
    const [v, i] = places, f = A.forecast, unit = d.o && f ? `<div class="formula">${number(places)} · ${num(f.spread)} + ${num(f.centre)} = <b>${b.textContent}</b> ${esc(f.name)}</div>` : d.o && A.scale !== 1 ? `<div class="formula">${number(places)} · ${num(A.scale)} = <b>${b.textContent}</b></div>` : "";
    return { html: told(v, i) + unit, operands: V[v].operands[i], to: places };
  }
  const f = FIGURES[places[0]], leads = o => o === undefined || o.length > 1 ? o : leads(FIGURES[o[0]].operands[0]);
  return { html: explained(places[0]), operands: f.operands, to: leads(f.operands[0]), first: f.operands[0] };
}
// The numbers that led here, the last ones to be seen, to go back to.
function trail() {
  const first = Math.max(0, S.trail.length - 3), name = t => t.held ? label(t.held) : w("outside");
  return S.trail.length ? `<nav class="trail" aria-label="${esc(w("way_here"))}"><button class="chip" data-back="${S.trail.length - 1}">← ${w("go_back")}</button> ${first ? "… › " : ""}${S.trail.slice(first).map((t, i) => `<button class="crumb" data-back="${first + i}">${name(t)}</button> › `).join("")}</nav>` : "";
}
function inspect(html) {
  $("inside").innerHTML = trail() + html + (S.held ? `<p></p><button class="btn" data-release>${w("release")}</button>` : "");
  $("inside").scrollTop = 0;
  fold();
}
// On a narrow screen the inspector lies over the list: it folds to one line, and
// says where it goes on.
function fold() {
  const inspector = $("inspector"), inside = $("inside"), title = inside.querySelector(".sym"), sum = inside.querySelector(".formula b"), folded = Boolean(S.folded);
  inspector.classList.toggle("folded", folded);
  $("folded").innerHTML = folded && title ? title.innerHTML + (sum ? " = " + sum.textContent : "") : w("formula");
  $("fold").textContent = w(folded ? "unfold" : "fold");
  $("fold").setAttribute("aria-expanded", !folded);
  below();
  const over = getComputedStyle($("fold")).display !== "none" ? inspector.offsetHeight + 16 : 16;
  document.documentElement.style.scrollPaddingBottom = over + "px";
}
function below() {
  const inside = $("inside"), over = inside.scrollHeight - inside.clientHeight > 1;
  inside.classList.toggle("goes-down", inside.scrollTop + inside.clientHeight < inside.scrollHeight - 1);
  inside.tabIndex = over ? 0 : -1;
  $("more").hidden = !over || S.folded;
  $("more").textContent = w("scroll_down");
}
function mark() {
  if (S.playing) now();
  else if (S.held) { light(V[S.held[0]].operands[S.held[1]], S.held); inspect(told(...S.held)); }
  else { light(); inspect(`<p class="soft">${w("inspect_none")}</p>`); }
}
// Beside the inspector, in its place; elsewhere in a box near the number.
function point(e) {
  const b = e.target.closest && e.target.closest(POINTED), tip = $("tip"), away = b && !b.closest(".lab");
  if (!tip.hidden && !away) { tip.hidden = true; mark(); }
  if (!b || S.timer || (S.held && !away)) return;
  const { html, operands, to } = pointed(b);
  light(operands, b.dataset.n && to);
  if (!away) { inspect(html); return; }
  tip.innerHTML = html;
  tip.hidden = false;
  S.away = b;
  beside();
}
function beside() {
  const tip = $("tip"), b = S.away;
  if (tip.hidden || !b) return;
  const place = b.getBoundingClientRect(), size = tip.getBoundingClientRect(), wide = document.documentElement.clientWidth;
  tip.style.left = Math.max(8, Math.min(wide - size.width - 8, place.left)) + "px";
  tip.style.top = (place.bottom + size.height + 12 < innerHeight ? place.bottom + 6 : Math.max(8, place.top - size.height - 6)) + "px";
}
// Where the reader is: what is held, or what was clicked, and the scroll.
function here(b) {
  const d = b && b.dataset, key = d && ["f", "o", "n", "v"].find(k => d[k] !== undefined), box = key && b.closest("[id]:not(svg)");
  return { held: S.held, pass: S.pass, step: S.step, y: scrollY, from: box ? `#${box.id} [data-${key}="${d[key]}"]` : null };
}
function hold(v, i, b) {
  const now = here(b);
  if (!S.held || S.held[0] !== v || S.held[1] !== i) S.trail.push(now);
  S.held = [v, i];
}
function release() { S.held = null; S.trail = []; mark(); }
function go(v, i, b) {
  const x = V[v];
  hold(v, i, b);
  if (x.pass !== "given") { S.pass = x.pass; if (S.step && x.step !== undefined && x.step !== S.step) { S.step = x.step > 0 && x.step <= A.steps ? x.step : 0; $("step").value = S.step; stepText(); } }
  numbers();
  reach(document.querySelector(`.lab [data-n="${v}:${i}"]`));
}
// Who asks for less motion is there at once.
const glide = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
function reach(b) { if (b) { b.scrollIntoView({ block: "center", behavior: glide() }); b.focus({ preventScroll: true }); } }
function back(k) {
  const to = S.trail[k];
  S.trail.length = k;
  [S.held, S.pass, S.step] = [to.held, to.pass, to.step];
  $("step").value = S.step; stepText();
  numbers();
  if (to.held) { reach(document.querySelector(`.lab [data-n="${to.held[0]}:${to.held[1]}"]`)); return; }
  const b = to.from && document.querySelector(to.from);
  if (b) b.focus({ preventScroll: true });
  scrollTo({ top: to.y, behavior: glide() });
}

// A pass is played value by value: S.playing is the pass, S.k the place in it;
// it runs while there is a timer, and is halted without one.
const played = () => V.filter(v => v.pass === S.playing);
function buttons() {
  for (const b of document.querySelectorAll("[data-play]")) {
    const on = S.playing === b.dataset.play, word = b.querySelector("[data-w]");
    b.classList.toggle("on", on);
    b.querySelector(".icon").className = "icon " + (on && S.timer ? "pause" : "play");
    word.dataset.w = !on ? "play_" + b.dataset.play : S.timer ? "pause" : "go_on";
    word.textContent = w(word.dataset.w);
  }
}
function halt() { clearInterval(S.timer); S.timer = 0; buttons(); }
function stop() {
  S.playing = null;
  halt();
  if (A.readable) $("playing").textContent = "";
  document.querySelectorAll(".now").forEach(e => e.classList.remove("now"));
}
function begin(pass) {
  stop();
  S.playing = pass; S.k = -1; S.pass = pass; S.held = null; S.trail = []; S.step = 0; $("step").value = 0; stepText(); numbers();
}
function run() { S.timer = setInterval(() => { if (S.k + 1 < played().length) advance(1); else { stop(); mark(); } }, 450); buttons(); advance(1); }
function play(pass) {
  if (S.playing !== pass) { begin(pass); run(); }
  else if (S.timer) halt();
  else run();
}
// One value on, or back.
function step(by) { if (!S.playing) begin(S.pass); halt(); advance(by); }
function advance(by) { S.k = Math.max(0, Math.min(played().length - 1, S.k + by)); now(); }
// The value that is played.
function now() {
  const all = played(), v = all[S.k];
  document.querySelectorAll(".now").forEach(e => e.classList.remove("now"));
  if (!v) return;
  const of = v.of !== undefined ? v.of : v.id;
  document.querySelectorAll(`[data-box="${v.id}"],.node[data-v="${of}"]`).forEach(e => e.classList.add("now"));
  light(v.operands[0], [v.id, 0]); inspect(told(v.id, 0));
  const formula = v.formula && v.formula !== v.symbol ? " = " + math(v.formula) : "";
  $("playing").innerHTML = `<b>${math(v.symbol)}</b>${formula} = ${v.labels.map((_, i) => num(at(v.id, i))).join(" &nbsp;")} <span class="dim">${S.k + 1} / ${all.length}</span>`;
}

// A number as a colour, never stronger than that of the span's end; under words it
// is weaker, so that they can be read.
const UNDER_WORDS = .5;
const colour = (x, [lo, hi], opaque = .85) => { const most = Math.max(Math.abs(lo), Math.abs(hi)) || 1; return `rgba(var(--${x < 0 ? "neg" : "pos"}),${(Math.min(1, Math.abs(x) / most) * opaque).toFixed(3)})`; };
const layerName = h => math(h.name) + (A.layers > 1 ? " · l" + h.layer : "") + (A.bidirectional ? (h.reverse ? " ←" : " →") : "");
function heat() {
  const box = $("heats");
  box.replaceChildren();
  for (const [k, h] of D.heat.entries()) {
    const percent = A.readable ? F().percent[k] : h.percent, saturated = percent === null ? "" : w("saturated", { p: pointable(`/heat/${k}/percent`, num(percent)) });
    const d = el("div", "heat", `<h4>${layerName(h)} <small data-grid>${saturated}</small></h4>`);
    if (A.readable) {
      const g = el("div", "cells scroll", "<span></span>" + h.ids.map((_, i) => `<span data-t="${i + 1}">t = ${i + 1}${dated(i + 1)}</span>`).join(""));
      g.dataset.grid = h.ids.length;
      g.style.gridTemplateColumns = `auto repeat(${h.steps}, auto)`;
      for (let u = 0; u < h.units; u++) {
        g.append(el("span", "", w("unit", { n: u + 1 })));
        h.ids.forEach(id => {
          const b = el("button", "", num(at(id, u)));
          b.dataset.n = id + ":" + u; b.style.background = colour(at(id, u), h.span, UNDER_WORDS);
          b.setAttribute("aria-label", V[id].labels[u] + " = " + b.textContent);
          g.append(b);
        });
      }
      d.append(g, legend(h.span, UNDER_WORDS));
    } else {
      const flat = unpack(h.cells), steps = flat.length / h.shown;
      d.append(map(steps, h.shown, (t, u) => flat[t * h.shown + u], h.span, layerName(h), t => stepName(h.first + t + 1), u => w("unit", { n: u + 1 })));
      if (steps < h.steps || h.shown < h.units) d.append(el("div", "soft", w("part", { a: h.first + 1, b: h.steps, u: h.shown, n: h.units })));
    }
    box.append(d);
  }
  rove(box);
}
// What the columns or the rows of a value are called: features of a step, numbers
// beside the sequence; of a gradient as of what it is the gradient of.
function called(v) {
  const x = v.of !== undefined ? V[v.of] : v, place = x.places ? x.places[0] : "", beside = D.connectivity.beside ? D.connectivity.beside.names : [];
  const [names, way] = x.role === "input" ? [x.step === undefined ? beside : A.feature_names, "columns"] : [/^skip\.weight/.test(place) ? beside : /weight_ih_l0(_reverse)?\[/.test(place) ? A.feature_names : [], "rows"];
  return names.length && names.length === v.shape[way === "columns" ? 1 : 0] ? { names, way } : null;
}
// The time of a step, where the steps have any.
const dated = t => A.step_names[t - 1] ? ` <small>${esc(A.step_names[t - 1])}</small>` : "";
const stepTitle = t => A.step_names[t - 1] || num(t);
const stepName = t => w("step_n", { n: t }) + (A.step_names[t - 1] ? " (" + esc(A.step_names[t - 1]) + ")" : "");
// A row for each prediction, a column for each step of the input.
function connectivity() {
  const now = F().connectivity, c = D.connectivity, flat = now.length ? now : frame(0).connectivity, steps = flat.length / c.outputs.length, span = [0, c.largest];
  const name = t => stepName(c.first + t + 1), output = k => c.outputs[k] + (A.step_names[c.at[k] - 1] ? " (" + A.step_names[c.at[k] - 1] + ")" : "");
  if (A.readable) {
    const head = Array.from({ length: steps }, (_, t) => `<th data-t="${t + 1}">${A.configuration === "one-to-many" ? "v" : math("x^" + (t + 1)) + dated(t + 1)}</th>`).join("");
    const rows = c.outputs.map((o, k) => `<tr><td>${math(o)}${dated(c.at[k])}</td>${Array.from({ length: steps }, (_, t) => { const x = flat[k * steps + t]; return `<td style="background:${colour(x, span, UNDER_WORDS)}">${pointable(`/connectivity/rows/${k}/${t}`, num(x))}</td>`; }).join("")}</tr>`).join("");
    $("connect").innerHTML = `<div class="card scroll"><table data-grid><thead><tr><th></th>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
    rove($("connect"));
  } else {
    $("connect").replaceChildren(map(steps, c.outputs.length, (t, k) => flat[k * steps + t], span, w("connect"), name, output));
  }
  if (c.beside) {
    const flat = unpack(c.beside.rows), count = c.beside.count;
    $("beside").replaceChildren(map(count, c.outputs.length, (i, k) => flat[k * count + i], [0, c.beside.largest], w("beside"), i => esc(c.beside.names[i] || "u[" + (i + 1) + "]"), output));
  }
  const follows = D.training.length > 1 && D.training[1][3].length > 0;
  $("connect_note").textContent = w("connect_note") + (follows ? "" : " " + w("connect_first"));
}
// What the colours of a span mean.
function legend(span, opaque) {
  const [lo, hi] = span, middle = lo < 0 ? ", transparent" : "";
  return el("div", "legend soft", `${num(lo)} <span style="background:linear-gradient(to right,${colour(lo, span, opaque)}${middle},${colour(hi, span, opaque)})"></span> ${num(hi)}`);
}
// A map of colours with its axes. The number that is pointed at, or that the
// arrow keys have reached, stands below it.
function map(columns, rows, get, span, name, columnName, rowName) {
  const c = el("canvas"), css = getComputedStyle(document.documentElement), high = Math.max(4, Math.min(18, 260 / rows));
  c.width = columns; c.height = rows;
  c.style.height = Math.max(18, rows * high) + "px";
  const g = c.getContext("2d");
  for (let t = 0; t < columns; t++) for (let u = 0; u < rows; u++) { g.fillStyle = colour(get(t, u), span).replace(/var\((--\w+)\)/, (m, v) => css.getPropertyValue(v)); g.fillRect(t, u, 1, 1); }
  c.tabIndex = 0;
  c.setAttribute("role", "img"); c.setAttribute("aria-label", name.replace(/<[^>]+>/g, ""));
  const tip = el("div", "soft tip"), inside = (x, n) => Math.max(0, Math.min(n - 1, x));
  tip.setAttribute("aria-live", "polite");
  let cursor = [0, 0];
  const tell = (t, u) => { cursor = [inside(t, columns), inside(u, rows)]; tip.innerHTML = `${columnName(cursor[0])}, ${math(rowName(cursor[1]))}: ${num(get(...cursor))}`; };
  c.onpointermove = c.onpointerdown = e => { const b = c.getBoundingClientRect(); tell(Math.floor((e.clientX - b.left) / b.width * columns), Math.floor((e.clientY - b.top) / b.height * rows)); };
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  c.onkeydown = e => { const way = ways[e.key]; if (way) { e.preventDefault(); tell(cursor[0] + way[0], cursor[1] + way[1]); } };
  c.onfocus = () => tell(...cursor);
  const ends = n => n > 1 ? [0, n - 1] : [0], all = high >= 14 ? Array.from({ length: rows }, (_, u) => u) : ends(rows);
  const d = el("div", "map"), of = (cls, places, show) => el("div", cls, places.map(i => `<span>${show(i)}</span>`).join(""));
  d.style.width = Math.max(260, Math.min(640, 130 + columns * 12)) + "px";
  d.append(of("rows", all, u => math(rowName(u))), c, of("columns", ends(columns), columnName), legend(span), tip);
  return d;
}
// Why the norms mean what they mean, by where gradient enters.
const WHY = { loss: "why", above: "why_above", inside: "why_c" };
const mean = (n, k) => pointable(`/norms/${k}/factor`, num(n.factor));
// More steps than a table should have.
const charted = n => n.steps.length > 24;
function norms() {
  const box = $("norms");
  box.replaceChildren();
  for (const [k, n] of F().norms.entries()) {
    const v = x => `<span class="${x === "healthy" ? "ok" : "bad"}">${w(x)}</span>`;
    box.append(el("h3", "", `dL/d${layerName({ ...n, name: n.state })}: ${v(n.verdict)}`));
    if (charted(n)) {
      const line = (name, ink) => ({ name: w(name === "from_loss" ? "part_here" : name), ink, points: n.steps.filter(s => s[name] > 0).map(s => [s.step, s[name]]) });
      const card = el("div", "card");
      box.append(card);
      plot(card, [line("norm", "--accent"), line("from_loss", "--upd"), line("from_next", "--back")], [], "t", w("norm"), { log: true });
    } else {
      const most = Math.max(...n.steps.map(s => Math.max(s.norm, s.from_loss, s.from_next))) || 1;
      // A number that says what it is the norm of, where that is shown.
      const cell = (t, what, text) => pointable(`/norms/${k}/steps/${t}/${what}`, text);
      const bar = (s, t, what, c) => `<span class="bar" style="width:${(s[what] / most * 90).toFixed(1)}px;background:var(${c})"></span> ${cell(t, what, num(s[what]))}`;
      const column = (head, text, cls = "") => `<td class="${cls}" data-head="${esc(w(head))}">${text}</td>`;
      const rows = n.steps.map((s, t) => `<tr data-t="${s.step}"><td data-head="t">${s.step}${dated(s.step)}</td>${column("norm", bar(s, t, "norm", "--accent"), "l")}${column("part_here", bar(s, t, "from_loss", "--upd"), "l")}${column("from_next", bar(s, t, "from_next", "--back"), "l")}${column("factor", s.factor === null ? "–" : cell(t, "factor", "× " + num(s.factor)))}${column("verdict", v(s.verdict))}</tr>`).join("");
      const card = el("div", "card scroll", `<table data-grid><thead><tr><th>t</th><th class="l">${w("norm")}</th><th class="l">${w("part_here")}</th><th class="l">${w("from_next")}</th><th>${w("factor")}</th><th>${w("verdict")}</th></tr></thead><tbody>${rows}</tbody></table>`);
      if (!A.readable) card.tabIndex = 0;
      box.append(card);
      rove(card);
    }
    const p = el("p", "soft", n.factor === null ? w(n.count > 1 ? "why_zero" : "why_none") : w(n.crossed_after === null ? "why_kept" : WHY[n.enters], { f: mean(n, k), n: w(n.crossed_after === 1 ? "one_step_back" : "steps_back", { n: pointable(`/norms/${k}/crossed_after`, n.crossed_after) }) }) + (n.reverse ? " " + w("why_reverse") : "") + (n.state === "(h, c)" ? " " + w("why_joint") : "") + (A.configuration === "one-to-many" && n.enters === "loss" ? " " + w("why_read") : ""));
    p.dataset.grid = "";
    box.append(p);
    rove(p);
  }
}

// Lines and marks in a box, upwards from `from`; `log` puts the powers of ten at
// equal distances. A unit of the drawing is a pixel, so that its words keep their
// size on a phone.
function plot(box, series, marks, xlab, ylab, { log, from, names = num } = {}) {
  const padding = getComputedStyle(box), inner = box.clientWidth - parseFloat(padding.paddingLeft) - parseFloat(padding.paddingRight);
  const Wd = Math.max(240, Math.min(736, inner)), H = 300, r = 16, t = 34, b = 46;
  const pts = series.flatMap(s => s.points).concat(marks);
  const xs = pts.map(p => p[0]), ys = pts.map(p => p[1]);
  const x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = from === undefined ? Math.min(...ys) : from, y1 = Math.max(...ys);
  const l = Math.max(84, 16 + 8 * Math.max(num(y0).length, num(y1).length));
  const up = log ? Math.log10 : y => y;
  const X = x => l + (x - x0) / ((x1 - x0) || 1) * (Wd - l - r), Y = y => H - b - (up(y) - up(y0)) / ((up(y1) - up(y0)) || 1) * (H - t - b);
  const text = (x, y, anchor, words) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${esc(words)}</text>`;
  let s = `<svg class="plot" width="${Wd}" height="${H}" viewBox="0 0 ${Wd} ${H}" role="img" aria-label="${esc(ylab)}, ${esc(xlab)}"><path d="M${l} ${t}V${H - b}H${Wd - r}" fill="none" stroke="var(--line)"/>`;
  if (pts.length) {
    s += text(l, H - b + 18, "start", names(x0)) + text(Wd - r, H - b + 18, "end", names(x1)) + text((l + Wd - r) / 2, H - 6, "middle", xlab) + text(l - 8, H - b, "end", num(y0)) + text(l - 8, t + 5, "end", num(y1)) + text(l, 14, "middle", ylab);
    for (const q of series) if (q.points.length) s += `<path d="M${q.points.map(p => X(p[0]).toFixed(1) + " " + Y(p[1]).toFixed(1)).join("L")}" fill="none" stroke="var(${q.ink})" stroke-width="2" ${q.dots ? 'stroke-dasharray="2 4" stroke-linecap="round"' : ""}/>`;
    for (const [x, y, ink, size] of marks) s += `<circle cx="${X(x).toFixed(1)}" cy="${Y(y).toFixed(1)}" r="${size}" fill="var(${ink})" stroke="var(--card)" stroke-width="1.5"/>`;
    for (const [x, y, , , words] of marks) if (words) s += text(Math.max(l + 44, Math.min(Wd - 60, X(x))), Y(y) + (Y(y) > H - 90 ? -14 : 24), "middle", words);
  }
  const keys = series.filter(q => q.name).map(q => `<span style="color:var(${q.ink})">━</span> ${esc(q.name)}`).join(" &nbsp; ");
  box.innerHTML = s + "</svg>" + (keys ? `<div class="soft">${keys}</div>` : "") + `<p class="soft ends">${w(from === undefined ? "axes" : "axes_zero")}</p>`;
}
function landscape() {
  if (!A.readable) return;
  const c = CURVES[S.weight], p = q => [q.w, q.loss];
  const marks = c.turns.map(t => [...p(t), "--soft", 4, t.global ? w(t.minimum ? "lowest" : "highest") : w(t.minimum ? "minimum" : "maximum")]);
  const k = S.roll;
  c.balls.forEach((b, i) => marks.push([...p(b[k < 0 ? 0 : Math.min(k, b.length - 1)]), i ? "--back" : "--upd", 8]));
  if (c.path[S.frame]) marks.push([...p(c.path[S.frame]), "--accent", 5]);
  plot($("landscape"), [{ points: c.points.map(p), ink: "--ink" }, { points: c.path.map(p), ink: "--accent", dots: 1 }], marks, innerWidth < 480 ? c.symbol : `${c.symbol} · ${c.name}`, "L");
}
function losses() { plot($("losses"), [{ points: D.training.map(([loss], step) => [step, loss]), ink: "--accent" }], [[F().step, F().loss, "--back", 5]], w("train_step"), "L", { from: 0 }); }
function tables() {
  $("shapes").innerHTML = `<table><thead><tr><th>${w("name")}</th><th class="l">${w("shape")}</th><th class="l">${w("letters")}</th><th class="l">${w(A.readable ? "symbols" : "symbols_large")}</th></tr></thead><tbody>` + D.shapes.map(s => `<tr><td><code>${esc(s.name)}</code></td><td class="l">${s.shape.join(" × ")}</td><td class="l">${esc(s.letters)}</td><td class="l w">${s.symbols.map((name, i) => math(name) + (s.rows ? ` <span class="dim">${w("rows", { a: s.rows[i][0], b: s.rows[i][1] })}</span>` : "")).join(" &nbsp;")}</td></tr>`).join("") + "</tbody></table>";
  if (D.check) $("check_note").innerHTML = w("check_note", { n: D.check.numbers, s: num(D.check.step), at: math(D.check.at), d: pointable("/check/largest", tiny(D.check.largest)), m: num(D.check.smallest) }) + (D.check.skipped ? " " + w("check_kinks", { k: D.check.skipped }) : "");
}
// What the answers are for this network.
function answers() {
  const here = (q, text) => { document.querySelector(`#${q} .here`).innerHTML = text; rove($(q)); };
  const size = name => D.shapes.find(s => s.name === name).shape.join(" × ");
  here("q1", w("a1_here", { i: size("input"), o: size("output"), h: size("h_0"), n: size("h_n") }));
  const row = ids => `[${ids.map(id => math(V[id].symbol)).join(" ")}] = [<span data-grid>${ids.flatMap(id => V[id].labels.map((_, i) => `<button class="plain" data-n="${id}:${i}">${num(at(id, i))}</button>`)).join(" ")}</span>]`;
  // Of the last layer; where only a reverse direction is there, nothing differs.
  const last = reverse => { const h = D.heat.find(h => h.name === "h" && h.layer === A.layers - 1 && h.reverse === reverse); return h && layerName(h); };
  const large = A.bidirectional && last(true) ? w("a2_large_both", { f: last(false), r: last(true) }) : last(false) ? w("a2_large_one", { f: last(false) }) : "";
  here("q2", A.readable ? w(A.bidirectional ? "a2_both" : "a2_one", { h: row(D.ends.h_n), o: row(D.ends.output) }) : large);
  const stacked = D.shapes.filter(s => s.rows && /weight_ih/.test(s.name));
  here("q3", stacked.length ? w(A.readable ? "a3_page" : "a3_large") + " " + w("a3_here") + " " + stacked.map(s => `<code>${esc(s.name)}</code>: ` + s.symbols.map((name, i) => `${w("rows", { a: s.rows[i][0], b: s.rows[i][1] })} ${math(name)}`).join(", ")).join("; ") : A.cell === "rnn" ? w("a3_rnn") : "");
  here("q4", w(F().norms.some(charted) ? "a4_chart" : "a4_table") + " " + F().norms.map((n, k) => n.factor === null ? "" : w("a4_here", { s: `dL/d${layerName({ ...n, name: n.state })}`, f: `<span data-grid>${mean(n, k)}</span>`, v: w(n.verdict) })).join(" "));
}
// What is wider than its place shades the side that goes on, and says so.
function shade(e) {
  const over = e.scrollWidth - e.clientWidth;
  e.classList.toggle("goes-right", e.scrollLeft < over - 1);
  e.classList.toggle("goes-left", over > 1 && e.scrollLeft > 1);
  return over > 1;
}
function edges(e) {
  const over = shade(e);
  let hint = e.nextElementSibling;
  if (!hint || !hint.classList.contains("hint")) { hint = el("p", "hint soft"); e.after(hint); e.addEventListener("scroll", () => shade(e), { passive: true }); }
  hint.textContent = w("scroll");
  hint.hidden = !over;
}
const hints = () => document.querySelectorAll(".scroll").forEach(edges);
function stepText() { $("step_out").textContent = S.step ? S.step + (A.step_names[S.step - 1] ? ` (${A.step_names[S.step - 1]})` : "") : w("all_steps"); }
function all() { texts(); tiles(); outlook(); sketch(); numbers(); heat(); connectivity(); norms(); landscape(); losses(); tables(); answers(); if (A.readable) { stepText(); atStep(); } hints(); }

// Only a pointer that moves points: what scrolls under one that rests does not
// take the place of what the keyboard has reached.
document.addEventListener("pointermove", e => {
  if (e.clientX === S.x && e.clientY === S.y) return;
  [S.x, S.y] = [e.clientX, e.clientY];
  const over = e.target.closest && e.target.closest(POINTED);
  if (over !== S.over) { S.over = over; point(e); }
}, { passive: true });
document.addEventListener("focusin", e => {
  const grid = e.target.closest("[data-grid]");
  if (grid) grid.querySelectorAll(CELLS).forEach(c => c.setAttribute("tabindex", c === e.target ? 0 : -1));
  point(e);
});
document.addEventListener("scroll", beside, { passive: true, capture: true });
// What the box tells of when a finger comes down: a first touch tells, a second
// one goes there.
document.addEventListener("pointerdown", () => { S.told = $("tip").hidden ? null : S.away; }, { passive: true, capture: true });
document.addEventListener("click", e => {
  const q = s => e.target.closest(s);
  let b;
  if (!q(POINTED)) $("tip").hidden = true;
  if ((b = q(POINTED)) && e.pointerType === "touch" && !b.closest(".lab") && S.told !== b) { stop(); point(e); }
  else if ((b = q(POINTED))) {
    stop();
    $("tip").hidden = true;
    const { to, first } = pointed(b), [v, i] = to || [];
    // A figure that stands elsewhere is gone to; of one beside it, what that is made
    // from.
    const figure = first && first.length < 2 ? document.querySelector(`[data-f="${first[0]}"]`) : null;
    if (figure && !(b.closest("tr") && b.closest("tr").contains(figure))) { S.trail.push(here(b)); figure.scrollIntoView({ block: "center", behavior: glide() }); figure.focus({ preventScroll: true }); }
    else if (!to) return;
    else if (!b.closest(".lab")) go(v, i, b);
    else {
      // A second click lets go; the keyboard goes on to the operands, and Escape
      // leads back.
      const keyboard = e.detail === 0, again = S.held && S.held[0] === v && S.held[1] === i;
      if (again && !keyboard) { release(); return; }
      hold(v, i, b);
      mark();
      const first = $("inspector").querySelector("[data-go]") || $("inspector").querySelector("button");
      if (keyboard) first.focus();
    }
  }
  else if ((b = q("[data-back]"))) { stop(); back(Number(b.dataset.back)); }
  else if ((b = q("[data-go]"))) { stop(); go(...b.dataset.go.split(":").map(Number)); }
  else if ((b = q("[data-v]"))) { stop(); go(Number(b.dataset.v), 0, b); }
  else if (q("[data-release]")) release();
  else if (q("#fold")) { S.folded = !S.folded; fold(); }
  else if ((b = q("[data-pass]"))) { stop(); S.pass = b.dataset.pass; numbers(); }
  else if ((b = q("[data-play]"))) play(b.dataset.play);
  else if ((b = q("[data-by]"))) step(Number(b.dataset.by));
  else if (q("#lang")) { S.lang = S.lang === "en" ? "ja" : "en"; all(); }
  else if (q("#theme")) { const r = document.documentElement, dark = r.dataset.theme ? r.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches; r.dataset.theme = dark ? "light" : "dark"; heat(); connectivity(); hints(); }
  else if (q("#copy")) copy();
  else if (q("#roll")) { clearInterval(S.rolling); S.roll = 0; const most = Math.max(...CURVES[S.weight].balls.map(x => x.length)); S.rolling = setInterval(() => { S.roll++; landscape(); if (S.roll >= most) clearInterval(S.rolling); }, 90); landscape(); }
});
// Where nothing may write to the clipboard, the code is selected, and the button
// says what is left to do.
async function copy() {
  const button = $("copy");
  let done = false;
  try { await navigator.clipboard.writeText(D.code); done = true; } catch {
    getSelection().selectAllChildren($("codetext"));
    try { done = document.execCommand("copy"); } catch { done = false; }
  }
  clearTimeout(S.copying);
  button.textContent = w(done ? "copied" : "copy_yourself");
  S.copying = setTimeout(() => { button.textContent = w("copy"); }, done ? 1500 : 8000);
}
document.addEventListener("keydown", e => {
  // While a pass is played, or by its buttons: space halts it or goes on, arrows
  // go one value on or back.
  const player = e.target.closest && e.target.closest("#player"), free = e.target === document.body && S.playing;
  if (A.readable && (player || free) && !e.altKey && !e.ctrlKey && !e.metaKey) {
    if (e.key === " " && free) { e.preventDefault(); play(S.playing); }
    const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (by) { e.preventDefault(); step(by); }
  }
  const b = e.target.closest && e.target.closest(".node");
  if (b && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); stop(); go(Number(b.dataset.v), 0, b); }
  const grid = e.target.closest && e.target.closest("[data-grid]"), cell = grid && e.target.closest(CELLS), next = cell && !e.altKey && beyond(cell, e.key);
  if (next) { e.preventDefault(); next.focus(); }
  // Back to where one came from.
  if (S.trail.length && (e.key === "Backspace" || (e.altKey && e.key === "ArrowLeft"))) { e.preventDefault(); stop(); back(S.trail.length - 1); }
  if (e.key === "Escape") {
    const back = S.held && $("inspector").contains(document.activeElement) && document.querySelector(`.lab [data-n="${S.held[0]}:${S.held[1]}"]`);
    stop(); $("tip").hidden = true;
    if (A.readable) release();
    if (back) back.focus();
  }
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
  $("frame").oninput = e => { S.frame = Number(e.target.value); $("frame_out").textContent = S.frame; tiles(); outlook(); numbers(); heat(); connectivity(); norms(); landscape(); losses(); answers(); atStep(); hints(); };
}
// Charts are drawn at the width of their place.
let wide = innerWidth;
addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; outlook(); norms(); landscape(); losses(); atStep(); hints(); if (A.readable) fold(); } });
if (A.readable) $("inside").addEventListener("scroll", below, { passive: true });
$("codetext").textContent = D.code;
all();
