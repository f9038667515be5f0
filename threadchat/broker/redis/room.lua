-- All that happens to one room, each command atomic; its keys share a hash tag, so any cluster runs it.
--
-- KEYS  meta: epoch, head (offset of the newest event), ms (its time), floor (offset before the oldest
--       event), bytes (of all events), expiry, closed; log: the events, a stream whose ids are
--       <offset>-<ms>; sessions: user and session -> node; people: user -> sessions; names: user ->
--       nickname and about; deleted: offset of a deleted message -> the id of its entry and the body in
--       place of its own; then one for each message key of a publication.
-- ARGV  the command, an epoch in case one begins, the channel, events kept, bytes of them, their age
--       (ms, 0: any), time to live of an unused room (ms), then the command's own.
local meta, log, sessions, people, names, deleted = unpack(KEYS, 1, 6)
local command, fresh, channel = ARGV[1], ARGV[2], ARGV[3]
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local oldest, unused = tonumber(ARGV[6]), tonumber(ARGV[7])
local OWN = 8 -- the first of the command's own arguments
local SEPARATOR = '\31'

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', meta, 'epoch', 'head', 'ms', 'floor', 'bytes', 'expiry', 'closed')
local epoch, head, last, closed = found[1], tonumber(found[2]), tonumber(found[3]), found[7]
local floor, size, expiry = tonumber(found[4]), tonumber(found[5]), tonumber(found[6])

local function expire_in(ms)
  expiry = now + ms
  redis.call('HSET', meta, 'expiry', expiry)
  for i = 1, 6 do redis.call('PEXPIREAT', KEYS[i], expiry) end
end

local function begin_epoch()
  redis.call('DEL', log, deleted)
  epoch, head, last, floor, size, closed = fresh, 0, 0, 0, 0, nil
  redis.call('HSET', meta, 'epoch', epoch, 'head', 0, 'ms', 0, 'floor', 0, 'bytes', 0)
  redis.call('HDEL', meta, 'closed')
  expire_in(unused)
end

-- A room lives at least so long; a second more or less is not worth five commands.
local function keep(ms)
  if now + ms > expiry + 1000 then expire_in(ms) end
end

-- A node that has had a later event of this epoch knows what Redis lost: those numbers are taken.
local function check_known(known_epoch, known_head)
  if known_epoch == epoch and tonumber(known_head) > head then begin_epoch() end
end

if not epoch then begin_epoch() end

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

local bodies = {} -- JSON of new events but for their id and time

