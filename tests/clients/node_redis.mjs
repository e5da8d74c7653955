// The basic workload of an application, with node-redis. Its kin are redis_py.py and ioredis.mjs.
//
//     node_redis.mjs HOST PORT USER PASSWORD plain|cluster 2|3
//
// Every value has the user's name in it, so that the same keys of another tenant would be noticed.

import { host, isCluster, mode, password, port, protocol, user } from './script.mjs';
import { IN_2100, KEYS_IN_ALL, WRONG_TYPE, assert, each, load, mailbox, perform, same } from './script.mjs';

const { createClient, createCluster } = load('redis');
const RESP = Number(protocol);
const login = { socket: { host, port: Number(port) }, username: user, password };

async function connect(options = {}) {
  const { username, socket } = login;
  const client = isCluster
    ? createCluster({ rootNodes: [{ socket }], defaults: { username, password }, RESP })
    : createClient({ ...login, RESP, ...options });
  client.on('error', () => {}); // lost connections; without a listener they end the process
  await client.connect();
  return client;
}

/** The connection to the server: the library's cluster class has neither WATCH nor commands without keys. */
async function node(redis) {
  return isCluster ? redis.nodeClient(redis.masters[0]) : redis;
}

async function strings(redis) {
  const server = await node(redis);
  await same('OK', server.flushDb());
  await same('PONG', server.ping());
  await same('OK', redis.set('greeting', `hello ${user}`));
  await same(`hello ${user}`, redis.get('greeting'));
  await same('OK', redis.set('greeting', 'x', { expiration: { type: 'EXAT', value: IN_2100 } }));
  await same(IN_2100, redis.expireTime('greeting'));
  await same(1, redis.persist('greeting'));
  await same(-1, redis.ttl('greeting'));
  await same(1, redis.expireAt('greeting', 1));
  await same(null, redis.get('greeting'));
  await same('OK', redis.set('greeting', 'x', { expiration: { type: 'EX', value: 1000 } }));
  await same(null, redis.set('greeting', 'y', { condition: 'NX' }));
  await same(1, redis.del('greeting'));
  await same(0, redis.exists('greeting'));
  await same([1, 2], Promise.all([redis.incr('counter'), redis.incr('counter')]));
  await same(12, redis.incrBy('counter', 10));
}

async function manyKeys(redis) {
  const keys = each(100, (i) => `many:${i}`);
  const values = each(100, (i) => `${user}-${i}`);
  await same('OK', redis.mSet(keys.map((key, i) => [key, values[i]])));
  await same([...values, null], redis.mGet([...keys, 'nosuch']));
  await same(100, redis.exists(keys));
  await same(100, redis.del(keys));
}

async function pipelines(redis) {
  const pipeline = redis.multi();
  each(100, (i) => pipeline.set(`piped:${i}`, `${user}-${i}`).get(`piped:${i}`));
  const expected = each(100, (i) => ['OK', `${user}-${i}`]).flat();
  await same(expected, pipeline.execAsPipeline());
}

async function transactions(redis) {
  await same(['OK', 1, user], redis.multi().set('{t}a', user).incr('{t}n').get('{t}a').exec());
  const watching = await connect();
  const server = await node(watching);
  await same('OK', server.watch('{t}n'));
  await same('1', server.get('{t}n'));
  await same([2], server.multi().incr('{t}n').exec());
  await same('OK', server.watch('{t}n'));
  await same('OK', redis.set('{t}n', '9'));
  const message = 'One (or more) of the watched keys has been changed';
  await assert.rejects(server.multi().incr('{t}n').exec(), { message });
  await same('9', redis.get('{t}n'));
  watching.destroy();
}

async function collections(redis) {
  await same(2, redis.hSet('hash', { user, n: 1 }));
  await same(5, redis.hIncrBy('hash', 'n', 4));
  await same({ user, n: '5' }, { ...(await redis.hGetAll('hash')) });
  await same(3, redis.rPush('list', ['a', user, 'c']));
  await same('c', redis.rPop('list'));
  await same(['a', user], redis.lRange('list', 0, -1));
  const scored = [{ value: 'one', score: 1 }, { value: user, score: 2.5 }];
  await same(2, redis.zAdd('sorted', scored));
  await same(scored, redis.zRangeWithScores('sorted', 0, -1));
  await same(2.5, redis.zScore('sorted', user));
}

async function blockingPop(redis) {
  const blocked = await connect();
  const popped = blocked.blPop('queue', 30);
  const server = await node(redis);
  // Nothing else tells that it is blocked.
  while (!(await server.sendCommand(['CLIENT', 'LIST'])).includes('cmd=blpop'));
  await same(1, redis.rPush('queue', user));
  await same({ key: 'queue', element: user }, { ...(await popped) });
  blocked.destroy();
}

async function scan(redis) {
  const keys = each(500, (i) => `scanned:${i}`);
  await Promise.all(keys.map((key) => redis.set(key, user)));
  const found = new Set();
  for (const shard of isCluster ? redis.masters : [null]) {
    const server = isCluster ? await redis.nodeClient(shard) : redis;
    for await (const page of server.scanIterator({ MATCH: 'scanned:*', COUNT: 50 })) {
      page.forEach((key) => found.add(key));
    }
  }
  await same(new Set(keys), found);
  await same(KEYS_IN_ALL, (await node(redis)).dbSize());
}

async function messages(redis) {
  const subscriber = await connect();
  const heard = mailbox();
  await subscriber.subscribe('news', (text, channel) => heard.take(channel, text));
  await subscriber.pSubscribe('n?ws', (text, channel) => heard.take('n?ws', channel, text));
  await same(2, redis.publish('news', user));
  await same([['news', user], ['n?ws', 'news', user]], heard.until(2));
  await subscriber.sSubscribe('shard', (text, channel) => heard.take(channel, text));
  await same(1, redis.sPublish('shard', user));
  await same(['shard', user], (await heard.until(3))[2]);
  subscriber.destroy();
}

async function errors(redis) {
  await assert.rejects(redis.incr('list'), { message: WRONG_TYPE });
  const asked = [redis.get('counter'), redis.lPush('counter', 'x'), redis.get('counter')];
  const told = (await Promise.allSettled(asked)).map(({ value, reason }) => value ?? reason.message);
  await same(['12', WRONG_TYPE, '12'], told);
}

// A cluster has one database, so only in plain mode.
async function databases(redis) {
  const fifth = await connect({ database: 5 });
  await same(null, fifth.get('counter'));
  await same('OK', fifth.set('counter', `fifth of ${user}`));
  await same('12', redis.get('counter'));
  await same(`fifth of ${user}`, fifth.get('counter'));
  await same('OK', fifth.flushDb());
  await same(0, fifth.dbSize());
  fifth.destroy();
}

async function reconnect(redis) {
  const [server, killer] = [await node(redis), await connect()];
  const before = await server.clientId();
  // A command that is under way when the connection is lost is not repeated by this library.
  const isBack = new Promise((resolve) => server.once('ready', resolve));
  assert((await (await node(killer)).sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal'])) >= 1);
  await isBack;
  await same('12', redis.get('counter'));
  assert((await server.clientId()) > before);
  killer.destroy();
}

const client = await connect();
const parts = [strings, manyKeys, pipelines, transactions, collections, blockingPop, scan, messages, errors];
await perform([...parts, ...(isCluster ? [] : [databases]), reconnect], client);
client.destroy();
const { version } = load('redis/package.json');
console.log(JSON.stringify({ library: 'node-redis', mode, protocol: RESP, version }));
