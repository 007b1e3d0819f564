package camsim

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
)

// DefaultPort is where the cameras of a subnet listen unless told otherwise: the customary port of RTSP for those who may not have 554.
const DefaultPort = 8554

// DrawSubnet returns a random 127.x.y.0/24, x from 10 to 250, that no socket of this host uses at the moment.
// Two tests that draw at the same time get the same one about once in sixty thousand times.
func DrawSubnet() netip.Prefix {
	used := usedSubnets()
	for {
		drawn := netip.AddrFrom4([4]byte{127, byte(10 + rand.IntN(241)), byte(rand.IntN(256)), 0})
		prefix := netip.PrefixFrom(drawn, 24)
		if !used[prefix] {
			return prefix
		}
	}
}

// usedSubnets reads which /24 the IPv4 TCP sockets of this host are bound to. What cannot be read counts as free:
// a camera that finds its address taken says so when it starts.
func usedSubnets() map[netip.Prefix]bool {
	used := map[netip.Prefix]bool{}
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		return used
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		local, _, _ := strings.Cut(fields[1], ":")
		raw, err := hex.DecodeString(local)
		if err != nil || len(raw) != 4 {
			continue
		}
		// proc_pid_net(5): the address is a network-order word printed in host order.
		var quad [4]byte
		binary.NativeEndian.PutUint32(quad[:], binary.BigEndian.Uint32(raw))
		prefix, err := netip.AddrFrom4(quad).Prefix(24)
		if err == nil {
			used[prefix] = true
		}
	}
	return used
}

// Subnet is a running set of cameras.
type Subnet struct {
	Prefix  netip.Prefix
	Cameras []*Camera
}

// StartSubnet starts cameras in a prefix. Those without an address get .1, .2 and so on, with their own port if they name one,
// else DefaultPort. When one cannot start, the others are closed again.
func StartSubnet(prefix netip.Prefix, configs []Config) (*Subnet, error) {
	subnet := &Subnet{Prefix: prefix.Masked()}
	next := subnet.Prefix.Addr()
	for _, config := range configs {
		next = next.Next()
		if !config.Address.Addr().IsValid() {
			port := config.Address.Port()
			if port == 0 {
				port = DefaultPort
			}
			if !prefix.Contains(next) {
				subnet.Close()
				return nil, fmt.Errorf("camsim: %s has no room for %d cameras", prefix, len(configs))
			}
			config.Address = netip.AddrPortFrom(next, port)
		}
		camera, err := Start(config)
		if err != nil {
			subnet.Close()
			return nil, err
		}
		subnet.Cameras = append(subnet.Cameras, camera)
	}
	if len(subnet.Cameras) == 0 {
		return nil, errors.New("camsim: a subnet without cameras")
	}
	return subnet, nil
}

// Camera returns the camera with the name, or nil.
func (s *Subnet) Camera(name string) *Camera {
	for _, camera := range s.Cameras {
		if camera.Name() == name {
			return camera
		}
	}
	return nil
}

// Close closes every camera.
func (s *Subnet) Close() {
	for _, camera := range s.Cameras {
		camera.Close()
	}
}
