import { expect } from 'chai';
import type * as client from 'hopla/client';
import type { z } from 'zod';
import type { Session } from '../../src/api-docs/openapi/parts.ts';
import type { TicketRequest } from '../../src/tickets/open.ts';
import type { ImageView, OpenedTicket, TicketDetail, TicketPageView, TicketView } from '../../src/tickets/schemas.ts';

/** The same in both directions, `readonly` and optional members included. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Intersections written out, so that they compare as what they are. */
type Flat<T> = T extends (infer I)[] ? Flat<I>[] : T extends object ? { [K in keyof T]: Flat<T[K]> } : T;

type Agreements = {
  ticket: Same<Flat<client.Ticket>, Flat<z.infer<typeof TicketView>>>;
  image: Same<Flat<client.Image>, Flat<z.infer<typeof ImageView>>>;
  opened: Same<Flat<client.OpenedTicket>, Flat<z.infer<typeof OpenedTicket>>>;
  detail: Same<Flat<client.TicketDetail>, Flat<z.infer<typeof TicketDetail>>>;
  page: Same<Flat<client.TicketPage>, Flat<z.infer<typeof TicketPageView>>>;
  session: Same<Flat<client.Session>, Flat<z.infer<typeof Session>>>;
  request: client.TicketRequest extends z.input<typeof TicketRequest> ? true : false;
  requestKeys: Same<keyof client.TicketRequest, keyof z.input<typeof TicketRequest>>;
};

describe('the types of hopla/client', () => {
  it('are those of the schemas that the API is described by', () => {
    // What is checked is checked by tsc: one that differs does not compile here.
    const agreements: Agreements = {
      ticket: true,
      image: true,
      opened: true,
      detail: true,
      page: true,
      session: true,
      request: true,
      requestKeys: true,
    };
    expect(Object.values(agreements)).to.not.include(false);
  });
});
