// Series over time from samples, counters and intervals, in equal buckets.
import type { Profile } from "./profile";
import type { Unit } from "./schema";

export interface Series {
  title: string;
  values: Float64Array;
  most: number;
  /** ns since the start. */
  end: number;
  unit: Unit;
  per?: string;
}

const highest = (values: Float64Array): number => values.reduce((a, b) => Math.max(a, b), 0);

/** When does the recording end, by the latest thing that is known? ns. */
export function endOf(p: Profile): number {
  let end = p.head.meta.passes[0]?.duration_ns ?? 0;
  for (const column of [p.samples.time_ns, p.intervals.start_ns, p.intervals.end_ns, p.counters.time_ns]) for (const t of column) if (t > end) end = t;
  return end;
}

/** Time spent per bucket that was not waiting, over all lanes or one; at most `most` buckets, none so short that it falls between two samples. */
export function rates(p: Profile, most: number, lane: number): Series {
  const end = endOf(p), moments = new Set(p.samples.time_ns).size, buckets = Math.max(1, Math.min(most, Math.ceil(moments / 3))), values = new Float64Array(buckets), s = p.samples;
  for (let k = 0; k < s.node.length; k++) if ((lane < 0 || s.lane[k] === lane) && !(s.status[k]! & 1)) values[Math.min(buckets - 1, Math.floor((s.time_ns[k]! / (end || 1)) * buckets))]! += s.weight[k]!;
  return { title: "time not waiting", values, most: highest(values), end, unit: "ns", per: ` in ${Math.round(end / buckets / 1e5) / 10} ms` };
}

/** Bytes alive, the most in each bucket: a sweep over starts and ends, at one moment the ends first, since what ends there is gone. */
export function liveBytes(p: Profile, buckets: number, lane: number): Series {
  const end = endOf(p), values = new Float64Array(buckets), v = p.intervals, bucket = (t: number): number => Math.min(buckets - 1, Math.floor((t / (end || 1)) * buckets));
  const change = new Map<number, number>();
  for (let k = 0; k < v.node.length; k++) {
    if (lane >= 0 && v.lane[k] !== lane) continue;
    change.set(v.start_ns[k]!, (change.get(v.start_ns[k]!) ?? 0) + v.bytes[k]!);
    if (v.end_ns[k]! >= 0) change.set(v.end_ns[k]!, (change.get(v.end_ns[k]!) ?? 0) - v.bytes[k]!);
  }
  let alive = 0, from = 0;
  for (const t of Float64Array.from(change.keys()).sort()) {
    const to = bucket(t);
    for (let k = from; k <= to; k++) values[k] = Math.max(values[k]!, alive);
    alive += change.get(t)!;
    values[to] = Math.max(values[to]!, alive);
    from = to + 1;
  }
  for (let k = from; k < buckets; k++) values[k] = alive;
  return { title: "bytes alive", values, most: highest(values), end, unit: "bytes" };
}

/** The first counter over time (resident memory, where the backend records it): the highest value of each bucket, the last one carried on. */
export function counted(p: Profile, most: number): Series {
  const end = endOf(p), c = p.counters, name = c.name[0] ?? 0, points = c.name.filter((n) => n === name).length, buckets = Math.max(1, Math.min(most, points)), values = new Float64Array(buckets);
  for (let k = 0; k < c.name.length; k++) {
    const at = Math.min(buckets - 1, Math.floor((c.time_ns[k]! / (end || 1)) * buckets));
    if (c.name[k] === name) values[at] = Math.max(values[at]!, c.value[k]!);
  }
  for (let k = 1; k < buckets; k++) values[k] ||= values[k - 1]!;
  const title = p.strings.at(name).replaceAll("_", " ");
  return { title, values, most: highest(values), end, unit: /bytes|memory|rss/i.test(title) ? "bytes" : /ns|time/.test(title) ? "ns" : "count" };
}
