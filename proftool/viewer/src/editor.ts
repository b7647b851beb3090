// Links that open a line of source in the reader's editor.
import type { Profile } from "./profile";

export const DEFAULT_EDITOR = "vscode://file/{path}:{line}";

/** The absolute path of a recorded file, or empty where it is none (`<frozen importlib>`, a built-in). */
function absolute(p: Profile, file: string): string {
  if (!file || /^[<~]/.test(file)) return "";
  if (/^([/\\]|[A-Za-z]:[/\\])/.test(file)) return file.replaceAll("\\", "/");
  const folder = p.head.meta.project_root ?? p.head.meta.cwd;
  return folder ? `${folder.replaceAll("\\", "/")}/${file}` : "";
}

/** What to call to open that line, by the template that the page was made with; empty where the file is not known. */
export function editorUrl(p: Profile, file: string, line: number): string {
  const path = absolute(p, file), template = p.head.editor ?? DEFAULT_EDITOR;
  if (!path || /^\s*javascript:/i.test(template)) return "";
  const inUrl = encodeURI(path).replaceAll("#", "%23").replaceAll("?", "%3F");
  // `file/{path}` and an absolute path share one slash.
  const told: Record<string, string> = { path: inUrl, file: inUrl, line: String(Math.max(1, line)), column: "1" };
  return template.replace(/\{(path|file|line|column)\}/g, (_, name: string) => told[name]!).replace(/(:\/\/[^/]+)\/\//, "$1/");
}

/** Of a function, at a line of a frame or at its `def`. */
export function functionUrl(p: Profile, f: number, line = 0): string {
  return f < 0 ? "" : editorUrl(p, p.strings.at(p.functions.file[f]!), line > 0 ? line : p.functions.first_line[f]!);
}
