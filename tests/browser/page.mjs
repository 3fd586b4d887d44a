// Drives the page of `elman explain` in Chromium, as a reader would: slides,
// points, clicks, plays, changes the language and the width. Usage:
//   node page.mjs ELMAN FOLDER
// writes pages and screenshots into FOLDER.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [elman, folder] = process.argv.slice(2).map((p) => resolve(p));
mkdirSync(folder, { recursive: true });

// A forecaster to look into.
const table = resolve(import.meta.dirname, "../../examples/data/household_energy_monthly.csv");
const quick = ["--horizon", "3", "--members", "1", "--epochs", "20", "--out", `${folder}/forecast`, "--force"];
execFileSync(elman, ["forecast", table, "--target", "kwh", ...quick], { stdio: "pipe" });
// One that is small enough to be shown number by number.
const small = ["--cell", "rnn", "--hidden-size", "1", "--look-back", "4", "--layers", "1", "--horizon", "2", "--members", "1", "--epochs", "20"];
execFileSync(elman, ["forecast", table, "--target", "kwh", ...small, "--out", `${folder}/small`, "--force"], { stdio: "pipe" });

const CASES = [
  { name: "worked", flags: [] },
  { name: "lstm", flags: ["--cell", "lstm"] },
  { name: "gru-both", flags: ["--cell", "gru", "--bidirectional", "--readout", "last-state"] },
  { name: "stacked", flags: ["--layers", "2", "--hidden", "1", "--configuration", "many-to-many"] },
  { name: "one-to-many", flags: ["--configuration", "one-to-many"] },
  { name: "limit", flags: ["--cell", "lstm", "--layers", "2"] },
  { name: "long", flags: ["--hidden", "1", "--input", Array.from({ length: 40 }, (_, i) => 20 + 5 * (i % 7)).join(" "), "--target", "40"] },
  { name: "forecaster", flags: [`${folder}/forecast/model.safetensors`, "--input", table] },
  { name: "small-forecaster", flags: [`${folder}/small/model.safetensors`, "--input", table] },
  { name: "large", flags: ["--cell", "lstm", "--hidden", "24"] },
];
const SIZES = { phone: { width: 375, height: 812 }, desktop: { width: 1280, height: 900 } };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function open(file, size, scheme, problems, hasTouch = false) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, locale: "en-US", reducedMotion: "reduce", hasTouch });
  const page = await context.newPage();
  // A machine that is busy with other things proves nothing.
  page.setDefaultTimeout(180_000);
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && problems.push(m.text()));
  page.on("pageerror", (e) => problems.push(String(e)));
  page.on("request", (r) => /^(file|data):/.test(r.url()) || problems.push(`asks for ${r.url()}`));
  await page.goto(pathToFileURL(file).href);
  return { context, page };
}

// Nothing sticks out of the page, and no two of what stands side by side
// overlap.
async function tidy(page, what) {
  const found = await page.evaluate(() => {
    const wrong = [];
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wide > 0) wrong.push(`the page is ${wide} px too wide`);
    const families = [".value", ".num", ".node rect", ".btn", ".tiles > div", "section", ".heat", ".chip", ".cells button", "h2", "details"];
    for (const family of families) {
      const seen = [...document.querySelectorAll(family)].filter((e) => !e.closest("#inspector") || family === ".chip");
      const boxes = seen.map((e) => [e, e.getBoundingClientRect()]).filter(([, b]) => b.width && b.height);
      for (let i = 0; i < boxes.length; i++)
        for (let j = i + 1; j < boxes.length; j++) {
          const [a, b] = [boxes[i][1], boxes[j][1]];
          const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          const apart = boxes[i][0].parentElement.closest(".scroll,.mat") !== boxes[j][0].parentElement.closest(".scroll,.mat");
          if (x > 1 && y > 1 && !apart) wrong.push(`${family}: "${boxes[i][0].textContent}" on "${boxes[j][0].textContent}"`);
        }
    }
    // What scrolls says so, and drawn words can be read.
    for (const e of document.querySelectorAll(".scroll")) {
      const over = e.scrollWidth - e.clientWidth > 1, hint = e.nextElementSibling;
      if (e.classList.contains("goes-right") !== over) wrong.push(`${e.id || e.className}: the shade`);
      if (!hint?.classList.contains("hint") || hint.hidden === over || !hint.textContent) wrong.push(`${e.id || e.className}: the hint`);
    }
    for (const svg of document.querySelectorAll("svg"))
      for (const t of svg.querySelectorAll("text,tspan")) {
        const scale = svg.getBoundingClientRect().width / svg.width.baseVal.value;
        const size = parseFloat(getComputedStyle(t).fontSize) * scale;
        if (size < 11) wrong.push(`"${t.textContent}" has ${size} px`);
      }
    // Numbers on colours can be read: 4.5 is what WCAG asks for.
    const rgba = (text) => text.match(/[\d.]+/g).map(Number);
    const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    for (const e of document.querySelectorAll(".cells button,#connect td")) {
      const under = rgba(getComputedStyle(e.closest(".card") ?? document.body).backgroundColor), [r, g, b, a = 1] = rgba(getComputedStyle(e).backgroundColor);
      const both = [[r, g, b].map((c, i) => c * a + under[i] * (1 - a)), rgba(getComputedStyle(e).color).slice(0, 3)].map(light);
      const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
      if (contrast < 4.5) wrong.push(`"${e.textContent}" has a contrast of ${contrast.toFixed(1)}`);
    }
    const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
    const [dot, ...words] = [...document.querySelectorAll("#losses circle,#losses text")].sort((a, b) => a.tagName.localeCompare(b.tagName)).map((e) => e.getBoundingClientRect());
    if (!words.length || !words.every((w) => apart(dot, w))) wrong.push("the loss covers its label");
    return wrong.slice(0, 5);
  });
  assert.deepEqual(found, [], what);
}

