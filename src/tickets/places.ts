import type { Ticket } from '../database/models.ts';

/** Guesses, without a question to the database, whether a creation will find a place. */
export type Places = {
  /**
   * Counts a creation of the ticket, read a moment ago. True when every creation that this process knows of may get its place; the
   * claim itself decides.
   */
  enter(ticket: Ticket): boolean;
  /** The creation has its place, or got none. */
  leave(ticket: Ticket): void;
};

export function createPlaces(): Places {
  /** Creations under way, by ticket. */
  const entered = new Map<string, number>();
  /** Creations under way when a ticket was read, and those that came after: each may have a place that it counts as free. */
  const unseen = new WeakMap<Ticket, number>();
  return {
    enter(ticket) {
      const { id, claimed, expected, expired, expiresAt } = ticket;
      const others = entered.get(id) ?? 0;
      const before = unseen.get(ticket) ?? others;
      entered.set(id, others + 1);
      unseen.set(ticket, before + 1);
      return claimed + before < expected && !expired && expiresAt.getTime() > Date.now();
    },
    leave({ id }) {
      const others = (entered.get(id) ?? 1) - 1;
      if (others > 0) entered.set(id, others);
      else entered.delete(id);
    },
  };
}
