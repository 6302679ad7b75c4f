// A React component for one ticket. `ticket` is what your server got from POST /v1/tickets and passed on.
import { createClient } from 'hopla/client';
import { useEffect, useState } from 'react';

export function PhotoUpload({ url, ticket }) {
  const [images, setImages] = useState({});
  const [refused, setRefused] = useState([]);
  const [client] = useState(() => createClient({ url, token: ticket.uploadToken }));

  useEffect(() => {
    const leaving = new AbortController();
    const watch = async () => {
      for await (const { type, data } of client.follow(ticket, { signal: leaving.signal })) {
        const changed = type === 'snapshot' ? data.images : type === 'image' ? [data] : [];
        for (const image of changed) setImages((known) => ({ ...known, [image.id]: image }));
      }
    };
    watch().catch((error) => {
      if (!leaving.signal.aborted) throw error;
    });
    return () => leaving.abort();
  }, [client, ticket]);

  const choose = async ({ target }) => {
    // By what is in it, so that a photo has the same slot after a retry or a reload, and no other photo has it: a repeat finds
    // the upload it began, and takes no second place. One that is chosen twice is sent once.
    const files = new Map();
    for (const file of target.files) files.set(await sha256Of(file), file);
    const photos = [...files].map(([sha256, file]) => ({ slot: sha256, sha256, filename: file.name, data: file }));
    const results = await client.upload(ticket, photos);
    setRefused(results.filter(({ status }) => status === 'refused'));
  };

  return (
    <section>
      <input type="file" accept="image/*" multiple onChange={choose} aria-label="Photos" />
      <ul>
        {Object.values(images).map(({ id, filename, status, url: stored }) => (
          <li key={id}>{stored ? <a href={stored}>{filename}</a> : `${filename}: ${status}`}</li>
        ))}
        {refused.map(({ slot, error }) => (
          <li key={slot}>{error.message}</li>
        ))}
      </ul>
    </section>
  );
}

/** For pages that come over https, or from localhost. */
async function sha256Of(file) {
  const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
