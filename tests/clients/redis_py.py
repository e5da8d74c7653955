"""The basic workload of an application, with redis-py. Its kin are ioredis.mjs and node_redis.mjs.

    redis_py.py HOST PORT USER PASSWORD plain|cluster 2|3

Every value has the user's name in it, so that the same keys of another tenant would be noticed.
"""

import faulthandler
import json
import sys
import threading

import redis

HOST, PORT, USER, PASSWORD, MODE, PROTOCOL = sys.argv[1:]
IS_CLUSTER = MODE == "cluster"
LOGIN = dict(
    host=HOST, port=int(PORT), username=USER, password=PASSWORD, protocol=int(PROTOCOL), decode_responses=True
)
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
IN_2100 = 4102444800
KEYS_IN_ALL = 606


def connect():
    return redis.RedisCluster(**LOGIN) if IS_CLUSTER else redis.Redis(**LOGIN)


def is_same(expected, actual):
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def raises(kind, text, command):
    try:
        command()
    except kind as error:
        is_same(text, str(error))
    else:
        raise AssertionError(f"no error: {text}")


def strings(r):
    is_same(True, r.flushdb())
    is_same(True, r.ping())
    is_same(True, r.set("greeting", f"hello {USER}"))
    is_same(f"hello {USER}", r.get("greeting"))
    is_same(True, r.set("greeting", "x", exat=IN_2100))
    is_same(IN_2100, r.expiretime("greeting"))
    is_same(True, r.persist("greeting"))
    is_same(-1, r.ttl("greeting"))
    is_same(True, r.expireat("greeting", 1))
    is_same(None, r.get("greeting"))
    is_same(True, r.set("greeting", "x", ex=1000))
    is_same(None, r.set("greeting", "y", nx=True))
    is_same(1, r.delete("greeting"))
    is_same(0, r.exists("greeting"))
    is_same([1, 2, 12], [r.incr("counter"), r.incr("counter"), r.incrby("counter", 10)])


def many_keys(r):
    pairs = {f"many:{i}": f"{USER}-{i}" for i in range(100)}
    if IS_CLUSTER:
        # MSET and MGET of keys in several slots are refused by the library itself.
        r.mset_nonatomic(pairs)
        is_same(list(pairs.values()), r.mget_nonatomic(list(pairs)))
    else:
        is_same(True, r.mset(pairs))
        is_same(list(pairs.values()) + [None], r.mget([*pairs, "nosuch"]))
    is_same(100, r.exists(*pairs))
    is_same(100, r.delete(*pairs))


def pipelines(r):
    pipe = r.pipeline(transaction=False)
    for i in range(100):
        pipe.set(f"piped:{i}", f"{USER}-{i}").get(f"piped:{i}")
    expected = [reply for i in range(100) for reply in (True, f"{USER}-{i}")]
    is_same(expected, pipe.execute())


def transactions(r):
    pipe = r.pipeline(transaction=True)
    is_same([len(USER), 1, USER], pipe.append("{t}a", USER).incr("{t}n").get("{t}a").execute())
    with r.pipeline(transaction=True) as pipe:
        pipe.watch("{t}n")
        is_same("1", pipe.get("{t}n"))
        pipe.multi()
        is_same([2], pipe.incr("{t}n").execute())
        pipe.watch("{t}n")
        r.set("{t}n", "9")
        pipe.multi()
        raises(redis.WatchError, "Watched variable changed.", pipe.incr("{t}n").execute)
    is_same("9", r.get("{t}n"))


def collections(r):
    is_same(2, r.hset("hash", mapping={"user": USER, "n": 1}))
    is_same(5, r.hincrby("hash", "n", 4))
    is_same({"user": USER, "n": "5"}, r.hgetall("hash"))
    is_same(3, r.rpush("list", "a", USER, "c"))
    is_same("c", r.rpop("list"))
    is_same(["a", USER], r.lrange("list", 0, -1))
    is_same(2, r.zadd("sorted", {"one": 1, USER: 2.5}))
    is_same([("one", 1.0), (USER, 2.5)], tuples(r.zrange("sorted", 0, -1, withscores=True)))
    is_same(2.5, r.zscore("sorted", USER))


def tuples(replies):
    return [tuple(reply) for reply in replies]


def blocking_pop(r):
    popped = []
    pop = lambda: popped.append(connect().blpop(["queue"], timeout=30))
    blocked = threading.Thread(target=pop, daemon=True)
    blocked.start()
    # Nothing else tells that it is blocked.
    while not any(client["cmd"] == "blpop" for client in r.client_list()):
        pass
    is_same(1, r.rpush("queue", USER))
    blocked.join()
    is_same([("queue", USER)], tuples(popped))


def scan(r):
    pipe = r.pipeline(transaction=False)
    for i in range(500):
        pipe.set(f"scanned:{i}", USER)
    pipe.execute()
    is_same({f"scanned:{i}" for i in range(500)}, set(r.scan_iter(match="scanned:*", count=50)))
    is_same(KEYS_IN_ALL, r.dbsize())


def messages(r):
    def next_of(subscriber, take=None):
        message = None
        while message is None:
            message = (take or subscriber.get_message)(timeout=1)
        return [message[part] for part in ("type", "pattern", "channel", "data")]

    subscriber = r.pubsub()
    subscriber.subscribe("news")
    is_same(["subscribe", None, "news", 1], next_of(subscriber))
    subscriber.psubscribe("n?ws")
    is_same(["psubscribe", None, "n?ws", 2], next_of(subscriber))
    is_same(2, r.publish("news", USER))
    is_same(["message", None, "news", USER], next_of(subscriber))
    is_same(["pmessage", "n?ws", "news", USER], next_of(subscriber))
    subscriber.close()

    subscriber = r.pubsub()
    take = subscriber.get_sharded_message if IS_CLUSTER else None
    subscriber.ssubscribe("shard")
    is_same(["ssubscribe", None, "shard", 1], next_of(subscriber, take))
    is_same(1, r.spublish("shard", USER))
    is_same(["smessage", None, "shard", USER], next_of(subscriber, take))
    subscriber.close()


def errors(r):
    raises(redis.ResponseError, WRONG_TYPE, lambda: r.incr("list"))
    raises(redis.ResponseError, WRONG_TYPE, lambda: r.lpush("counter", "x"))
    pipe = r.pipeline(transaction=False).get("counter").lpush("counter", "x").get("counter")
    first, failed, last = pipe.execute(raise_on_error=False)
    is_same(["12", True, "12"], [first, isinstance(failed, redis.ResponseError), last])


def databases(r):
    """A cluster has one database, so only in plain mode."""
    fifth = redis.Redis(**LOGIN, db=5)
    is_same(None, fifth.get("counter"))
    is_same(True, fifth.set("counter", f"fifth of {USER}"))
    is_same("12", r.get("counter"))
    is_same(f"fifth of {USER}", fifth.get("counter"))
    is_same(True, fifth.flushdb())
    is_same(0, fifth.dbsize())


def reconnect(r):
    before = r.client_id()
    killer = redis.Redis(**LOGIN)
    assert killer.client_kill_filter(_type="normal", skipme=True) >= 1
    is_same("12", r.get("counter"))
    assert r.client_id() > before


faulthandler.dump_traceback_later(60, exit=True)
client = connect()
for part in (strings, many_keys, pipelines, transactions, collections, blocking_pop, scan, messages, errors):
    part(client)
if not IS_CLUSTER:
    databases(client)
reconnect(client)
done = {"library": "redis-py", "mode": MODE, "protocol": int(PROTOCOL), "version": redis.__version__}
print(json.dumps(done, separators=(",", ":")))
