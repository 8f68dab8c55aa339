-- The chat contract in Envoy: which cluster a call goes to, what is refused, and what a client sees of an engine's answer.
--
-- A request is answered here, or leaves with `x-tomoul-cluster`, which the route follows. What is known of this gateway
-- and of regions is metadata of the virtual host, what is known of a model that of its route, which `x-tomoul-route`
-- finds (routes.py). A script error would let a call go on, so everything runs in pcall. docs/contract.md is what this
-- file keeps.

local byte, char, find, format = string.byte, string.char, string.find, string.format
local gsub, lower, match, sub = string.gsub, string.lower, string.match, string.sub
local concat, floor, max = table.concat, math.floor, math.max

local CHAT_PATH = "/v1/chat/completions"
local MODELS_PATH = "/v1/models"
local LOG = "tomoul"
local RETRY_AFTER_SECONDS = "30"
local MAX_DEPTH = 256
local MAX_MEMBERS = 256
local MAX_NAME = 256
local MAX_SHOWN = 80

-- Text ---------------------------------------------------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(text)
  return '"' .. gsub(text, '[%z\1-\31"\\\127]', function(c)
    return ESCAPES[c] or format("\\u%04x", byte(c))
  end) .. '"'
end

-- What a client sent, in a message: short, and never bytes that would make the answer anything but JSON.
local function shown(text)
  if #text > MAX_SHOWN then
    text = sub(text, 1, MAX_SHOWN) .. "..."
  end
  return (gsub(text, "[^\32-\126]", "?"))
end

local function list_of(values)
  local parts = {}
  for i = 1, #values do
    parts[i] = quoted(values[i])
  end
  return "[" .. concat(parts, ",") .. "]"
end

-- Answers ------------------------------------------------------------------------------------------------------------

local function error_body(message, kind, param, code, more)
  return format(
    '{"error":{"message":%s,"type":%s,"param":%s,"code":%s%s}}',
    quoted(message), quoted(kind), param and quoted(param) or "null", quoted(code), more or ""
  )
end

-- For the access log, the metrics and the response's side of this file.
local function note(handle, key, value)
  handle:streamInfo():dynamicMetadata():set(LOG, key, value)
end

local function noted(handle, key)
  local notes = handle:streamInfo():dynamicMetadata():get(LOG)
  return notes and notes[key]
end

-- Answers the call; nothing after it runs.
local function refuse(handle, status, code, param, message, options)
  options = options or {}
  note(handle, "code", code)
  handle:respond({
    [":status"] = tostring(status),
    ["content-type"] = "application/json",
    ["allow"] = options.allow,
    ["retry-after"] = options.retry_after,
    ["x-should-retry"] = status < 500 and "false" or nil,
  }, error_body(message, status < 500 and "invalid_request_error" or "server_error", param, code, options.more))
end

local function refuse_for_capacity(handle, message)
  refuse(handle, 503, "region_capacity_unavailable", nil, message, { retry_after = RETRY_AFTER_SECONDS })
end

-- JSON, only as deep as needed ---------------------------------------------------------------------------------------

-- Position of the quote that ends the string whose opening quote is at `start`; nil if there is none.
local function end_of_string(text, start)
  local from = start + 1
  while true do
    local quote = find(text, '"', from, true)
    if not quote then
      return nil
    end
    local before = quote - 1
    while byte(text, before) == 92 do -- backslash
      before = before - 1
    end
    if (quote - before) % 2 == 1 then
      return quote
    end
    from = quote + 1
  end
end

-- Position of the bracket that closes the one at `start`; nil and why if there is none. What is in between is only
-- balanced, not checked: the engine does that. A loop over bytes is what LuaJIT compiles; a search for a pattern is not.
local function end_of_nested(text, start)
  local depth, at = 0, start
  local c = byte(text, at)
  while c do
    if c == 34 then -- quote
      at = end_of_string(text, at)
      if not at then
        return nil, "a string is not closed"
      end
    elseif c == 123 or c == 91 then -- { [
      depth = depth + 1
      if depth > MAX_DEPTH then
        return nil, "values are nested too deeply"
      end
    elseif c == 125 or c == 93 then -- } ]
      depth = depth - 1
      if depth == 0 then
        return at
      end
    end
    at = at + 1
    c = byte(text, at)
  end
  return nil, "an object or array is not closed"
