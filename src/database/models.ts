import { Model, snakeCaseMappers } from 'objection';
import type { ImageStatus, TicketStatus } from '../model/states.ts';

// Models are bound to no connection: every query names its own, `Ticket.query(db)`. Rows come and go in camelCase; the
// conditions of a query name columns as the table does.
abstract class Row extends Model {
  static override columnNameMappers = snakeCaseMappers();

  /** Makes a model of a row that Postgres gave as JSON (`to_jsonb`), where times are text; the row itself is changed. */
  static fromJsonRow<M extends Model>(
    this: { new (): M; fromDatabaseJson(json: object): Model },
    row: Record<string, unknown>,
  ): M {
    for (const column in row) {
      const value = row[column];
      if (typeof value === 'string' && column.endsWith('_at')) row[column] = new Date(value);
    }
    return this.fromDatabaseJson(row) as M;
  }
}

export class User extends Row {
  static override tableName = 'users';
  declare id: string;
  declare username: string;
  /** See `nameKey`. Null for a user whose key an older user has: earlier versions took both names. */
  declare nameKey: string | null;
  declare passwordHash: string | null;
  declare isAdmin: boolean;
  declare disabledAt: Date | null;
  declare createdAt: Date;
  declare updatedAt: Date;
}

export class Token extends Row {
  static override tableName = 'tokens';
  static override relationMappings = () => ({
    user: { relation: Model.BelongsToOneRelation, modelClass: User, join: { from: 'tokens.user_id', to: 'users.id' } },
  });
  declare id: string;
  declare userId: string;
  declare kind: 'user' | 'upload';
  declare isLogin: boolean;
  declare ticketId: string | null;
  declare label: string | null;
  declare sha256: Buffer;
  declare expiresAt: Date | null;
  declare revokedAt: Date | null;
  declare lastUsedAt: Date | null;
  declare createdAt: Date;
}

export class Ticket extends Row {
  static override tableName = 'tickets';
  declare id: string;
  declare userId: string;
  declare expected: number;
  declare claimed: number;
  declare received: number;
  declare stored: number;
  declare failed: number;
  declare bytesTotal: number;
  declare bytesReceived: number;
  declare bytesStored: number;
  declare expired: boolean;
  declare status: TicketStatus;
  declare version: number;
  declare description: string | null;
  declare metadata: Record<string, unknown> | null;
  declare idempotencyKey: string | null;
  declare idempotencySha256: Buffer | null;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare expiresAt: Date;
  declare completedAt: Date | null;
}

export class Image extends Row {
  static override tableName = 'images';
  static override relationMappings = () => ({
    ticket: {
      relation: Model.BelongsToOneRelation,
      modelClass: Ticket,
      join: { from: 'images.ticket_id', to: 'tickets.id' },
    },
  });
  declare id: string;
  declare ticketId: string;
  declare status: ImageStatus;
  declare slot: string | null;
  declare size: number | null;
  declare staging: string;
  /** The process that receives it (uploads/holders.ts), while it is `uploading`. */
  declare holder: string | null;
  declare filename: string | null;
  declare uploadMetadata: string | null;
  declare expectedSha256: string | null;
  declare contentType: string | null;
  declare format: string | null;
  declare width: number | null;
  declare height: number | null;
  declare orientation: number | null;
  declare displayWidth: number | null;
  declare displayHeight: number | null;
  declare sha256: string | null;
  declare md5: string | null;
  declare attempts: number;
  declare errorCode: string | null;
  declare errorMessage: string | null;
  declare storageProvider: string | null;
  declare storageKey: string | null;
  declare storageAssetId: string | null;
  declare storageVersion: string | null;
  declare storageWidth: number | null;
  declare storageHeight: number | null;
  declare storageFormat: string | null;
  declare url: string | null;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare receivedAt: Date | null;
  declare storedAt: Date | null;
}
