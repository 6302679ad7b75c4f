/** The media type of a `Content-Type` header, in lower case and without parameters; empty when there is none. */
export function mediaTypeOf(header: string | undefined): string {
  const [type = ''] = (header ?? '').split(';');
  return type.trim().toLowerCase();
}
