-- What belongs to no room; the keys of each command are in one slot.
local command = ARGV[1]

-- Another one after a restart or a failover; empty where Redis does not tell.
local function current_run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end

local commands = {}

-- Where no node has given a sign for twice as long as they do, it was Redis that was away: whoever was alive
-- before gets as much time again, or the first one back would take all others for dead.
local function forgive_outage(now, ttl)
  local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
  if not newest or now - tonumber(newest) < ttl / 2 then return end
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], tonumber(newest) - ttl, '+inf')) do
    redis.call('ZADD', KEYS[1], now, node)
  end
end

-- nodes; node, time to live (ms), four times as long as between two signs, 1 for a new one: whether it counts as
-- alive, and who does no longer
function commands.beat()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local ttl = tonumber(ARGV[3])
  forgive_outage(now, ttl)
  local seen = redis.call('ZSCORE', KEYS[1], ARGV[2])
  local alive = ARGV[4] == '1' or (seen and tonumber(seen) >= now - ttl)
  if alive then redis.call('ZADD', KEYS[1], now, ARGV[2]) end
  return { alive and 1 or 0, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ttl)) }
end

-- The highest user id that may have been given: after a loss of data it is higher than what is stored. `seen`
-- is the highest that the node has seen; others may have given more since it looked. And whoever looks first
-- after a restart or a failover may have seen none of those that were given at last.
local function highest_user(seen)
  local id = tonumber(redis.call('GET', KEYS[1]) or 0)
  local run, before = current_run(), redis.call('GET', KEYS[2])
  local highest = id
  if before and before ~= run and id > 0 then highest = id + 100000 end
  if seen > id then highest = math.max(highest, seen + 1000) end
  if highest > id then redis.call('SET', KEYS[1], string.format('%.0f', highest)) end
  if before ~= run then redis.call('SET', KEYS[2], run) end
  return highest
end

-- users, users_run; the highest id that the node has seen: a new one
function commands.user()
  highest_user(tonumber(ARGV[2]))
  return redis.call('INCR', KEYS[1])
end

-- users, users_run; the highest id that the node has seen: the highest there is
function commands.highest()
  return highest_user(tonumber(ARGV[2]))
end

-- A hash of bans and mutes: <kind, subject, room> -> the sanction, both in JSON, and `version` -> the
-- number of the newest change, which is never given twice, not even after a loss of data. And a list of the
-- numbers of the last changes, newest first: a node whose newest change is not among them has had one that
-- Redis lost.
local KEPT = 1000
local function drop_what_is_over()
  local now = tonumber(redis.call('TIME')[1])
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] ~= 'version' then
      local last = cjson.decode(all[i + 1])[4]
      if type(last) == 'number' and last <= now then redis.call('HDEL', KEYS[1], all[i]) end
    end
  end
end

-- Everybody is told the numbers of the change before and of this one, and the change.
local function tell(channel, change)
  local time = redis.call('TIME')
  local before = redis.call('HGET', KEYS[1], 'version') or '0'
  local least = time[1] * 1000000 + time[2]
  local version = string.format('%.0f', math.max(tonumber(before) + 1, least))
  redis.call('HSET', KEYS[1], 'version', version)
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('LPUSH', KEYS[2], before) end
  redis.call('LPUSH', KEYS[2], version)
  redis.call('LTRIM', KEYS[2], 0, KEPT - 1)
  redis.call('PUBLISH', channel, before .. ' ' .. version .. ' ' .. change)
  return version
end

-- sanctions, versions; channel, field, value, the most there may be: the number of the change, '' for no room
function commands.impose()
  local channel, field, value, most = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
  if redis.call('HEXISTS', KEYS[1], field) == 0 then
    if redis.call('HLEN', KEYS[1]) > most then drop_what_is_over() end
    if redis.call('HLEN', KEYS[1]) > most then return '' end
  end
  redis.call('HSET', KEYS[1], field, value)
  return tell(channel, '+' .. value)
end

-- sanctions, versions; channel, field: the number of the change, '' where there was none
function commands.lift()
  if redis.call('HDEL', KEYS[1], ARGV[3]) == 0 then return '' end
  return tell(ARGV[2], '-' .. ARGV[3])
end

-- sanctions, versions: all that hold, with the version, and the numbers of the last changes
function commands.sanctions()
  drop_what_is_over()
  return { redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, -1) }
end

return commands[command]()
