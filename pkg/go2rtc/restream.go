package go2rtc

import (
	"context"
	"net"
	"net/netip"
	"net/url"
)

// RestreamURL is where go2rtc serves the video of a stream over RTSP. Whoever hangs up there frees his consumer, and the
// camera when he was the last, at once. It asks for the video alone, so that the camera is asked for no more.
func (c *Client) RestreamURL(ctx context.Context, name string) (string, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return "", err
	}
	if info.RTSPListen == "" {
		return "", c.fault("it does not serve RTSP").WithHint("set rtsp.listen in go2rtc.yaml, or snapshot: frame in the go2rtc section")
	}
	host, port, err := net.SplitHostPort(info.RTSPListen)
	if err != nil {
		return "", c.fault("it serves RTSP at %q, which is no address", info.RTSPListen)
	}
	here := c.base.Hostname()
	if here == "localhost" { // also what stands for a socket
		here = "127.0.0.1"
	}
	listens, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && listens.IsUnspecified():
		host = here
	case err == nil && listens.IsLoopback() && !loopback(here):
		return "", c.fault("it serves RTSP to its own host only, at %s", info.RTSPListen).
			WithHint("set rtsp.listen in go2rtc.yaml to :8554, or snapshot: frame in the go2rtc section")
	}
	u := url.URL{Scheme: "rtsp", Host: net.JoinHostPort(host, port), Path: "/" + name, RawQuery: "video"}
	return u.String(), nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
