package commands

import (
	"cmp"
	"context"
	"slices"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// keeperFor returns the keeper of the configured go2rtc's streams, nil when the source go2rtc is not among those to be tried.
func (s settings) keeperFor(sources []string, book *ledger.Ledger) (*streams.Keeper, error) {
	if s.config.Go2rtc == nil {
		return nil, nil
	}
	if len(sources) == 0 {
		sources = s.config.Sources
	}
	if !slices.Contains(sources, "go2rtc") {
		return nil, nil
	}
	return s.keeper(book)
}

// keeper returns the keeper of the configured go2rtc's streams.
func (s settings) keeper(book *ledger.Ledger) (*streams.Keeper, error) {
	g := s.config.Go2rtc
	if g == nil {
		return nil, fault.New(fault.Usage, "", "no go2rtc is configured").
			WithHint("add a go2rtc section with its url to the configuration; camwarden config init shows one")
	}
	password, err := g.Password.Reveal()
	if err != nil {
		known := fault.From(err, fault.Usage, "")
		return nil, fault.New(known.Class, "", "go2rtc: %w", known).WithHint("%s", known.Hint)
	}
	return streams.New(streams.Options{
		Options: go2rtc.Options{
			URL: g.URL, Username: g.Username, Password: password, CAFile: g.CAFile,
			Version: s.c.world.Build.Version, Run: cmp.Or(book.Run(), "look"),
		},
		Ledger: book, FS: proc.Default(), Prefix: g.StreamPrefix, Standing: g.Lifecycle == "standing", Lookup: lookup,
	})
}

// keeperToLook returns the keeper of the configured go2rtc's streams for a command that ends in 2 for no secret, and needs
// none to see; nil when there is none. One that cannot be made is noted as blind. Without a ledger it opens one: go2rtc is
// asked under a lock, since two who ask at a time may end it.
func (s settings) keeperToLook(scope *observe.Scope, book *ledger.Ledger) *streams.Keeper {
	if s.config.Go2rtc == nil {
		return nil
	}
	scope.Standing = s.config.Go2rtc.Lifecycle == "standing"
	if _, err := s.config.Go2rtc.Password.Reveal(); err != nil {
		scope.Blind = append(scope.Blind, observe.Blind{Where: "go2rtc", Why: err.Error()})
		server := *s.config.Go2rtc
		server.Password = camera.Secret{}
		config := *s.config
		config.Go2rtc = &server
		s.config = &config
	}
	var err error
	if book == nil {
		if book, err = s.openLedger(); err != nil {
			scope.Server = err
			return nil
		}
	}
	keeper, err := s.keeper(book)
	if err != nil {
		scope.Server = err
		return nil
	}
	return keeper
}

// remarks are what config check says of the configured go2rtc beyond the file: they need a question to it.
func (s settings) remarks(ctx context.Context) []string {
	if s.config.Go2rtc == nil {
		return nil
	}
	unasked := func(err error) []string {
		f := fault.From(err, fault.Go2rtc, "")
		if f.Hint == "" {
			return []string{f.Message}
		}
		return []string{f.Message + " (" + f.Hint + ")"}
	}
	book, err := s.openLedger() // for the lock under which it is asked
	if err != nil {
		return unasked(err)
	}
	keeper, err := s.keeper(book)
	if err != nil {
		return unasked(err)
	}
	defer keeper.Close()
	path, writable, err := keeper.ConfigFile(ctx)
	if err != nil {
		return unasked(err)
	}
	var remarks []string
	if writable && s.config.Go2rtc.Lifecycle == "ephemeral" {
		remarks = append(remarks, "go2rtc truncates and rewrites "+path+" whenever one of our streams is removed (lifecycle: ephemeral), and may lose it if it dies in that moment: "+
			"make the file read-only for it (chattr +i, a read-only mount, or chmod a-w where it does not run as root), or set lifecycle: standing")
	}
	if info, err := keeper.Client.Info(ctx); err == nil && info.NoHandOver() != "" {
		remarks = append(remarks, "a picture that hangs in go2rtc cannot be flushed, by a round or by camwarden streams flush, because "+info.NoHandOver()+
			": set rtsp.listen in go2rtc.yaml to :8554 or 127.0.0.1:8554")
	}
	return remarks
}
