import type { ErrorCode } from '../model/errors.ts';

/** What an error code means to a person, and what that person can do about it. */
export type Explanation = { meaning: string; remedy: string };

const PASSES = 'Nothing is lost. Wait a little and try again; uploads continue by themselves from where they stopped.';

/** One explanation for every code of `errors.ts`; the pages at `/problems/<code>` show them. */
export const problems: Record<ErrorCode, Explanation> = {
  'malformed-json': {
    meaning: 'The request was announced as JSON, but its body cannot be read as one JSON object.',
    remedy: 'Check quotes, commas and brackets, and that the body is UTF-8.',
  },
  'malformed-request': {
    meaning: 'A header or the address of the request does not have the form that it must have.',
    remedy: 'The “detail” of the answer names what is wrong. Correct it and send the request again.',
  },
  unauthorized: {
    meaning: 'The request has no token, or one that is wrong, has run out or was taken back.',
    remedy:
      'Sign in again, or ask for a new link. Programs send “Authorization: Bearer <token>”, never in the address.',
  },
  'invalid-credentials': {
    meaning: 'There is no enabled account with this user name and this password.',
    remedy: 'Check both; capital letters count in the password. An administrator can set a new one.',
  },
  forbidden: {
    meaning:
      'The token is valid but not for this. An upload token, for example, works for its own ticket only, and a password is changed with the token of a login.',
    remedy: 'Sign in as the owner of what you want to reach.',
  },
  'quota-exceeded': {
    meaning: 'A user may have so many tickets open, and begin so many photos a day, and that number is reached.',
    remedy: 'Complete tickets that are open, or come back tomorrow. An operator can raise the limits.',
  },
  'not-found': {
    meaning: 'Nothing is served at this address.',
    remedy: 'Check the address. Everything that there is stands in the API page.',
  },
  'ticket-not-found': {
    meaning: 'There is no such ticket, or it belongs to somebody else: both give this answer.',
    remedy: 'Check the link, and that you are signed in as the one who opened the ticket.',
  },
  'upload-not-found': {
    meaning: 'This ticket has no upload with that id.',
    remedy: 'Begin the upload again; it gets a new address.',
  },
  'token-not-found': {
    meaning: 'This ticket has no upload token with that id, or it was revoked before.',
    remedy: 'List the tokens of the ticket to see which still work.',
  },
  'method-not-allowed': {
    meaning: 'The address exists but does not take this HTTP method.',
    remedy: 'Use one of the methods in the answer’s “Allow” header.',
  },
  'offset-conflict': {
    meaning: 'The bytes that were sent do not begin where the upload stands.',
    remedy: 'Ask with HEAD for the “Upload-Offset” and continue from there. The usual tus clients do so by themselves.',
  },
  'upload-gone': {
    meaning: 'The upload was rejected, cancelled, or its ticket ran out before the last byte.',
    remedy: 'Its place in the ticket is free again: choose the photo anew, or another one.',
  },
  'ticket-expired': {
    meaning:
      'A ticket takes photos for a limited time, and this one’s time is over. What it had received is delivered.',
    remedy: 'Open a new ticket for the photos that are missing.',
  },
  'unsupported-tus-version': {
    meaning: 'The request did not say that it speaks version 1.0.0 of the tus protocol.',
    remedy: 'Send “Tus-Resumable: 1.0.0”. The usual tus clients do so by themselves.',
  },
  'body-too-large': {
    meaning: 'The body of the request is larger than this address takes.',
    remedy: 'Send less. Photos go to the upload address of a ticket, which takes large bodies.',
  },
  'image-too-large': {
    meaning: 'The photo has more bytes than this gateway takes.',
    remedy: 'Save it smaller, or with a stronger compression, and choose it again.',
  },
  'length-exceeded': {
    meaning: 'More bytes arrived than the upload had announced.',
    remedy: 'The file probably changed while it was being uploaded. Choose it again.',
  },
  'unsupported-media-type': {
    meaning: 'The “Content-Type” of the request is not the one that this address takes.',
    remedy: 'JSON goes as “application/json”, the bytes of photos as “application/offset+octet-stream”.',
  },
  'unsupported-image': {
    meaning:
      'The file’s first bytes are not those of an image format that is taken here, whatever its name says. Raw files of cameras are taken only where the operator allows them.',
    remedy: 'Choose another file, or open this one in a photo program and save it as JPEG, PNG or WebP.',
  },
  'invalid-request': {
    meaning: 'The request can be read, but some of its values are not allowed.',
    remedy: 'The answer’s “errors” name each value and what it must be.',
  },
  'idempotency-key-reused': {
    meaning: 'A key that makes a request safe to repeat was used again with another body.',
    remedy: 'Take a new key for a new ticket; repeat a key only with exactly the same body.',
  },
  'ticket-full': {
    meaning: 'A ticket is for a fixed number of photos, and all its places are taken.',
    remedy: 'Open another ticket for more photos. A rejected or cancelled photo gives its place back.',
  },
  'empty-image': {
    meaning: 'The file has no bytes at all.',
    remedy: 'It may not have been copied or synchronised completely. Open it to check, then choose it again.',
  },
  'slot-mismatch': {
    meaning: 'Another photo already has this place of the ticket: its size or its SHA-256 differs.',
    remedy: 'Remove that one first, or give the new photo a place of its own.',
  },
  'image-too-many-pixels': {
    meaning: 'The photo has more megapixels than this gateway takes.',
    remedy: 'Scale it down in a photo program and choose it again.',
  },
  'checksum-mismatch': {
    meaning:
      'The bytes that arrived are not those that were announced: they were damaged on the way, or the file changed.',
    remedy: 'Upload the photo again.',
  },
  'upload-finished': {
    meaning: 'All bytes of this photo are here and it is on its way to the storage; it can no longer be cancelled.',
    remedy: 'An administrator can delete it.',
  },
  'upload-locked': {
    meaning: 'Another request, perhaps a broken connection of your own, still holds this upload.',
    remedy: PASSES,
  },
  'upload-uncommitted': {
    meaning: 'Every byte has arrived but is not yet safely recorded, so it is not confirmed.',
    remedy: PASSES,
  },
  'upload-unavailable': {
    meaning: 'Something that uploads need is missing just now, the database for example.',
    remedy: PASSES,
  },
  'too-many-requests': {
    meaning:
      'There were more requests, or more wrong passwords, than are allowed in a minute; or more event streams or readings of one token than are allowed at once.',
    remedy: 'Wait as many seconds as the answer’s “Retry-After” says, then try again.',
  },
  'headers-too-large': {
    meaning: 'The headers of the request are larger than is read here.',
    remedy: 'Send fewer or shorter headers; with uploads, shorter “Upload-Metadata”.',
  },
  'upload-checksum-mismatch': {
    meaning:
      'The bytes of one request are not those that its “Upload-Checksum” speaks of: they were damaged on the way.',
    remedy: 'Nothing of them was taken. Ask with HEAD for the “Upload-Offset” and send them again.',
  },
  'internal-error': {
    meaning: 'Something failed that should not have. It is in our log under the request id of the answer.',
    remedy: 'Try again. If it stays, tell the operator the request id.',
  },
  'service-unavailable': {
    meaning:
      'A part that the gateway depends on, the database for example, cannot be reached just now, or too many passwords wait to be checked.',
    remedy: PASSES,
  },
  'staging-full': {
    meaning: 'Photos wait here until the storage has them, and the room for that is used up just now.',
    remedy: PASSES,
  },
  'user-staging-full': {
    meaning:
      'Photos wait here until the storage has them, and those of one user, or of one ticket, have all the room that they may have.',
    remedy: PASSES,
  },
  'storage-refused': {
    meaning:
      'The storage does not take this photo: it may be larger than the storage allows, or damaged inside. The photo is kept here.',
    remedy:
      'Nothing is lost, and nothing needs to be uploaded again. An administrator sees why, and can have the photo sent again or delete it.',
  },
  'storage-misconfigured': {
    meaning: 'The storage does not accept the account that this gateway uses.',
    remedy: 'The photo is safe here and is sent once the operator has corrected the account.',
  },
  'storage-unavailable': {
    meaning: 'The storage could not be reached, or failed, more often than the gateway tries by itself.',
    remedy: 'The photo is safe here. An administrator can have it sent again.',
  },
  'storage-mismatch': {
    meaning: 'What the storage says it has is not what was sent, so it does not count as delivered.',
    remedy: 'The photo is safe here. An administrator can have it sent again.',
  },
  'staged-file-lost': {
    meaning:
      'The file of this photo disappeared from the gateway, or was changed on its disk, before the storage had it.',
    remedy: 'Tell the operator, and upload the photo again in a new ticket.',
  },
};
