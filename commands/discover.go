package commands

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/discover"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// The bounds of a discovery.
const (
	askFirst     = 4096    // addresses: more than these (a /20) need --yes
	mostAsked    = 1 << 16 // more than these are refused in any case
	mostJobs     = 64
	sparedFiles  = 100 // open files that are not for looks
	longestPorts = 64
)

type discoverFlags struct {
	jobs         string
	yes          bool
	logIn        bool
	verify       bool
	ports        []string
	timeout      time.Duration
	user         string
	passwordFile string
}

func newDiscover(c *cli) *cobra.Command {
	var f discoverFlags
	cmd := &cobra.Command{
		Use:   "discover [SUBNET|ADDRESS...] [flags]",
		Short: "Find cameras, and write the configuration for them",
		Long: `Look at the usual ports of every address of the prefixes (192.168.125.0/24), each once, and ask what answers: ONVIF for
maker, model and streams, RTSP and HTTP for what else tells the brand. Without an argument the network is asked who is
there (WS-Discovery by multicast), and whoever answers is looked at.

No password leaves this host unless --log-in is given, or the configuration names the address. It is never sent in clear.
A device that refuses the log-in is not tried again, over no protocol; cameras lock accounts after a few wrong ones. The
user name is that of the defaults of the configuration, or --user; the password theirs, --password-file or CAM_PASSWORD.
What a device names is asked of the device itself: no other host is dialled because a stranger says so.

In place of the table, -o yaml is a configuration to begin with; of cameras that a configuration has already nothing is
printed, and where it has some, only the items to append to them. -o json says everything.`,
		Example: `camwarden discover 192.168.125.0/24
camwarden discover 192.168.125.0/24 --log-in --user viewer -o yaml > config.yaml
camwarden discover`,
		ValidArgsFunction: c.completeSubnets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.discover(cmd, f, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.jobs, "jobs", "j", "auto", "ask at most `N` addresses at once; auto is 64, or what the open files allow")
	flags.BoolVar(&f.yes, "yes", false, "look at more than 4096 addresses (a /20)")
	flags.BoolVar(&f.logIn, "log-in", false, "send user name and password to every device that wants them, once")
	flags.BoolVar(&f.verify, "verify", false, "take a still of each camera that was found")
	flags.StringSliceVar(&f.ports, "ports", nil, "look at these `PORTS` in place of the usual ones (80,88,443,554,2020,7447,8000,8080,8443,8554,8899,10554)")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Second, "how long a look may take; an answer may take twice, a device six times as `LONG`")
	flags.StringVar(&f.user, "user", "", "log in as `NAME`, whatever the defaults of the configuration say")
	flags.StringVar(&f.passwordFile, "password-file", "", "read the password from `FILE`")
	_ = cmd.RegisterFlagCompletionFunc("ports", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
	return cmd
}

// discovered is camwarden.discover/1.
type discovered struct {
	Schema     string             `json:"schema"`
	Run        string             `json:"run"`
	StartedAt  time.Time          `json:"started_at"`
	DurationMS int64              `json:"duration_ms"`
	Addresses  int                `json:"addresses"`
	Mute       int                `json:"mute"` // addresses that let every look pass without an answer
	Devices    []discoveredDevice `json:"devices"`
	Blind      []discover.Blind   `json:"blind"`

	toldLogIn bool // --log-in was given
}

type discoveredDevice struct {
	discover.Device

	Still *discoveredStill `json:"still"` // null without --verify
}

// discoveredStill is what --verify came to.
type discoveredStill struct {
	OK     bool         `json:"ok"`
	Width  int          `json:"width"`
	Height int          `json:"height"`
	Error  *fault.Error `json:"error"`
}

func (c *cli) discover(cmd *cobra.Command, f discoverFlags, args []string) error {
	set, err := c.load()
	if err != nil {
		return err
	}
	plan, password, err := f.plan(set, args)
	if err != nil {
		return err
	}
	book, err := set.openLedger()
	if err != nil {
		return err
	}
	plan.Slots, plan.LogIns = slot.Table{Ledger: book, FS: proc.Default()}, lockout.Open(book, true)
	signals := c.watchLook(cmd.Context())
	defer signals.stop()
	view := c.newProgress()
	plan.Ask = func(done, all int) { view.tell(round.Event{Done: done, Total: all}) }
	began := time.Now()
	report := discover.Run(signals.ctx, plan)
	view.stop()
	doc := discovered{
		Schema: "camwarden.discover/1", Run: book.Run(), StartedAt: began.UTC(), Addresses: report.Addresses, Mute: report.Mute,
		Devices: []discoveredDevice{}, Blind: append([]discover.Blind{}, report.Blind...), toldLogIn: f.logIn,
	}
	for _, d := range report.Devices {
		doc.Devices = append(doc.Devices, discoveredDevice{Device: d})
	}
	if f.verify && signals.signal() == nil {
		if err := c.verify(cmd.Context(), set, f, &doc, report); err != nil {
			return err
		}
	}
	doc.DurationMS = time.Since(began).Milliseconds()
	code := codeOfDiscovery(doc)
	if s := signals.signal(); s != nil {
		code = codeOfSignal(s)
	}
	if c.flags.output == asYAML {
		return c.showDraft(set, f, doc, report, password, code)
	}
	return c.showWith(document{value: doc, list: "devices", table: doc.page}, code)
}

// codeOfDiscovery is 1 where something could not be looked at. A log-in that was refused, and a web server that is no camera, are
// answers.
func codeOfDiscovery(doc discovered) ExitCode {
	unseen := func(d discoveredDevice) bool {
		return d.Error != nil && d.Error.Class != fault.Auth && d.Error.Class != fault.NotFound || d.Still != nil && !d.Still.OK
	}
	if len(doc.Blind) > 0 || slices.ContainsFunc(doc.Devices, unseen) {
		return CameraFailed
	}
	return Done
}

// plan reads flags and arguments, before anything is touched. The secret is where the password of the log-in comes from.
func (f discoverFlags) plan(set settings, args []string) (discover.Plan, camera.Secret, error) {
	plan := discover.Plan{Timeout: f.timeout, Multicast: len(args) == 0}
	secret := set.config.Inventory.Defaults.Password
	if f.timeout <= 0 || f.timeout > time.Minute {
		return plan, secret, fault.New(fault.Usage, "", "--timeout %s: more than 0 and at most 1m is needed", f.timeout).WithHint("the usual is 2s")
	}
	var err error
	if plan.Ports, err = f.portList(); err != nil {
		return plan, secret, err
	}
	if plan.Jobs, err = f.jobCount(len(plan.Ports)); err != nil {
		return plan, secret, err
	}
	if plan.Addresses, err = set.targets(args, f.yes); err != nil {
		return plan, secret, err
	}
	addresses := set.addresses()
	for _, cam := range set.config.Inventory.Cameras {
		if addr, ok := addresses[strings.ToLower(cam.Host)]; ok {
			plan.Known = append(plan.Known, cam.At(addr))
		}
	}
	if f.passwordFile != "" {
		secret = camera.Secret{File: f.passwordFile}
	}
	if !f.logIn {
		if f.user != "" || f.passwordFile != "" {
			return plan, secret, fault.New(fault.Usage, "", "--user and --password-file are of no use without --log-in").WithHint("give --log-in, and every device that asks is told them once")
		}
		return plan, secret, nil
	}
	user := cmp.Or(f.user, set.config.Inventory.Defaults.Username)
	if user == "" {
		return plan, secret, fault.New(fault.Usage, "", "--log-in needs a user name").WithHint("give --user NAME, or defaults: {username: NAME} in the configuration")
	}
	password, err := secret.Reveal()
	if err != nil {
		return plan, secret, err
	}
	plan.LogIn = &discover.LogIn{Username: user, Password: password}
	return plan, secret, nil
}

// portList reads --ports; the usual ones where there is none.
func (f discoverFlags) portList() ([]uint16, error) {
	if len(f.ports) == 0 {
		return discover.DefaultPorts(), nil
	}
	var ports []uint16
	for _, text := range f.ports {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
		if err != nil || n == 0 {
			return nil, fault.New(fault.Usage, "", "--ports: %q is not a port from 1 to 65535", text).WithHint("write them like --ports 554,80,8000")
		}
		if !slices.Contains(ports, uint16(n)) {
			ports = append(ports, uint16(n))
		}
	}
	if len(ports) > longestPorts {
		return nil, fault.New(fault.Usage, "", "--ports: %d ports, of at most %d", len(ports), longestPorts).WithHint("name those that your cameras have")
	}
	return ports, nil
}

// jobCount is how many addresses are asked at once: all ports of each are looked at together, and each look is an open file.
func (f discoverFlags) jobCount(ports int) (int, error) {
	if f.jobs == "auto" {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<20 {
			return mostJobs, nil //nolint:nilerr // without a limit to know, the usual number holds
		}
		return min(mostJobs, max(1, (int(limit.Cur)-sparedFiles)/ports)), nil
	}
	n, err := strconv.Atoi(f.jobs)
	if err != nil || n < 1 || n > 1024 {
		return 0, fault.New(fault.Usage, "", "-j %q is neither auto nor a number from 1 to 1024", f.jobs).WithHint("leave it out for auto")
	}
	return n, nil
}

// targets reads prefixes, names of subnets and addresses, each address once. Of an IPv4 prefix the first and the last address are no
// hosts, unless it has no others.
func (s settings) targets(args []string, yes bool) ([]netip.Addr, error) {
	var all []netip.Addr
	add := func(prefix netip.Prefix) error {
		if bits := prefix.Addr().BitLen() - prefix.Bits(); bits > 16 {
			return fault.New(fault.Usage, "", "%s has more than %d addresses", prefix, mostAsked).WithHint("look at the parts of it that have cameras, a /22 say")
		}
		first := len(all)
		for addr := prefix.Masked().Addr(); prefix.Contains(addr); addr = addr.Next() {
			all = append(all, addr)
		}
		if n := len(all); prefix.Addr().Is4() && n-first > 2 {
			all = all[:n-1]
			all = slices.Delete(all, first, first+1)
		}
		return nil
	}
	for _, arg := range args {
		if addr, err := netip.ParseAddr(strings.Trim(arg, "[]")); err == nil {
			all = append(all, addr.Unmap())
			continue
		}
		if subnet, ok := s.subnet(arg); ok && len(subnet.Prefixes) > 0 {
			for _, prefix := range subnet.Prefixes {
				if err := add(prefix); err != nil {
					return nil, err
				}
			}
			continue
		}
		prefix, err := camera.ParsePrefix(arg)
		if err != nil {
			return nil, fault.New(fault.Usage, "", "%q is neither a prefix nor an address", arg).WithHint("write a prefix like 192.168.125.0/24, or an address")
		}
		if err := add(prefix); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	switch {
	case len(all) > mostAsked:
		return nil, fault.New(fault.Usage, "", "%d addresses are more than %d", len(all), mostAsked).WithHint("look at fewer prefixes at once")
	case len(all) > askFirst && !yes:
		return nil, fault.New(fault.Usage, "", "%d addresses are more than a /20 has", len(all)).WithHint("if that is meant: --yes")
	}
	return all, nil
}

// showDraft prints the configuration for what was found and is not configured.
func (c *cli) showDraft(set settings, f discoverFlags, doc discovered, report discover.Report, password camera.Secret, code ExitCode) error {
	defaults := set.config.Inventory.Defaults
	inherit := f.user == "" && f.passwordFile == "" && defaults.Username != ""
	draft := config.Draft{Cameras: report.Draft(inherit, password), Items: len(set.config.Inventory.Cameras) > 0}
	draft.Head = []string{"found by camwarden discover"}
	if draft.Items {
		draft.Head = []string{"found by camwarden discover: append these to the cameras of " + strings.Join(strings.Fields(set.config.Path), " ")}
	}
	for _, b := range doc.Blind {
		draft.Head = append(draft.Head, "could not look at "+b.Where+": "+b.Why)
	}
	text, err := draft.YAML()
	if err != nil {
		return err
	}
	for _, b := range doc.Blind {
		c.log.Warn("could not look at " + b.Where + ": " + b.Why)
	}
	for _, d := range doc.Devices {
		if d.Error != nil {
			c.log.Warn(d.Error.Message, hintKey, d.Error.Hint)
		}
		if d.Still != nil && d.Still.Error != nil {
			c.log.Warn("no still of "+d.Address+": "+d.Still.Error.Message, hintKey, d.Still.Error.Hint)
		}
	}
	for _, cam := range draft.Cameras {
		if cam.Note != "" {
			c.log.Warn(cam.ID + ": " + cam.Note)
		}
	}
	if code = c.deliver("the configuration", text, code); code != Done {
		return ended(code)
	}
	return nil
}

func (doc discovered) page(p *page) {
	rows := make([][]string, 0, len(doc.Devices))
	for _, d := range doc.Devices {
		ports := make([]string, 0, len(d.Ports))
		for _, port := range d.Ports {
			ports = append(ports, fmt.Sprintf("%d %s", port.Port, port.Service))
		}
		said := ""
		switch {
		case d.Error != nil:
			said = p.paint(bad, d.Error.Message)
		case d.Still != nil && d.Still.OK:
			said = fmt.Sprintf("a still of %dx%d", d.Still.Width, d.Still.Height)
		case d.Still != nil && d.Still.Error != nil:
			said = p.paint(bad, d.Still.Error.Message)
		case len(d.Streams) > 0 && d.Streams[0].By == "brand":
			said = "perhaps " + d.Streams[0].Path
		case len(d.Streams) > 0:
			said = fmt.Sprintf("%s, %s", sweep.Count(len(d.Streams), "stream"), cmp.Or(d.Streams[0].Path, "without a path"))
		}
		rows = append(rows, []string{d.Address, strings.Join(ports, ", "), d.Brand, d.Model, d.LogIn, d.Camera, said})
	}
	p.table([]string{"ADDRESS", "PORTS", "BRAND", "MODEL", "LOG-IN", "CAMERA", "STREAMS"}, rows, "MODEL", "PORTS")
	for _, b := range doc.Blind {
		p.line("%s", p.paint(odd, fmt.Sprintf("could not look at %s: %s", b.Where, b.Why)))
	}
	what := "addresses"
	if doc.Addresses == 1 {
		what = "address"
	}
	p.line("%d %s looked at, %d answer, in %s", doc.Addresses, what, len(doc.Devices), span(doc.DurationMS))
	if !doc.toldLogIn && slices.ContainsFunc(doc.Devices, func(d discoveredDevice) bool { return d.LogIn == "not-tried" && d.Camera != "" && !d.Known }) {
		p.line("with a log-in they say more: --log-in --user NAME (each device is told it once)")
	}
	if slices.ContainsFunc(doc.Devices, func(d discoveredDevice) bool { return d.Camera != "" && !d.Known }) {
		p.line("as a configuration: -o yaml")
	}
}

// verify takes a still of each camera that was found and whose stream is known, by our own clients.
func (c *cli) verify(ctx context.Context, set settings, f discoverFlags, doc *discovered, report discover.Report) error {
	var cameras []camera.Camera
	for i := range report.Devices {
		if cam, ok := report.Devices[i].Target(set.config.Inventory.Defaults); ok {
			// No password in clear to what is not known to be a camera. ffmpeg would answer any challenge by itself.
			if !report.Devices[i].Known {
				cam.DigestOnly, cam.SnapshotAuth = true, camera.AuthDigest
			}
			cameras = append(cameras, cam)
		}
	}
	if len(cameras) == 0 {
		return nil
	}
	stills, _, err := c.visit(ctx, set, visitFlags{jobs: "8", timeout: 5 * f.timeout, sources: []string{"http", "rtsp"}}, round.Plan{
		Schema: round.SnapshotSchema, Selection: camera.Selection{Cameras: cameras}, Keeper: unkept{},
	})
	if err != nil {
		return err
	}
	for i := range doc.Devices {
		d := &doc.Devices[i]
		for _, v := range stills.Visits {
			if v.Camera == d.Camera && d.Camera != "" {
				d.Still = &discoveredStill{OK: v.OK, Width: v.Width, Height: v.Height, Error: v.Error}
			}
		}
	}
	return nil
}

// unkept lets go of every picture: whether there is one was the question.
type unkept struct{}

// Prepare has nothing to prepare.
func (unkept) Prepare() error { return nil }

// Keep keeps nothing.
func (unkept) Keep(camera.Camera, capture.Still) (string, error) { return "", nil }
