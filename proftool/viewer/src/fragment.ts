// The state of the page as a URL fragment, so that a link opens the same view. Only what differs from the default is written.

export type Values = Record<string, string>;

/** `a=1&b=2`, keys in the order of `defaults`; what equals its default is left out. */
export function write(values: Values, defaults: Values): string {
  const told = new URLSearchParams();
  for (const key of Object.keys(defaults)) if (values[key] !== undefined && values[key] !== defaults[key]) told.set(key, values[key]);
  return told.toString();
}

/** Values of a fragment, unknown keys dropped, missing ones by default. */
export function read(fragment: string, defaults: Values): Values {
  const told = new URLSearchParams(fragment.replace(/^#/, "")), values: Values = { ...defaults };
  for (const key of Object.keys(defaults)) values[key] = told.get(key) ?? defaults[key]!;
  return values;
}
