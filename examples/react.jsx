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
    const photos = [...target.files].map((file) => ({
      slot: `${file.name} ${file.size}`.slice(-64),
      filename: file.name,
      data: file,
    }));
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
