"use strict";
// The latent browser. Each SAE's latents lie packed in their own element and are unpacked when
// they are first looked at. Text enters the page by textContent only: it is never read as HTML.

const PAGE_ROWS = 50;
const SORTS = {
  firing_frequency: ["firing frequency", "high first"],
  token_entropy: ["token entropy", "low first"],
  mean_cosine: ["seed stability", "high first"],
  max_activation: ["largest activation", "high first"],
  top_token_share: ["share on one token", "high first"],
  latent: ["index", "low first"],
};
const TYPES = { f: Float32Array, i: Int32Array, H: Uint16Array, B: Uint8Array };
const names = JSON.parse(document.getElementById("saes").textContent);
const root = document.getElementById("browser");
const unpackedSaes = new Map();

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

// Data

async function unpack(sae) {
  const found = [...document.querySelectorAll("script[data-sae]")].find((s) => s.dataset.sae === sae);
  const bytes = Uint8Array.from(atob(found.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const data = { ...header, sae, rows: new Map() };
  let place = 4 + length;
  for (const [name, kind, count] of header.columns) {
    data[name] = new TYPES[kind](buffer, place, count);
    place += Math.ceil(data[name].byteLength / 4) * 4;
  }
  data.latent.forEach((latent, row) => data.rows.set(latent, row));
  data.examples = grouped(data["example.latent"] ?? []);
  data.firstBin = firsts(data.activation_bins);
  data.firstPiece = firsts(data["text.pieces"] ?? []);
  data.firstShade = firsts(Array.from(data["example.text"] ?? [], (text) => data["text.pieces"][text]));
  data.matchRows = data.matches.map((_, i) => grouped(data[`match${i}.latent_a`]));
  return data;
}

function load(sae) {
  if (!unpackedSaes.has(sae)) unpackedSaes.set(sae, unpack(sae));
  return unpackedSaes.get(sae);
}

// Where each of several runs of values begins, given how long each is.
function firsts(lengths) {
  const starts = new Int32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i += 1) starts[i + 1] = starts[i] + lengths[i];
  return starts;
}

function grouped(latents) {
  const groups = new Map();
  latents.forEach((latent, row) => {
    if (!groups.has(latent)) groups.set(latent, []);
    groups.get(latent).push(row);
  });
  return groups;
}

// Words

const digits = (value, n = 3) => (Number.isNaN(value) || value == null ? "–" : String(Number(value.toPrecision(n))));
const percent = (share) => (Number.isNaN(share) ? "–" : `${(100 * share).toPrecision(3)} %`);
const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");

function token(data, row) {
  const id = data.top_token[row];
  if (id < 0) return el("span", { class: "missing" }, "–");
  const text = data.vocabulary[id];
  if (text === undefined) return el("span", { class: "missing" }, `token ${id}`);
  return el("code", { class: "token" }, visible(text).replaceAll(" ", "␣") || "(empty)");
}

function relation(a, b) {
  const [sourceA, keyA] = a.split("/"), [sourceB, keyB] = b.split("/");
  if (sourceA !== sourceB) return `${sourceB.split(".").slice(1, -2).join(".")} weights`;
  const [recipeA] = keyA.split(".s"), [recipeB] = keyB.split(".s");
  return recipeA === recipeB ? `seed ${keyB.split(".s").pop()}` : `recipe ${recipeB}`;
}

// The list

const state = { sae: names[0], sort: "firing_frequency", order: "high first", living: true, words: "", shown: PAGE_ROWS, latent: null };
const controls = {}, list = el("tbody"), status = el("p", { class: "note", role: "status" });
const more = el("button", { type: "button", onclick: () => { state.shown += PAGE_ROWS; show(); } }, "Show 50 more");
const detail = el("div", { class: "detail", role: "region", "aria-label": "The chosen latent", tabindex: "0" });

function chosen(data) {
  const words = state.words.toLowerCase(), values = data[state.sort];
  let rows = [...data.latent.keys()];
  if (state.living) rows = rows.filter((row) => data.n_fires[row] > 0);
  if (words) rows = rows.filter((row) => says(data, row, words));
  const sign = state.order === "high first" ? -1 : 1;
  const missing = (v) => Number.isNaN(v);
  return rows.sort((a, b) => missing(values[a]) - missing(values[b]) || sign * (values[a] - values[b]) || a - b);
}

function says(data, row, words) {
  const latent = data.latent[row];
  if (String(latent) === words) return true;
  if ((data.vocabulary[data.top_token[row]] ?? "").toLowerCase().includes(words)) return true;
  const examples = data.examples.get(latent) ?? [];
  return examples.some((i) => data.texts[data["example.text"][i]].toLowerCase().includes(words));
}

async function show() {
  const sae = state.sae, data = await load(sae);
  if (sae !== state.sae) return;
  const rows = chosen(data), shown = rows.slice(0, state.shown);
  const focused = document.activeElement?.dataset?.latent;
  list.replaceChildren(...shown.map((row) => line(data, row)));
  if (focused) list.querySelector(`[data-latent="${focused}"]`)?.focus();
  status.textContent = `${rows.length.toLocaleString("en")} of ${data.latent.length.toLocaleString("en")} latents; ${shown.length} shown`;
  more.hidden = shown.length === rows.length;
}

function line(data, row) {
  const latent = data.latent[row];
  const button = el("button", { type: "button", class: "plain", "data-latent": latent, "aria-label": `latent ${latent}`, onclick: () => open(data.sae, latent) }, String(latent));
  const cell = (text) => el("td", { class: "number" }, text);
  const current = state.latent === latent && "true";
  return el("tr", { "aria-current": current }, el("th", { scope: "row" }, button), el("td", {}, token(data, row)),
    cell(percent(data.firing_frequency[row])), cell(digits(data.token_entropy[row])), cell(digits(data.mean_cosine[row])));
}

function step(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || !event.target.dataset.latent) return;
  const buttons = [...list.querySelectorAll("button")];
  buttons[buttons.indexOf(event.target) + by]?.focus();
  event.preventDefault();
}

