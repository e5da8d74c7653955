-- Leases tokens out of buckets: one bucket for each key, which several processes share.
-- ARGV, for each key: tokens that come in a second, tokens of a full bucket, tokens that it may owe, tokens given back
-- (less than 0: taken without asking), tokens wanted. The reply, for each key: tokens granted, tokens left.
-- A bucket that is not there is full, and its key goes away when it would be. Time is the server's own.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local reply = {}
for at, key in ipairs(KEYS) do
  local rate, depth, debt = tonumber(ARGV[5 * at - 4]), tonumber(ARGV[5 * at - 3]), tonumber(ARGV[5 * at - 2])
  local back, want = tonumber(ARGV[5 * at - 1]), tonumber(ARGV[5 * at])
  local kept = redis.call('HMGET', key, 'level', 'at')
  local level, since = tonumber(kept[1]), tonumber(kept[2])
  if level and since then
    level = math.min(depth, level + math.max(0, now - since) * rate)
  else
    level = depth
  end
  level = math.max(-debt, math.min(depth, level + back))
  local granted = math.max(0, math.floor(math.min(want, level)))
  level = level - granted
  redis.call('HMSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.17g', now))
  redis.call('PEXPIRE', key, math.ceil((depth - level) / rate * 1000) + 1000)
  reply[2 * at - 1] = granted
  reply[2 * at] = math.max(0, math.floor(level))
end
return reply
