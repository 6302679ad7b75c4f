/** A kind of image that its own bytes prove. `name` is for people, `extensions` are those of its usual file names. */
type Kind = { contentType: string; name: string; extensions: readonly string[] };

const kind = (contentType: string, name: string, ...extensions: string[]): Kind => ({ contentType, name, extensions });

/**
 * Every kind that hopla recognises, by its short name. Media types are the registered ones; raw files of cameras have
 * none, and get the names that desktops and ExifTool use.
 */
export const imageKinds = {
  jpg: kind('image/jpeg', 'JPEG', 'jpg', 'jpeg', 'jpe', 'jfif', 'mpo'),
  png: kind('image/png', 'PNG', 'png'),
  gif: kind('image/gif', 'GIF', 'gif'),
  webp: kind('image/webp', 'WebP', 'webp'),
  avif: kind('image/avif', 'AVIF', 'avif', 'avifs'),
  heic: kind('image/heic', 'HEIC', 'heic', 'heics', 'hif'),
  heif: kind('image/heif', 'HEIF', 'heif', 'heifs'),
  tiff: kind('image/tiff', 'TIFF', 'tif', 'tiff'),
  bmp: kind('image/bmp', 'BMP', 'bmp'),
  cr2: kind('image/x-canon-cr2', 'Canon CR2 raw', 'cr2'),
  cr3: kind('image/x-canon-cr3', 'Canon CR3 raw', 'cr3'),
  nef: kind('image/x-nikon-nef', 'Nikon NEF raw', 'nef'),
  nrw: kind('image/x-nikon-nrw', 'Nikon NRW raw', 'nrw'),
  arw: kind('image/x-sony-arw', 'Sony ARW raw', 'arw'),
  dng: kind('image/x-adobe-dng', 'DNG raw', 'dng'),
  pef: kind('image/x-pentax-pef', 'Pentax PEF raw', 'pef'),
  iiq: kind('image/x-phaseone-iiq', 'Phase One IIQ raw', 'iiq'),
  raf: kind('image/x-fuji-raf', 'Fujifilm RAF raw', 'raf'),
  orf: kind('image/x-olympus-orf', 'Olympus ORF raw', 'orf'),
  rw2: kind('image/x-panasonic-rw2', 'Panasonic RW2 raw', 'rw2', 'rwl'),
  srw: kind('image/x-samsung-srw', 'Samsung SRW raw', 'srw'),
  '3fr': kind('image/x-hasselblad-3fr', 'Hasselblad 3FR raw', '3fr', 'fff'),
  // A TIFF with the mosaic of a sensor, and of no maker above.
  raw: kind('image/x-raw', 'camera raw', 'dcr', 'erf', 'kdc', 'mef', 'mos'),
} as const satisfies Record<string, Kind>;

export type ImageFormat = keyof typeof imageKinds;

export const formats = Object.keys(imageKinds) as ImageFormat[];

const kinds: readonly Kind[] = Object.values(imageKinds);

/** The media types that can be named in a list of accepted ones: those of every kind, and the two wildcards. */
export const knownTypes: readonly string[] = [...kinds.map(({ contentType }) => contentType), 'image/*', '*/*'];

/** Whether an operator's list of media types lets this one pass: exact, `image/*` or `*\/*`, in any case. */
export function isAccepted(contentType: string, acceptedTypes: readonly string[]): boolean {
  const type = contentType.toLowerCase();
  return acceptedTypes
    .map((accepted) => accepted.trim().toLowerCase())
    .some(
      (accepted) =>
        accepted === '*/*' || accepted === type || (accepted.endsWith('/*') && type.startsWith(accepted.slice(0, -1))),
    );
}

/** What a file picker offers (HTML, `accept`): the accepted types, and, as browsers know few of them, extensions too. */
export function pickerTypes(acceptedTypes: readonly string[]): string {
  if (isAccepted('*/*', acceptedTypes)) return '';
  const accepted = kinds.filter(({ contentType }) => isAccepted(contentType, acceptedTypes));
  const extensions = accepted.flatMap((one) => one.extensions.map((extension) => `.${extension}`));
  return [...accepted.map(({ contentType }) => contentType), ...extensions].join(',');
}
