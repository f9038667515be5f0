-- The commands for one room. Each is atomic. The room's keys share a hash tag, as Redis Cluster requires.
--
-- KEYS  meta: epoch, head (offset of the newest event), stamp (of the newest event), floor (offset before the
--       oldest event), bytes (of all events), expiry, closed, log (the epoch in which the log began), history
--       (replication id of the Redis server that last had the log, and `!` if it loses nothing in a restart);
--       log: the events, a stream whose ids are <offset>-<stamp>;
--       sessions: user and session -> node; people: user -> sessions; names: user -> nickname and about;
--       deleted: offset of a message that was edited, deleted or reacted to -> the id of its entry and the body
--       that replaces its own; then one key for each message key of a publication.
-- ARGV  the command, an epoch to use if a new one begins, the channel, the limits of events, bytes and age
--       (ms, 0: any), time to live of an unused room (ms), the newest event that the caller has received
--       (epoch, offset, stamp), the replication id of a server that has on disk what it answered and has no
--       replicas (empty: unknown), the command that publishes, then the command's own arguments.
--
-- A stamp is the time in ms (13 digits) and 6 random digits of the script call that appended the event. So a
-- pair of offset and stamp is never used twice, even if Redis loses events and assigns their offsets again.
local meta, log, sessions, people, names, changed = unpack(KEYS, 1, 6)
local command, fresh, channel = ARGV[1], ARGV[2], ARGV[3]
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local oldest, unused = tonumber(ARGV[6]), tonumber(ARGV[7])
local known_epoch, known_offset, known_stamp = ARGV[8], tonumber(ARGV[9]), ARGV[10]
local lasting = ARGV[11]
local publish = ARGV[12] -- SPUBLISH in a cluster, otherwise PUBLISH
local OWN = 13 -- the first of the command's own arguments
local SEPARATOR = '\31'

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call(
  'HMGET', meta, 'epoch', 'head', 'stamp', 'floor', 'bytes', 'expiry', 'closed', 'log', 'history'
)
local epoch, head, stamp, closed = found[1], tonumber(found[2]), found[3] or '0', found[7]
local floor, size, expiry = tonumber(found[4]), tonumber(found[5]), tonumber(found[6])
local first_epoch, history = found[8] or epoch, found[9]

local function ms_of(a_stamp) return tonumber(string.sub(a_stamp, 1, 13)) end

local function expire_in(ms)
  expiry = now + ms
  redis.call('HSET', meta, 'expiry', expiry)
  for i = 1, 6 do redis.call('PEXPIREAT', KEYS[i], expiry) end
end

-- The replication id, which changes with a restart or a failover, and whether the server has taken over the
-- data of another one or restarted from a snapshot. The id is empty if Redis does not tell.
local function current_history()
  local info = redis.pcall('INFO', 'replication')
  if type(info) ~= 'string' then return '', false end
  return string.match(info, 'master_replid:(%x+)') or '', not string.match(info, 'master_replid2:0+%s')
end

-- How the id is stored. Only a server that is known to lose nothing in a restart gets the mark.
local function marked(id) return id .. (id ~= '' and id == lasting and '!' or '') end

local function begin_epoch()
  redis.call('DEL', log, changed)
  epoch, head, stamp, floor, size, closed = fresh, 0, '0', 0, 0, nil
  first_epoch, history = fresh, marked((current_history()))
  redis.call(
    'HSET', meta, 'epoch', epoch, 'head', 0, 'stamp', stamp, 'floor', 0, 'bytes', 0, 'log', epoch,
    'history', history
  )
  redis.call('HDEL', meta, 'closed', 'comings', 'comings_at')
  expire_in(unused)
end

-- Makes the room live for at least `ms` more. A difference of a second is not worth the commands.
local function keep(ms)
  if now + ms > expiry + 1000 then expire_in(ms) end
end

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

-- Whether the log has the newest event that the caller has received; nil if that is unknown.
local function has_known()
  if known_epoch ~= epoch then return nil end
  if known_offset > head then return false end
  if known_offset == head then return known_stamp == stamp end
  if known_offset <= floor then return nil end
  local entry = redis.call('XRANGE', log, known_offset, known_offset)[1]
  local id = entry and entry[1]
  if not id then id = string.match(redis.call('HGET', changed, known_offset) or '', '^%S+') end
  if not id then return nil end
  return id == known_offset .. '-' .. known_stamp
end

