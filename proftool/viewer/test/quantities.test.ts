import { expect, test } from "vitest";
import { brief, joined } from "../src/dashboard/quantities";

test("points that come less often than the steps make one line", () => {
  expect(joined([null, 1, null, 2, null, 3, null])).toEqual([null, 1, undefined, 2, undefined, 3, null]);
});

test("a time without points stays a gap", () => {
  expect(joined([1, 2, null, null, null, null, 3, 4])).toEqual([1, 2, null, null, null, null, 3, 4]);
  expect(joined([1, 2, 3, null, 4])).toEqual([1, 2, 3, undefined, 4]);
});

test("one value or none has nothing to join", () => {
  expect(joined([])).toEqual([]);
  expect(joined([null, 5, null])).toEqual([null, 5, null]);
});

test("values with few beside them are points", () => {
  expect(brief([])).toEqual([]);
  expect(brief([null, 5, null])).toEqual([1]);
  expect(brief([5])).toEqual([0]);
  expect(brief([1, 2, 3, 4, null, 5, 6])).toEqual([5, 6]);
  expect(brief([null, 1, undefined, 2, undefined, 3, 4, null])).toEqual([]);
});
