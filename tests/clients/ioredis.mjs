// The basic workload of an application, with ioredis. Its kin are redis_py.py and node_redis.mjs.
//
//     ioredis.mjs HOST PORT USER PASSWORD plain|cluster 2
//
// Every value has the user's name in it, so that the same keys of another tenant would be noticed.

import { host, isCluster, mode, password, port, protocol, user } from './script.mjs';
import { IN_2100, KEYS_IN_ALL, WRONG_TYPE, assert, each, load, mailbox, perform, same } from './script.mjs';

const { Cluster, Redis } = load('ioredis');
const login = { host, port, username: user, password };

function connect() {
  if (!isCluster) return new Redis(login);
  const redisOptions = { username: user, password };
  return new Cluster([{ host, port }], { redisOptions, shardedSubscribers: true });
}

async function strings(redis) {
  await same('OK', redis.flushdb());
  await same('PONG', redis.ping());
  await same('OK', redis.set('greeting', `hello ${user}`));
  await same(`hello ${user}`, redis.get('greeting'));
  await same('OK', redis.set('greeting', 'x', 'EXAT', IN_2100));
  await same(IN_2100, redis.expiretime('greeting'));
  await same(1, redis.persist('greeting'));
  await same(-1, redis.ttl('greeting'));
  await same(1, redis.expireat('greeting', 1));
  await same(null, redis.get('greeting'));
  await same('OK', redis.set('greeting', 'x', 'EX', 1000));
  await same(null, redis.set('greeting', 'y', 'NX'));
  await same(1, redis.del('greeting'));
  await same(0, redis.exists('greeting'));
  await same([1, 2], Promise.all([redis.incr('counter'), redis.incr('counter')]));
  await same(12, redis.incrby('counter', 10));
}

async function manyKeys(redis) {
  const keys = each(100, (i) => `many:${i}`);
  const values = each(100, (i) => `${user}-${i}`);
  await same('OK', redis.mset(keys.flatMap((key, i) => [key, values[i]])));
  await same([...values, null], redis.mget(...keys, 'nosuch'));
  await same(100, redis.exists(...keys));
  await same(100, redis.del(...keys));
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  each(100, (i) => pipeline.set(`piped:${i}`, `${user}-${i}`).get(`piped:${i}`));
  const expected = each(100, (i) => [[null, 'OK'], [null, `${user}-${i}`]]).flat();
  await same(expected, pipeline.exec());
}

async function transactions(redis) {
  const expected = [[null, 'OK'], [null, 1], [null, user]];
  await same(expected, redis.multi().set('{t}a', user).incr('{t}n').get('{t}a').exec());
  await same('OK', redis.watch('{t}n'));
  await same('1', redis.get('{t}n'));
  await same([[null, 2]], redis.multi().incr('{t}n').exec());
  await same('OK', redis.watch('{t}n'));
  const other = connect();
  await same('OK', other.set('{t}n', '9'));
  await same(null, redis.multi().incr('{t}n').exec());
  await same('9', redis.get('{t}n'));
  other.disconnect();
}

async function collections(redis) {
  await same(2, redis.hset('hash', { user, n: 1 }));
  await same(5, redis.hincrby('hash', 'n', 4));
  await same({ user, n: '5' }, redis.hgetall('hash'));
  await same(3, redis.rpush('list', 'a', user, 'c'));
  await same('c', redis.rpop('list'));
  await same(['a', user], redis.lrange('list', 0, -1));
  await same(2, redis.zadd('sorted', 1, 'one', 2.5, user));
  await same(['one', '1', user, '2.5'], redis.zrange('sorted', 0, -1, 'WITHSCORES'));
  await same('2.5', redis.zscore('sorted', user));
}

async function blockingPop(redis) {
  const blocked = connect();
  const popped = blocked.blpop('queue', 30);
  // Nothing else tells that it is blocked.
  while (!(await redis.client('LIST')).includes('cmd=blpop'));
  await same(1, redis.rpush('queue', user));
  await same(['queue', user], popped);
  blocked.disconnect();
}

async function scan(redis) {
  const pipeline = redis.pipeline();
  const keys = each(500, (i) => `scanned:${i}`);
  keys.forEach((key) => pipeline.set(key, user));
  await pipeline.exec();
  const found = new Set();
  for (const node of isCluster ? redis.nodes('master') : [redis]) {
    for await (const page of node.scanStream({ match: 'scanned:*', count: 50 })) {
      page.forEach((key) => found.add(key));
    }
  }
  await same(new Set(keys), found);
  await same(KEYS_IN_ALL, redis.dbsize());
}

async function messages(redis) {
  const subscriber = connect();
  const heard = mailbox();
  subscriber.on('message', (channel, text) => heard.take(channel, text));
  subscriber.on('pmessage', (pattern, channel, text) => heard.take(pattern, channel, text));
  subscriber.on('smessage', (channel, text) => heard.take(channel, text));
  await same(1, subscriber.subscribe('news'));
  await same(2, subscriber.psubscribe('n?ws'));
  await same(2, redis.publish('news', user));
  await same([['news', user], ['n?ws', 'news', user]], heard.until(2));
  await same(1, subscriber.ssubscribe('shard'));
  await same(1, redis.spublish('shard', user));
  await same(['shard', user], (await heard.until(3))[2]);
  subscriber.disconnect();
}

async function errors(redis) {
  await assert.rejects(redis.incr('list'), { message: WRONG_TYPE });
  const replies = await redis.pipeline().get('counter').lpush('counter', 'x').get('counter').exec();
  const told = replies.map(([error, reply]) => error?.message ?? reply);
  await same(['12', WRONG_TYPE, '12'], told);
}

// A cluster has one database, so only in plain mode.
async function databases(redis) {
  const fifth = new Redis({ ...login, db: 5 });
  await same(null, fifth.get('counter'));
  await same('OK', fifth.set('counter', `fifth of ${user}`));
  await same('12', redis.get('counter'));
  await same(`fifth of ${user}`, fifth.get('counter'));
  await same('OK', fifth.flushdb());
  await same(0, fifth.dbsize());
  fifth.disconnect();
}

async function reconnect(redis) {
  const before = await redis.client('ID');
  const killer = new Redis(login);
  assert((await killer.client('KILL', 'TYPE', 'normal')) >= 1);
  await same('12', redis.get('counter'));
  assert((await redis.client('ID')) > before);
  killer.disconnect();
}

const client = connect();
const parts = [strings, manyKeys, pipelines, transactions, collections, blockingPop, scan, messages, errors];
await perform([...parts, ...(isCluster ? [] : [databases]), reconnect], client);
client.disconnect();
const { version } = load('ioredis/package.json');
console.log(JSON.stringify({ library: 'ioredis', mode, protocol: Number(protocol), version }));