end

local LITERALS = { ["true"] = "boolean", ["false"] = "boolean", ["null"] = "null" }

-- Position of the last character of the value at `start`, and its type; nil and why if it is none.
local function end_of_value(text, start)
  local c = byte(text, start)
  if c == 34 then
    local stop = end_of_string(text, start)
    return stop, stop and "string" or "a string is not closed"
  elseif c == 123 or c == 91 then
    local stop, problem = end_of_nested(text, start)
    return stop, problem or (c == 123 and "object" or "array")
  end
  local _, stop, word = find(text, "^([%w%.%+%-]+)", start)
  if not stop then
    return nil, "a value is missing"
  end
  local kind = LITERALS[word]
  if not kind and (find(word, "^%-?%d+%.?%d*$") or find(word, "^%-?%d+%.?%d*[eE][%+%-]?%d+$")) then
    kind = "number"
  end
  if not kind then
    return nil, format("`%s` is not a JSON value", shown(word))
  end
  return stop, kind
end

-- Members of the object that is all of `text`: { name → { name, key, start, stop, kind } }, and a list of them in order.
-- nil and why where that is no JSON object, or one that two parsers could read differently.
local function members_of(text)
  local at = find(text, "[^ \t\r\n]")
  if not at or byte(text, at) ~= 123 then
    return nil, "it is not a JSON object"
  end
  local order, by_name = {}, {}
  at = find(text, "[^ \t\r\n]", at + 1)
  if at and byte(text, at) ~= 125 then
    while true do
      if not at or byte(text, at) ~= 34 then
        return nil, "a member's name is missing"
      end
      local key = at
      local key_end = end_of_string(text, key)
      if not key_end then
        return nil, "a string is not closed"
      end
      local name = sub(text, key + 1, key_end - 1)
      if find(name, "\\", 1, true) then
        return nil, "a member's name has an escape in it"
      end
      if by_name[name] then
        return nil, format("the member `%s` is there twice", shown(name))
      elseif #order == MAX_MEMBERS then
        return nil, "it has too many members"
      end
      local _, colon = find(text, "^[ \t\r\n]*:[ \t\r\n]*", key_end + 1)
      if not colon then
        return nil, format("a colon is missing after `%s`", shown(name))
      end
      local stop, kind = end_of_value(text, colon + 1)
      if not stop then
        return nil, kind
      end
      local member = { name = name, key = key, start = colon + 1, stop = stop, kind = kind }
      by_name[name], order[#order + 1] = member, member
      at = find(text, "[^ \t\r\n]", stop + 1)
      local c = at and byte(text, at)
      if c == 125 then -- }
        break
      elseif c ~= 44 then -- ,
        return nil, format("a comma is missing after `%s`", shown(name))
      end
      at = find(text, "[^ \t\r\n]", at + 1)
    end
  end
  if not at then
    return nil, "an object or array is not closed"
  end
  if find(text, "[^ \t\r\n]", at + 1) then
    return nil, "something follows the object"
  end
  return by_name, order
end

local function raw_value(text, member)
  return sub(text, member.start, member.stop)
end

local SIMPLE_ESCAPES = { ["/"] = "/", ['"'] = '"', ["\\"] = "\\" }

-- The string's text; nil where it holds what no model's id can hold.
local function plain_string(text, member)
  local inner = sub(text, member.start + 1, member.stop - 1)
  if find(inner, "\\", 1, true) then
    local odd = false
    inner = gsub(inner, "\\(.)(%x?%x?%x?%x?)", function(c, digits)
      if c == "u" and #digits == 4 and tonumber(digits, 16) < 128 then
        return char(tonumber(digits, 16))
      end
      odd = odd or not SIMPLE_ESCAPES[c]
      return (SIMPLE_ESCAPES[c] or "") .. digits
    end)
    if odd then
      return nil
    end
  end
  return not find(inner, "[%c\128-\255]") and inner or nil
end

