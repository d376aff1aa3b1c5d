// Serves node-llama-cpp over a pipe: one request per line in, chunks in OpenAI's format out.

import {createInterface} from "node:readline";
import {pathToFileURL} from "node:url";

const [file, context, count] = process.argv.slice(2);
const threads = Number(count);
const {getLlama, LlamaCompletion} = await import(pathToFileURL(file).href);
// Only the prebuilt binary: never download or compile one.
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: threads});

async function load(modelPath) {
    const model = await llama.loadModel({modelPath});
    const held = await model.createContext({contextSize: Number(context), threads});
    return {path: modelPath, model, held, completion: new LlamaCompletion({contextSequence: held.getSequence()})};
}

async function unload({model, held}) {
    await held.dispose();
    await model.dispose();
}

function send(text, reason = null) {
    process.stdout.write(JSON.stringify({choices: [{text, finish_reason: reason}]}) + "\n");
}

let loaded = null;
for await (const line of createInterface({input: process.stdin})) {
    const {model, prompt, max_tokens} = JSON.parse(line);
    if (loaded?.path !== model) {
        if (loaded) await unload(loaded);
        loaded = await load(model);
    }
    // Tokens, with special ones parsed: given text, it would cut the space that the other peers keep before the first word.
    const tokens = loaded.model.tokenize(prompt, true);
    // The other peers refuse this too. This one would shorten the prompt, and be faster.
    if (tokens.length + 1 + max_tokens > loaded.held.contextSize) throw new Error("The context is too short.");
    const {metadata} = await loaded.completion.generateCompletionWithMeta(tokens, {
        maxTokens: max_tokens, temperature: 0, repeatPenalty: false, onTextChunk: (text) => send(text),
    });
    send("", metadata.stopReason === "maxTokens" ? "length" : "stop");
}
process.exit(0);
