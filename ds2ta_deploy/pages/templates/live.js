// Runs the exported network in this page: unpack, check against the golden logits, then follow the pointer.

const byId = (id) => document.getElementById(id);
const facts = JSON.parse(byId("facts").textContent);
const [height, width, channels] = facts.input.shape.slice(-3);

/** Unpack one of the parts that the page carries. */
async function part(name) {
  const element = byId(`part-${name}`);
  const packed = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  element.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Start the engine on one thread, as a page that was opened from a disk may. */
async function start() {
  const script = URL.createObjectURL(new Blob([await part("engine")], { type: "text/javascript" }));
  const ort = await import(script);
  URL.revokeObjectURL(script);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = (await part("wasm")).buffer;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(await part("model"), { executionProviders: ["wasm"] });
  return (pixels) => session.run({ [facts.input.name]: new ort.Tensor("uint8", pixels, facts.input.shape) });
}

// --- what is shown ---------------------------------------------------------------------------------------------------

const state = { run: null, pixels: null, trace: null, step: 0, playing: true, busy: false, again: false };

function verdict(tone, text) {
  byId("verdict").className = `verdict ${tone}`;
  byId("verdict").textContent = text;
}

/** The input as colours: grey, red-green-blue, or events of both signs, summed up over time. */
function picture(pixels) {
  const image = new ImageData(width, height);
  const frames = pixels.length / (width * height * channels);
  for (let place = 0; place < width * height; place++) {
    const sums = Array.from({ length: channels }, (_, channel) => {
      let sum = 0;
      for (let frame = 0; frame < frames; frame++) sum += pixels[(frame * width * height + place) * channels + channel];
      return Math.min(sum, 255);
    });
    const [r, g, b] = channels === 3 ? sums : channels === 2 ? [sums[0], Math.max(...sums) / 3, sums[1]] : [sums[0], sums[0], sums[0]];
    image.data.set([r, g, b, 255], place * 4);
  }
  return image;
}

function paint(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function showLogits(logits) {
  const numbers = [...logits], best = numbers.indexOf(Math.max(...numbers));
  const low = Math.min(...numbers), reach = Math.max(...numbers) - low || 1;
  byId("decision").textContent = `class ${best}`;
  byId("logits").replaceChildren(...numbers.map((logit, index) => {
    const row = document.createElement("tr"), name = document.createElement("td"), value = document.createElement("td");
    const bar = document.createElement("span");
    name.className = "number";
    name.textContent = index;
    value.className = "bar";
    bar.style.setProperty("--share", (logit - low) / reach);
    bar.textContent = logit.toLocaleString("en");
    value.append(bar);
    row.append(name, value);
    return row;
  }));
}

/** A figure with a canvas, made once and drawn into again and again. */
function frame(parent, key, title) {
  const found = parent.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (found) return found;
  const figure = document.createElement("figure"), caption = document.createElement("figcaption"), rate = document.createElement("span");
  const canvas = document.createElement("canvas");
  figure.dataset.key = key;
  rate.className = "rate";
  caption.append(title, rate);
  canvas.setAttribute("role", "img");
  figure.append(caption, canvas);
  parent.append(figure);
  return figure;
}

/** Every neuron of a layer as a dot, those that fire at this step bright. */
function showLayer(name) {
  const { dims, data } = state.trace[name];
  const steps = dims[0], neurons = data.length / steps, at = (state.step % steps) * neurons;
  const columns = Math.ceil(Math.sqrt(neurons * 6)), image = new ImageData(columns, Math.ceil(neurons / columns));
  let fired = 0;
  for (let neuron = 0; neuron < neurons; neuron++) {
    if (!data[at + neuron]) continue;
    fired += 1;
    image.data.set([0x1f, 0x8f, 0x86, 255], neuron * 4);
  }
  const figure = frame(byId("layers"), name, name);
  const rate = `${((100 * fired) / neurons).toFixed(1)} %`;
  figure.querySelector(".rate").textContent = rate;
  figure.querySelector("canvas").setAttribute("aria-label", `${fired} of ${neurons} neurons fire, ${rate}`);
  paint(figure.querySelector("canvas"), image);
}

/** What each place receives from all queries, of every head, over the picture. */
function showMap(map) {
  const name = (byId("denoised").checked && map.denoised) || map.scores;
  const { dims: [steps, , heads, queries, keys], data } = state.trace[name], [rows, columns] = map.grid;
  const chunk = keys / (rows * columns), step = Math.min(Math.floor(state.step / chunk), steps - 1), base = picture(state.pixels);
  for (let head = 0; head < heads; head++) {
    const heat = new Float64Array(rows * columns), from = (step * heads + head) * queries * keys;
    for (let place = 0; place < queries * keys; place++) heat[(place % keys) % heat.length] += Number(data[from + place]);
    const most = Math.max(...heat.map(Math.abs)) || 1, image = new ImageData(base.data.slice(), width, height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const share = heat[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)] / most;
        const weight = 0.85 * Math.abs(share) ** 0.7, colour = share < 0 ? [66, 146, 198] : [120 + 130 * share, 30 + 160 * share, 60 - 40 * share];
        for (let c = 0; c < 3; c++) image.data[(y * width + x) * 4 + c] = weight * colour[c] + (1 - weight) * 0.62 * image.data[(y * width + x) * 4 + c];
      }
    }
    const figure = frame(byId(`map-${map.scores}`), `${map.scores} ${head}`, `head ${head}`);
    paint(figure.querySelector("canvas"), image);
    const strongest = heat.indexOf(Math.max(...heat));
    figure.querySelector("canvas").setAttribute("aria-label", `strongest at row ${Math.floor(strongest / columns)}, column ${strongest % columns}`);
  }
}

