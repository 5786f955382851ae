// Quantiles of a histogram's buckets. Pure.

/** The value below which `share` of the window's observations lie, or null without any. */
export function quantile(bounds, counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = share * total;
  for (let i = 0; i < counts.length; i += 1) {
    if (counts[i] >= left && counts[i] > 0) {
      const low = i === 0 ? 0 : bounds[i - 1];
      // The last one has no upper bound: all that is known is that it is above.
      const high = i < bounds.length ? bounds[i] : low;
      return low + (high - low) * (left / counts[i]);
    }
    left -= counts[i];
  }
  return bounds[bounds.length - 1];
}
