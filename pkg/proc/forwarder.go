package proc

import (
	"context"
	"slices"
)

// Forwards reports whether a program of that name, by the 15 bytes that the kernel shows of it, listens for a server that
// is elsewhere.
func Forwards(program string) bool {
	return slices.Contains([]string{
		"docker-proxy", "rootlessport", "slirp4netns", "pasta", "pasta.avx2", "gvproxy", "vpnkit", "nginx", "haproxy", "caddy", "traefik",
		"envoy", "apache2", "httpd", "socat", "ssh", "sshd", "sshd-session", "autossh", "ncat", "nc", "rinetd", "redir", "xinetd", "stunnel",
		"stunnel4", "systemd-socket-", "tailscaled", "cloudflared", "kubectl", "kube-proxy", "frpc", "frps", "chisel", "gost", "sslh",
	}, program)
}

// Forwarders are the programs of this host that listen for servers elsewhere.
type Forwarders struct {
	sockets map[uint64]bool
	hidden  map[uint32]bool // users of those whose sockets are closed to us
}

// Forwarders finds them among processes; nil stands for all.
func (f FS) Forwarders(ctx context.Context, stats []Stat) (Forwarders, error) {
	found := Forwarders{sockets: map[uint64]bool{}, hidden: map[uint32]bool{}}
	if stats == nil {
		var err error
		if stats, err = f.All(ctx); err != nil {
			return found, err
		}
	}
	var pids []int
	for _, stat := range stats {
		if !stat.Kernel && !stat.Dead() && Forwards(stat.Comm) {
			pids = append(pids, stat.PID)
		}
	}
	details, err := f.Details(ctx, pids)
	for _, d := range details {
		if d.FDs < 0 && !d.Gone {
			found.hidden[d.UID] = true
		}
		for _, inode := range d.Sockets {
			found.sockets[inode] = true
		}
	}
	return found, err
}

// Hold reports whether a listening socket is one of theirs. In doubt it is: what is taken for a camera is spared.
func (f Forwarders) Hold(l Listener) bool { return f.sockets[l.Inode] || f.hidden[l.UID] }
