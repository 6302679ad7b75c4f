import type { Minute } from '../operations/overview.ts';
import { html, type Markup } from './html.ts';

const WIDTH = 600;
const HEIGHT = 120;

/** An hour as bars up to `top`, one a minute; the numbers that matter are in the text beside it, too. */
export function chart(name: string, minutes: readonly Minute[], top: number, look: 'received' | 'stored'): Markup {
  const most = Math.max(...minutes.map(({ images }) => images));
  const total = minutes.reduce((sum, { images }) => sum + images, 0);
  const step = WIDTH / minutes.length;
  const bars = minutes.map(({ images }, index) => {
    const height = (images / top) * HEIGHT;
    if (images === 0) return false;
    const ago = minutes.length - 1 - index;
    return html`<rect x="${index * step + 1}" y="${(HEIGHT - height).toFixed(1)}" width="${step - 2}" height="${height.toFixed(1)}" rx="1"><title>${ago === 0 ? 'this minute' : `${ago} min ago`}: ${images}</title></rect>`;
  });
  return html`<figure class="chart ${look}">
<figcaption><strong>${name}</strong> <span class="muted">${total} in the last hour, at most ${most} a minute</span></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${name} per minute over the last hour: ${total} images, at most ${most} a minute">
<line x1="0" y1="0" x2="${WIDTH}" y2="0"/><line x1="0" y1="${HEIGHT / 2}" x2="${WIDTH}" y2="${HEIGHT / 2}"/><line x1="0" y1="${HEIGHT}" x2="${WIDTH}" y2="${HEIGHT}"/>
${bars}</svg>
<p class="axis muted" aria-hidden="true"><span>60 min ago</span><span>top: ${top} a minute</span><span>now</span></p>
</figure>`;
}

/** The height of charts that can be compared: of 1, 2, 5, 10, 20, 50 … the first that is not below any minute. */
export function topOf(...charts: (readonly Minute[])[]): number {
  const value = Math.max(...charts.flatMap((minutes) => minutes.map(({ images }) => images)));
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? value;
}
