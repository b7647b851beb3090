import { expect, test } from "vitest";
import { liveBytes } from "../src/timeline";
import type { Profile } from "../src/profile";

function lives(rows: number[][], duration: number): Profile {
  const column = (at: number): Float64Array => Float64Array.from(rows, (row) => row[at]!);
  const none = new Float64Array(0);
  return {
    head: { meta: { passes: [{ duration_ns: duration }] } }, samples: { time_ns: none }, counters: { time_ns: none },
    intervals: { node: column(0), lane: column(0), start_ns: column(1), end_ns: column(2), bytes: column(3) },
  } as unknown as Profile;
}

test("what ends at a moment is gone when the next begins, so that they are never alive together", () => {
  const series = liveBytes(lives([[0, 0, 40, 100], [0, 40, 80, 100], [0, 80, -1, 30]], 100), 10, -1);
  expect(series.most).toBe(100);
  expect(Array.from(series.values)).toEqual([100, 100, 100, 100, 100, 100, 100, 100, 100, 30]);
});

test("a bucket holds the most that was alive in it", () => {
  const series = liveBytes(lives([[0, 10, 60, 5], [0, 20, 30, 50]], 100), 2, -1);
  expect(Array.from(series.values)).toEqual([55, 5]);
});
