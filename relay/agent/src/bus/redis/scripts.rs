//! What Redis does in one piece: the scripts, and how they are called.
//!
//! Owns their texts and their hashes. Each script's keys are of one channel or one partition.

use redis::{Cmd, Script};

/// The scripts write the version as a byte.
const _: () = assert!(wire::bus::VERSION == 1);
/// They skip the head of what is held of a member.
const _: () = assert!(relay::payload::HELD_HEAD_BYTES == 10);

/// Keys: meta, stream, perhaps result. Arguments: topic, verb, a fresh epoch, size, ttl, meta ttl, result ttl (ms), body.
/// Answers offset, epoch and whether it was a duplicate.
const PUBLISH: &str = r"
local meta, stream, result = KEYS[1], KEYS[2], KEYS[3]
if result then
  local made = redis.call('GET', result)
  local offset, epoch = string.match(made or '', '^(%d+):(%a+)$')
  if offset then return {tonumber(offset), epoch, 1} end
end
local place = redis.call('HMGET', meta, 's', 'e')
local epoch, offset = place[2], 1 + (tonumber(place[1]) or 0)
if not epoch then
  epoch, offset = ARGV[3], 1
  redis.call('DEL', stream)
end
local function add()
  return redis.pcall('XADD', stream, 'MAXLEN', ARGV[4], string.format('%.0f', offset), 'b', '\1' .. ARGV[8])
end
local added = add()
if added.err and string.find(added.err, 'equal or smaller', 1, true) then
  -- The position has gone back behind its own stream: what follows must not be taken for what was there.
  epoch, offset = ARGV[3], 1
  redis.call('DEL', stream)
  added = add()
end
if added.err then return added end
redis.call('HSET', meta, 's', string.format('%.0f', offset), 'e', epoch)
redis.call('PEXPIRE', meta, ARGV[6])
redis.call('PEXPIRE', stream, ARGV[5])
if result then
  redis.call('SET', result, string.format('%.0f', offset) .. ':' .. epoch, 'PX', ARGV[7])
end
redis.call(ARGV[2], ARGV[1], '\1p' .. struct.pack('<I8', offset) .. epoch .. ARGV[8])
return {offset, epoch, 0}
";

/// Keys: result. Arguments: topic, verb, result ttl, payload. A publication without a place, once for its key. Answers whether it was
/// a duplicate.
const PUBLISH_ONCE: &str = r"
if not redis.call('SET', KEYS[1], '0', 'NX', 'PX', ARGV[3]) then return 1 end
redis.call(ARGV[2], ARGV[1], ARGV[4])
return 0
";

/// Keys: meta, stream. Arguments: a fresh epoch, meta ttl, limit, since ('' for none), 1 when reversed, bytes of a page.
/// Answers offset, epoch, and ids and bodies in turn.
const READ: &str = r"
local meta, stream = KEYS[1], KEYS[2]
local place = redis.call('HMGET', meta, 's', 'e')
local offset, epoch = place[1] or '0', place[2]
if not epoch then
  offset, epoch = '0', ARGV[1]
  redis.call('DEL', stream)
  redis.call('HSET', meta, 's', offset, 'e', epoch)
end
redis.call('PEXPIRE', meta, ARGV[2])
local page, bytes, left, reverse = {}, 0, tonumber(ARGV[3]), ARGV[5] == '1'
local from = reverse and '+' or '-'
if ARGV[4] ~= '' then from = '(' .. ARGV[4] .. '-0' end
while left > 0 and bytes < tonumber(ARGV[6]) do
  local count, some = math.min(left, 128), nil
  if reverse then
    some = redis.call('XREVRANGE', stream, from, '-', 'COUNT', count)
  else
    some = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
  end
  for _, entry in ipairs(some) do
    if bytes >= tonumber(ARGV[6]) then break end
    page[#page + 1], page[#page + 2] = entry[1], entry[2][2]
    bytes = bytes + #entry[2][2]
    from = '(' .. entry[1]
  end
  left = left - count
  if #some < count then break end
end
return {offset, epoch, page}
";

/// Keys: meta, stream. Arguments: the epoch that has forked, a fresh one.
const RENEW: &str = r"
if redis.call('HGET', KEYS[1], 'e') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 's', '0', 'e', ARGV[2])
return 1
";

/// Keys: members, index. Arguments: client, what is held, client and channel, members at most, topic, verb, 1 when announced.
/// Answers 1 when it was not there, 0 when it was, -1 when the channel is full.
const ENTER: &str = r"
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
if old then return 0 end
if ARGV[7] == '1' then redis.call(ARGV[6], ARGV[5], '\1j' .. string.sub(ARGV[2], 11)) end
return 1
";

/// Keys: members, index. Arguments: client, the lease it must be held under ('' for any), client and channel, topic, verb.
/// Answers 1 when it was there.
const LEAVE: &str = r"
redis.call('SREM', KEYS[2], ARGV[3])
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or (ARGV[2] ~= '' and string.sub(held, 2, 9) ~= ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if string.byte(held, 10) >= 2 then redis.call(ARGV[5], ARGV[4], '\1l' .. string.sub(held, 11)) end
return 1
";

/// Keys: leases. Arguments: edge and lease, how long (ms). Answers whether it was known, now (ms), and all leases with their ends.
const LEASE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
return {known and 1 or 0, now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
";

/// All scripts with their hashes.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) publish: Text,
    pub(super) publish_once: Text,
    pub(super) read: Text,
    pub(super) renew: Text,
    pub(super) enter: Text,
    pub(super) leave: Text,
    pub(super) lease: Text,
}

/// One script.
#[derive(Debug)]
pub(super) struct Text {
    text: &'static str,
    hash: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            publish: Text::new(PUBLISH),
            publish_once: Text::new(PUBLISH_ONCE),
            read: Text::new(READ),
            renew: Text::new(RENEW),
            enter: Text::new(ENTER),
            leave: Text::new(LEAVE),
            lease: Text::new(LEASE),
        }
    }

    /// Commands that make Redis know all of them.
    pub(super) fn load(&self) -> redis::Pipeline {
        let all = [
            &self.publish,
            &self.publish_once,
            &self.read,
            &self.renew,
            &self.enter,
            &self.leave,
            &self.lease,
        ];
        let mut pipeline = redis::pipe();
        for script in all {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text);
        }
        pipeline
    }
}

impl Text {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// A call with these keys; arguments are to be added.
    pub(super) fn call(&self, keys: &[&str]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hash).arg(keys.len());
        for key in keys {
            cmd.arg(*key);
        }
        cmd
    }
}
