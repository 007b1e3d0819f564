package commands

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/streams"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// lookupBound is how long a name may take to resolve; a resolver that hangs takes 10 s and more.
const lookupBound = 3 * time.Second

// lookup resolves the host name of a camera.
func lookup(host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupBound)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	// IPv4 first: a camera that speaks both is nearly always meant by its IPv4 address, and slots are counted by address.
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	return found[0].Unmap(), nil
}

// settings are the configuration together with what the command line adds to it.
type settings struct {
	config *config.Config
	c      *cli
}

// load finds and reads the configuration; without one the defaults hold.
func (c *cli) load() (settings, error) {
	path, _, err := config.Find(c.flags.config, c.env)
	if err != nil {
		return settings{}, err
	}
	read, err := config.Load(path, c.env)
	if err != nil {
		return settings{}, err
	}
	if path == "" {
		read.Inventory.Sought = config.Sought(c.env)
	}
	return settings{config: read, c: c}, nil
}

// loadToDial is load for a command that will log in to cameras: secrets that others can read stop it.
func (c *cli) loadToDial() (settings, error) {
	set, err := c.load()
	if err != nil {
		return settings{}, err
	}
	if err := set.config.CheckSecrets(); err != nil {
		return settings{}, err
	}
	for _, notice := range set.config.Notices {
		c.log.Info(notice)
	}
	return set, nil
}

func (c *cli) env(name string) string {
	value, _ := c.world.Getenv(name)
	return value
}

// openLedger opens the ledger of this user, for a new run.
func (s settings) openLedger() (*ledger.Ledger, error) {
	dirs, err := s.ledgerDirs()
	if err != nil {
		return nil, err
	}
	return ledger.Open(dirs, proc.Default(), ulid.Make().String())
}

// sources builds the sources that the command line lists, else those of the configuration. Their stills are at most that wide,
// if width is not 0.
// A go2rtc that is listed and not configured is passed over; keeper is nil then.
func (s settings) sources(listed []string, width int, book *ledger.Ledger, children *supervise.Supervisor, keeper *streams.Keeper) ([]capture.Source, error) {
	names := listed
	if len(names) == 0 {
		names = s.config.Sources
	}
	slots := slot.Table{Ledger: book, FS: proc.Default()}
	picturing := ffmpeg.Picturing{Quality: s.config.JPEGQuality, Width: width}
	own := capture.NewRTSP(s.config.FFmpeg.Path, picturing, children, slots)
	var sources []capture.Source
	for _, name := range names {
		switch name {
		case "go2rtc":
			if keeper != nil {
				sources = append(sources, capture.NewGo2rtc(keeper, s.config.Go2rtc.Snapshot == "restream", own))
			}
		case "http":
			sources = append(sources, capture.NewHTTP(own, lookup))
		case "rtsp":
			sources = append(sources, own)
		case "ffmpeg":
			sources = append(sources, capture.NewFFmpeg(s.config.FFmpeg.Path, picturing, children, slots))
		}
	}
	if len(sources) == 0 {
		return nil, fault.New(fault.NoSource, "", "the source go2rtc cannot work here: no go2rtc is configured").
			WithHint("add a go2rtc section with its url to the configuration (camwarden config init shows one), or list rtsp too")
	}
	return sources, nil
}

// warnOfPasswords says once that a password on our own command line is no secret. We cannot take it back, only warn.
func (c *cli) warnOfPasswords(args []string) {
	for _, arg := range args {
		if !strings.Contains(arg, "://") {
			continue
		}
		parse := camera.ParseURL
		if camera.IsHTTP(arg) {
			parse = camera.ParseHTTP
		}
		if cam, err := parse(arg, camera.Camera{}); err == nil && cam.Password.Plain() {
			c.log.Warn("a password stands on the command line, where every user of this host can read it",
				hintKey, fmt.Sprintf("leave it out of the URL of %s, and give it by --password-file or CAM_PASSWORD", cam.ID))
			return
		}
	}
}

// pick returns the cameras that arguments name. A password file that was named with them counts more than what is configured.
func (s settings) pick(args []string, passwordFile string) ([]camera.Camera, error) {
	cameras, err := s.config.Inventory.Pick(args, lookup)
	if passwordFile != "" {
		for i := range cameras {
			cameras[i].Password = camera.Secret{File: passwordFile}
		}
	}
	return cameras, err
}

// selection returns the cameras of subnets. One without cameras is an error: a round of nothing would look like success.
func (s settings) selection(args []string) (camera.Selection, error) {
	return s.config.Inventory.Select(args, lookup)
}
