-- For wrk: each request has a message of its own. The argument is a file with a line for each, the
-- body of a request up to the end of the text.
local bodies, number = {}, 0

function init(args)
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  wrk.method, wrk.path, wrk.headers["content-type"] = "POST", "/v1/classify", "application/json"
end

function request()
  local body, pass = bodies[number % #bodies + 1], math.floor(number / #bodies)
  number = number + 1
  -- The same text is computed once: in another pass it is another text.
  return wrk.format(nil, nil, nil, body .. (pass > 0 and " " .. pass or "") .. '"]}')
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"rate": %f, "p50": %f, "p99": %f, "errors": %d}\n',
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e6,
    latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
