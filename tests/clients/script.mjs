// What both scripts for Node need besides their library.

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';

export const [host, port, user, password, mode, protocol] = process.argv.slice(2);
export const isCluster = mode === 'cluster';
export const WRONG_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value';
export const IN_2100 = 4102444800;
/** What the workload has stored when it scans. */
export const KEYS_IN_ALL = 606;

/** Loads a library from the working directory: they are installed apart from the scripts. */
export const load = createRequire(`${process.cwd()}/`);

/** Compares with what is expected; the right side may be a promise. */
export async function same(expected, actual) {
  assert.deepEqual(await actual, expected);
}

/** The numbers below `count`, each through `map`. */
export function each(count, map) {
  return Array.from({ length: count }, (_, index) => map(index));
}

/** Collects what a library tells its listeners. */
export function mailbox() {
  const letters = [];
  const arrivals = new EventEmitter();
  return {
    take: (...letter) => {
      letters.push(letter);
      arrivals.emit('arrival');
    },
    until: async (count) => {
      while (letters.length < count) await once(arrivals, 'arrival');
      return letters;
    },
  };
}

/** Runs the parts of a workload, one after the other. */
export async function perform(parts, redis) {
  for (const part of parts) {
    const late = setTimeout(() => {
      console.error(`${part.name} is not done after 60 s`);
      process.exit(1);
    }, 60_000);
    await part(redis);
    clearTimeout(late);
  }
}

export { assert };
