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

return commands[command]()
