package go2rtc

// DecodeList is for the fuzz test, which has no time for a server.
func DecodeList(body []byte) ([]Stream, error) { return decodeList(body, nil) }

// Proxied reports whether the client would look for a proxy.
func (c *Client) Proxied() bool { return c.transport.Proxy != nil }
