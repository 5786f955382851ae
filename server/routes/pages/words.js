// How numbers and names are written on every page. Pure.

const number = new Intl.NumberFormat("en");

/** Whole numbers with U+2212, the minus that stands as wide and as high as a plus. */
export const format = (value) => number.format(value).replace("-", "−");

export const signed = (value) => (value < 0 ? format(value) : `+${format(value)}`);

/** A name to show: marks that reorder the text around them are left out, an empty name is said. */
export function nameOf({ user, userId }) {
  const name = (user ?? "").replace(/[\u202a-\u202e\u2066-\u2069]/gu, "");
  if (name.trim()) return name;
  return userId === undefined ? "(no name)" : `(no name, user ${userId})`;
}
