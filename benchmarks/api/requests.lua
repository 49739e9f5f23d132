-- Sends the requests of a file with a request per line: method, path and body, separated by tabs. Each thread starts at
-- another line, so that no request of a long enough file is sent twice. At the end a line of JSON has the figures.
local requests, threads = {}, {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  local headers = { ["Content-Type"] = "application/json" }
  if arguments[2] ~= "" then headers["Authorization"] = "Bearer " .. arguments[2] end
  for line in io.lines(arguments[1]) do
    local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
    table.insert(requests, wrk.format(method, path, headers, body ~= "" and body or nil))
  end
  at = math.floor(#requests * number / tonumber(arguments[3]))
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p95_ms": %.4f, "refused": %d, "lost": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    failed.status, failed.connect + failed.read + failed.write + failed.timeout
  ))
end
