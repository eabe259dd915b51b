// The endpoint census.count_chunk in Node: the same numbers as services/census.py, for the same files.
// Names of files are bytes to the system; in messages odd bytes are written %XX, see services/tallies.py.

import { constants } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { PermanentError } from "./protocol.mjs";

const BLOCK_BYTES = 256 * 1024;
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const GONE = new Set(["ENOENT", "ENOTDIR"]);
const SPACE = new Set(Buffer.from(" \t\n\r\v\f"));
const LANGUAGES = {
  Assembly: "asm s",
  Binary: "a bin class dll dylib exe o pyc pyd pyo so wasm",
  C: "c h",
  "C#": "cs",
  "C++": "cc cpp cxx hh hpp hxx ipp",
  CSS: "css less scss",
  CSV: "csv tsv",
  Certificates: "crt pem",
  Cython: "pxd pxi pyx",
  Fortran: "f f90 f95",
  Go: "go",
  HTML: "htm html xhtml",
  Images: "bmp gif ico jpeg jpg png svg webp",
  Java: "java",
  JavaScript: "cjs js jsx mjs",
  JSON: "ipynb json jsonl",
  Lua: "lua",
  Markdown: "markdown md",
  Perl: "pl pm",
  PHP: "php",
  Python: "py pyi pyw",
  reStructuredText: "rst",
  Ruby: "rb",
  Rust: "rs",
  Settings: "cfg conf ini properties toml",
  Shell: "bash bat csh fish ps1 sh zsh",
  SQL: "sql",
  Swift: "swift",
  TeX: "bib cls sty tex",
  Text: "log text txt",
  Translations: "mo po pot",
  TypeScript: "ts tsx",
  XML: "xml xsd xsl",
  YAML: "yaml yml",
  Archives: "7z bz2 gz jar rar tar whl xz zip zst",
};
const BY_NAME = new Map(Object.entries({ makefile: "Make", dockerfile: "Dockerfile", license: "Text", readme: "Text" }));
const BY_SUFFIX = new Map();
for (const [language, suffixes] of Object.entries(LANGUAGES))
  for (const suffix of suffixes.split(" ")) BY_SUFFIX.set(suffix, language);

// Counts bytes, lines and words of the files of a folder between two names, by language.
async function countChunk({ folder, chunk }) {
  if (typeof folder !== "string" || typeof chunk?.first !== "string" || typeof chunk?.last !== "string")
    throw new PermanentError("bad-input", "count_chunk takes a folder, and a chunk with first and last");
  const counted = { languages: {}, unreadable: 0 };
  const here = pathIn(folder);
  for (const name of await namesIn(here, chunk, counted)) {
    const file = Buffer.concat([here, Buffer.from("/"), name]);
    const found = await lstat(file).catch(() => null);
    if (found) await add(counted, languageOf(name.toString()), file, found.size);
  }
  return counted;
}

export const endpoints = { "census.count_chunk": countChunk };

async function namesIn(here, chunk, counted) {
  const [first, last] = [pathIn(chunk.first), pathIn(chunk.last)];
  try {
    const entries = await readdir(here, { encoding: "buffer", withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
    return files.filter((name) => first.compare(name) <= 0 && name.compare(last) <= 0);
  } catch (error) {
    if (!error.syscall) throw error; // no answer of the system's: the path itself is odd
    if (!GONE.has(error.code)) counted.unreadable += 1; // the folder itself, since it was listed
    return [];
  }
}

async function add(counted, language, file, size) {
  counted.languages[language] ??= { files: 0, bytes: 0, lines: 0, words: 0 };
  const tally = counted.languages[language];
  tally.files += 1;
  tally.bytes += size;
  try {
    const { lines, words } = await textIn(file, size);
    tally.lines += lines;
    tally.words += words;
  } catch (error) {
    if (!error.syscall) throw error;
    counted.unreadable += 1;
  }
}

// Returns the lines (newlines) and words in the first `size` bytes of a file. A file with a NUL in its first
// block is not text. What took the place of a plain file meanwhile is not read.
async function textIn(path, size) {
  const text = { lines: 0, words: 0 };
  if (size === 0) return text;
  const file = await open(path, FLAGS);
  try {
    if (!(await file.stat()).isFile()) throw Object.assign(new Error("no plain file any longer"), { syscall: "open" });
    const buffer = Buffer.alloc(Math.min(size, BLOCK_BYTES));
    let insideWord = false;
    for (let left = size; left > 0; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(left, BLOCK_BYTES), null);
      if (bytesRead === 0) break;
      const block = buffer.subarray(0, bytesRead);
      if (left === size && block.includes(0)) break;
      left -= bytesRead;
      insideWord = countBlock(block, text, insideWord);
    }
  } finally {
    await file.close();
  }
  return text;
}

function countBlock(block, text, insideWord) {
  for (const byte of block) {
    if (byte === 10) text.lines += 1;
    const space = SPACE.has(byte);
    if (!space && !insideWord) text.words += 1;
    insideWord = !space;
  }
  return insideWord;
}

function languageOf(name) {
  const dot = name.lastIndexOf(".");
  if (dot <= 0) return BY_NAME.get(name.toLowerCase()) ?? "Other";
  return BY_SUFFIX.get(name.slice(dot + 1).toLowerCase()) ?? "Other";
}

// Returns the path of the system that a text in a message stands for: %XX is a byte.
function pathIn(text) {
  const parts = Buffer.from(text).toString("latin1"); // one character for each byte
  return Buffer.from(parts.replace(/%([0-9a-f]{2})/gi, (_, byte) => String.fromCharCode(parseInt(byte, 16))), "latin1");
}