// In the drawing no wire runs behind a box that is not its own, and nothing
// strikes through a label.
async function drawn(page, what) {
  const found = await page.evaluate(() => {
    const svg = document.querySelector("#sketch svg"), wrong = [];
    if (!svg) return wrong;
    const here = svg.getBoundingClientRect(), area = (e) => { const b = e.getBoundingClientRect(); return { e, left: b.left - here.left, top: b.top - here.top, right: b.right - here.left, bottom: b.bottom - here.top }; };
    const boxes = [...svg.querySelectorAll(".node")].map((n) => ({ ...area(n.querySelector("rect")), id: n.dataset.v, name: n.ariaLabel }));
    const labels = [...svg.querySelectorAll(".wlabel")].map(area);
    const inside = ([x, y], b) => x > b.left + 1 && x < b.right - 1 && y > b.top + 1 && y < b.bottom - 1;
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    for (const wire of svg.querySelectorAll(".wire")) {
      const name = `the wire from ${wire.dataset.from} to ${wire.dataset.to}`;
      for (let l = 0; l < wire.getTotalLength(); l += 2) {
        const { x, y } = wire.getPointAtLength(l);
        for (const b of boxes) if (inside([x, y], b)) wrong.push(`${name} is behind ${b.name}`);
        for (const t of labels) if (inside([x, y], t)) wrong.push(`${name} strikes through ${t.e.textContent}`);
      }
    }
    labels.forEach((t, i) => {
      for (const b of boxes) if (meet(t, b)) wrong.push(`${t.e.textContent} on ${b.name}`);
      for (const u of labels.slice(0, i)) if (meet(t, u)) wrong.push(`${t.e.textContent} on ${u.e.textContent}`);
    });
    for (const b of boxes) for (const t of svg.querySelectorAll(`.node[data-v="${b.id}"] text`)) { const a = area(t); if (a.left < b.left || a.right > b.right) wrong.push(`${b.name} is wider than its box`); }
    return [...new Set(wrong)].slice(0, 5);
  });
  assert.deepEqual(found, [], what);
}

// A shown number, to the five digits shown.
const near = (shown, x) => Math.abs(Number(shown.replaceAll("−", "-")) - x) <= 5.1e-5 * Math.abs(x);

