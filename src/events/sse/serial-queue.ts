/** Runs tasks one after the other. One that fails is told to `onError`, and the next goes on. */
export class Turns {
  readonly #onError: (error: unknown) => void;
  #last = Promise.resolve();

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  take(task: () => Promise<void>): void {
    this.#last = this.#last.then(task).catch(this.#onError);
  }
}
