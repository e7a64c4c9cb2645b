-- Small JSON arrays of two rows, for wrk.
wrk.method = "POST"
wrk.path = "/posts"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '[{"id":1,"item":"tea","amount":1.5},{"id":2,"item":"coffee","amount":2.25}]'