for (const { name, flags } of CASES) {
  const file = `${folder}/${name}.html`;
  execFileSync(elman, ["explain", ...flags, "--html", file, "--force"], { stdio: "pipe" });
  assert(statSync(file).size < 1_000_000, `${name} is under 1 MB`);
  assert(!/(href|src)="https?:/.test(readFileSync(file, "utf8")), `${name} links nowhere`);
  const all = JSON.parse(execFileSync(elman, ["explain", ...flags, "--json"], { maxBuffer: 1 << 28 }));
  assert(all.training.length > 50, `${name}: at least 50 recorded training steps`);
  for (const [width, size] of Object.entries(SIZES))
    for (const scheme of ["light", "dark"]) {
      const problems = [];
      const { context, page } = await open(file, size, scheme, problems);
      // At the last training step as at the first.
      if (await page.$("#frame")) {
        await page.fill("#frame", "60");
        await tidy(page, `${name}, ${width}, ${scheme}, training step 60`);
        await page.fill("#frame", "0");
      }
      for (const language of ["en", "ja"]) {
        const what = `${name}, ${width}, ${scheme}, ${language}`;
        assert.equal(await page.getAttribute("html", "lang"), language, what);
        await tidy(page, what);
        await drawn(page, what);
        await page.screenshot({ path: `${folder}/${name}-${width}-${scheme}-${language}.png`, fullPage: true });
        await page.click("#lang");
      }
      assert.deepEqual(problems, [], `${name}, ${width}, ${scheme}`);
      await context.close();
    }
}

// Other networks are drawn as cleanly; directions have a legend.
for (const flags of [
  ["--cell", "lstm", "--bidirectional", "--hidden", "1"],
  ["--cell", "lstm", "--bidirectional", "--hidden", "1", "--readout", "last-state", "--layers", "2"],
  ["--cell", "gru", "--bidirectional", "--hidden", "1", "--layers", "2", "--configuration", "many-to-many"],
  ["--cell", "lstm", "--layers", "2", "--hidden", "1", "--configuration", "one-to-many"],
  ["--layers", "4", "--hidden", "1", "--bidirectional"],
]) {
  const file = `${folder}/drawn.html`, what = flags.join(" ");
  execFileSync(elman, ["explain", ...flags, "--html", file, "--force"], { stdio: "pipe" });
  const { context, page } = await open(file, SIZES.desktop, "light", []);
  await drawn(page, what);
  const ways = await page.$$eval("#directions .way", (all) => all.map((e) => getComputedStyle(e).borderTopColor));
  const inks = await page.$$eval("#sketch .wire", (all) => [...new Set(all.map((e) => getComputedStyle(e).stroke))]);
  assert.equal(ways.length, flags.includes("--bidirectional") ? 2 : 0, what);
  ways.forEach((ink) => assert(inks.includes(ink), `${what}: ${ink}`));
  await context.close();
}

// A model that is too large to be read is shown by maps that stand for the first
// pass: there is nothing to slide. It says so, and its answers speak of what is
// there.
{
  const problems = [];
  const { context, page } = await open(`${folder}/large.html`, SIZES.desktop, "light", problems);
  assert.equal(await page.$("#frame"), null);
  assert.equal(await page.textContent("h1"), "One training step, as a whole");
  assert.equal(await page.title(), "One training step, as a whole");
  const trace = JSON.parse(execFileSync(elman, ["explain", "--cell", "lstm", "--hidden", "24", "--json"], { maxBuffer: 1 << 28 }));
  await page.locator("#heats canvas").first().scrollIntoViewIfNeeded();
  await page.locator("#heats canvas").first().hover({ position: { x: 1, y: 1 } });
  const shown = await page.locator("#heats .tip").first().textContent();
  assert(near(shown.split(": ")[1], trace.heat[0].rows[0][0]), shown);
  assert.equal(await page.locator("#connect canvas").count(), 1);
  const intro = await page.textContent("#intro");
  for (const part of [`has ${trace.about.numbers} numbers`, `Up to ${trace.about.most} `, "elman explain --cell lstm --hidden 2"]) assert(intro.includes(part), `${part}: ${intro}`);
  // The arrow keys read the map as pointing does.
  await page.focus("#heats canvas >> nth=0");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  const reached = await page.locator("#heats .tip").first().textContent();
  assert(reached.startsWith("step 2, unit 2: ") && near(reached.split(": ")[1], trace.heat[0].rows[1][1]), reached);
  const map = page.locator("#heats .map").first();
  assert.deepEqual(await map.locator(".rows span").allTextContents(), ["unit 1", "unit 24"]);
  assert.deepEqual(await map.locator(".columns span").allTextContents(), ["step 1", "step 3"]);
  assert.match(await map.locator(".legend").textContent(), /0\s+1/);
  const answers = await page.$$eval("details", (all) => all.map((d) => d.textContent.replace(/\s+/g, " ")));
  assert.match(answers[1], /one direction, and both are the same: the last column of the map h above/);
  assert.match(answers[2], /table of shapes above.*weight_ih_l0: rows 1–24 Wxi, rows 25–48 Wxf, rows 49–72 Wxg, rows 73–96 Wxo/);
  assert.match(answers[3], /column “a step back”/);
  assert((await page.textContent("#norms thead")).includes("a step back"));
  const rows = await page.$$eval("#shapes tbody tr", (all) => all.map((r) => [...r.cells].at(-1).textContent));
  rows.forEach((text) => assert(text.trim(), "shown as nothing"));
  assert.deepEqual(problems, []);
  await context.close();
}

// A forecaster's maps have its dates.
{
  const { context, page } = await open(`${folder}/forecaster.html`, SIZES.phone, "light", []);
  for (const map of await page.locator("#heats .map, #connect .map").all()) {
    const columns = await map.locator(".columns span").allTextContents();
    columns.forEach((c) => assert.match(c, /^step \d+ \(\d{4}-\d\d\)$/));
  }
  const dates = await page.$$eval("#norms tbody td:first-child", (all) => all.map((e) => e.textContent));
  assert(dates.length > 3);
  dates.forEach((d, t) => assert.match(d, new RegExp(`^${t + 1} \\d{4}-\\d\\d$`)));
  assert.match(await page.locator("#connect .rows span").first().textContent(), /^ŷ\d+ \(\d{4}-\d\d\)$/);
  await context.close();
}

// A forecaster's page begins with prediction and target in the units of its
// table; features and times have their names.
for (const name of ["forecaster", "small-forecaster"]) {
  const problems = [], { flags } = CASES.find((c) => c.name === name);
  const { context, page } = await open(`${folder}/${name}.html`, SIZES.desktop, "light", problems);
  const trace = JSON.parse(execFileSync(elman, ["explain", ...flags, "--json"], { maxBuffer: 1 << 28 }));
  const { target, forecast, step_names: names } = trace.about, known = forecast.known.length;
  assert.equal(await page.textContent("#outlook_title"), "Prediction and target: kwh");
  assert((await page.locator("#outlook_title").boundingBox()).y < 900, "it is seen without scrolling");
  const rows = () => page.$$eval("#outlook_table tbody tr", (all) => all.map((r) => [...r.cells].map((c) => c.textContent)));
  const hold = async (frame) => {
    const shown = await rows();
    assert.equal(shown.length, target.length);
    shown.forEach(([step, y, p], k) => {
      assert.equal(step, `${known + k + 1} ${names[known + k]}`);
      assert(near(y, target[k]) && y > 100, `${y} is ${target[k]}`);
      assert(near(p, trace.training[frame].prediction[k]), p);
    });
  };
  await hold(0);
  const drawing = await page.textContent("#outlook svg");
  for (const part of ["kwh", names[0], names.at(-1)]) assert(drawing.includes(part), `${part}: ${drawing}`);
  assert.match(await page.textContent("#notes"), /Steps 1 to \d+ are the window that is known, from \d{4}-\d\d to \d{4}-\d\d\. Steps/);
  if (trace.about.readable) {
    await page.fill("#frame", "30");
    await hold(30);
    await page.fill("#frame", "0");
    await page.hover("#outlook_table tbody td:last-child button >> nth=0");
    assert.match(await page.textContent("#tip"), / · 200\.\d+ \+ 787\.6 = 7\d\d\.\d+ kwh/);
    await page.hover("h1");
    // Features over the columns of an input, before the rows of its weights.
    const x = trace.values.find((v) => v.symbol === "x^2"), wx = trace.values.find((v) => v.symbol === "W_x"), u = trace.values.find((v) => v.symbol === "u");
    const axis = (v) => page.$$eval(`[data-box="${v.id}"] .axis`, (all) => all.map((e) => e.textContent));
    for (const v of [x, wx]) assert.deepEqual(await axis(v), trace.about.feature_names);
    assert.deepEqual(await axis(u), trace.connectivity.beside.names);
    await page.hover(`[data-box="${x.id}"] .num >> nth=0`);
    assert.equal(await page.textContent("#inspector .what"), `kwh · step 2 (${names[1]})`);
    await page.hover(`[data-box="${wx.id}"] .num >> nth=1`);
    assert.equal(await page.textContent("#inspector .what"), trace.about.feature_names[1]);
    assert.deepEqual(await page.$$eval("#sketch .date", (all) => all.map((e) => e.textContent)), names);
    await page.click('[data-pass="forward"]');
    assert((await page.$$eval("#list h3", (all) => all.map((e) => e.textContent))).includes(`step 2 (${names[1]})`));
    await page.fill("#step", "2");
    assert.equal(await page.textContent("#step_out"), `2 (${names[1]})`);
  }
  assert.deepEqual(problems, []);
  await context.close();
}

// On a phone the inspector says where it goes on, folds to one line, and hides
// nothing for good; the norms are cards with every column in sight.
{
  const problems = [];
  const { context, page } = await open(`${folder}/lstm.html`, { width: 390, height: 700 }, "light", problems);
  const area = (selector) => page.locator(selector).first().boundingBox();
  const long = page.locator('#list .value:has-text("L =") [data-n], #list [data-n]').first();
  await page.click('[data-pass="backward"]');
  const c = await page.$$eval("#list .num", (all) => all.map((e) => e.dataset.n));
  assert(c.length > 40 && (await long.count()) === 1);
  await page.locator(`#list [data-n="${c[30]}"]`).click();
  const whole = await area("#inspector");
  assert(whole.height < 0.5 * 700, `${whole.height} px`);
  const cut = await page.$eval("#inside", (e) => e.scrollHeight - e.clientHeight);
  assert(cut > 1, "the case is one that is cut");
  assert(await page.isVisible("#more"));
  assert.match(await page.textContent("#more"), /scroll down/);
  assert(await page.isVisible("#inside.goes-down"));
  await page.$eval("#inside", (e) => { e.scrollTop = e.scrollHeight; });
  await page.waitForSelector("#inside:not(.goes-down)");
  const symbol = await page.textContent("#inside .sym");
  await page.click("#fold");
  const line = await area("#inspector");
  assert(line.height < 80, `folded it has ${line.height} px`);
  assert((await page.textContent("#folded")).startsWith(symbol), "the line tells which number it is");
  assert.equal(await page.getAttribute("#fold", "aria-expanded"), "false");
  // The last number of the list, and the end of the page, can be seen.
  await page.locator("#list .num").last().focus();
  await page.waitForTimeout(300);
  const [last, over] = [await page.locator("#list .num").last().boundingBox(), await area("#inspector")];
  assert(last.y + last.height <= over.y, `the last number is beneath the inspector: ${last.y + last.height}, ${over.y}`);
  await page.click("#fold");
  assert.equal(await page.getAttribute("#fold", "aria-expanded"), "true");
  await page.keyboard.press("End");
  for (const td of await page.locator("#norms td").all()) {
    const b = await td.boundingBox();
    assert(b.x >= 0 && b.x + b.width <= 390 && b.height > 10, "a column is out of sight");
  }
  assert.equal(await page.locator("#norms td").first().evaluate((e) => getComputedStyle(e, "::before").content), '"t"');
  await page.$eval("#shapes", (e) => { e.scrollLeft = 80; });
  const [first, table] = [await area("#shapes tbody td"), await area("#shapes")];
  assert(Math.abs(first.x - table.x) < 3, "the names stay while a table scrolls");
  assert.deepEqual(problems, []);
  await context.close();
}

// A map of connectivity that is not recorded at every training step says so.
{
  const numbers = (first) => Array.from({ length: 20 }, (_, i) => first + i).join(" ");
  const flags = ["--hidden", "1", "--configuration", "many-to-many", "--input", numbers(1), "--target", numbers(2)];
  const file = `${folder}/unfollowed.html`;
  execFileSync(elman, ["explain", ...flags, "--html", file, "--force"], { stdio: "pipe" });
  const { context, page } = await open(file, SIZES.desktop, "light", []);
  for (const step of ["0", "50"]) {
    await page.fill("#frame", step);
    assert.match(await page.textContent("#connect_note"), /at training step 0.*not recorded at later steps/);
  }
  await context.close();
}

// The newcomer's questions are answered by the page alone, with the numbers of
// the network at hand, in both languages.
{
  const problems = [];
  const { context, page } = await open(`${folder}/gru-both.html`, SIZES.desktop, "light", problems);
  const { flags } = CASES.find((c) => c.name === "gru-both");
  const trace = JSON.parse(execFileSync(elman, ["explain", ...flags, "--json"], { maxBuffer: 1 << 28 }));
  const row = (ids) => ids.flatMap((id) => trace.values[id].numbers);
  const EXPECTED = {
    en: [
      ["Why does h_0 ignore batch_first?", /only these have a time axis.*\(L·D, B, H\).*input 1 × 3 × 1.*h_0 2 × 1 × 2/],
      ["Why is h_n not output[:, -1] when the network is bidirectional?", /where each direction ends.*read one input only.*with batch_first=True.*output\[-1\] is the last sequence of the batch.*h_n is \[h→3 h←1\] = \[([^\]]*)\].*output\[:, -1\] is \[h→3 h←3\] = \[([^\]]*)\]/],
      ["What do the rows of weight_ih mean", /reset gate.*update gate.*candidate.*weight_ih_l0: rows 1–2 Wxr→, rows 3–4 Wxz→, rows 5–6 Wxn→/],
      ["Where does the gradient vanish?", /back through time.*slope of the activation.*dL\/dh → is multiplied by ([0-9.]+) .*: healthy/],
    ],
    ja: [
      ["なぜ h_0 は batch_first を無視する", /時間の軸があるのはこの二つだけ.*\(L·D, B, H\).*input は 1 × 3 × 1.*h_0 は 2 × 1 × 2/],
      ["なぜ h_n は output[:, -1] と違う", /各方向が終わった所.*入力をひとつしか読んで.*output\[-1\] は、バッチの最後の系列.*h_n は \[h→3 h←1\] = \[([^\]]*)\].*output\[:, -1\] は \[h→3 h←3\] = \[([^\]]*)\]/],
      ["weight_ih の行", /リセットゲート.*更新ゲート.*候補.*weight_ih_l0: 1–2 行 Wxr→, 3–4 行 Wxz→, 5–6 行 Wxn→/],
      ["勾配はどこで消える", /時間をさかのぼる.*活性化の傾き.*dL\/dh → は一歩戻るごとに平均 ([0-9.]+) 倍で、健全/],
    ],
  };
  for (const language of ["en", "ja"]) {
    for (const [i, [question, answer]] of EXPECTED[language].entries()) {
      const details = page.locator("details").nth(i);
      assert((await details.locator("summary").textContent()).includes(question), question);
      if (!(await details.getAttribute("open"))) await details.evaluate((d) => (d.open = true));
      assert(await details.locator("p").last().isVisible(), question);
      const text = (await details.locator("p").allTextContents()).join(" ").replaceAll("\u00a0", " ").replace(/\s+/g, " ");
      const found = text.match(answer);
      assert(found, `${question}: ${text}`);
      if (i === 1)
        [trace.ends.h_n, trace.ends.output].forEach((ids, k) =>
          found[k + 1].split(" ").forEach((shown, j) => assert(near(shown, row(ids)[j]), `${question}: ${shown}`)));
      // A number of an answer tells its formula, too.
      if (i === 1) {
        await details.locator("[data-n]").last().hover();
        assert.match(await page.textContent("#tip"), /=/);
        await page.hover("h1");
      }
      if (i === 3) assert(near(found[1], trace.norms[0].factor), found[1]);
    }
    await page.click("#lang");
  }
  assert.deepEqual(problems, []);
  await context.close();
}

