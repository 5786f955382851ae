import assert from "node:assert/strict";
import { test } from "node:test";
import { EventReader, EVENT_CHARS_MAX } from "../dist/event-stream.js";

const encoder = new TextEncoder();

function read(text, size = 1) {
  const reader = new EventReader();
  const bytes = encoder.encode(text);
  const events = [];
  for (let at = 0; at < bytes.length; at += size) events.push(...reader.feed(bytes.subarray(at, at + size)));
  return { events, reader };
}

for (const end of ["\n", "\r\n", "\r"]) {
  for (const size of [1, 2, 3, 7, 1000]) {
    test(`lines may end with ${JSON.stringify(end)}, in pieces of ${size}`, () => {
      const text = [": hello", "retry: 2000", "id: 4", "", "id: 5", "event: update", 'data: {"user":"Zoë"}', "", ""];
      const { events, reader } = read(text.join(end), size);
      assert.deepEqual(events, [{ type: "update", data: '{"user":"Zoë"}', id: "5" }]);
      assert.equal(reader.retryMs, 2000);
    });
  }
}

test("an id without data moves the last id and dispatches nothing", () => {
  const { events, reader } = read("id: 9\n\n");
  assert.deepEqual(events, []);
  assert.equal(reader.lastId, "9");
});

test("several data lines are joined, unknown fields ignored, a missing space allowed", () => {
  const { events } = read("data:a\nfoo: b\ndata: c\ndata\n\n");
  assert.deepEqual(events, [{ type: "message", data: "a\nc\n", id: null }]);
});

test("an unfinished block at the end is discarded", () => {
  assert.deepEqual(read("data: a\n").events, []);
});

test("an event without end is refused before it fills the memory", () => {
  const reader = new EventReader();
  const piece = encoder.encode("x".repeat(1 << 20));
  assert.throws(() => {
    for (let count = 0; count <= EVENT_CHARS_MAX >> 20; count += 1) [...reader.feed(piece)];
  }, RangeError);
});