-- Begins a new epoch if events that somebody has received may be missing, because their offsets are assigned
-- again. What is left of the log is kept. Redis has lost events if an event that the caller has received is
-- not there. After a failover it may have lost events whatever the caller finds, since others may have received
-- more than it has. After a restart it has lost none if the server keeps on disk what it answers and the caller
-- finds its newest event. What is only read is no reason to look: the log does not grow before this is known.
local function check_lost()
  local has = has_known()
  if has and command == 'read' then return end
  local server, taken_over = current_history()
  local lost = has == false
  if history and server ~= '' and string.sub(history, 1, #server) ~= server then
    lost = lost or taken_over or not has or string.sub(history, -1) ~= '!'
  end
  if lost then
    epoch = fresh
    redis.call('HSET', meta, 'epoch', epoch, 'log', first_epoch)
  end
  if server ~= '' and history ~= server .. '!' and history ~= marked(server) then
    redis.call('HSET', meta, 'history', marked(server))
  end
end

if not epoch then
  if command == 'drop' then return 1 end
  if command == 'reap' then return 0 end
  if command == 'shorten' then return { 0, 0 } end
  begin_epoch()
elseif not closed then
  check_lost()
end

local bodies = {} -- JSON of new events without their id and time

-- Drops the oldest events above the limits, but never the newest. The stream has no entry for an event that
-- was changed.
local function trim()
  local from, entries, at = floor, {}, 1
  while floor < head - 1 do
    if at > #entries then
      entries, at = redis.call('XRANGE', log, floor + 1, '+', 'COUNT', #bodies + 1), 1
      if #entries == 0 then floor, size = head, 0 end -- another client deleted them
    end
    local entry, id, body = entries[at], nil, ''
    if entry and offset_of(entry) == floor + 1 then
      id, body = entry[1], entry[2][2]
    else
      id, body = string.match(redis.call('HGET', changed, floor + 1) or '', '^(%S+) (.*)$')
    end
    local old = id and oldest > 0 and ms_of(string.match(id, '-(%d+)$')) < now - oldest
    if not (old or head - floor > most or size > most_bytes) then return floor > from end
    if floor >= head - 1 then return true end
    if id and entry and id == entry[1] then at = at + 1 else redis.call('HDEL', changed, floor + 1) end
    floor, size = floor + 1, size - #(body or '')
  end
  return floor > from
end

local function append()
  if #bodies == 0 then return end
  if closed then begin_epoch() end
  local before = stamp
  local digits = tonumber(string.sub(fresh, 1, 8), 16) % 1000000
  stamp = string.format('%013.0f%06d', math.max(now, ms_of(before)), digits)
  for i, body in ipairs(bodies) do
    redis.call('XADD', log, (head + i) .. '-' .. stamp, 'e', body)
    size = size + #body
  end
  local first = head + 1
  head = head + #bodies
  if (oldest > 0 or head - floor > most or size > most_bytes) and trim() then
    redis.call('XTRIM', log, 'MINID', floor + 1)
  end
  redis.call('HSET', meta, 'head', head, 'stamp', stamp, 'floor', floor, 'bytes', size)
  if first == 1 then expire_in(math.max(unused, expiry - now)) else keep(unused) end
  local heading = epoch .. ' ' .. first .. ' ' .. stamp .. ' ' .. before
  redis.call(publish, channel, heading .. '\n' .. table.concat(bodies, '\n'))
end

-- Up to `limit` events from `first` on, and up to `bytes` bytes, but at least one event. Reads in steps.
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

  -- Changed messages leave holes in the stream. Takes those before the event `offset`.
  local function take_changed(offset)
    while first ~= offset and not full do
      local kept = redis.call('HGET', changed, first)
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
      take_changed(offset_of(entry))
      take(entry[1], entry[2][2])
    end
    if #part < step then
      take_changed(reverse and floor or head + 1)
      break
    end
  end
  return entries
end

local room_json, limit -- for announcements
local SHARE, LEAST = 8, 32 -- see threadchat/chat/comings.py

-- Whether the log has a place for another coming or going, which must push no messages out of it.
local function has_place()
  local at, full = head + #bodies, math.max(LEAST, math.floor(most / SHARE)) * (SHARE - 1)
  local stored = redis.call('HMGET', meta, 'comings', 'comings_at')
  local credit, since = tonumber(stored[1]) or full, tonumber(stored[2]) or at
  credit = math.min(full, credit + math.max(0, at - since))
  local keeps = credit >= SHARE - 1
  if keeps then credit, at = credit - (SHARE - 1), at + 1 end
  redis.call('HSET', meta, 'comings', credit, 'comings_at', at)
  return keeps
end

-- Sends an event that is in no log to all nodes, as a whisper of none of them: a frame of a WebSocket.
local function pass_on(body)
  local json = '{' .. string.sub(body, 2) .. ',"unixTime":' .. math.floor(now / 1000) .. '}'
  local size = #json < 126 and string.char(#json) or string.char(126, math.floor(#json / 256), #json % 256)
  redis.call(publish, channel, '~ ""\n' .. string.char(129) .. size .. json)
end

-- A person's nickname as JSON; empty if it is unknown.
local function name_of(user)
  return string.match(redis.call('HGET', names, user) or '', '^[^' .. SEPARATOR .. ']*')
end

local function announce(kind, user, session, count, was)
  if limit >= 0 and count > limit then return end
  local name = name_of(user)
  local body = ',"chatroomId":' .. room_json .. ',"type":"' .. kind .. '","userId":' .. user
  if name ~= '' and name ~= '""' then body = body .. ',"from":' .. name end
  if session ~= '""' then body = body .. ',"sessionId":' .. session end
  if was then body = body .. ',"was":' .. was end
  if has_place() then bodies[#bodies + 1] = body else pass_on(body) end
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

-- Removes a node's sessions from the room, except those in `wanted`.
local function go_all(node, wanted)
  local stored = redis.call('HGETALL', sessions)
  for i = 1, #stored, 2 do
    if stored[i + 1] == node and not wanted[stored[i]] then
      go(string.match(stored[i], '^(.-)' .. SEPARATOR .. '(.*)$'))
    end
  end
end

-- The id and the body of an event, and whether it was changed before; nil if the log no longer has it.
local function current(offset)
  local entry = redis.call('XRANGE', log, offset, offset)[1]
  if entry then return entry[1], entry[2][2], false end
  local id, body = string.match(redis.call('HGET', changed, offset) or '', '^(%S+) (.*)$')
  return id, body, true
end

-- An entry of a stream cannot be changed. It is deleted, and readers get `body` instead.
local function change(offset, body)
  local id, old, again = current(offset)
  if not id or offset <= floor then return end -- it was dropped already
  size = size + #body - #old
  if not again then redis.call('XDEL', log, id) end
  redis.call('HSET', changed, offset, id .. ' ' .. body)
  redis.call('PEXPIREAT', changed, expiry)
end

-- Whether what is to be changed is still as it was when somebody read it.
local function is_current(changes)
  for _, each in ipairs(changes) do
    local offset, digest = unpack(each)
    if digest and digest ~= '-' then
      local id, body = current(offset)
      if not id or redis.sha1hex(body) ~= digest then return false end
    end
  end
  return true
end

local commands = {}

-- Arguments: time to live of a key (ms); for each draft its body, and 1 if it has a key, otherwise 0. Before
-- a draft that refers to other events, for each of them: what replaces its body (the digest of the body that
-- is replaced, or "-" for any, a space, the new body), or nothing; and its offset in the known epoch, negated.
-- In a new body, the id of an edit that does not have one yet is 2^60. Returns the offset of each draft. The
-- offset is false for a draft that refers to another epoch, and 0 if a body is no longer the one to be
-- replaced; neither is published.
function commands.publish()
  if closed and known_epoch == epoch then return { epoch, false } end
  if closed then begin_epoch() end
  local offsets, key, changes = {}, 6, {}
  for i = OWN + 1, #ARGV, 2 do
    local offset
    local mark = tonumber(ARGV[i + 1])
    if mark < 0 then
      changes[#changes + 1] = { -mark, string.match(ARGV[i], '^(%S+) (.*)$') }
    elseif #changes > 0 and (known_epoch ~= epoch or not is_current(changes)) then
      key = key + mark
      offsets[#offsets + 1] = known_epoch == epoch and 0
      changes = {}
    else
      if mark == 1 then
        key = key + 1
        local said = redis.call('GET', KEYS[key])
        offset = said and tonumber(string.match(said, '^' .. first_epoch .. ' (%d+)$'))
        if not offset then
          redis.call('SET', KEYS[key], first_epoch .. ' ' .. head + #bodies + 1, 'PX', ARGV[OWN])
        end
      end
      if not offset then
        bodies[#bodies + 1] = ARGV[i]
        offset = head + #bodies
        for _, each in ipairs(changes) do
          local target, _, body = unpack(each, 1, 3)
          if body then
            change(target, (string.gsub(body, ',"edited":1152921504606846976', ',"edited":' .. offset, 1)))
          end
        end
      end
      offsets[#offsets + 1] = offset
      changes = {}
    end
  end
  append()
  return { epoch, offsets }
end

-- Arguments: first offset (0: the newest), limit, bytes, 1 to go backwards.
function commands.read()
  if closed and known_epoch ~= epoch then begin_epoch() end -- newcomers get a new log
  local first = tonumber(ARGV[OWN])
  if first == 0 then first = head end
  local entries = read(first, tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2]), ARGV[OWN + 3] == '1')
  return { epoch, head, stamp, floor, entries }
end

-- Arguments: 1 to shorten the room's life to that of an unused one; life (ms).
function commands.inspect()
  if closed then return { epoch, head } end
  if ARGV[OWN] == '1' then expire_in(tonumber(ARGV[OWN + 1])) else keep(tonumber(ARGV[OWN + 1])) end
  return { epoch, head }
end

-- Drops the room if nobody is in it and no node uses it. Returns 1 if it is gone. A node that uses the room
-- extends its life with each inspection, every 5 s.
function commands.drop()
  if redis.call('EXISTS', people) == 1 or expiry > now + unused - 10000 then return 0 end
  redis.call('DEL', unpack(KEYS, 1, 6))
  return 1
end

-- Drops the oldest events until the log takes so many bytes, which is the argument. Returns the bytes and the
-- number of events that are left.
function commands.shorten()
  most_bytes = tonumber(ARGV[OWN])
  if trim() then
    redis.call('XTRIM', log, 'MINID', floor + 1)
    redis.call('HSET', meta, 'floor', floor, 'bytes', size)
  end
  return { size, head - floor }
end

-- Arguments: life (ms), room (JSON), limit, node, then user, session, nickname and about (all JSON).
function commands.enter()
  room_json, limit = ARGV[OWN + 1], tonumber(ARGV[OWN + 2])
  come(unpack(ARGV, OWN + 3, OWN + 7))
  append()
  expire_in(math.max(tonumber(ARGV[OWN]), expiry - now))
end

-- Arguments: room, limit, user, session.
function commands.leave()
  room_json, limit = ARGV[OWN], tonumber(ARGV[OWN + 1])
  go(ARGV[OWN + 2], ARGV[OWN + 3])
  append()
end

-- Arguments: room, limit, user, nickname, about.
function commands.rename()
  room_json, limit = ARGV[OWN], tonumber(ARGV[OWN + 1])
  local user, name, about = unpack(ARGV, OWN + 2, OWN + 4)
  if redis.call('HEXISTS', people, user) == 0 then return end
  local was = name_of(user)
  redis.call('HSET', names, user, name .. SEPARATOR .. about)
  if was ~= name and was ~= '' then announce('rename', user, '""', redis.call('HLEN', people), was) end
  append()
end

-- Arguments: life (ms), room, limit, node, then user, session, nickname and about of each session there.
function commands.sync()
  room_json, limit = ARGV[OWN + 1], tonumber(ARGV[OWN + 2])
  local node, wanted = ARGV[OWN + 3], {}
  for i = OWN + 4, #ARGV, 4 do wanted[ARGV[i] .. SEPARATOR .. ARGV[i + 1]] = true end
  go_all(node, wanted)
  for i = OWN + 4, #ARGV, 4 do come(node, unpack(ARGV, i, i + 3)) end
  append()
  expire_in(math.max(tonumber(ARGV[OWN]), expiry - now))
end

-- Makes the people of a dead node leave. Arguments: room, limit, node. Returns the number of sessions.
function commands.reap()
  room_json, limit = ARGV[OWN], tonumber(ARGV[OWN + 1])
  go_all(ARGV[OWN + 2], {})
  local count = #bodies
  append()
  expire_in(unused) -- another node that uses the room extends this with its next inspection
  return count
end

-- Argument: the body of the last event.
function commands.close()
  if closed then return end
  bodies[1] = ARGV[OWN]
  append()
  redis.call('HSET', meta, 'closed', 1)
  redis.call('DEL', sessions, people, names)
  expire_in(unused)
end

return commands[command]()