// Every number that the page shows is in the JSON, to the digits shown.
{
  const problems = [];
  const { page } = await open(`${folder}/worked.html`, SIZES.desktop, "light", problems);
  const trace = JSON.parse(execFileSync(elman, ["explain", "--json"], { maxBuffer: 1 << 28 }));
  const shown = () => page.$$eval("[data-n]", (all) => all.map((e) => [e.dataset.n, e.textContent]));
  async function compare(frame) {
    let count = 0;
    for (const pass of ["forward", "backward", "update"]) {
      await page.click(`[data-pass="${pass}"]`);
      for (const [place, text] of await shown()) {
        const [v, i] = place.split(":").map(Number);
        const x = trace.training[frame].numbers[v][i];
        assert(near(text, x), `${trace.values[v].labels[i]}: ${text} is ${x}`);
        count++;
      }
    }
    assert(count > 100, `${count} numbers`);
  }
  await compare(0);

  // Slide over the training steps.
  const before = await page.textContent("#tiles");
  await page.fill("#frame", "50");
  assert.notEqual(await page.textContent("#tiles"), before, "the loss follows the training step");
  const connected = await page.$$eval("#connect td:not(:first-child)", (all) => all.map((e) => e.textContent));
  assert.equal(connected.length, 3);
  connected.forEach((text, t) => assert(near(text, trace.training[50].connectivity[0][t]), text));
  await compare(50);
  await page.fill("#frame", "0");

  // Slide over the steps in time.
  await page.click('[data-pass="forward"]');
  const symbols = () => page.$$eval("#list .value b", (all) => all.map((e) => e.textContent));
  assert((await symbols()).includes("h1") && (await symbols()).includes("h2"));
  await page.fill("#step", "2");
  assert(!(await symbols()).includes("h1") && (await symbols()).includes("h2"), "only step 2");
  assert.deepEqual(await page.$$eval(".node.at", (all) => all.map((e) => e.getAttribute("aria-label"))), ["x^2", "h^2"], "step 2 in the drawing");
  assert.equal(await page.textContent("#norms tr.at td"), "2");
  assert.equal(await page.textContent("#connect th.at"), "x2");
  await page.fill("#step", "0");

  // Point at h^2[1]: its formula, and its operand lit.
  const value = (label) => {
    const v = trace.values.find((v) => v.labels.includes(label));
    return `${v.id}:${v.labels.indexOf(label)}`;
  };
  await page.hover(`#list [data-n="${value("h^2[1]")}"]`);
  assert.match(await page.textContent("#inspector"), /tanh\(a2\[1\]\)/);
  assert(await page.isVisible(`[data-n="${value("a^2[1]")}"].lit`), "the operand is lit");

  // Click holds it; a click on the operand goes there.
  await page.click(`#list [data-n="${value("h^2[1]")}"]`);
  await page.hover("h1");
  assert.match(await page.textContent("#inspector"), /tanh/);
  await page.click(`#inspector [data-go="${value("a^2[1]")}"]`);
  assert(await page.isVisible(`[data-n="${value("a^2[1]")}"].held`));
  assert.match(await page.textContent("#inspector .sym"), /^a2/);
  // And from there to its gradient, in the other pass.
  await page.click(`#inspector [data-go="${value("dL/da^2[1]")}"]`);
  assert.equal(await page.getAttribute('[data-pass="backward"]', "aria-pressed"), "true");
  assert.match(await page.textContent("#inspector"), /Finite difference/);

  // Numbers outside of the list tell their formulas in a box; a click goes to
  // what they are made from.
  await page.keyboard.press("Escape");
  const stands = (path) => {
    const k = trace.figures.findIndex((f) => f.at === path);
    assert(k >= 0, path);
    return `[data-f="${k}"]`;
  };
  const norm = page.locator(stands("/norms/0/steps/1/norm"));
  assert(near(await norm.textContent(), trace.norms[0].steps[1].norm));
  await norm.hover();
  assert.match(await page.textContent("#tip"), /‖dL\/dh2‖= √\(dL\/dh2\[1\]² \+ dL\/dh2\[2\]²\)/);
  await page.locator(stands("/norms/0/steps/1/factor")).hover();
  assert.match(await page.textContent("#tip"), /‖dL\/dh2\[next\]‖ \/ ‖dL\/dh3‖/);
  await page.hover(`#connect ${stands("/connectivity/rows/0/2")}`);
  assert.match(await page.textContent("#tip"), /‖dŷ \/ dx3‖/);
  assert(await page.isVisible(`#given [data-n="${value("x^3")}"].lit`), "the input is lit");
  await page.hover(`#tiles [data-n="${value("L")}"]`);
  assert.match(await page.textContent("#tip"), /e²/);
  await page.hover(`#tiles [data-o="${value("ŷ")}"]`);
  assert.match(await page.textContent("#tip"), / · 100 = /);
  await page.hover("h1");
  assert(await page.isHidden("#tip"));
  await page.focus(stands("/norms/0/steps/1/from_next"));
  assert.match(await page.textContent("#tip"), /dL\/dh2\[next\]/);
  await page.keyboard.press("Enter");
  assert.match(await page.textContent("#inspector .sym"), /dL\/dh2\[next\]\[1\]/);
  assert(await page.isVisible("#list .held"));

  const focused = () => page.evaluate(() => ({ ...document.activeElement.dataset }));
  // An average of a sentence tells the factors that it is of and leads to them,
  // and Backspace leads back.
  await page.keyboard.press("Escape");
  const average = page.locator(`#norms ${stands("/norms/0/factor")}`);
  assert(near(await average.textContent(), trace.norms[0].factor));
  await average.hover();
  assert.match((await page.textContent("#tip")).replace(/\s/g, ""), /^φ=√\(φ1·φ2\)=√\([0-9.]+·[0-9.]+\)=[0-9.]+$/);
  assert(await page.isVisible(`${stands("/norms/0/steps/0/factor")}.lit`), "a factor is lit");
  await average.click();
  assert.equal(`[data-f="${(await focused()).f}"]`, stands("/norms/0/steps/0/factor"));
  await page.keyboard.press("Backspace");
  assert.equal(`[data-f="${(await focused()).f}"]`, stands("/norms/0/factor"));
  // After how many steps a threshold is crossed, and the share that is saturated.
  await page.hover(`#norms ${stands("/norms/0/crossed_after")}`);
  assert.match(await page.textContent("#tip"), /⌈ln\(1000\) \/ \|ln\([0-9.]+\)\|⌉/);
  await page.hover(`#heats ${stands("/heat/0/percent")}`);
  assert.match(await page.textContent("#tip"), /100 · #\(h ∉ \[−0.9, 0.9\]\) \/ 6= 100 · \d+ \/ 6/);
  // The gradient that is farthest from its finite difference, beside both losses.
  const { farthest, largest } = trace.check, label = trace.values[farthest.id].labels[farthest.place];
  await page.hover(`#tiles ${stands("/check/largest")}`);
  const told = await page.textContent("#tip");
  for (const f of trace.figures.filter((f) => f.at.startsWith("/check/"))) assert(told.includes(f.filled), `${f.filled}: ${told}`);
  assert.match(told, /L\(.* \+ e\) − L\(.* − e\)\) \/ \(2 · /);
  assert(told.includes(largest.toExponential(1).replaceAll("-", "−")), told);
  assert(await page.isVisible(`.lab [data-n="${farthest.id}:${farthest.place}"].lit`) || !(await page.$(`.lab [data-n="${farthest.id}:${farthest.place}"]`)), "the gradient is lit");
  await page.click(`#tiles ${stands("/check/largest")}`);
  assert.equal((await focused()).n, `${farthest.id}:${farthest.place}`, label);
  assert.match(await page.textContent("#inspector"), /Finite difference/);

  // The keyboard does the same.
  await page.keyboard.press("Escape");
  await page.focus(`#list [data-n="${value("dL/dh^1[1]")}"]`);
  assert.match(await page.textContent("#inspector"), /\[loss\]/);
  await page.keyboard.press("Enter");
  assert(await page.isVisible("#list .held"));
  // Enter again goes to the first operand, Escape back from the operands.
  assert.equal((await focused()).go, value("dL/dh^1[loss][1]"));
  await page.keyboard.press("Enter");
  assert.equal((await focused()).n, value("dL/dh^1[loss][1]"));
  assert.match(await page.textContent("#inspector .sym"), /\[loss\]\[1\]/);
  await page.keyboard.press("Enter");
  assert((await focused()).go);
  await page.keyboard.press("Escape");
  assert.equal((await focused()).n, value("dL/dh^1[loss][1]"));
  await page.keyboard.press("Escape");

  // A way back: by a button, by a crumb, by Backspace and by Alt and the left
  // arrow, to other passes and to what is outside of the list.
  const sym = () => page.textContent("#inspector .sym");
  const at = async (label) => assert.equal((await sym()).replace(/\s/g, ""), label);
  await page.click('[data-pass="forward"]');
  await page.click(`#list [data-n="${value("h^2[1]")}"]`);
  const chain = ["a^2[1]", "dL/da^2[1]", "dL/dh^2[1]"];
  for (const label of chain) await page.click(`#inspector [data-go="${value(label)}"]`);
  await at("dL/dh2[1]");
  assert.deepEqual(await page.$$eval("#inspector .crumb", (all) => all.map((e) => e.textContent)), ["h2[1]", "a2[1]", "dL/da2[1]"]);
  await page.click("#inspector [data-back] >> nth=0");
  await at("dL/da2[1]");
  assert.equal((await focused()).n, value("dL/da^2[1]"));
  await page.keyboard.press("Backspace");
  await at("a2[1]");
  assert.equal(await page.getAttribute('[data-pass="forward"]', "aria-pressed"), "true");
  await page.keyboard.press("Alt+ArrowLeft");
  await at("h2[1]");
  for (const label of chain) await page.click(`#inspector [data-go="${value(label)}"]`);
  await page.click("#inspector .crumb >> nth=0");
  await at("h2[1]");
  await page.keyboard.press("Escape");
  assert.equal(await page.$("#inspector [data-back]"), null);
  const factor = page.locator(stands("/norms/0/steps/1/factor"));
  await factor.scrollIntoViewIfNeeded();
  // A click may scroll, too, where something lies over what is clicked.
  await page.evaluate(() => addEventListener("pointerdown", () => { window.clickedAt = scrollY; }, { once: true, capture: true }));
  await factor.click();
  const y = await page.evaluate(() => window.clickedAt);
  await at("dL/dh2[next][1]");
  await page.waitForFunction((y) => Math.abs(scrollY - y) > 100, y);
  await page.keyboard.press("Backspace");
  assert.equal(`[data-f="${(await focused()).f}"]`, stands("/norms/0/steps/1/factor"));
  await page.waitForFunction((y) => Math.abs(scrollY - y) < 2, y);
  await page.keyboard.press("Escape");

  // A matrix is one stop of the tab key; arrows go from number to number.
  const stops = await page.$$eval("[data-grid]", (all) => all.map((g) => [...g.querySelectorAll("button,.node")].filter((e) => e.getAttribute("tabindex") === "0").length));
  assert(stops.length > 20);
  stops.forEach((n) => assert(n <= 1, `${n} stops`));
  const focusables = await page.$$eval("a,button,input,select,summary,[tabindex]", (all) => all.filter((e) => e.tabIndex >= 0 && e.getClientRects().length).length);
  assert(focusables < 80, `${focusables} stops of the tab key`);
  await page.focus(`#given [data-n="${value("W_h[1,1]")}"]`);
  for (const [key, label] of [["ArrowRight", "W_h[1,2]"], ["ArrowDown", "W_h[2,2]"], ["ArrowDown", "W_h[2,2]"], ["ArrowLeft", "W_h[2,1]"], ["ArrowUp", "W_h[1,1]"], ["End", "W_h[1,2]"]]) {
    await page.keyboard.press(key);
    assert.equal((await focused()).n, value(label), key);
    await at(label.replace("_", ""));
  }
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Tab");
  assert.equal((await focused()).n, value("W_h[1,2]"), "the tab key finds the number that was left");
  await page.focus('.node[aria-label="h^1"]');
  const node = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  for (const [key, name] of [["ArrowRight", "h^2"], ["ArrowDown", "x^2"], ["ArrowLeft", "x^1"], ["ArrowUp", "h^1"], ["ArrowUp", "H"], ["ArrowUp", "ŷ"]]) {
    await page.keyboard.press(key);
    assert.equal(await node(), name, key);
  }
  await page.focus(stands("/norms/0/steps/0/norm"));
  await page.keyboard.press("ArrowDown");
  assert.equal(`[data-f="${(await focused()).f}"]`, stands("/norms/0/steps/1/norm"));
  await page.evaluate(() => document.activeElement.blur());
  await page.hover("h1");

  // The three passes play, pause and go on; they go step by step, and Escape ends
  // them.
  const playing = () => page.textContent("#playing");
  const place = async () => Number((await playing()).match(/(\d+) \/ \d+$/)[1]);
  const rest = async () => { const before = await playing(); await page.waitForTimeout(1200); assert.equal(await playing(), before, "it rests"); };
  for (const pass of ["forward", "backward", "update"]) {
    const button = page.locator(`[data-play="${pass}"]`), name = await button.textContent();
    await button.click();
    await page.waitForSelector(".value.now");
    const first = await page.getAttribute(".value.now", "data-box");
    assert.match(await playing(), / = .* \d+ \/ \d+$/, "what is played stands beside the drawing");
    assert.equal((await button.textContent()).trim(), "Pause");
    await page.waitForFunction((f) => document.querySelector(".value.now")?.dataset.box !== f, first);
    await button.click();
    assert.equal((await button.textContent()).trim(), "Go on");
    await rest();
    const there = await place();
    await page.click('[data-by="1"]');
    assert.equal(await place(), there + 1);
    await page.click('[data-by="-1"]');
    await page.click('[data-by="-1"]');
    assert.equal(await place(), there - 1);
    await button.click();
    await page.waitForFunction((k) => Number(document.querySelector("#playing").textContent.match(/(\d+) \/ \d+$/)?.[1]) > k, there + 1);
    await page.keyboard.press("Escape");
    assert.equal(await page.$(".value.now"), null, `${pass} ends`);
    assert.equal(await playing(), "");
    assert.equal(await button.textContent(), name);
  }
  // The keyboard alone: from the button, and from nowhere in particular.
  await page.focus('[data-play="update"]');
  await page.keyboard.press("Space");
  await page.waitForSelector(".value.now");
  await page.keyboard.press("ArrowRight");
  const reached = await place();
  await rest();
  await page.keyboard.press("ArrowRight");
  assert.equal(await place(), reached + 1);
  await page.keyboard.press("ArrowLeft");
  assert.equal(await place(), reached);
  await page.evaluate(() => document.activeElement.blur());
  const scrolled = await page.evaluate(() => scrollY);
  await page.keyboard.press("Space");
  await page.waitForFunction((k) => Number(document.querySelector("#playing").textContent.match(/(\d+) \/ \d+$/)?.[1]) > k, reached + 1);
  await page.keyboard.press("Space");
  await rest();
  assert.equal(await page.evaluate(() => scrollY), scrolled, "space does not scroll while a pass is played");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Escape");
  assert.equal(await playing(), "");

  // The balls roll; another weight has another curve.
  const drawn = () => page.innerHTML("#landscape");
  const still = await drawn();
  await page.click("#roll");
  await page.waitForFunction((s) => document.querySelector("#landscape").innerHTML !== s, still);
  await page.selectOption("#weight", "3");
  assert.notEqual(await drawn(), still);

  // The code is copied; where that is not allowed it is selected, and the button
  // says so.
  const code = await page.textContent("#codetext");
  for (const allowed of [true, false]) {
    await page.evaluate((allowed) => {
      window.taken = null;
      const clipboard = { writeText: async (text) => { if (!allowed) throw new Error("not allowed"); window.taken = text; } };
      Object.defineProperty(navigator, "clipboard", { value: clipboard, configurable: true });
      document.execCommand = () => false;
    }, allowed);
    await page.click("#copy");
    await page.waitForFunction((word) => document.querySelector("#copy").textContent.startsWith(word), allowed ? "Copied" : "Selected: now press Ctrl+C");
    assert.equal((await page.evaluate(() => window.taken ?? getSelection().toString())).trimEnd(), code.trimEnd());
  }

  // In Japanese the page has no English sentence left.
  await page.click("#lang");
  assert.match(await page.textContent("h1"), /学習の一歩/);
  const english = await page.$$eval("[data-w]", (all) => all.map((e) => e.textContent).filter((t) => /[a-z]{3,} [a-z]{3,} [a-z]{3,}/.test(t)));
  assert.deepEqual(english, []);
  assert.deepEqual(problems, []);
}
// The two states of an LSTM have one norm: its formula, and what multiplies it.
{
  const problems = [];
  const { context, page } = await open(`${folder}/lstm.html`, SIZES.desktop, "light", problems);
  const trace = JSON.parse(execFileSync(elman, ["explain", "--cell", "lstm", "--json"], { maxBuffer: 1 << 28 }));
  const stands = (path) => `#norms [data-f="${trace.figures.findIndex((f) => f.at === path)}"]`;
  await page.hover(stands("/norms/0/steps/1/norm"));
  assert.match(await page.textContent("#tip"), /^‖dL\/d\(h2, c2\)‖= √\(dL\/dh2\[1\]² \+ dL\/dh2\[2\]² \+ dL\/dc2\[next\]\[1\]² \+ dL\/dc2\[next\]\[2\]²\)= √/);
  await page.click('[data-pass="backward"]');
  const c = trace.values.find((v) => v.symbol === "dL/dc^2[next]");
  await page.hover(stands("/norms/0/steps/1/from_next"));
  assert.match(await page.textContent("#tip"), /^‖dL\/d\(h2, c2\)\[next\]‖/);
  assert(await page.isVisible(`#list [data-n="${c.id}:0"].lit`), "the part along c is lit");
  await page.hover(stands("/norms/0/steps/1/factor"));
  assert.match(await page.textContent("#tip"), /‖dL\/d\(h2, c2\)\[next\]‖ \/ ‖dL\/d\(h3, c3\)‖/);
  await page.click(stands("/norms/0/steps/1/norm"));
  assert.match(await page.textContent("#inspector .sym"), /dL\/dh2\[1\]/);
  // At another training step, too.
  await page.keyboard.press("Escape");
  await page.fill("#frame", "40");
  await page.hover(stands("/norms/0/factor"));
  assert((await page.textContent("#tip")).endsWith(await page.textContent(stands("/norms/0/factor"))));
  assert(near(await page.textContent(stands("/norms/0/factor")), trace.training[40].norms[0].factor));
  // No number of the table, nor of the sentences below it, cannot be pointed at.
  const plain = await page.$$eval("#norms td,#norms p", (all) => all.filter((e) => e.dataset.head !== "t").flatMap((e) => [...e.childNodes]).filter((n) => n.nodeType === 3 && /\d/.test(n.data)).map((n) => n.data));
  assert.deepEqual(plain, []);
  assert.deepEqual(problems, []);
  await context.close();
}

// Every number in a table, a tile, a sentence, a chart, the drawing, and in what
// pointing tells, is in the JSON, written by the page's rule.
const WRITTEN = /(?<![\p{L}\d._])[-−]?\d+(?:\.\d+)?(?:e[-−]?\d+)?(?![\p{L}\d_])/gu;
const digits = (text) => (text.match(WRITTEN) ?? []).map((t) => t.replaceAll("−", "-"));
function collect(json, known) {
  if (typeof json === "number") {
    const few = Math.abs(json) < 1e-4 || Math.abs(json) >= 1e6 ? json.toExponential(4).replace(/\.?0*e/, "e") : String(Number(json.toPrecision(5)));
    for (const text of json === 0 ? ["0"] : [few, json.toExponential(1), String(json), String(Number(json.toPrecision(12)))]) known.add(text.replace("e+", "e"));
  } else if (typeof json === "string") digits(json).forEach((t) => known.add(t));
  else if (json) Object.values(json).forEach((x) => collect(x, known));
}
const WORDS = JSON.parse(readFileSync(resolve(import.meta.dirname, "../../crates/elman-explain/src/words.json"), "utf8"));
let looked = 0;
for (const { name, flags } of CASES) {
  const problems = [];
  const { context, page } = await open(`${folder}/${name}.html`, SIZES.desktop, "light", problems);
  const known = new Set();
  collect(JSON.parse(execFileSync(elman, ["explain", ...flags, "--json"], { maxBuffer: 1 << 28 })), known);
  // What sentences say of every network: bounds, thresholds.
  const fixed = new Set(digits(Object.values(WORDS).flatMap((w) => [w.en, w.ja]).join(" ")));
  const look = (what, texts) => {
    for (const text of texts)
      for (const t of digits(text)) {
        looked++;
        const plain = t.replace("e+", "e");
        // A minus may be the sign of a difference.
        assert([plain, plain.replace(/^-/, "")].some((x) => known.has(x) || fixed.has(x)), `${name}, ${what}: ${t} in ${text.slice(0, 200)}`);
      }
  };
  // What stands in one element is one text; what stands beside it is another.
  const texts = (root) => page.$eval(root, (e) => {
    const all = [], walk = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const p = walk.currentNode.parentElement;
      if (!p.closest("script,style,footer,[data-w]")) all.push(walk.currentNode.data);
    }
    return all;
  });
  for (const frame of (await page.$("#frame")) ? ["0", "50"] : ["0"]) {
    if (await page.$("#frame")) await page.fill("#frame", frame);
    for (const pass of (await page.$("#frame")) ? ["forward", "backward", "update"] : [""]) {
      if (pass) await page.click(`[data-pass="${pass}"]`);
      look(`training step ${frame}, ${pass}`, await texts("body"));
      // What pointing at each number tells; of the largest networks the last ones.
      const told = await page.evaluate(() => {
        const all = [...document.querySelectorAll("[data-n],[data-o],[data-f]")];
        return all.slice(-250).map((e) => {
          e.focus({ preventScroll: true });
          const box = e.closest(".lab") ? document.querySelector("#inside") : document.querySelector("#tip");
          const walk = document.createTreeWalker(box, NodeFilter.SHOW_TEXT), words = [];
          while (walk.nextNode()) words.push(walk.currentNode.data);
          return words.join(" ");
        });
      });
      if (pass) assert(told.length > 20 && told.every((t) => t.trim()), `${name}: ${told.length} told`);
      look(`told at training step ${frame}, ${pass}`, told);
    }
    for (const weight of await page.$$eval("#weight option", (all) => all.map((o) => o.value).slice(0, 8))) {
      await page.selectOption("#weight", weight);
      look("a curve", await texts("#landscape"));
    }
  }
  await page.click("#lang");
  look("in Japanese", await texts("body"));
  assert.deepEqual(problems, []);
  await context.close();
}
assert(looked > 20_000, `${looked} numbers`);

// A finger tells first, and goes with a second touch.
{
  const problems = [], { context, page } = await open(`${folder}/worked.html`, SIZES.phone, "light", problems, true);
  const at = await page.evaluate(() => FIGURES.findIndex((f) => f.path.join("/") === "norms/0/steps/1/factor"));
  const factor = page.locator(`[data-f="${at}"]`);
  await factor.tap();
  assert.match(await page.textContent("#tip"), /‖dL\/dh2\[next\]‖ \/ ‖dL\/dh3‖/);
  assert(await page.isVisible("#tip"));
  assert.equal(await page.$("#list .held"), null, "the first touch tells only");
  await page.locator("h1").tap();
  assert(await page.isHidden("#tip"));
  await factor.tap();
  await factor.tap();
  assert(await page.isVisible("#list .held"), "the second one goes");
  assert.deepEqual(problems, []);
  await context.close();
}

await browser.close();
console.log("the page does what it should");
