// Specs as they travel: numbers in binary buffers beside their JSON.

const TYPES = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array,
  i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};

// {"_array": buffer index, dtype, shape} becomes a typed array, or rows of one; sharing is kept.
export function revive(value, buffers, cache = new Map()) {
  if (Array.isArray(value)) return value.map((item) => revive(item, buffers, cache));
  if (value === null || typeof value !== "object") return value;
  const { _array: index, dtype, shape } = value;
  if (index === undefined) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item, buffers, cache)]));
  }
  if (!cache.has(index)) {
    const { buffer, byteOffset, byteLength } = buffers[index];
    const flat = new TYPES[dtype](buffer.slice(byteOffset, byteOffset + byteLength)); // aligned
    const [rows, columns] = shape ?? [];
    cache.set(index, shape ? Array.from({ length: rows }, (_, i) => flat.subarray(i * columns, (i + 1) * columns)) : flat);
  }
  return cache.get(index);
}

// What a frame is, apart from its numbers: two frames with equal keys differ in data only.
const DATA = new Set(["x", "y", "z", "color", "size", "text", "hovertext", "customdata", "base"]);
export const withoutData = (key, value) =>
  value?._array !== undefined ? "array" : Array.isArray(value) && DATA.has(key) ? "list" : value;

export function merge(under, over) {
  const out = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const both = value?.constructor === Object && out[key]?.constructor === Object;
    out[key] = both ? merge(out[key], value) : value;
  }
  return out;
}
