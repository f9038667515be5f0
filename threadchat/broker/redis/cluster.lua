-- Commands that belong to no room. The keys of each command are in one slot.
local command = ARGV[1]

-- The server's replication id: it changes with a restart or a failover. Empty if Redis does not tell.
local function current_run()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end

local commands = {}

-- If no node has given a sign of life for twice the usual time, Redis itself was away. Then every node that
-- was alive before counts as alive now. Otherwise the first one back would take all others for dead.
local function forgive_outage(now, ttl)
  local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
  if not newest or now - tonumber(newest) < ttl / 2 then return end
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], tonumber(newest) - ttl, '+inf')) do
    redis.call('ZADD', KEYS[1], now, node)
  end
end

-- keys: nodes. Arguments: node; time to live (ms), which is four times the interval between two signs of
-- life; 1 for a new node. Returns whether the node counts as alive, and the dead nodes.
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

-- keys: channel. Arguments: command that publishes, message. Returns the number of subscribers. As a script it
-- runs only where the channel's slot is, and that is where they are.
function commands.publish()
  return redis.call(ARGV[2], KEYS[1], ARGV[3])
end

-- keys: channel. Argument: NUMSUB or SHARDNUMSUB. Returns the number of subscribers.
function commands.subscribers()
  return redis.call('PUBSUB', ARGV[2], KEYS[1])[2]
end

-- The highest user id that may have been assigned. After a loss of data it is higher than what is stored.
-- `seen` is the highest id that the calling node has seen; others may have been assigned since. The first
-- caller after a restart or a failover may have seen none of the last ids.
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

-- keys: users, users_run. Argument: the highest id that the node has seen. Returns a new id.
function commands.user()
  highest_user(tonumber(ARGV[2]))
  return redis.call('INCR', KEYS[1])
end

-- keys: users, users_run. Argument: the highest id that the node has seen. Returns the highest id.
function commands.highest()
  return highest_user(tonumber(ARGV[2]))
end

-- Bans and mutes are a hash: <kind, subject, room> -> the sanction, both in JSON, and `version` -> the number
-- of the newest change. A number is never used twice, not even after a loss of data. A list has the numbers
-- of the last changes, newest first. A node whose newest change is not in it has one that Redis lost.

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

-- Publishes the number of the previous change, the number of this one, and the change.
local function tell(publish, channel, change)
  local time = redis.call('TIME')
  local before = redis.call('HGET', KEYS[1], 'version') or '0'
  local least = time[1] * 1000000 + time[2]
  local version = string.format('%.0f', math.max(tonumber(before) + 1, least))
  redis.call('HSET', KEYS[1], 'version', version)
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('LPUSH', KEYS[2], before) end
  redis.call('LPUSH', KEYS[2], version)
  redis.call('LTRIM', KEYS[2], 0, KEPT - 1)
  redis.call(publish, channel, before .. ' ' .. version .. ' ' .. change)
  return version
end

-- keys: sanctions, versions. Arguments: command that publishes, channel, field, value, limit. Returns the number of the change, or ''
-- if there are too many sanctions.
function commands.impose()
  local field, value, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
  if redis.call('HEXISTS', KEYS[1], field) == 0 then
    if redis.call('HLEN', KEYS[1]) > most then drop_what_is_over() end
    if redis.call('HLEN', KEYS[1]) > most then return '' end
  end
  redis.call('HSET', KEYS[1], field, value)
  return tell(ARGV[2], ARGV[3], '+' .. value)
end

-- keys: sanctions, versions. Arguments: command that publishes, channel, field. Returns the number of the change, or '' if there was
-- no such sanction.
function commands.lift()
  if redis.call('HDEL', KEYS[1], ARGV[4]) == 0 then return '' end
  return tell(ARGV[2], ARGV[3], '-' .. ARGV[4])
end

-- keys: sanctions, versions. Returns the sanctions in force with the version, and the last changes' numbers.
function commands.sanctions()
  drop_what_is_over()
  return { redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, -1) }
end

-- keys: reads of a person. Arguments: room, epoch, offset, time to live (ms), limit of rooms. Returns 1 if the
-- position says more than the one before.
function commands.read()
  local room, epoch, offset = ARGV[2], ARGV[3], ARGV[4]
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  local before, last = string.match(redis.call('HGET', KEYS[1], room) or '', '^(%S+) (%d+)')
  if before == epoch and tonumber(last) >= tonumber(offset) then return 0 end
  redis.call('HSET', KEYS[1], room, epoch .. ' ' .. offset .. ' ' .. now)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[6]) then
    local all, oldest, least = redis.call('HGETALL', KEYS[1]), nil, math.huge
    for i = 1, #all, 2 do
      local at = tonumber(string.match(all[i + 1], '%d+$'))
      if at < least then oldest, least = all[i], at end
    end
    redis.call('HDEL', KEYS[1], oldest)
  end
  return 1
end

return commands[command]()
