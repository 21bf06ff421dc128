// Run an ONNX file on onnxruntime-web: the WebAssembly engine that browsers use, here under Node, one thread.
//
//     node run_web.mjs MODEL.onnx REQUEST.json OUT_DIR
//
// REQUEST.json   [{"name": "images", "dtype": "uint8", "shape": [16, 28, 28, 1], "file": "images.bin"}, ...]
// OUT_DIR        outputs.json, in the same form, and one file of raw little-endian values for each output
//
// File names in a descriptor are relative to the descriptor. Exit code 1 and one line on stderr when anything fails.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-web";

const ARRAYS = {
  bool: Uint8Array,
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
};

/** Read one described input into a tensor. */
async function readTensor({ name, dtype, shape, file }, folder) {
  const bytes = new Uint8Array(await readFile(join(folder, file))); // a copy, so that its buffer starts at offset 0
  const values = new ARRAYS[dtype](bytes.buffer);
  return [name, new ort.Tensor(dtype, values, shape)];
}

/** Write one output tensor and return its description. */
async function writeTensor(name, tensor, index, folder) {
  const { type: dtype, dims: shape, data } = tensor;
  if (!(dtype in ARRAYS)) throw new Error(`output ${name} is ${dtype}; integers were expected`);
  const file = `${index}.bin`;
  await writeFile(join(folder, file), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return { name, dtype, shape: [...shape], file };
}

async function main([modelPath, requestPath, outDir]) {
  if (outDir === undefined) throw new Error("usage: node run_web.mjs MODEL.onnx REQUEST.json OUT_DIR");
  ort.env.wasm.numThreads = 1; // no workers: they would keep Node alive, and one thread is the plainest case
  ort.env.logLevel = "error";

  const request = JSON.parse(await readFile(requestPath, "utf8"));
  const feeds = Object.fromEntries(await Promise.all(request.map((input) => readTensor(input, dirname(requestPath)))));
  const session = await ort.InferenceSession.create(new Uint8Array(await readFile(modelPath)), {
    executionProviders: ["wasm"],
  });
  const results = await session.run(feeds);

  await mkdir(outDir, { recursive: true });
  const descriptors = await Promise.all(
    session.outputNames.map((name, index) => writeTensor(name, results[name], index, outDir)),
  );
  await writeFile(join(outDir, "outputs.json"), JSON.stringify(descriptors, null, 1));
  await session.release();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`run_web: ${error?.message ?? error}`);
  process.exitCode = 1;
});