-- Randomness ---------------------------------------------------------------------------------------------------------

local random_source

-- From the kernel, through one buffered handle per worker: Lua's own generator is predictable, and a salt must not be.
local function random_bytes(count)
  random_source = random_source or assert(io.open("/dev/urandom", "rb"))
  local bytes = random_source:read(count)
  assert(bytes and #bytes == count, "/dev/urandom gave too little")
  return bytes
end

local function random_salt(handle)
  return (gsub(handle:base64Escape(random_bytes(32)), "[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
end

local CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

local function completion_id(handle)
  local letters, time = {}, handle:timestamp()
  for i = 10, 1, -1 do
    letters[i] = sub(CROCKFORD, time % 32 + 1, time % 32 + 1)
    time = floor(time / 32)
  end
  local random = random_bytes(16)
  for i = 1, 16 do
    local n = byte(random, i) % 32 + 1
    letters[10 + i] = sub(CROCKFORD, n, n)
  end
  return "chatcmpl_" .. concat(letters)
end

-- Request: headers ---------------------------------------------------------------------------------------------------

local function send_to(handle, cluster)
  handle:headers():replace("x-tomoul-cluster", cluster)
  handle:clearRouteCache()
end

-- Metadata of the route that `key` finds, which is from here on the call's route.
local function take_route(handle, key)
  handle:headers():replace("x-tomoul-route", key)
  handle:clearRouteCache()
  return handle:metadata()
end

-- The region that the call names, or nil. A header that HTTP/1.1's `Connection` removed is not there for anybody.
local function pinned_region(handle, headers)
  local count = headers:getNumValues("x-tomoul-region")
  if count == 0 then
    return nil
  end
  local code = headers:get("x-tomoul-region")
  if count > 1 or not find(code, "^[a-z0-9][a-z0-9-]*$") then
    refuse(handle, 400, "invalid_region", "X-Tomoul-Region", count > 1
      and "`X-Tomoul-Region` is there more than once; name one region, or none"
      or format("`X-Tomoul-Region: %s` is not a region code; codes are lower case, such as `eu-west`", shown(code)))
  end
  return code
end

local function wants_no_store(handle, headers)
  local count = headers:getNumValues("x-tomoul-cache")
  if count == 0 then
    return false
  end
  local directive = headers:get("x-tomoul-cache")
  if count > 1 or directive ~= "no-store" then
    refuse(handle, 400, "invalid_cache_directive", "X-Tomoul-Cache", count > 1
      and "`X-Tomoul-Cache` is there more than once"
      or format("`X-Tomoul-Cache: %s` is unknown; the only directive is `no-store`", shown(directive)))
  end
  return true
end

local function refuse_large_body(handle)
  refuse(handle, 413, "request_too_large", nil, "The request body is too large")
end

local function check_body_headers(handle, headers, max_body_bytes)
  local media_type = match(lower(headers:get("content-type") or ""), "^[^;%s]*")
  if media_type ~= "application/json" then
    refuse(handle, 415, "unsupported_media_type", "Content-Type", "The body must be sent as `application/json`")
  end
  local encoding = lower(headers:get("content-encoding") or "identity")
  if encoding ~= "identity" then
    refuse(handle, 415, "unsupported_media_type", "Content-Encoding", "The body must not be compressed")
  end
  local length = tonumber(headers:get("content-length") or "0")
  if not length or length > max_body_bytes then
    refuse_large_body(handle)
  end
end

-- Request: body ------------------------------------------------------------------------------------------------------

local EXPECTED = {
  { name = "model", kind = "string", required = true },
  { name = "messages", kind = "array", required = true },
  { name = "stream", kind = "boolean" },
  { name = "stream_options", kind = "object" },
}
local ARTICLES = { string = "a string", array = "an array", boolean = "a boolean", object = "an object" }

local function check_types(handle, members)
  for _, expected in ipairs(EXPECTED) do
    local member = members[expected.name]
    local absent = not member or (member.kind == "null" and not expected.required)
    if absent and expected.required then
      refuse(handle, 400, "missing_required_parameter", expected.name, format("`%s` is required", expected.name))
    elseif not absent and member.kind ~= expected.kind then
      refuse(handle, 400, "invalid_type", expected.name,
        format("`%s` must be %s", expected.name, ARTICLES[expected.kind]))
    end
  end
end

local function refuse_capability(handle, model, param, what)
  refuse(handle, 400, "unsupported_parameter", param, format("The model `%s` does not support %s", model.id, what))
end

-- Engines drop silently what they cannot do, so what a model does not advertise is refused here.
local function check_capabilities(handle, text, members, model)
  if not model.tools then
    for _, name in ipairs({ "tools", "tool_choice", "functions", "function_call" }) do
      if members[name] and members[name].kind ~= "null" then
        refuse_capability(handle, model, name, "tools")
      end
    end
  end
  local response_format = members.response_format
  if not response_format or response_format.kind == "null" then
    return
  end
  local inner, problem = members_of(raw_value(text, response_format))
  if not inner then
    refuse(handle, 400, "invalid_json", "response_format", format("`response_format` is not valid: %s", problem))
  end
  local kind = inner.type and inner.type.kind == "string" and plain_string(raw_value(text, response_format), inner.type)
  if kind == "json_schema" and not model.structured_output then
    refuse_capability(handle, model, "response_format", "`response_format` of type `json_schema`")
  elseif kind == "json_object" and not model.json_mode then
    refuse_capability(handle, model, "response_format", "`response_format` of type `json_object`")
  elseif kind ~= "text" and kind ~= "json_schema" and kind ~= "json_object" then
    refuse(handle, 400, "invalid_value", "response_format",
      "`response_format.type` must be `text`, `json_object` or `json_schema`")
  end
end

-- For a stream: `stream_options` that make the engine tell its tokens, nil where the client's own do; and what the client
-- did not ask for and must not see: "all" usage, or that of "each" chunk but the last; nil if it asked for everything.
local function metered_options(handle, text, members, model)
  local raw, inner, order = "{}", {}, {}
  local options = members.stream_options
  if options and options.kind == "object" then
    raw = raw_value(text, options)
    inner, order = members_of(raw)
    if not inner then
      refuse(handle, 400, "invalid_json", "stream_options", format("`stream_options` is not valid: %s", order))
    end
  end
  local function asks(name)
    local member = inner[name]
    if member and member.kind ~= "boolean" and member.kind ~= "null" then
      local param = "stream_options." .. name
      refuse(handle, 400, "invalid_type", param, format("`%s` must be a boolean", param))
    end
    return member and raw_value(raw, member) == "true"
  end
  local set, parts = {}, {}
  for _, name in ipairs({ "include_usage", model.usage_option }) do
    if not asks(name) then
      set[name] = true
    end
  end
  if not next(set) then
    return nil, nil
  end
  for _, member in ipairs(order) do
    if not set[member.name] then
      parts[#parts + 1] = sub(raw, member.key, member.stop)
    end
  end
  for _, name in ipairs({ "include_usage", model.usage_option }) do
    parts[#parts + 1] = set[name] and quoted(name) .. ":true" or nil
  end
  return "{" .. concat(parts, ",") .. "}", set.include_usage and "all" or "each"
end

-- The body without what a client must not control, under the model's id, with `salt` and `stream_options`; nil where
-- nothing changes.
local function rewritten(text, members, order, model, salt, stream_options)
  local remove = {}
  for _, name in ipairs(model.remove_fields or {}) do
    remove[name] = true
  end
  if model.salt_field then
    remove[model.salt_field] = true
  end
  local id = quoted(model.id)
  local changed = salt ~= nil or stream_options ~= nil or raw_value(text, members.model) ~= id
  local removed = {}
  for name in pairs(remove) do
    if members[name] then
      changed, removed[members[name]] = true, true
    end
  end
  if not changed then
    return nil
  end
  local parts = {}
  if salt then
    parts[1] = quoted(model.salt_field) .. ":" .. quoted(salt)
  end
  if stream_options then
    parts[#parts + 1] = '"stream_options":' .. stream_options
    removed[members.stream_options or 0] = true
  end
  for _, member in ipairs(order) do
    if member == members.model then
      parts[#parts + 1] = '"model":' .. id
    elseif not removed[member] then
      parts[#parts + 1] = sub(text, member.key, member.stop)
    end
  end
  return "{" .. concat(parts, ",") .. "}"
end

-- Request: routing ---------------------------------------------------------------------------------------------------

-- The model of that id or alias, or nil.
local function find_model(handle, name)
  return #name <= MAX_NAME and take_route(handle, "model/" .. name):get("model")
end

local function refuse_unknown_model(handle, name)
  refuse(handle, 404, "model_not_found", "model", format("The model `%s` does not exist", shown(name)))
end

-- The cluster for the call and the salt to send, by the model's policy.
local function cluster_and_salt(handle, model, pin, no_store, region)
  local cluster = pin and model.cluster or not pin and model.unpinned_cluster
  local salt = model.salt
  if no_store then
    if model.no_store == "refuse" then
      refuse(handle, 400, "cache_policy_unsatisfiable", "X-Tomoul-Cache",
        format("The model `%s` does not offer `no-store`", model.id))
    elseif model.no_store == "salt" then
      salt = random_salt(handle)
    elseif model.no_store == "pool" then
      cluster = pin and model.no_store_cluster or not pin and model.no_store_unpinned_cluster
      salt = nil
    end
  end
  if cluster then
    return cluster, salt
  end
  if model.cluster then
    refuse_for_capacity(handle, format("The region `%s` takes only calls that name it now", region))
  end
  refuse(handle, 404, "model_not_available_in_region", "model",
    format("The model `%s` is not available in the region `%s`", model.id, region),
    { more = ',"available_regions":' .. list_of(model.regions or {}) })
end

local function complete_chat(handle, gateway, pin)
  local headers = handle:headers()
  local started = handle:timestamp()
  local no_store = wants_no_store(handle, headers)
  note(handle, "cache", no_store and "no-store" or "default")
  check_body_headers(handle, headers, gateway.max_body_bytes)

  local buffer = handle:body() -- waits; what was fetched before is dead after it
  local length = buffer and buffer:length() or 0
  if length > gateway.max_body_bytes then
    refuse_large_body(handle)
  end
  local text = buffer and buffer:getBytes(0, length) or ""
  local members, order = members_of(text)
  if not members then
    refuse(handle, 400, "invalid_json", nil, format("The body is not valid: %s", order))
  end
  check_types(handle, members)

  local name = plain_string(text, members.model)
  local model = name and find_model(handle, name)
  if not model then
    refuse_unknown_model(handle, sub(text, members.model.start + 1, members.model.stop - 1))
  end
  note(handle, "model", model.id)
  if model.require_region and not pin then
    refuse(handle, 400, "region_required", "X-Tomoul-Region",
      format("The model `%s` answers only calls that name a region in `X-Tomoul-Region`", model.id),
      { more = ',"available_regions":' .. list_of(model.regions or {}) })
  end
  local cluster, salt = cluster_and_salt(handle, model, pin, no_store, gateway.region)
  check_capabilities(handle, text, members, model)

  local stream_options, hidden
  if members.stream and raw_value(text, members.stream) == "true" then
    stream_options, hidden = metered_options(handle, text, members, model)
    note(handle, "stream", { started = started, hidden = hidden })
  end
  local new_text = rewritten(text, members, order, model, salt, stream_options)
  if new_text then
    handle:body():setBytes(new_text)
  end
  handle:headers():remove("accept-encoding") -- answers are rewritten as they pass
  send_to(handle, cluster)
end

local function show_models(handle, path)
  local body
  if path == MODELS_PATH then
    body = take_route(handle, "models"):get("list")
  else
    local name = gsub(sub(path, #MODELS_PATH + 2), "%%(%x%x)", function(digits)
      return char(tonumber(digits, 16))
    end)
    local model = not find(name, "[%c\128-\255]") and find_model(handle, name)
    if not model then
      refuse_unknown_model(handle, name)
    end
    body = model.card
  end
  handle:respond({ [":status"] = "200", ["content-type"] = "application/json" }, body)
end

local function answer(handle)
  local headers = handle:headers()
  local path = match(headers:get(":path") or "", "^[^?#]*")
  local is_chat = path == CHAT_PATH
  if not is_chat and path ~= MODELS_PATH and sub(path, 1, #MODELS_PATH + 1) ~= MODELS_PATH .. "/" then
    refuse(handle, 404, "not_found", nil, format("There is nothing at `%s`", shown(path)))
  end
  note(handle, "path", is_chat and CHAT_PATH or MODELS_PATH)
  local allowed = is_chat and "POST" or "GET"
  if headers:get(":method") ~= allowed then
    refuse(handle, 405, "method_not_allowed", nil, format("Only %s is allowed here", allowed), { allow = allowed })
  end

  local metadata = handle:virtualHost():metadata()
  local gateway = metadata:get("gateway")
  local pin = pinned_region(handle, headers)
  if pin then
    if pin ~= gateway.region and headers:get("x-tomoul-forwarded") then
      -- Forwarded once more, it could go round for ever.
      refuse_for_capacity(handle, format("The endpoint of the region `%s` leads to the region `%s`", shown(pin),
        gateway.region))
    end
    local region = metadata:get("region/" .. pin)
    if not region then
      refuse(handle, 400, "unknown_region", "X-Tomoul-Region", format("The region `%s` does not exist", shown(pin)))
    end
    note(handle, "pin", pin)
    if pin ~= gateway.region then
      if not region.cluster then
        refuse_for_capacity(handle, format("The region `%s` cannot be reached from here", pin))
      end
      return send_to(handle, region.cluster)
    end
  end
  if is_chat then
    complete_chat(handle, gateway, pin)
  else
    show_models(handle, path)
  end
end

function envoy_on_request(handle)
  local ok, problem = pcall(answer, handle)
  if not ok then
    handle:logErr("chat.lua: " .. tostring(problem))
    refuse(handle, 500, "internal_error", nil, "The gateway failed")
  end
end

-- Response -----------------------------------------------------------------------------------------------------------

local CODES = {
  [400] = "invalid_request", [401] = "unauthorized", [403] = "forbidden", [404] = "not_found",
  [408] = "request_timeout", [413] = "request_too_large", [422] = "invalid_request", [429] = "rate_limit_exceeded",
  [503] = "region_capacity_unavailable", [504] = "timeout",
}

-- An engine's error as OpenAI's, its code noted. Engines nest it under `error` or not, and give the code as a number or
-- a word.
local function normal_error(handle, text, status)
  local members = members_of(text)
  if members and members.error and members.error.kind == "object" then
    text = raw_value(text, members.error)
    members = members_of(text)
  end
  local function raw(name, kind)
    local member = members and members[name]
    return member and member.kind == kind and raw_value(text, member) or nil
  end
  local message = raw("message", "string") or raw("error", "string") or raw("detail", "string")
  local word = CODES[status] or (status < 500 and "invalid_request" or "engine_failed")
  local code = raw("code", "string") or quoted(word)
  -- Text of an engine's could hold anything; a log and a metric's label get words only.
  note(handle, "code", #code <= MAX_SHOWN and match(code, '^"([%w_.-]+)"$') or word)
  return format(
    '{"error":{"message":%s,"type":%s,"param":%s,"code":%s}}',
    message or quoted(format("The engine answered %d", status)),
    quoted(status < 500 and "invalid_request_error" or "server_error"), raw("param", "string") or "null", code
  )
end

-- Statuses of an engine's below 500 that another try may not get.
local WORTH_A_RETRY = { [408] = true, [409] = true, [429] = true }

local function rewrite_error(handle, headers, status)
  headers:replace("content-type", "application/json")
  headers:remove("content-encoding")
  headers:remove("x-should-retry")
  if status < 500 and not WORTH_A_RETRY[status] then
    headers:replace("x-should-retry", "false")
  end
  if status == 503 and not headers:get("retry-after") then
    headers:replace("retry-after", RETRY_AFTER_SECONDS)
  end
  local body = handle:body(true)
  body:setBytes(normal_error(handle, body:getBytes(0, body:length()), status))
end

local function tokens_in(usage, name)
  return tonumber(match(usage, '"' .. name .. '"%s*:%s*(%d+)'))
end

-- The tokens of `usage`, the JSON text of an object.
local function note_usage(handle, usage)
  note(handle, "usage", {
    prompt_tokens = tokens_in(usage, "prompt_tokens"),
    completion_tokens = tokens_in(usage, "completion_tokens"),
    cached_tokens = tokens_in(usage, "cached_tokens"),
  })
end

-- `text`, one JSON object of `members`, with `id` in the place of its own; and its own, with the quotes. Unchanged if it
-- has none.
local function with_id(text, members, id)
  local member = members and members.id
  if not member or member.kind ~= "string" then
    return text, nil
  end
  return sub(text, 1, member.start - 1) .. quoted(id) .. sub(text, member.stop + 1), raw_value(text, member)
end

local function rewrite_completion(handle, headers, id, max_body_bytes)
  local length = tonumber(headers:get("content-length") or "0") or 0
  if length > max_body_bytes then
    handle:logWarn("chat.lua: an answer too large to buffer keeps its engine's id and is not counted")
    return
  end
  local body = handle:body()
  if body then
    local text = body:getBytes(0, body:length())
    local members = members_of(text)
    body:setBytes((with_id(text, members, id)))
    local usage = members and members.usage
    if usage and usage.kind == "object" then
      note_usage(handle, raw_value(text, usage))
    end
  end
end

-- Where the usage of a chunk stands in its line, whose JSON begins at `start` and which has `"usage"` at `key`; nil if it
-- has none. Inside a string of the answer the quotes would be escaped, so this seldom finds what is not the member.
local function usage_at(line, start, key)
  local _, from = find(line, '^"usage"%s*:%s*{', key)
  local _, to = find(line, "^%b{}", from or #line + 1)
  if to and find(line, "^%s*}%s*$", to + 1) then
    return from, to
  elseif not from and not find(line, '"usage"', key + 1, true) then
    return nil -- null, as many engines send until the last chunk
  end
  local members = members_of(sub(line, start)) -- not the last member, or not this object's
  local usage = members and members.usage
  if usage and usage.kind == "object" then
    return start - 1 + usage.start, start - 1 + usage.stop
  end
  return nil
end

-- Whether a chunk brings a token; the first ones say only whose the answer is.
local function has_token(line)
  return find(line, '"content": ?"[^"]') or find(line, '"reasoning[_a-z]*": ?"[^"]')
    or find(line, '"tool_calls": ?%[%s*{') or find(line, '"refusal": ?"[^"]')
end

-- Lines of server-sent events, rewritten as they pass. Chunks do not end where lines do: the rest of a line waits.
-- `call` is what the request's side noted. Without an `id` they are another gateway's, which has counted the tokens and
-- keeps the contract but for the usage that only this gateway asked for.
local function rewrite_stream(handle, headers, call, id)
  headers:remove("content-length")
  local rest, own_id, done, dropped = "", nil, not id, false
  local usage, noted_usage, waiting = nil, nil, id and call.started

  -- The line without usage that the client did not ask for; nil if the event was there for nothing else.
  local function metered(line, start, key)
    local from, to = usage_at(line, start, key)
    if not from then
      return line
    end
    usage = sub(line, from, to)
    local choices = find(line, '"choices"', start, true)
    local only_usage = choices and find(line, '^"choices"%s*:%s*%[%s*%]', choices)
    if call.hidden == "all" and only_usage then
      return nil
    elseif call.hidden == "all" or (call.hidden == "each" and not only_usage) then
      return sub(line, 1, from - 1) .. "null" .. sub(line, to + 1)
    end
    return line
  end

  local function rewritten_line(line)
    if dropped then
      dropped = false
      if find(line, "^\r?\n$") then
        return ""
      end
    end
    local start = match(line, "^data: ?(){")
    if not start then
      done = done or find(line, "^data: ?%[DONE%]") ~= nil
      return line
    end
    if waiting and has_token(line) then
      note(handle, "ttft_ms", max(0, handle:timestamp() - waiting)) -- clocks are set back at times
      waiting = nil
    end
    local key = find(line, '"usage"', start, true)
    if key then
      line = metered(line, start, key)
      if not line then
        dropped = true
        return ""
      end
    end
    if not id then
      return line
    end
    if own_id then
      -- Inside a string of the answer the quotes would be escaped, so this finds the member and nothing else.
      local from, to = find(line, own_id, start, true)
      if from then
        return sub(line, 1, from - 1) .. '"id":' .. quoted(id) .. sub(line, to + 1)
      end
    end
    local json = sub(line, start)
    if find(json, '^{%s*"error"') then
      done = true
      return sub(line, 1, start - 1) .. normal_error(handle, json, 500) .. match(json, "%s*$")
    end
    local text, found = with_id(json, members_of(json), id)
    own_id = found and '"id":' .. found or own_id
    return sub(line, 1, start - 1) .. text
  end

  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      local text = rest .. chunk:getBytes(0, length)
      local lines, at = {}, 1
      while true do
        local newline = find(text, "\n", at, true)
        if not newline then
          break
        end
        lines[#lines + 1] = rewritten_line(sub(text, at, newline))
        at = newline + 1
      end
      rest = sub(text, at)
      chunk:setBytes(concat(lines))
      if id and usage ~= noted_usage then
        -- At once, since a client that goes away ends this loop without a word.
        note_usage(handle, usage)
        noted_usage = usage
      end
    elseif not done then
      -- The end, without `[DONE]`: an engine that stopped in the middle must not look as if it had finished.
      note(handle, "code", "engine_failed")
      chunk:setBytes(rest .. "\n\ndata: " .. error_body("The engine broke off the answer", "server_error", nil,
        "engine_failed") .. "\n\n")
      rest = ""
    elseif rest ~= "" then
      chunk:setBytes(rest)
      rest = ""
    end
  end
end

-- What stands before another region's gateway, such as a load balancer, has answered in its place.
local function replace_strangers_answer(handle, headers, status)
  local names = {}
  for name in pairs(headers) do
    names[#names + 1] = byte(name) ~= 58 and name or nil -- colon
  end
  for _, name in ipairs(names) do
    headers:remove(name)
  end
  local code = "region_capacity_unavailable"
  note(handle, "code", code)
  headers:replace(":status", "503")
  headers:replace("content-type", "application/json")
  headers:replace("retry-after", RETRY_AFTER_SECONDS)
  headers:replace("x-tomoul-region", handle:virtualHost():metadata():get("gateway").region)
  handle:body(true):setBytes(error_body(
    format("What answers at the other region's endpoint is not its gateway; it answered %d", status), "server_error",
    nil, code))
end

local function pass_answer(handle)
  local headers = handle:headers()
  local served = headers:get("x-tomoul-served")
  headers:remove("x-tomoul-served")
  local code = headers:get("x-tomoul-code")
  if code then
    headers:remove("x-tomoul-code")
  end
  local status = tonumber(headers:get(":status"))
  local is_stream = status < 400
    and find(lower(headers:get("content-type") or ""), "text/event-stream", 1, true) ~= nil
  if served == "region" then
    local call = is_stream and noted(handle, "stream")
    if not headers:get("x-tomoul-region") then
      replace_strangers_answer(handle, headers, status)
    elseif call and call.hidden then
      rewrite_stream(handle, headers, call, nil)
    end
    return -- another region's gateway has done all of what follows, but cannot know who asked for a stream's usage
  end
  local gateway = handle:virtualHost():metadata():get("gateway")
  if gateway then
    headers:replace("x-tomoul-region", gateway.region)
  end
  if not served or not gateway then
    if code then
      note(handle, "code", code)
    end
    return -- answered by this gateway itself
  end
  note(handle, "served", served)
  if status >= 400 then
    rewrite_error(handle, headers, status)
  elseif is_stream then
    rewrite_stream(handle, headers, noted(handle, "stream") or {}, completion_id(handle))
  else
    rewrite_completion(handle, headers, completion_id(handle), gateway.max_body_bytes)
  end
end

function envoy_on_response(handle)
  local ok, problem = pcall(pass_answer, handle)
  if not ok then
    handle:logErr("chat.lua: " .. tostring(problem))
  end
end
