package main

import (
	"context"
	"errors"
	"flag" //nolint:depguard // camsim is no part of the product: it takes neither cobra nor its conventions
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// Exit codes, as camwarden's: 0 done, 1 something failed, 2 the command line is wrong.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// line is the command line.
type line struct {
	subnet         string
	port           uint
	cameras        string
	mixed          bool
	output         string
	config         string
	counts         string
	go2rtc         string
	onvif          uint
	exitWithParent bool
}

// run starts the subnet, says so on stdout, and lets it live until the context ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		say(stderr, err)
		return exitUsage
	}
	prefix, configs, err := opts.plan()
	var relay relayWish
	if err == nil && opts.go2rtc != "" {
		relay, err = parseRelay(opts.go2rtc)
	}
	if err != nil {
		say(stderr, err)
		return exitUsage
	}
	if opts.exitWithParent { // before the cameras, so that a parent that ends meanwhile is noticed
		var cancel context.CancelFunc
		ctx, cancel = withParent(ctx)
		defer cancel()
	}
	subnet, err := camsim.StartSubnet(prefix, configs)
	if err != nil {
		say(stderr, err)
		return exitFailed
	}
	defer subnet.Close()
	world := world{subnet: subnet}
	if opts.go2rtc != "" {
		if world.go2rtc, err = relay.start(subnet.Cameras); err != nil {
			say(stderr, err)
			return exitFailed
		}
		defer world.go2rtc.Close()
	}
	services, err := opts.startONVIF(subnet.Cameras)
	defer func() {
		for _, service := range services {
			service.Close()
		}
	}()
	if err != nil {
		say(stderr, err)
		return exitFailed
	}
	if err := live(ctx, opts, world, stdout, stderr); err != nil {
		say(stderr, err)
		return exitFailed
	}
	return exitDone
}

// startONVIF gives the cameras that give a picture their ONVIF services, each with a quirk of its own, the log-in of the camera, and
// its one stream.
func (o line) startONVIF(cameras []*camsim.Camera) ([]*camsim.ONVIF, error) {
	if o.onvif == 0 {
		return nil, nil
	}
	quirks := []camsim.Quirk{camsim.ClockAhead, camsim.DigestOnly, camsim.ForeignPrefixes, camsim.NAT, camsim.Media2Only}
	var services []*camsim.ONVIF
	for _, camera := range cameras {
		switch camera.Temper() {
		case camsim.Healthy, camsim.Digest, camsim.Basic, camsim.Slow, camsim.LimitedSlots, camsim.LingeringSlots:
		default:
			continue
		}
		c := camera.Config()
		service, err := camsim.StartONVIF(camsim.ONVIFConfig{
			Address: netip.AddrPortFrom(c.Address.Addr(), uint16(o.onvif)), Username: c.Username, Password: c.Password,
			Model: "sim " + string(c.Temper), Path: c.Path, RTSP: c.Address.Port(), Quirks: quirks[len(services)%len(quirks):][:1],
		})
		if err != nil {
			return services, err
		}
		services = append(services, service)
	}
	return services, nil
}

// say writes one error to the conversation.
func say(stderr io.Writer, err error) {
	_, _ = fmt.Fprintln(stderr, "camsim:", strings.TrimPrefix(err.Error(), "camsim: "))
}

// world is what runs: the cameras, and perhaps a go2rtc beside them.
type world struct {
	subnet *camsim.Subnet
	go2rtc *camsim.Go2rtc // nil for none
}

