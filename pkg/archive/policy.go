package archive

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Policy says which stills are kept. A zero field sets no bound; the zero Policy keeps everything.
type Policy struct {
	For   time.Duration // a still that is older may go
	Most  int           // of each camera so many stay, the newest
	Bytes int64         // so much stays in all, the newest; counted as file sizes
}

// Off reports whether nothing may go.
func (p Policy) Off() bool { return p == Policy{} }

// still is one file in the account: when it was taken, in milliseconds since 1970, and how large it is.
type still struct{ at, size int64 }

// account is what is known of one camera's stills before any is removed.
type account struct {
	stills []still // of which only as much is filled in as the policy asks for
	newest int64   // milliseconds since 1970; the last good still, which never goes
	linked int64   // what latest.jpg points at, which never goes either: with a clock that was set back it is not the newest
}

// cutoffs returns for each camera the time before which its stills go, in milliseconds since 1970.
func (p Policy) cutoffs(accounts map[string]*account, now time.Time) map[string]int64 {
	every := int64(math.MinInt64)
	if p.For > 0 {
		every = now.Add(-p.For).UnixMilli()
	}
	if p.Bytes > 0 {
		every = max(every, p.cutoffOfBytes(accounts, every))
	}
	cut := make(map[string]int64, len(accounts))
	for name, a := range accounts {
		cut[name] = every
		if p.Most > 0 && len(a.stills) > p.Most {
			slices.SortFunc(a.stills, func(x, y still) int { return int(max(-1, min(1, y.at-x.at))) })
			cut[name] = max(every, a.stills[p.Most-1].at)
		}
	}
	return cut
}

// cutoffOfBytes is the time before which stills go so that the rest has at most p.Bytes. Those that go anyway do not count.
func (p Policy) cutoffOfBytes(accounts map[string]*account, gone int64) int64 {
	n := 0
	for _, a := range accounts {
		n += len(a.stills)
	}
	all := make([]still, 0, n)
	for _, a := range accounts {
		all = append(all, a.stills...)
	}
	slices.SortFunc(all, func(x, y still) int { return int(max(-1, min(1, y.at-x.at))) })
	var sum int64
	for _, s := range all {
		if sum += s.size; s.at >= gone && sum > p.Bytes {
			return s.at + 1
		}
	}
	return gone
}

// String says the policy in a sentence's part: "for 720h0m0s, at most 100 a camera".
func (p Policy) String() string {
	text := ""
	add := func(format string, value any) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf(format, value)
	}
	if p.For > 0 {
		add("for %s", p.For)
	}
	if p.Most > 0 {
		add("at most %d a camera", p.Most)
	}
	if p.Bytes > 0 {
		add("at most %s", FormatBytes(p.Bytes))
	}
	if text == "" {
		return "everything"
	}
	return text
}

// FormatBytes writes a number of bytes for a person: "50 GiB", "1.5 MiB", "12 B".
func FormatBytes(n int64) string {
	units, value := "KMGT", float64(n)
	if value < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	unit := -1
	for value >= 1<<10 && unit < len(units)-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.3g %ciB", value, units[unit])
}
