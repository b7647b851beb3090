import { describe, expect, it } from "vitest";
import { type Column, fromBase64, streams, unpack, unpackStrings } from "../src/codec";

const column = (more: Partial<Column>): Column => ({ name: "c", dtype: "i4", rows: 4, filter: "none", base: 0, scale: 1, width: 1, size: 0, ...more });
const packed = async (bytes: number[]): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await new Response(new Blob([Uint8Array.from(bytes)]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());

describe("columns", () => {
  it("joins byte planes, lowest first", async () => {
    expect([...(await unpack(column({ width: 2 }), await packed([1, 2, 3, 4, 0, 1, 0, 2])))]).toEqual([1, 258, 3, 516]);
  });
  it("applies base and scale, then the filter", async () => {
    expect([...(await unpack(column({ base: -1, scale: 10 }), await packed([0, 1, 2, 0])))]).toEqual([-1, 9, 19, -1]);
    expect([...(await unpack(column({ filter: "delta" }), await packed([5, 1, 0, 2])))]).toEqual([5, 6, 6, 8]);
    expect([...(await unpack(column({ filter: "index" }), await packed([1, 1, 1, 3])))]).toEqual([-1, 0, 1, 0]);
  });
  it("keeps 64-bit values below 2**53 exact", async () => {
    const planes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f];
    expect([...(await unpack(column({ dtype: "i8", rows: 1, width: 7 }), await packed(planes)))]).toEqual([2 ** 53 - 1]);
  });
  it("has no stream where all values are equal", async () => {
    expect([...(await unpack(column({ width: 0, base: 7, dtype: "u1" }), new Uint8Array(0)))]).toEqual([7, 7, 7, 7]);
  });
  it("refuses a stream of the wrong length", async () => {
    await expect(unpack(column({}), await packed([1, 2, 3]))).rejects.toThrow("shorter");
    await expect(unpack(column({}), await packed([1, 2, 3, 4, 5]))).rejects.toThrow("longer");
  });
  it("splits a body by sizes", () => {
    const found = streams([column({ name: "a", size: 2 }), column({ name: "b", size: 3 })], Uint8Array.of(1, 2, 3, 4, 5));
    expect([...found.get("b")![1]]).toEqual([3, 4, 5]);
  });
  it("reads strings by their lengths in bytes", async () => {
    const plain = new TextEncoder().encode("Grüße<b>"), lengths = await packed([0, 7, 3]), text = await packed([...plain]);
    const body = new Uint8Array([...lengths, ...text]);
    const strings = await unpackStrings({ lengths: column({ rows: 3, size: lengths.length }), bytes: plain.length, size: text.length }, body);
    expect([strings.at(0), strings.at(1), strings.at(2)]).toEqual(["", "Grüße", "<b>"]);
  });
  it("reads base64", () => expect([...fromBase64("AAEC/w==")]).toEqual([0, 1, 2, 255]));
});
