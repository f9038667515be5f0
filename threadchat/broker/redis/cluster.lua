-- What belongs to no room; each command has one key.
local command = ARGV[1]

local commands = {}

-- nodes; node, time to live (ms), 1 for a new one: whether it counts as alive, and who does no longer
function commands.beat()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local ttl = tonumber(ARGV[3])
  local seen = redis.call('ZSCORE', KEYS[1], ARGV[2])
  local alive = ARGV[4] == '1' or (seen and tonumber(seen) >= now - ttl)
  if alive then redis.call('ZADD', KEYS[1], now, ARGV[2]) end
  return { alive and 1 or 0, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ttl)) }
end

-- users; the highest id that the node has seen: a flushed Redis must not give it again, nor those that
-- others gave since the node looked
function commands.user()
  local id = redis.call('INCR', KEYS[1])
  local highest = tonumber(ARGV[2])
  if id <= highest then
    id = highest + 1000
    redis.call('SET', KEYS[1], id)
  end
  return id
end

-- users; the highest id that the node has seen: the highest there is
function commands.highest()
  local id = tonumber(redis.call('GET', KEYS[1]) or 0)
  local highest = tonumber(ARGV[2])
  if id >= highest then return id end
  redis.call('SET', KEYS[1], highest + 1000)
  return highest + 1000
end

-- A hash of bans and mutes: <kind, subject, room> -> the sanction, both in JSON, and `version` -> the
-- number of the newest change, which is never given twice, not even after a loss of data.
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
  redis.call('PUBLISH', channel, before .. ' ' .. version .. ' ' .. change)
  return version
end

-- sanctions; channel, field, value, the most there may be: the number of the change, '' for no room
function commands.impose()
  local channel, field, value, most = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
  if redis.call('HEXISTS', KEYS[1], field) == 0 then
    if redis.call('HLEN', KEYS[1]) > most then drop_what_is_over() end
    if redis.call('HLEN', KEYS[1]) > most then return '' end
  end
  redis.call('HSET', KEYS[1], field, value)
  return tell(channel, '+' .. value)
end

-- sanctions; channel, field: the number of the change, '' where there was none
function commands.lift()
  if redis.call('HDEL', KEYS[1], ARGV[3]) == 0 then return '' end
  return tell(ARGV[2], '-' .. ARGV[3])
end

-- sanctions: all that hold, and the version
function commands.sanctions()
  drop_what_is_over()
  return redis.call('HGETALL', KEYS[1])
end

return commands[command]()
