import type { welcome } from './start.ts';

/** What somebody who just typed `npm start` sees: where it runs, how to get in, and three commands to try. */
export function banner(
  { url, token, username, password }: Awaited<ReturnType<typeof welcome>>,
  dataDir: string,
): string {
  return `
  hopla is running:  ${url}   (upload photos in a browser; /admin is the panel, /docs the API)
  demo login:        ${username} / ${password}
  demo token:        ${token}
  everything in:     ${dataDir}   (a local Postgres, a local Cloudinary; Ctrl-C stops all)

  Photos at hand? In another terminal, in this folder:  bin/hopla upload *.jpg

  Or over HTTP:

  1. Open a ticket for one photo; the answer has its id, uploadUrl and uploadToken:

     curl -sS ${url}/v1/tickets -H 'Authorization: Bearer ${token}' \\
       -H 'Content-Type: application/json' -d '{"images": 1}'

  2. Upload a photo (fill in the uploadUrl; a large file may as well come in pieces):

     curl -sS -i -X POST UPLOAD_URL -H 'Authorization: Bearer ${token}' -H 'Tus-Resumable: 1.0.0' \\
       -H "Upload-Length: $(wc -c < photo.jpg | tr -d ' ')" -H 'Content-Type: application/offset+octet-stream' \\
       --data-binary @photo.jpg

  3. See where it went (fill in the id), or watch it live at the same address with /events behind it:

     curl -sS ${url}/v1/tickets/TICKET_ID -H 'Authorization: Bearer ${token}'
`;
}
