const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

/** In steps of 1024, as the chooser says it. @param {number} bytes */
export function formatBytes(bytes) {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${value >= 10 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** `1:07:09`, `7:09`. @param {number} ms */
export function formatDuration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const tail = `${`${seconds % 60}`.padStart(2, '0')}`;
  return hours > 0 ? `${hours}:${`${minutes}`.padStart(2, '0')}:${tail}` : `${minutes}:${tail}`;
}

/** @param {Date} date */
export function formatClock(date) {
  return date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

/** The year only where it is not this one. @param {string} time RFC 3339 */
export function formatMoment(time) {
  const date = new Date(time);
  return date.toLocaleString(undefined, {
    ...(date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' }),
    month: 'short',
    day: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
  });
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** @param {number} part @param {number | null} whole @returns {number} 0…100, and 100 only for all of it */
export function percentOf(part, whole) {
  return whole ? Math.min(Math.floor((part / whole) * 100), 100) : 0;
}