// live is the life of a running subnet: its counts are served, its configuration written, its cameras listed;
// then it waits, and at the end it shows what its cameras have seen.
func live(ctx context.Context, opts line, w world, stdout, stderr io.Writer) error {
	countsURL := ""
	if opts.counts != "" {
		server, err := serveCounts(ctx, opts.counts, w)
		if err != nil {
			return err
		}
		defer server.stop()
		countsURL = server.url
	}
	if opts.config != "" {
		if err := writeConfig(opts.config, w); err != nil {
			return err
		}
	}
	if err := list(stdout, opts.output, w, countsURL); err != nil {
		return fmt.Errorf("list the cameras: %w", err)
	}
	if opts.output == "table" && countsURL != "" {
		_, _ = fmt.Fprintln(stderr, "camsim: counts at", countsURL)
	}
	if opts.output == "table" && w.go2rtc != nil {
		_, _ = fmt.Fprintln(stderr, "camsim: go2rtc at", w.go2rtc.URL())
	}
	<-ctx.Done()
	if w.go2rtc != nil {
		_, _ = fmt.Fprintln(stderr, sum(w.go2rtc))
	}
	return table(stderr, w.subnet.Cameras)
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (line, error) {
	var opts line
	flags := flag.NewFlagSet("camsim", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors come back; the help is ours
	flags.StringVar(&opts.subnet, "subnet", "", "the `PREFIX` on 127.0.0.0/8 the cameras live in; a free one is drawn when left out")
	flags.UintVar(&opts.port, "port", camsim.DefaultPort, "the RTSP `PORT` of every camera")
	flags.StringVar(&opts.cameras, "cameras", "", "a `LIST` of NAME=TEMPER[:USER[:PASSWORD]][/OPTION=VALUE...], separated by commas")
	flags.BoolVar(&opts.mixed, "mixed", false, "add a mixture of good and bad cameras")
	flags.StringVar(&opts.output, "o", "table", "how the cameras are listed on stdout: `table or json`")
	flags.StringVar(&opts.config, "config", "", "write a camwarden configuration for these cameras to `FILE`, passwords beside it")
	flags.StringVar(&opts.counts, "counts", "", "serve what the cameras count at http://`ADDRESS`/counts, and what go2rtc counts at /go2rtc (loopback; port 0 takes a free one)")
	flags.StringVar(&opts.go2rtc, "go2rtc", "", "run a simulated go2rtc beside the cameras: `ADDRESS[/OPTION=VALUE...]` of its API (loopback; port 0 takes a free one)")
	flags.UintVar(&opts.onvif, "onvif", 0, "give every camera that gives a picture an ONVIF service on this `PORT`")
	flags.BoolVar(&opts.exitWithParent, "exit-with-parent", false, "end when the process that started camsim ends")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		help(stderr, flags)
		return opts, err
	case err != nil:
		return opts, fmt.Errorf("%w; see camsim -h", err)
	case flags.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q; cameras are given with --cameras", flags.Arg(0))
	case opts.output != "table" && opts.output != "json":
		return opts, fmt.Errorf("-o %q is neither table nor json", opts.output)
	case opts.cameras == "" && !opts.mixed:
		return opts, errors.New("no cameras: give --cameras gate=healthy,yard=mute or --mixed")
	case opts.onvif > 65535 || opts.onvif == opts.port:
		return opts, fmt.Errorf("--onvif %d is not a port of its own", opts.onvif)
	case opts.port == 0 || opts.port > 65535:
		return opts, fmt.Errorf("--port %d is not between 1 and 65535", opts.port)
	}
	return opts, nil
}

// help shows the flags and every temper.
func help(w io.Writer, flags *flag.FlagSet) {
	_, _ = fmt.Fprint(w, "camsim runs a subnet of simulated cameras on loopback until it is interrupted.\n\n",
		"  camsim --subnet 127.55.3.0/24 --cameras gate=healthy,yard=digest:user:pass,hall=slots/slots=3/full=close\n",
		"  camsim --cameras gate=healthy/codec=h265-cra/join=true,yard=healthy/codec=mjpeg/tls=true,shed=endless-key-frame\n",
		"  camsim --mixed --config sim.yaml --counts 127.0.0.1:0\n",
		"  camsim --mixed --config sim.yaml --go2rtc 127.0.0.1:1984/patience=1s\n\nFlags:\n")
	flags.SetOutput(w)
	flags.PrintDefaults()
	_, _ = fmt.Fprint(w, "\nUSER, PASSWORD and VALUE may be percent-encoded. NAME*N=... makes N cameras NAME1, NAME2 and so on.\n\nOptions:\n")
	for _, option := range options() {
		_, _ = fmt.Fprintf(w, "  %-20s %s\n", option.name+"="+option.value, option.help)
	}
	_, _ = fmt.Fprint(w, "\nOptions of --go2rtc, whose address the written configuration names:\n")
	for _, option := range relayOptions() {
		_, _ = fmt.Fprintf(w, "  %-20s %s\n", option.name+"="+option.value, option.help)
	}
	_, _ = fmt.Fprint(w, "\nBeside /go2rtc there are POST /go2rtc/kill, /go2rtc/restart and /go2rtc/trouble?kind=KIND&delay=TIME,\nwhere KIND is one of")
	for _, trouble := range camsim.Go2rtcTroubles() {
		_, _ = fmt.Fprint(w, " ", trouble)
	}
	_, _ = fmt.Fprintln(w, ", or nothing to make it well again.")
	_, _ = fmt.Fprint(w, "\nHabits over HTTP (option http), at port ", camsim.DefaultWebPort, camsim.WebPath, ":\n")
	for _, habit := range camsim.Habits() {
		_, _ = fmt.Fprintf(w, "  %-20s %s\n", habit, habit.Sentence())
	}
	for _, kind := range []struct {
		title   string
		tempers []camsim.Temper
	}{{"Tempers", camsim.Tempers()}, {"Hostile tempers", camsim.HostileTempers()}} {
		_, _ = fmt.Fprintf(w, "\n%s:\n", kind.title)
		for _, temper := range kind.tempers {
			_, _ = fmt.Fprintf(w, "  %-20s %s\n", temper, temper.Sentence())
		}
	}
}

// plan turns the command line into a prefix and its cameras.
func (o line) plan() (netip.Prefix, []camsim.Config, error) {
	prefix := camsim.DrawSubnet()
	if o.subnet != "" {
		given, err := netip.ParsePrefix(o.subnet)
		if err != nil {
			return prefix, nil, fmt.Errorf("--subnet %q: not a prefix such as 127.55.3.0/24", o.subnet)
		}
		prefix = given.Masked()
	}
	configs, err := parseCameras(o.cameras)
	if err != nil {
		return prefix, nil, err
	}
	if o.mixed {
		mixed, err := parseCameras(mixture)
		if err != nil {
			return prefix, nil, err
		}
		configs = append(configs, mixed...)
	}
	names := map[string]bool{}
	for i := range configs {
		if names[configs[i].Name] {
			return prefix, nil, fmt.Errorf("two cameras are called %q", configs[i].Name)
		}
		names[configs[i].Name] = true
		configs[i].Address = netip.AddrPortFrom(netip.Addr{}, uint16(o.port)) // parse has seen to the range
	}
	return prefix, configs, nil
}

// countsServer is the small HTTP server behind --counts.
type countsServer struct {
	url  string
	stop func()
}

func serveCounts(ctx context.Context, address string, w world) (*countsServer, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("--counts %q: not a loopback address with port, such as 127.0.0.1:0", address)
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--counts: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/counts", camsim.CountsHandler(w.subnet.Cameras))
	if w.go2rtc != nil {
		mux.Handle("/go2rtc", camsim.Go2rtcHandler(w.go2rtc))
		mux.Handle("/go2rtc/", camsim.Go2rtcHandler(w.go2rtc))
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends at Close, and only then
	}()
	stop := func() {
		_ = server.Close()
		<-done
	}
	return &countsServer{url: "http://" + listener.Addr().String() + "/counts", stop: stop}, nil
}

// withParent returns a context that ends with ctx, or when our parent is another than at the start: the old one has ended.
// It asks instead of requesting a parent-death signal, which follows the thread, not the process, that started us (prctl(2)).
func withParent(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() {
		defer cancel()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ctx, cancel
}