function showStep() {
  if (!state.trace) return;
  byId("step").value = state.step;
  byId("now").textContent = state.step;
  facts.maps.forEach(showMap);
  facts.layers.forEach(showLayer);
}

// --- what is done ----------------------------------------------------------------------------------------------------

/** Run the present input; what is drawn meanwhile is run next. */
async function infer() {
  if (!state.run || state.busy) {
    state.again = true;
    return;
  }
  state.busy = true;
  do {
    state.again = false;
    const pixels = state.pixels.slice(), began = performance.now();
    state.trace = await state.run(pixels);
    byId("took").textContent = `${(performance.now() - began).toFixed(0)} ms`;
    showLogits(state.trace[facts.output].data);
    showStep();
  } while (state.again);
  state.busy = false;
}

function setPixels(pixels) {
  state.pixels = pixels;
  paint(byId("paper"), picture(pixels));
  return infer();
}

/** A stroke of the pointer: a soft white brush on the input's own pixels. */
function brush(event) {
  if (!facts.still || (event.type === "pointermove" && !event.buttons)) return;
  const box = byId("paper").getBoundingClientRect(), size = Math.max(width, height) / 22;
  const x = ((event.clientX - box.left) / box.width) * width - 0.5, y = ((event.clientY - box.top) / box.height) * height - 0.5;
  const pixels = state.pixels.slice();
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const light = Math.max(0, Math.min(1, 1.5 - Math.hypot(row - y, column - x) / size)) * 255;
      for (let channel = 0; channel < channels; channel++) {
        const place = (row * width + column) * channels + channel;
        pixels[place] = Math.max(pixels[place], light);
      }
    }
  }
  setPixels(pixels);
}

/** Fit a picture into the input, its middle square or whatever the input's shape is. */
async function open(file) {
  if (!facts.still || !file?.type.startsWith("image/")) return;
  const bitmap = await createImageBitmap(file), canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  const scale = Math.max(width / bitmap.width, height / bitmap.height), [w, h] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, width, height), pixels = new Uint8Array(width * height * channels);
  for (let place = 0; place < width * height; place++) {
    const rgb = data.subarray(place * 4, place * 4 + 3), grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    for (let channel = 0; channel < channels; channel++) {
      const value = channels === 3 ? rgb[channel] : grey;
      pixels[place * channels + channel] = byId("invert").checked ? 255 - value : value;
    }
  }
  await setPixels(pixels);
}

function listen(samples) {
  const paper = byId("paper");
  paper.addEventListener("pointerdown", (event) => { paper.setPointerCapture(event.pointerId); brush(event); });
  paper.addEventListener("pointermove", brush);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      paper.classList.toggle("over", kind === "dragover");
      if (kind === "drop") open(event.dataTransfer.files[0]);
    });
  }
  byId("file").addEventListener("change", (event) => open(event.target.files[0]));
  byId("clear").addEventListener("click", () => setPixels(new Uint8Array(samples[0].length)));
  byId("denoised").addEventListener("change", showStep);
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("step").addEventListener("input", (event) => { play(false); state.step = Number(event.target.value); showStep(); });
  byId("samples").append(...samples.map((sample, index) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    paint(canvas, picture(sample));
    button.type = "button";
    button.setAttribute("aria-label", `Golden sample ${index}`);
    button.append(canvas);
    button.addEventListener("click", () => setPixels(sample.slice()));
    return button;
  }));
}

function play(on) {
  state.playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", on);
}

/** The logits of the golden samples, computed here, against those that were recorded at the export. */
async function check(samples) {
  let different = 0;
  for (const [index, sample] of samples.entries()) {
    const found = (await state.run(sample))[facts.output].data;
    different += facts.logits[index].filter((logit, place) => logit !== found[place]).length;
  }
  const total = facts.logits.flat().length;
  if (different) verdict("bad", `${different} of ${total} golden logits differ in this browser. Do not trust what follows.`);
  else verdict("good", `Checked in this browser: 0 of ${total} golden logits differ.`);
}

async function main() {
  byId("paper").style.setProperty("--aspect", `${width} / ${height}`);
  for (const map of facts.maps) {
    const title = document.createElement("h3"), group = document.createElement("div");
    title.textContent = map.scores;
    group.id = `map-${map.scores}`;
    group.style.display = "contents";
    byId("maps").append(title, group);
  }
  byId("attention").hidden = !facts.maps.length;
  byId("denoised").parentElement.hidden = !facts.maps.some((map) => map.denoised);
  if (!facts.still) {
    byId("hint").textContent = "Event frames: choose a golden sample.";
    for (const id of ["file", "invert", "clear"]) (byId(id).closest("label") ?? byId(id)).hidden = true;
  }
  const raw = await part("samples"), size = raw.length / facts.logits.length;
  const samples = facts.logits.map((_, index) => raw.slice(index * size, (index + 1) * size));
  listen(samples);
  state.pixels = samples[0].slice();
  paint(byId("paper"), picture(state.pixels));
  state.run = await start();
  await check(samples);
  await infer();
  const steps = Math.max(...facts.layers.map((name) => state.trace[name].dims[0]), 1);
  byId("step").max = steps - 1;
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  setInterval(() => {
    if (!state.playing || document.hidden) return;
    state.step = (state.step + 1) % steps;
    showStep();
  }, 900);
}

main().catch((error) => verdict("bad", `The network could not be started: ${error.message ?? error}`));