-- Forgets the oldest events above the limits, never the newest.
local function trim()
  local from = floor
  while floor < head - 1 do
    local entries = redis.call('XRANGE', log, floor + 1, '+', 'COUNT', #bodies + 1)
    if #entries == 0 then floor, size = head, 0 end -- somebody else deleted them
    for _, entry in ipairs(entries) do
      local ms = tonumber(string.match(entry[1], '-(%d+)$'))
      floor = math.max(floor, math.min(offset_of(entry) - 1, head - most)) -- what is between was deleted
      local over = head - floor > most or size > most_bytes or (oldest > 0 and ms < now - oldest)
      if not over or floor >= head - 1 then return floor > from end
      floor, size = offset_of(entry), size - #entry[2][2]
    end
  end
  return floor > from
end

local function append()
  if #bodies == 0 then return end
  if closed then begin_epoch() end
  if now > last then last = now end
  for i, body in ipairs(bodies) do
    redis.call('XADD', log, 'MAXLEN', '~', most, (head + i) .. '-' .. last, 'e', body)
    size = size + #body
  end
  local first = head + 1
  head = head + #bodies
  if (oldest > 0 or head - floor > most or size > most_bytes) and trim() then
    redis.call('XTRIM', log, 'MINID', floor + 1)
  end
  redis.call('HSET', meta, 'head', head, 'ms', last, 'floor', floor, 'bytes', size)
  if first == 1 then expire_in(math.max(unused, expiry - now)) else keep(unused) end
  local heading = epoch .. ' ' .. first .. ' ' .. last
  redis.call('PUBLISH', channel, heading .. '\n' .. table.concat(bodies, '\n'))
end

-- `limit` events from `first` on in steps, at most `bytes` of them, but at least one.
local function read(first, limit, bytes, reverse)
  local entries, taken, full = {}, 0, limit < 1
  local onward = reverse and -1 or 1

  local function take(id, body)
    taken = taken + #body
    full = full or (taken > bytes and #entries > 0)
    if not full then
      entries[#entries + 1] = { id, body }
      first, full = first + onward, #entries == limit
    end
  end

  -- Deleted messages leave holes in the stream; takes those up to the event before `offset`.
  local function take_deleted(offset)
    while first ~= offset and not full do
      local kept = redis.call('HGET', deleted, first)
      if not kept then return end
      take(string.match(kept, '^(%S+) (.*)$'))
    end
  end

  while not full and first > floor and first <= head do
    local step = math.min(32, limit - #entries)
    local part
    if reverse then
      part = redis.call('XREVRANGE', log, first, floor + 1, 'COUNT', step)
    else
      part = redis.call('XRANGE', log, first, '+', 'COUNT', step)
    end
    for _, entry in ipairs(part) do
      take_deleted(offset_of(entry))
      take(entry[1], entry[2][2])
    end
    if #part < step then
      take_deleted(reverse and floor or head + 1)
      break
    end
  end
  return entries
end

local room_json, limit -- of comings and goings

local function announce(kind, user, session, count)
  if limit >= 0 and count > limit then return end
  local name = string.match(redis.call('HGET', names, user) or '', '^[^' .. SEPARATOR .. ']*')
  local body = ',"chatroomId":' .. room_json .. ',"type":"' .. kind .. '","userId":' .. user
  if name ~= '' and name ~= '""' then body = body .. ',"from":' .. name end
  if session ~= '""' then body = body .. ',"sessionId":' .. session end
  bodies[#bodies + 1] = body
end

local function come(node, user, session, name, about)
  local known = redis.call('HSET', sessions, user .. SEPARATOR .. session, node) == 0
  redis.call('HSET', names, user, name .. SEPARATOR .. about)
  if known then return end
  local count = redis.call('HINCRBY', people, user, 1)
  announce(count == 1 and 'join' or 'add', user, session, redis.call('HLEN', people))
end

local function go(user, session)
  if redis.call('HDEL', sessions, user .. SEPARATOR .. session) == 0 then return end
  local crowd = redis.call('HLEN', people)
  local left = redis.call('HINCRBY', people, user, -1)
  announce(left > 0 and 'remove' or 'leave', user, session, crowd)
  if left <= 0 then
    redis.call('HDEL', people, user)
    redis.call('HDEL', names, user)
  end
end

-- Ends what a node has in the room, but for what it still wants.
local function go_all(node, wanted)
  local stored = redis.call('HGETALL', sessions)
  for i = 1, #stored, 2 do
    if stored[i + 1] == node and not wanted[stored[i]] then
      go(string.match(stored[i], '^(.-)' .. SEPARATOR .. '(.*)$'))
    end
  end
end

-- A stream's entry cannot be changed: it goes, and readers get `body` in its place.
local function delete(offset, body)
  local entry = redis.call('XRANGE', log, offset, offset)[1]
  if not entry then return end -- it is older than the log, or deleted already
  size = size - #entry[2][2]
  redis.call('XDEL', log, entry[1])
  redis.call('HSET', deleted, offset, entry[1] .. ' ' .. body)
  redis.call('PEXPIREAT', deleted, expiry)
  if redis.call('HLEN', deleted) % 1000 == 0 then -- of some, the time is over
    for _, each in ipairs(redis.call('HKEYS', deleted)) do
      if tonumber(each) <= floor then redis.call('HDEL', deleted, each) end
    end
  end
end

local commands = {}

-- known epoch, known head, time to live of a key (ms); for each draft: its body, and a sum: 1 where it has a
-- key, 2 where it goes with one that refers to an event of the known epoch, and is refused (offset 0) in another;
-- and for each deleted message what takes the place of its body, and minus its offset
function commands.publish()
  if closed and ARGV[OWN] == epoch then return { epoch, false } end
  if closed then begin_epoch() end
  check_known(ARGV[OWN], ARGV[OWN + 1])
  local offsets, key = {}, 6
  for i = OWN + 3, #ARGV, 2 do
    local offset
    local mark = tonumber(ARGV[i + 1])
    if mark < 0 and ARGV[OWN] == epoch then delete(-mark, ARGV[i]) end
    local refused = mark >= 2 and ARGV[OWN] ~= epoch
    if refused then offset = 0 end
    if mark == 1 or mark == 3 then key = key + 1 end
    if (mark == 1 or mark == 3) and not refused then
      local said = redis.call('GET', KEYS[key])
      offset = said and tonumber(string.match(said, '^' .. epoch .. ' (%d+)$'))
      if not offset then
        redis.call('SET', KEYS[key], epoch .. ' ' .. head + #bodies + 1, 'PX', ARGV[OWN + 2])
      end
    end
    if mark >= 0 then
      if not offset then
        bodies[#bodies + 1] = ARGV[i]
        offset = head + #bodies
      end
      offsets[#offsets + 1] = offset
    end
  end
  append()
  return { epoch, offsets }
end

-- known epoch, first offset (0: the newest), limit, bytes, 1 to go backwards
function commands.read()
  if closed and ARGV[OWN] ~= epoch then begin_epoch() end -- a closed one is over for those who come now
  local first = tonumber(ARGV[OWN + 1])
  if first == 0 then first = head end
  local entries = read(first, tonumber(ARGV[OWN + 2]), tonumber(ARGV[OWN + 3]), ARGV[OWN + 4] == '1')
  return { epoch, head, floor, entries }
end

-- known epoch, known head, 1 to shorten the room's life to that of an unused one; life (ms)
function commands.inspect()
  if closed then return { epoch, head } end
  check_known(ARGV[OWN], ARGV[OWN + 1])
  if ARGV[OWN + 2] == '1' then expire_in(tonumber(ARGV[OWN + 3])) else keep(tonumber(ARGV[OWN + 3])) end
  return { epoch, head }
end

-- life (ms), room, limit, node, user, session, nickname, about: all but the first three and the node in JSON
function commands.enter()
  room_json, limit = ARGV[OWN + 1], tonumber(ARGV[OWN + 2])
  come(unpack(ARGV, OWN + 3, OWN + 7))
  append()
  expire_in(math.max(tonumber(ARGV[OWN]), expiry - now))
end

-- room, limit, user, session
function commands.leave()
  room_json, limit = ARGV[OWN], tonumber(ARGV[OWN + 1])
  go(ARGV[OWN + 2], ARGV[OWN + 3])
  append()
end

-- user, nickname, about
function commands.rename()
  if redis.call('HEXISTS', people, ARGV[OWN]) == 1 then
    redis.call('HSET', names, ARGV[OWN], ARGV[OWN + 1] .. SEPARATOR .. ARGV[OWN + 2])
  end
end

-- life (ms), room, limit, node, then user, session, nickname and about of everybody whom the node has there
function commands.sync()
  room_json, limit = ARGV[OWN + 1], tonumber(ARGV[OWN + 2])
  local node, wanted = ARGV[OWN + 3], {}
  for i = OWN + 4, #ARGV, 4 do wanted[ARGV[i] .. SEPARATOR .. ARGV[i + 1]] = true end
  go_all(node, wanted)
  for i = OWN + 4, #ARGV, 4 do come(node, unpack(ARGV, i, i + 3)) end
  append()
  expire_in(math.max(tonumber(ARGV[OWN]), expiry - now))
end

-- room, limit, node: a dead one's people leave
function commands.reap()
  room_json, limit = ARGV[OWN], tonumber(ARGV[OWN + 1])
  go_all(ARGV[OWN + 2], {})
  local count = #bodies
  append()
  expire_in(unused) -- whoever else uses the room says so with the next inspection
  return count
end

-- the body of the last event
function commands.close()
  if closed then return end
  bodies[1] = ARGV[OWN]
  append()
  redis.call('HSET', meta, 'closed', 1)
  redis.call('DEL', sessions, people, names)
  expire_in(unused)
end

return commands[command]()
