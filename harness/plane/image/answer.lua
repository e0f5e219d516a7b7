-- Answers HTTP requests in the callee's place while a request fault is on (`txn.status`, `txn.window`).
--
-- It reads the whole body first, as a server would. HAProxy's own `http-request return` answers at once and closes: a
-- caller that is still sending then sees a reset, or end of file, instead of the status.

local CHUNK_BYTES = 16384

core.register_service("readiness_answer", "http", function(applet)
    repeat
        local chunk = applet:receive(CHUNK_BYTES)
    until chunk == nil or #chunk == 0
    local status = tonumber(applet:get_var("txn.status"))
    local window = applet.c:url_dec(applet:get_var("txn.window"))
    local body = string.format("status %d by readiness: %s\n", status, window)
    applet:set_status(status)
    applet:add_header("content-type", "text/plain; charset=utf-8")
    applet:add_header("content-length", tostring(#body))
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(body)
    end
end)
