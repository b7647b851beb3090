// What the server answers: the dataclasses of proftool/dashboard and proftool/workflows, field by field.

export interface Time { range: string | null; since_ms: number; until_ms: number }
export type Numbers = (number | null)[];
export type Value = string | boolean | number | string[] | boolean[] | number[];

export interface TraceRow { trace_id: string; service: string; name: string; started_ms: number; duration_ns: number; is_failed: boolean; kept: string | null; services: string[] }
export interface Search {
  time: Time; service: string | null; route: string | null; text: string; is_failed: boolean; min_ms: number | null; order: "newest" | "slowest";
  found: { traces: TraceRow[]; services: string[]; routes: string[]; looked_at: number; is_cut: boolean };
}
export interface Trace {
  trace_id: string; started_ms: number; duration_ns: number; services: string[]; names: string[]; span_id: string[]; parent: number[]; depth: number[];
  service: number[]; name: number[]; kind: string[]; start_ns: number[]; duration: number[]; own_ns: number[]; is_failed: boolean[];
  critical: [number, number, number][]; sampled: number[]; entry_route: string | null; n_missing: number;
}
export interface SpanDetail { span_id: string; attributes: Record<string, Value>; message: string; events: [string, number, Record<string, Value>][]; links: string[] }
export interface Operation { depth: number; service: string; name: string; base_n: number; new_n: number; base_ns: number; new_ns: number; base_own_ns: number; new_own_ns: number }
export interface TracesCompared { base: Trace; new: Trace; operations: Operation[] }

export interface RouteRow { route: string; n: number; rate_per_s: number; error_share: number; p50_s: number | null; p95_s: number | null; p99_s: number | null; total_s: number; rates: Numbers }
export interface Requests {
  ends_ms: number[]; step_s: number; whole: RouteRow | null; line: { rate_per_s: Numbers; error_share: Numbers; p50_s: Numbers; p95_s: Numbers; p99_s: Numbers };
  routes: RouteRow[]; edges_s: number[]; heat: (number[] | null)[]; exemplars: [number, string, number][];
}
export interface Chart { title: string; unit: string; ends_ms: number[]; lines: [string, Numbers][] }
export interface Finding {
  id: string; service: string; function: string; file: string; line: number; confidence: string; evidence: string; advice: string; route: string | null;
  trace_id: string | null; first_ns: number; last_ns: number; count: number;
}
export interface Services { time: Time; services: { name: string; whole: RouteRow | null; n_findings: number; n_traces: number; n_failed_traces: number; last_ms: number | null }[] }
export interface Service { time: Time; name: string; route: string | null; services: string[]; requests: Requests; charts: Chart[]; findings: Finding[]; slowest: TraceRow[] }
export interface Ranges { name: string | null; route: string | null; services: string[]; routes: string[]; base: Time; new: Time; time: Time; requests: Requests | null }

export interface Statement {
  service: string; system: string; shape: string; summary: string; n: number; n_traces: number; total_ns: number; p50_ns: number; max_ns: number; rows: number | null; n_failed: number;
  callers: [string, string, number, number][]; routes: [string, number][]; slowest_trace: string; slowest_span: string; most_in_a_trace: number; most_trace: string; is_repeated: boolean;
}
export interface Queries { time: Time; service: string | null; services: string[]; found: { statements: Statement[]; n_spans: number; n_traces: number; is_cut: boolean }; findings: Finding[] }

export interface RuleState {
  service: string; name: string; kind: string; metric: string; labels: [string, string][]; wanted: string; state: "firing" | "pending" | "ok" | "no data"; told: string;
  fired: { since_ms: number; until_ms: number | null; text: string }[];
}
export interface Budget {
  service: string; name: string; objective: number; latency_s: number | null; n: number; n_bad: number; left_share: number | null; known_s: number; burns: [number, number | null][];
  days_ms: number[]; left: Numbers;
}
export interface Incident {
  id: string; service: string; alert: string; state: "firing" | "resolved" | "lost"; text: string; route: string | null; began_ms: number; ended_ms: number | null; duration_s: number;
  place: string; confidence: string;
}
export interface Alerts { now_ms: number; incidents: Incident[]; alarms: { rules: RuleState[]; budgets: Budget[]; file: string | null; n_rules: number } }
