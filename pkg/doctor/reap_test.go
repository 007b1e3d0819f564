package doctor_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/observe"
)

func TestCommand_asWideAsTheLeakAndNoWider(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	office := doctor.Named{Name: "office", Prefixes: []netip.Prefix{prefix("192.168.125.0/24")}}
	all := doctor.Named{Name: "site", Prefixes: []netip.Prefix{prefix("192.168.0.0/16")}}
	east := doctor.Named{Name: "east wing", Prefixes: []netip.Prefix{prefix("192.168.125.0/27")}}
	gates := doctor.Named{Name: "gates", Addresses: []netip.AddrPort{host(3), host(5)}}
	both := doctor.Named{Name: "both", Prefixes: []netip.Prefix{prefix("192.168.125.0/24"), prefix("192.168.126.0/24")}}
	for name, c := range map[string]struct {
		at     []netip.AddrPort
		named  []doctor.Named
		limits observe.Limits
		want   []string
	}{
		"one camera":                         {[]netip.AddrPort{host(3), host(3)}, []doctor.Named{office}, observe.Limits{}, []string{"192.168.125.3"}},
		"one camera at a port of its own":    {[]netip.AddrPort{netip.MustParseAddrPort("192.168.125.3:8554")}, nil, observe.Limits{}, []string{"192.168.125.3:8554"}},
		"without a configuration, the /24":   {[]netip.AddrPort{host(3), host(5)}, nil, observe.Limits{}, []string{"192.168.125.0/24"}},
		"the name":                           {[]netip.AddrPort{host(3), host(50)}, []doctor.Named{all, both, office}, observe.Limits{}, []string{"office"}},
		"the smallest name":                  {[]netip.AddrPort{host(3), host(5)}, []doctor.Named{office, east}, observe.Limits{}, []string{"'east wing'"}},
		"a name of single cameras":           {[]netip.AddrPort{host(3), host(5)}, []doctor.Named{office, gates}, observe.Limits{}, []string{"gates"}},
		"no name that is too wide":           {[]netip.AddrPort{host(3), host(5)}, []doctor.Named{all, both}, observe.Limits{}, []string{"192.168.125.0/24"}},
		"the prefix that was looked at":      {[]netip.AddrPort{host(3), host(5)}, nil, observe.Limits{Prefixes: []netip.Prefix{prefix("192.168.125.0/28")}}, []string{"192.168.125.0/28"}},
		"never more than what was looked at": {[]netip.AddrPort{host(3), host(5)}, []doctor.Named{office}, observe.Limits{Addresses: []netip.AddrPort{host(3), host(5)}}, []string{"192.168.125.3 192.168.125.5"}},
		"two areas": {
			[]netip.AddrPort{host(3), netip.MustParseAddrPort("10.0.0.1:554"), netip.MustParseAddrPort("10.0.0.2:554")},
			[]doctor.Named{all}, observe.Limits{}, []string{"10.0.0.0/24", "192.168.125.3"},
		},
		"IPv6": {
			[]netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:554"), netip.MustParseAddrPort("[2001:db8::2]:554")}, nil, observe.Limits{}, []string{"2001:db8::/64"},
		},
		"a camera of which nobody knows where it is": {[]netip.AddrPort{{}}, nil, observe.Limits{}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			s.Limits = c.limits
			for _, at := range c.at {
				s.process(at, cmdline.OneFrame, time.Hour, unconnected)
			}
			s.process(host(200), cmdline.Streaming, time.Hour, heard)
			with := terms()
			with.Subnets = c.named
			var got []string
			for _, command := range doctor.Examine(s.Observation, with).Commands {
				where, ok := strings.CutPrefix(command, "camwarden reap")
				where, dry := strings.CutSuffix(where, " --dry-run")
				if !ok || !dry || !pasteable(t, command) {
					t.Errorf("%q", command)
				}
				got = append(got, strings.TrimPrefix(where, " "))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestCommand_whoCannotEndItNeedsSudo(t *testing.T) {
	t.Parallel()
	for uid, want := range map[int]string{0: "camwarden reap 192.168.125.19 --dry-run", 1000: "camwarden reap 192.168.125.19 --dry-run", 1001: "sudo camwarden reap 192.168.125.19 --dry-run"} {
		s := newScene()
		s.UID = uid
		s.process(gate, cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.UID = 1000 })
		r := doctor.Examine(s.Observation, terms())
		if len(r.Commands) != 1 || r.Commands[0] != want || !strings.Contains(want, r.Findings[0].Remedy) {
			t.Errorf("as user %d: %q and %q, want %q", uid, r.Commands, r.Findings[0].Remedy, want)
		}
	}
}

func TestCommand_whatIsAcknowledgedIsNotEnded(t *testing.T) {
	t.Parallel()
	s := newScene()
	s.process(host(3), cmdline.OneFrame, time.Hour)
	s.process(host(5), cmdline.OneFrame, time.Hour)
	with := terms()
	with.Ignore = []doctor.Ignored{{Code: "process-overdue", Subject: host(3).String()}}
	r := doctor.Examine(s.Observation, with)
	if want := []string{"camwarden reap 192.168.125.5 --dry-run"}; !slices.Equal(r.Commands, want) {
		t.Errorf("%q, want %q", r.Commands, want)
	}
}
