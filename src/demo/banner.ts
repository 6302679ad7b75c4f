import { relative } from 'node:path';
import type { Welcome } from './demo-user.ts';
import { sandboxFileOf } from './sandbox-file.ts';

/**
 * What somebody who just typed `npm start` sees: where it runs, how to get in, and commands to try. Secrets are shown by
 * the start that made them, and never again: the output of a server ends in files that others read.
 */
export function banner({ url, token, username, password, isNew }: Welcome, dataDir: string, program: string): string {
  const file = shortest(sandboxFileOf(dataDir));
  // The command line looks there by itself.
  const command = shortest(dataDir) === '.hopla' ? program : `DATA_DIR=${quoted(dataDir)} ${program}`;
  const login = isNew
    ? `${username} / ${password}   (shown this once; kept in ${file})`
    : password === null
      ? `${username}, with the password you gave it   (forgotten? ${command} admin users set-password ${username})`
      : `${username}, with the password in ${file}`;
  return `
  hopla is running:  ${url}   (upload photos in a browser; /admin is the panel, /docs the API)
  sign in as:        ${login}
  token for scripts: ${isNew ? token : `in ${file}`}
  everything in:     ${shortest(dataDir)}   (a local Postgres, a local Cloudinary; Ctrl-C stops all)

  Photos at hand? In another terminal, in this folder:  ${command} upload *.jpg

  Or over HTTP:

  1. Open a ticket for one photo; the answer has its id, uploadUrl and uploadToken:

     TOKEN=$(sed -n 's/.*"token": "\\(.*\\)".*/\\1/p' ${quoted(file)})
     curl -sS ${url}/v1/tickets -H "Authorization: Bearer $TOKEN" \\
       -H 'Content-Type: application/json' -d '{"images": 1}'

  2. Upload a photo (fill in the uploadUrl; a large file may as well come in pieces):

     curl -sS -i -X POST UPLOAD_URL -H "Authorization: Bearer $TOKEN" -H 'Tus-Resumable: 1.0.0' \\
       -H "Upload-Length: $(wc -c < photo.jpg | tr -d ' ')" -H 'Content-Type: application/offset+octet-stream' \\
       --data-binary @photo.jpg

  3. See where it went (fill in the id), or watch it live at the same address with /events behind it:

     curl -sS ${url}/v1/tickets/TICKET_ID -H "Authorization: Bearer $TOKEN"
`;
}

/** As somebody in this folder would write it. */
function shortest(path: string): string {
  const short = relative('', path);
  return short === '' || short.startsWith('..') ? path : short;
}

function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
