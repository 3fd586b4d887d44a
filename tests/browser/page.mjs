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

const CASES = [
  { name: "worked", flags: [] },
  { name: "lstm", flags: ["--cell", "lstm"] },
  { name: "gru-both", flags: ["--cell", "gru", "--bidirectional", "--readout", "last-state"] },
  { name: "stacked", flags: ["--layers", "2", "--hidden", "1", "--configuration", "many-to-many"] },
  { name: "one-to-many", flags: ["--configuration", "one-to-many"] },
  { name: "limit", flags: ["--cell", "lstm", "--layers", "2"] },
  { name: "long", flags: ["--hidden", "1", "--input", Array.from({ length: 40 }, (_, i) => 20 + 5 * (i % 7)).join(" "), "--target", "40"] },
  { name: "forecaster", flags: [`${folder}/forecast/model.safetensors`, "--input", table] },
  { name: "large", flags: ["--cell", "lstm", "--hidden", "24"] },
];
const SIZES = { phone: { width: 375, height: 812 }, desktop: { width: 1280, height: 900 } };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function open(file, size, scheme, problems) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, locale: "en-US" });
  const page = await context.newPage();
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
    return wrong.slice(0, 5);
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
      for (const language of ["en", "ja"]) {
        const what = `${name}, ${width}, ${scheme}, ${language}`;
        assert.equal(await page.getAttribute("html", "lang"), language, what);
        await tidy(page, what);
        await page.screenshot({ path: `${folder}/${name}-${width}-${scheme}-${language}.png`, fullPage: true });
        await page.click("#lang");
      }
      assert.deepEqual(problems, [], `${name}, ${width}, ${scheme}`);
      await context.close();
    }
}

// A model that is too large to be read is shown by maps that stand for the first
// pass: there is nothing to slide.
{
  const problems = [];
  const { context, page } = await open(`${folder}/large.html`, SIZES.desktop, "light", problems);
  assert.equal(await page.$("#frame"), null);
  const trace = JSON.parse(execFileSync(elman, ["explain", "--cell", "lstm", "--hidden", "24", "--json"], { maxBuffer: 1 << 28 }));
  await page.locator("#heats canvas").first().scrollIntoViewIfNeeded();
  await page.locator("#heats canvas").first().hover({ position: { x: 1, y: 1 } });
  const shown = await page.locator("#heats .tip").first().textContent();
  assert(near(shown.split(": ")[1], trace.heat[0].rows[0][0]), shown);
  assert.equal(await page.locator("#connect canvas").count(), 1);
  assert.deepEqual(problems, []);
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
      ["Why is h_n not output[-1] when the network is bidirectional?", /where each direction ends.*read one input only.*h_n is \[h→3 h←1\] = \[([^\]]*)\].*output\[:, -1\] is \[h→3 h←3\] = \[([^\]]*)\]/],
      ["What do the rows of weight_ih mean", /reset gate.*update gate.*candidate.*weight_ih_l0: rows 1–2 Wxr→, rows 3–4 Wxz→, rows 5–6 Wxn→/],
      ["Where does the gradient vanish?", /back through time.*slope of the activation.*dL\/dh → is multiplied by ([0-9.]+) .*: healthy/],
    ],
    ja: [
      ["なぜ h_0 は batch_first を無視する", /時間の軸があるのはこの二つだけ.*\(L·D, B, H\).*input は 1 × 3 × 1.*h_0 は 2 × 1 × 2/],
      ["なぜ h_n は output[-1] と違う", /各方向が終わった所.*入力をひとつしか読んで.*h_n は \[h→3 h←1\] = \[([^\]]*)\].*output\[:, -1\] は \[h→3 h←3\] = \[([^\]]*)\]/],
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

  // The keyboard does the same.
  await page.keyboard.press("Escape");
  await page.focus(`#list [data-n="${value("dL/dh^1[1]")}"]`);
  assert.match(await page.textContent("#inspector"), /\[loss\]/);
  await page.keyboard.press("Enter");
  assert(await page.isVisible("#list .held"));
  await page.keyboard.press("Escape");

  // The three passes play, and stop.
  for (const pass of ["forward", "backward", "update"]) {
    await page.click(`[data-play="${pass}"]`);
    await page.waitForSelector(".value.now");
    const first = await page.getAttribute(".value.now", "data-box");
    await page.waitForFunction((f) => document.querySelector(".value.now")?.dataset.box !== f, first);
    await page.click(`[data-play="${pass}"]`);
    assert.equal(await page.$(".value.now"), null, `${pass} stops`);
  }

  // The balls roll; another weight has another curve.
  const drawn = () => page.innerHTML("#landscape");
  const still = await drawn();
  await page.click("#roll");
  await page.waitForFunction((s) => document.querySelector("#landscape").innerHTML !== s, still);
  await page.selectOption("#weight", "3");
  assert.notEqual(await drawn(), still);

  // In Japanese the page has no English sentence left.
  await page.click("#lang");
  assert.match(await page.textContent("h1"), /学習の一歩/);
  const english = await page.$$eval("[data-w]", (all) => all.map((e) => e.textContent).filter((t) => /[a-z]{3,} [a-z]{3,} [a-z]{3,}/.test(t)));
  assert.deepEqual(english, []);
  assert.deepEqual(problems, []);
}
await browser.close();
console.log("the page does what it should");