// One latent

async function open(sae, latent) {
  if (sae !== state.sae) Object.assign(state, { sae, shown: PAGE_ROWS });
  state.latent = latent;
  controls.sae.value = sae;
  const data = await load(sae), row = data.rows.get(latent);
  history.replaceState(null, "", `#${new URLSearchParams({ sae, latent })}`);
  await show();
  const head = el("h3", { tabindex: "-1" }, `Latent ${latent}`);
  detail.replaceChildren(head, el("p", { class: "note" }, sae), facts(data, row), ...histogram(data, row), ...examples(data, row), ...matches(data, row), ...neighbours(data, row), back(latent));
  detail.scrollTop = 0;
  head.focus({ preventScroll: true });
  head.scrollIntoView({ block: matchMedia("(max-width: 50rem)").matches ? "start" : "nearest" });
}

function back(latent) {
  const go = () => (list.querySelector(`[data-latent="${latent}"]`) ?? controls.search).focus();
  return el("p", {}, el("button", { type: "button", onclick: go }, "Back to the list"));
}

function facts(data, row) {
  const seeds = data.n_seeds[row];
  const stability = seeds < 0 ? "–" : `${digits(data.mean_cosine[row])} over ${seeds} other seed${seeds === 1 ? "" : "s"}`;
  const shown = [
    ["fires on", `${percent(data.firing_frequency[row])} of tokens`], ["fires", data.n_fires[row].toLocaleString("en")],
    ["mean activation, raw units", digits(data.mean_activation[row])], ["largest activation, raw units", digits(data.max_activation[row])],
    ["most often on", token(data, row)], ["share on that token", percent(data.top_token_share[row])],
    ["token entropy, nats", digits(data.token_entropy[row])], ["best cosine in", stability],
    ["found one-to-one by", seeds < 0 ? "–" : `${percent(data.found_by[row])} of them`],
    ["encoder–decoder cosine", digits(data.encoder_decoder_cosine[row])], ["decoder norm", digits(data.decoder_norm[row])],
    ["silent at training's end", ["no", "yes"][data.is_dead_train[row]] ?? "–"],
  ];
  return el("dl", { class: "facts" }, ...shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function examples(data, row) {
  const found = data.examples.get(data.latent[row]) ?? [];
  const part = (head, rows) => rows.length ? [el("h4", {}, head), el("ol", { class: "examples" }, ...rows.map((i) => example(data, row, i)))] : [];
  const top = found.filter((i) => data["example.is_top"][i]), spread = found.filter((i) => !data["example.is_top"][i]);
  if (!found.length) return [el("p", { class: "empty" }, "No examples: it never fired, or they are left out (see the last section).")];
  const how = data.shaded ? "Shaded: how strongly it fires on each token, against its largest activation; point at a token for the number. Outlined: the token that the number is about." : "Outlined and shaded: the token it fires on; the others are not known.";
  return [...part(`Strongest of ${data.n_searched.toLocaleString("en")} tokens searched`, top), ...part("Spread over all its fires", spread),
    el("p", { class: "note" }, `${how} ↵ is a line break; more than four spaces are drawn as four.`)];
}

function example(data, row, i) {
  const number = data["example.text"][i], text = data.texts[number], code = el("code");
  const first = data.firstPiece[number], n = data["text.pieces"][number], firing = data["example.piece"][i];
  for (let piece = 0, place = 0; piece < n; piece += 1) {
    const length = data["text.lengths"][first + piece], shade = data["example.shades"][data.firstShade[i] + piece];
    const shown = visible(text.slice(place, place + length)).replace(/ {5,}/g, "    ");
    place += length;
    if (!shade && piece !== firing) { code.append(shown); continue; }
    const told = piece === firing ? data["example.activation"][i] : (shade / 255) * data.max_activation[row];
    const mark = el(piece === firing ? "mark" : "span", { class: "shade", title: `${piece === firing ? "" : "about "}${digits(told, piece === firing ? 3 : 2)}` }, shown || "·");
    mark.style.setProperty("--strength", `${Math.round(6 + (64 * shade) / 255)}%`);
    code.append(mark);
  }
  if (firing < 0) code.append(el("span", { class: "missing" }, " (place of the token not known)"));
  return el("li", { title: `document ${data["example.document"][i]}` }, el("span", { class: "number" }, digits(data["example.activation"][i])), code);
}

// A bar for each half octave of activations: how many of the latent's fires are that strong.
function histogram(data, row) {
  const counts = data.activation_counts.subarray(data.firstBin[row], data.firstBin[row + 1]);
  if (!counts.length) return [];
  const low = data.activation_from[row], high = low * 2 ** (counts.length / 2), most = Math.max(...counts);
  const bars = Array.from(counts, (n, i) => {
    const bar = el("span", { class: "bar", title: `${n.toLocaleString("en")} fires from ${digits(low * 2 ** (i / 2), 2)} to ${digits(low * 2 ** ((i + 1) / 2), 2)}` });
    bar.style.setProperty("--height", `${n ? Math.max(2, (100 * n) / most) : 0}%`);
    return bar;
  });
  const mode = counts.indexOf(most);
  const said = `Histogram of its activations from ${digits(low, 2)} to ${digits(high, 2)}: most of them, ${most.toLocaleString("en")}, between ${digits(low * 2 ** (mode / 2), 2)} and ${digits(low * 2 ** ((mode + 1) / 2), 2)}.`;
  return [el("h4", {}, "How strongly it fires"), el("div", { class: "histogram", role: "img", "aria-label": said }, el("div", { class: "bars" }, ...bars),
    el("div", { class: "ends" }, el("span", {}, digits(low, 2)), el("span", {}, `activation, log scale; highest bar: ${most.toLocaleString("en")} fires`), el("span", {}, digits(high, 2))))];
}

function link(sae, latent) {
  if (latent < 0) return el("span", { class: "missing" }, "–");
  if (!names.includes(sae)) return String(latent);
  return el("button", { type: "button", class: "plain", "aria-label": `latent ${latent} of ${sae}`, onclick: () => open(sae, latent) }, String(latent));
}

function table(head, rows) {
  const cells = (row) => row.map((cell, i) => el(i ? "td" : "th", { class: i && "number", scope: i ? null : "row" }, cell));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": head[0] }, el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row))))));
}

function topToken(sae, latent) {
  const place = el("span");
  if (names.includes(sae) && latent >= 0) load(sae).then((other) => place.append(token(other, other.rows.get(latent))));
  return place;
}

function neighbours(data, row) {
  const { sae } = data, near = data.nearest_latent[row], far = data.opposing_latent[row];
  return [el("h4", {}, "Decoder neighbours in this dictionary"), table(["direction", "latent", "most often on", "cosine"], [
    ["most alike", link(sae, near), topToken(sae, near), digits(data.max_cosine[row])],
    ["most opposed", link(sae, far), topToken(sae, far), digits(data.min_cosine[row])]])];
}

function matches(data, row) {
  const rows = data.matches.flatMap((other, i) => (data.matchRows[i].get(data.latent[row]) ?? []).map((m) => {
    const best = data[`match${i}.latent_b`][m], partner = data[`match${i}.partner`][m];
    return [relation(data.sae, other), link(other, best), topToken(other, best), digits(data[`match${i}.cosine`][m]), link(other, partner), digits(data[`match${i}.partner_cosine`][m])];
  }));
  const head = el("h4", {}, "Matches in other dictionaries");
  if (!rows.length) return [head, el("p", { class: "empty" }, "None in the tables: latents that never fire are not matched.")];
  return [head, table(["dictionary", "best match", "most often on", "cosine", "one-to-one partner", "cosine"], rows)];
}

// The page

function labelled(text, control) {
  control.id = `choose-${text.toLowerCase().replaceAll(" ", "-")}`;
  return el("div", { class: "control" }, el("label", { for: control.id }, text), control);
}

function changed(name, value) { Object.assign(state, { [name]: value, shown: PAGE_ROWS }); show(); }

function build() {
  const option = (value, text = value) => el("option", { value }, text);
  controls.sae = el("select", { onchange: (e) => { detail.replaceChildren(); state.latent = null; changed("sae", e.target.value); } }, ...names.map((n) => option(n)));
  controls.search = el("input", { type: "search", placeholder: "token, text or index", oninput: (e) => changed("words", e.target.value.trim()) });
  controls.order = el("select", { onchange: (e) => changed("order", e.target.value) }, option("high first"), option("low first"));
  const sort = (e) => { state.order = controls.order.value = SORTS[e.target.value][1]; changed("sort", e.target.value); };
  controls.sort = el("select", { onchange: sort }, ...Object.entries(SORTS).map(([key, [text]]) => option(key, text)));
  const living = el("input", { type: "checkbox", checked: "", onchange: (e) => changed("living", e.target.checked) });
  const heads = ["latent", "most often on", "fires on", "entropy, nats", "stability"].map((name) => el("th", { scope: "col" }, name));
  detail.append(el("p", { class: "empty" }, "Choose a latent to see where it fires and what matches it."));
  root.append(el("p", {}, "Stability is the mean over the other seeds of the best cosine there. In the list, the arrow keys go up and down, Enter opens."),
    el("div", { class: "controls" }, labelled("SAE", controls.sae), labelled("Search", controls.search), labelled("Sort by", controls.sort), labelled("Order", controls.order), el("label", { class: "check" }, living, "only those that fire")),
    status, el("div", { class: "browser" }, el("div", { class: "list" }, el("div", { class: "scroll" }, el("table", { onkeydown: step }, el("thead", {}, el("tr", {}, ...heads)), list)), more), detail));
  root.hidden = false;
}

function start() {
  if (!names.length) {
    root.append(el("p", { class: "empty" }, "No latents: no SAE of this page was evaluated."));
    root.hidden = false;
    return;
  }
  build();
  const asked = new URLSearchParams(location.hash.slice(1));
  if (names.includes(asked.get("sae"))) open(asked.get("sae"), Number(asked.get("latent")));
  const seen = new IntersectionObserver((entries) => { if (entries.some((e) => e.isIntersecting)) { seen.disconnect(); show(); } }, { rootMargin: "600px" });
  seen.observe(root);
}

start();
